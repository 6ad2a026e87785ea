#include "snapshotter/operator/operator.h"

#include <memory>
#include <vector>

#include "base/core/log.h"
#include "base/kube/controller.h"
#include "base/kube/event_recorder.h"
#include "base/kube/informer.h"
#include "base/kube/object.h"
#include "snapshotter/api/crds.h"
#include "snapshotter/operator/reconcilers.h"

namespace thinsnap::backup {

namespace {

using kube::ObjectKey;

// The CRDs may come after the operator.
Status WaitForKinds(Runtime& runtime, kube::KubeClient& client, const Kinds& kinds) {
  bool said = false;
  for (const auto* type :
       {&kinds.backup_storage, &kinds.restore_session, &kinds.addon, &kinds.function}) {
    for (;;) {
      kube::ListOptions options;
      options.limit = 1;
      const auto list = client.List(*type, "", options);
      if (list.ok()) break;
      if (list.Is(Code::kCancelled)) return list.error();
      if (!said)
        LogInfo("operator", "waiting for " + type->resource + "." + type->group + ": " +
                                list.error().message());
      said = true;
      TRY(runtime.SleepFor(std::chrono::milliseconds(200)));
    }
  }
  return {};
}

bool SameSpec(const Json& a, const Json& b) {
  const auto *left = Find(a, "spec"), *right = Find(b, "spec");
  return left != nullptr && right != nullptr && *left == *right;
}

// A field that somebody else set is left to them.
Status InstallOne(kube::KubeClient& client, const kube::ResourceType& type, const Json& object) {
  const ObjectKey key = kube::KeyOf(object);
  const auto current = client.Get(type, key);
  if (current.ok() && SameSpec(*current, object)) return {};
  if (!current.ok() && !current.Is(Code::kNotFound)) return current.error();
  kube::PatchOptions options;
  options.field_manager = "thinsnap-operator";
  const auto applied = client.Patch(type, key, kube::PatchType::kApply, object, options);
  if (applied.Is(Code::kAborted)) {
    LogInfo("operator", type.kind + " " + key.name +
                            " stays as somebody changed it: " + applied.error().message());
    return {};
  }
  if (!applied.ok()) return applied.error();
  return {};
}

std::vector<ObjectKey> All(const kube::Informer& informer, const std::string& ns = "") {
  std::vector<ObjectKey> keys;
  for (const auto& object : informer.List(ns)) keys.push_back(kube::KeyOf(*object));
  return keys;
}

// What a reconciler did not expect is said on the object too, once it has happened twice, until a
// pass succeeds: nothing fails in silence.
void SayOutcome(Context& context, const kube::ResourceType& type, const ObjectKey& key,
                const Result<kube::Requeue>& outcome) {
  if (outcome.Is(Code::kCancelled) || outcome.Is(Code::kAborted)) return;
  const auto memory = "outcome/" + type.kind + "/" + key.ToString();
  if (outcome.ok() && context.memory.Knows(memory, "good")) return;
  if (!outcome.ok() && !context.memory.Knows(memory, "bad")) {
    context.memory.Learn(memory, "bad");
    return;
  }
  auto object = context.client.Get(type, key);
  if (!object.ok()) return;
  Json next = *object;
  if (outcome.ok()) {
    RemoveCondition(next, "Reconciled");
  } else {
    Report(context, next, "Reconciled", false, "ReconcileFailed",
           outcome.error().message() + "; this is tried again");
  }
  const auto written = WriteStatus(context, type, *object, next);
  if (outcome.ok() && written.ok()) context.memory.Learn(memory, "good");
}

}  // namespace

Status InstallCatalog(Runtime& runtime, kube::KubeClient& client, const Kinds& kinds) {
  for (const Json& object : CatalogObjects(kinds.domain)) {
    for (const auto* type : {&kinds.addon, &kinds.function}) {
      if (type->kind != StringAt(object, "kind")) continue;
      bool said = false;
      for (;;) {
        const Status installed = InstallOne(client, *type, object);
        if (installed.ok()) break;
        if (installed.Is(Code::kCancelled)) return installed;
        if (!said) {
          LogWarning("operator", "cannot write " + type->kind + " " + kube::NameOf(object) + ": " +
                                     installed.error().message() + "; this is tried again");
        }
        said = true;
        TRY(runtime.SleepFor(std::chrono::seconds(1)));
      }
    }
  }
  return {};
}

Status RunOperator(Runtime& runtime, Random& random, kube::KubeClient& client,
                   const StoreOpener& open_store, TaskGroup& group,
                   const OperatorOptions& options) {
  const Kinds kinds(options.domain);
  TRY(WaitForKinds(runtime, client, kinds));
  TRY(InstallCatalog(runtime, client, kinds));
  kube::EventRecorder events(client, runtime.clock(), random, "thinsnap-operator");
  Backends backends(runtime, random, client, open_store);
  Memory memory;
  Context context{runtime, random, client, events, backends, kinds, options, memory};

  kube::InformerSet informers(runtime, client);
  auto& storages = informers.For(kinds.backup_storage);
  auto& repositories = informers.For(kinds.repository);
  auto& snapshots = informers.For(kinds.snapshot);
  auto& policies = informers.For(kinds.retention_policy);
  auto& configurations = informers.For(kinds.backup_configuration);
  auto& sessions = informers.For(kinds.backup_session);
  auto& restores = informers.For(kinds.restore_session);
  auto& jobs = informers.For(kube::types::kJob);

  const auto controller = [&](const char* name, const kube::ResourceType& type, auto reconcile) {
    return std::make_unique<kube::Controller>(runtime, name,
                                              [&context, &type, reconcile](const ObjectKey& key) {
                                                auto outcome = reconcile(context, key);
                                                SayOutcome(context, type, key, outcome);
                                                return outcome;
                                              });
  };
  auto storage = controller("backupstorage", kinds.backup_storage, ReconcileBackupStorage);
  storage->WatchOwn(storages);
  storage->WatchOwned(jobs, "BackupStorage");
  storage->WatchMapped(repositories, [](const Json& object) -> std::vector<ObjectKey> {
    const auto* reference = Find(object, "spec.storageRef");
    if (reference == nullptr) return {};
    return {ReferenceKey(*reference, kube::NamespaceOf(object))};
  });

  auto repository = controller("repository", kinds.repository, ReconcileRepository);
  repository->WatchOwn(repositories);
  repository->WatchMapped(storages, [&](const Json& object) {
    std::vector<ObjectKey> keys;
    for (const auto& item : repositories.List()) {
      const auto* reference = Find(*item, "spec.storageRef");
      if (reference != nullptr &&
          ReferenceKey(*reference, kube::NamespaceOf(*item)) == kube::KeyOf(object)) {
        keys.push_back(kube::KeyOf(*item));
      }
    }
    return keys;
  });
  repository->WatchMapped(snapshots, [](const Json& object) -> std::vector<ObjectKey> {
    return {{kube::NamespaceOf(object), StringAt(object, "spec.repository")}};
  });

  // One that is made may adopt a Repository.
  repository->WatchMapped(configurations, [](const Json& object) {
    std::vector<ObjectKey> keys;
    for (const auto& session : ArrayAt(object, "spec.sessions")) {
      for (const auto& item : ArrayAt(session, "repositories"))
        keys.push_back({kube::NamespaceOf(object), StringAt(item, "name")});
    }
    return keys;
  });

  auto snapshot = controller("snapshot", kinds.snapshot, ReconcileSnapshot);
  snapshot->WatchOwn(snapshots);

  auto configuration =
      controller("backupconfiguration", kinds.backup_configuration, ReconcileBackupConfiguration);
  configuration->WatchOwn(configurations);
  for (auto* of_many : {&storages, &policies})
    configuration->WatchMapped(*of_many, [&](const Json&) { return All(configurations); });
  configuration->WatchMapped(repositories, [&](const Json& object) {
    return All(configurations, kube::NamespaceOf(object));
  });

  auto session = controller("backupsession", kinds.backup_session, ReconcileBackupSession);
  session->WatchOwn(sessions);
  session->WatchOwned(jobs, "BackupSession");
  session->WatchMapped(snapshots, [](const Json& object) -> std::vector<ObjectKey> {
    const auto name = StringAt(object, "spec.backupSession");
    if (name.empty()) return {};
    return {{kube::NamespaceOf(object), name}};
  });

  auto restore = controller("restoresession", kinds.restore_session, ReconcileRestoreSession);
  restore->WatchOwn(restores);
  restore->WatchOwned(jobs, "RestoreSession");

  // Made last, so that it stops its tasks before what they stand on goes.
  TaskGroup work(runtime, &group);
  informers.StartAll(work);
  TRY(informers.WaitForSync());
  LogInfo("operator", "reconciling the kinds of " + kinds.domain);
  // A storage that does not answer holds its own worker and nobody else's. Sessions have one: two
  // of one BackupConfiguration must not look at each other at the same moment.
  for (auto* each : {storage.get(), repository.get(), snapshot.get(), restore.get()}) {
    each->Start(work, 4);
  }
  for (auto* each : {configuration.get(), session.get()}) each->Start(work);
  Status outcome;
  while (outcome.ok()) outcome = runtime.SleepFor(std::chrono::hours(1));
  return outcome;
}

}  // namespace thinsnap::backup
