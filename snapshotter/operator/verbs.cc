#include "snapshotter/operator/verbs.h"

#include <cstdio>
#include <utility>

#include "base/core/log.h"
#include "base/kube/object.h"
#include "snapshotter/api/retention.h"
#include "snapshotter/api/session.h"
#include "snapshotter/api/views.h"
#include "snapshotter/operator/backend.h"
#include "snapshotter/operator/context.h"

namespace thinsnap::backup {

Status ChangeStatus(VerbContext& context, const kube::ResourceType& type,
                    const kube::ObjectKey& key, const std::function<bool(Json& object)>& change) {
  for (int attempt = 0; attempt < 50; ++attempt) {
    auto object = TRY(context.client.Get(type, key));
    if (!change(object)) return {};
    const auto written = context.client.Update(type, object, "status");
    if (written.ok()) return {};
    if (!written.Is(Code::kAborted) && !written.Is(Code::kUnknownOutcome) &&
        !written.Is(Code::kUnavailable)) {
      return written.error().In("writing the status of " + type.kind + " " + key.ToString());
    }
    TRY(context.runtime.SleepFor(std::chrono::milliseconds(20 * (attempt + 1))));
  }
  return Error(Code::kAborted, "the status of " + type.kind + " " + key.ToString() +
                                   " is being written by others all the time");
}

Status RunTrigger(VerbContext& context, const kube::ObjectKey& key, const std::string& session) {
  const auto configuration = TRY(context.client.Get(context.kinds.backup_configuration, key));
  const auto object =
      NewBackupSession(context.kinds, configuration, session, context.runtime.clock().Now(),
                       RetriesOf(configuration, session));
  auto created = context.client.Create(context.kinds.backup_session, object);
  // Another pod of this Job would take another second, and make another session.
  if (created.Is(Code::kUnknownOutcome))
    created = context.client.Get(context.kinds.backup_session, kube::KeyOf(object));
  // The name holds the second: one that exists already is this run, or one as good.
  if (!created.ok() && !created.Is(Code::kAlreadyExists))
    return created.error().In("making the BackupSession");
  LogInfo("trigger", "BackupSession " + kube::KeyOf(object).ToString() +
                         (created.ok() ? " is made" : " exists"));
  return {};
}

Status RunInit(VerbContext& context, const kube::ObjectKey& key) {
  const auto storage = TRY(context.client.Get(context.kinds.backup_storage, key));
  Backends backends(context.runtime, context.random, context.client, context.open_store);
  const auto access = TRY(backends.AccessOf(storage));
  auto store = TRY(backends.OpenStorage(access));
  TRY(InitMetadata(*store, context.kinds.domain, FormatRfc3339(context.runtime.clock().Now())));
  LogInfo("init", store->Describe() + " holds metadata.yaml");
  return {};
}

Status RunRetention(VerbContext& context, const kube::ObjectKey& repository,
                    const std::string& policy_name, const std::string& policy_json) {
  const auto spec = TRY(ParseJson(policy_json));
  const auto rules = ParseRetentionRules(spec);
  if (!rules.ok()) return rules.error().In("RetentionPolicy " + policy_name);
  kube::ListOptions options;
  options.label_selector = context.kinds.Key("repo-name") + "=" + repository.name;
  const auto list = TRY(context.client.List(context.kinds.snapshot, repository.ns, options));
  std::vector<RetainedSnapshot> snapshots;
  for (const auto& item : list.items) {
    if (kube::IsDeleting(item)) continue;
    RetainedSnapshot entry;
    entry.name = kube::NameOf(item);
    entry.time = TimeAt(item, "status.snapshotTime").value_or(CreationTime(item));
    entry.succeeded = StringAt(item, "status.phase") == "Succeeded";
    entry.failed = StringAt(item, "status.phase") == "Failed";
    snapshots.push_back(std::move(entry));
  }
  const auto count = snapshots.size();
  const auto stale = PlanRetention(*rules, std::move(snapshots), context.runtime.clock().Now());
  LogInfo("retention", "RetentionPolicy " + policy_name + ": " + std::to_string(count) +
                           " Snapshots in Repository " + repository.ToString() + ", " +
                           std::to_string(stale.size()) + " to remove");
  const Json wipe = JsonObject{{"spec", JsonObject{{"deletionPolicy", "WipeOut"}}}};
  for (const auto& name : stale) {
    const kube::ObjectKey key{repository.ns, name};
    auto marked = context.client.Patch(context.kinds.snapshot, key, kube::PatchType::kMerge, wipe);
    if (marked.Is(Code::kNotFound)) continue;
    if (!marked.ok()) return std::move(marked).error().In("marking Snapshot " + key.ToString());
    TRY(DeleteIfExists(context.client, context.kinds.snapshot, key));
    LogInfo("retention", "removed Snapshot " + key.ToString());
  }
  return {};
}

}  // namespace thinsnap::backup
