// ControllerRevisions: the templates that a StatefulSet or DaemonSet had, kept so that pods can be
// made from them again.
#pragma once

#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"
#include "base/kube/client.h"

namespace thinsnap::controllers {

struct Revisions {
  std::string update;         // name of the present template's revision
  std::vector<Json> objects;  // all of the owner, oldest first
};

// Makes the revision of the owner's present template where it is missing, or the newest where it is
// an older one again; deletes those beyond the owner's history limit that no pod and not `current`
// names.
Result<Revisions> SyncRevisions(kube::KubeClient& client, const Json& owner,
                                const std::string& current, const std::vector<Json>& pods);

// The template of a revision; null if it is not there.
Json RevisionTemplate(const Revisions& revisions, const std::string& name);

}  // namespace thinsnap::controllers
