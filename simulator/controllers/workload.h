// What the workload controllers share: hashes of pod templates, percentages, the objects that an
// owner controls, pods made and deleted with their events.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"
#include "simulator/controllers/part.h"

namespace thinsnap::controllers {

// The same for equal templates, whatever the order of their members; letters that are fit for names
// and labels.
std::string TemplateHash(const Json& pod_template);

// "25%" of total, or a number. Absent: the fallback.
std::int64_t ScaledValue(const Json* int_or_percent, std::int64_t total, bool round_up,
                         std::int64_t fallback);

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

// The pods to delete first when there are too many: those without a node, not running, not ready,
// then the youngest.
void SortForRemoval(std::vector<const Json*>& pods);

}  // namespace thinsnap::controllers
