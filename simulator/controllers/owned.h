// What the workload controllers do with the objects of an owner: listed, made and deleted with
// their events, their status written.
#pragma once

#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"
#include "simulator/controllers/part.h"

namespace thinsnap::controllers {

// Objects of the namespace whose controller is the owner, as the server has them now.
Result<std::vector<Json>> ListOwned(kube::KubeClient& client, const kube::ResourceType& type,
                                    const Json& owner);

// Creates the pod under a name from `prefix` and five random characters, or under its own if it has
// one. Events: SuccessfulCreate, FailedCreate.
Status CreateOwnedPod(const Context& context, kube::EventRecorder& events, const Json& owner,
                      Json pod, const std::string& prefix);
// Deletes it if it is still this one. Event: SuccessfulDelete.
Status DeleteOwnedPod(const Context& context, kube::EventRecorder& events, const Json& owner,
                      const Json& pod);

// Writes `status` where it differs from what is there. Returns the object as it is then.
Result<Json> WriteStatus(kube::KubeClient& client, const kube::ResourceType& type, Json object,
                         Json status);

}  // namespace thinsnap::controllers
