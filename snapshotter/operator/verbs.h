// What the operator's Jobs run: `thinsnap-operator <verb>`. Each does its work as often as it is
// started: what is done already is found done.
#pragma once

#include <functional>
#include <string>

#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "base/kube/client.h"
#include "snapshotter/api/kinds.h"
#include "snapshotter/operator/backend.h"

namespace thinsnap::backup {

struct VerbContext {
  Runtime& runtime;
  Random& random;
  kube::KubeClient& client;
  const Kinds& kinds;
  const StoreOpener& open_store;
  TaskGroup& group;  // of the informers that a verb waits on
};

// Makes a BackupSession for a session of a BackupConfiguration, as a CronJob asks.
Status RunTrigger(VerbContext& context, const kube::ObjectKey& configuration,
                  const std::string& session);
// Writes metadata.yaml of a BackupStorage.
Status RunInit(VerbContext& context, const kube::ObjectKey& storage);
// Makes the VolumeSnapshots of a BackupSession and follows them into the components of its
// Snapshots. A failed backup is in the Snapshots and an error here.
Status RunBackup(VerbContext& context, const kube::ObjectKey& session,
                 const std::string& volume_snapshot_class);
// Makes the claims of a RestoreSession and follows them until they are bound.
Status RunRestore(VerbContext& context, const kube::ObjectKey& restore);
// Removes the Snapshots of a Repository that a RetentionPolicy's spec no longer keeps.
Status RunRetention(VerbContext& context, const kube::ObjectKey& repository,
                    const std::string& policy_name, const std::string& policy_json);

// Repeats `change` on fresh copies of the object until its status is written; `change` returns
// false when there is nothing to write.
Status ChangeStatus(VerbContext& context, const kube::ResourceType& type,
                    const kube::ObjectKey& key, const std::function<bool(Json& object)>& change);

}  // namespace thinsnap::backup
