#include "snapshotter/operator/restore_check.h"

#include <optional>
#include <utility>

#include "snapshotter/api/policy.h"
#include "snapshotter/api/validation.h"
#include "snapshotter/operator/jobs.h"
#include "snapshotter/operator/reconcilers.h"

namespace thinsnap::backup {

namespace {

Result<std::string> RefuseUse(Context& context, const Json& repository, const std::string& ns) {
  if (kube::NamespaceOf(repository) == ns) return std::string();
  const auto* reference = Find(repository, "spec.storageRef");
  if (reference == nullptr)
    return std::string("Repository " + kube::KeyOf(repository).ToString() +
                       " has no spec.storageRef");
  const auto key = ReferenceKey(*reference, kube::NamespaceOf(repository));
  const auto storage = TRY(GetIfExists(context.client, context.kinds.backup_storage, key));
  if (!storage) return "BackupStorage " + key.ToString() + " does not exist";
  const auto ns_object = TRY(GetIfExists(context.client, kube::types::kNamespace, {"", ns}));
  if (MayUse(*storage, ns, ns_object ? &*ns_object : nullptr)) return std::string();
  return UsageRefusal(*storage, "BackupStorage", ns);
}

// "a, b, c": names of what a user may have meant; not too many.
std::string NamesOf(const std::vector<Json>& objects) {
  constexpr std::size_t kMost = 5;
  std::vector<std::string> names;
  for (auto it = objects.rbegin(); it != objects.rend() && names.size() < kMost; ++it)
    names.push_back(kube::NameOf(*it));
  if (names.empty()) return "none";
  return Joined(names, ", ") + (objects.size() > kMost ? ", ..." : "");
}

// A class that cannot make volumes from snapshots of this driver never will; one that is missing
// may still come.
Status CheckStorageClasses(Context& context, RestoreCheck& result) {
  const auto classes = TRY(context.client.List(kube::types::kStorageClass, ""));
  for (const auto& volume : result.plan) {
    const auto name = StringAt(volume.claim_template, "spec.storageClassName");
    const auto driver =
        volume.source.driver.empty() ? context.options.driver : volume.source.driver;
    if (name.empty()) continue;  // the default class, which the claim will name
    std::vector<Json> fitting;
    const Json* wanted = nullptr;
    for (const auto& item : classes.items) {
      if (kube::NameOf(item) == name) wanted = &item;
      if (StringAt(item, "provisioner") == driver) fitting.push_back(item);
    }
    const auto field = "template " + volume.claim() + ", spec.storageClassName: ";
    const auto accepted =
        "; accepted are the StorageClasses of driver " + driver + ": " + NamesOf(fitting);
    if (wanted == nullptr) {
      result.pending = field + "StorageClass " + name + " does not exist" + accepted;
    } else if (StringAt(*wanted, "provisioner") != driver) {
      result.invalid = field + "StorageClass " + name + " is of provisioner " +
                       StringAt(*wanted, "provisioner") + ", which cannot read snapshots of " +
                       driver + accepted;
    }
    if (!result.pending.empty() || !result.invalid.empty()) return {};
  }
  return {};
}

// A passphrase that the RestoreSession names has to be there and to be the right one, also where
// the Repository knows its own.
Status CheckPassphrase(Context& context, const Json& restore, RestoreCheck& result) {
  const auto* given = Find(restore, "spec.dataSource.encryptionSecret");
  if (given == nullptr || StringAt(result.repository, "status.phase") != "Ready" ||
      StringAt(result.repository, "status.suite") != "sealed") {
    return {};
  }
  const auto ns = kube::NamespaceOf(restore);
  const auto key = ReferenceKey(*given, ns);
  const std::string field = "spec.dataSource.encryptionSecret: ";
  if (key.ns != ns && key.ns != kube::NamespaceOf(result.repository)) {
    result.invalid = field + "found namespace " + key.ns + "; accepted are " + ns + " and " +
                     kube::NamespaceOf(result.repository) + ", that of the Repository";
    return {};
  }
  const auto passphrase = context.backends.PassphraseFrom(key);
  if (passphrase.Is(Code::kNotFound)) {
    result.pending = field + passphrase.error().message();
    return {};
  }
  if (!passphrase.ok()) return passphrase.error();
  const auto opened = TRY(OpenRepositoryOf(context, result.repository));
  const auto own = TRY(context.backends.PassphraseOf(result.repository, opened.storage));
  if (own && own->text.Reveal() == passphrase->text.Reveal()) return {};
  // A repository may have several key slots.
  repo::OpenOptions options;
  options.passphrase = passphrase->text;
  const auto other =
      repo::OpenRepository(*opened.open.store, context.runtime, context.random, options);
  if (other.Is(Code::kUnauthenticated)) {
    result.invalid = field + "the passphrase in Secret " + key.ToString() +
                     ", key RESTIC_PASSWORD, does not open repository " +
                     opened.open.repository->id().str() +
                     "; accepted is the one that it was made with";
  } else if (!other.ok()) {
    return other.error();
  }
  return {};
}

// The Snapshot that is meant: by name, or the newest one that succeeded.
Result<std::optional<Json>> FindSnapshot(Context& context, const Json& restore,
                                         const kube::ObjectKey& repository) {
  const auto wanted = StringAt(restore, "spec.dataSource.snapshot");
  if (wanted != "latest")
    return GetIfExists(context.client, context.kinds.snapshot, {repository.ns, wanted});
  Json key_holder = kube::NewObject(context.kinds.repository, repository);
  const auto snapshots = TRY(SnapshotsOf(context, key_holder));
  for (auto it = snapshots.rbegin(); it != snapshots.rend(); ++it) {
    if (StringAt(*it, "status.phase") == "Succeeded" && !kube::IsDeleting(*it))
      return std::optional<Json>(*it);
  }
  return std::optional<Json>();
}

// Every exported volume has to have its restore point in this very repository: a handle is only as
// good as that.
Result<std::string> CheckPoints(Context& context, const Json& repository, const Json& snapshot,
                                const std::vector<SourceVolume>& sources, std::string& pending) {
  const bool from_view = kube::FindCondition(snapshot, "Unverified") != nullptr;
  for (const auto& source : sources) {
    const auto name = "volume " + source.claim + " of Snapshot " + kube::NameOf(snapshot);
    if (source.handle.empty())
      return name + " has no volumeSnapshotHandle: the backup did not get as far as the cut";
    const auto handle = ParseSnapshotHandle(source.handle);
    if (!handle || handle->repository.empty()) {
      if (from_view)
        return name +
               " was read from a view and lies in no repository; only restore points are trusted";
      continue;
    }
    if (StringAt(repository, "status.phase") != "Ready") {
      const auto* condition = kube::FindCondition(repository, "RepositoryInitialized");
      pending = "Repository " + kube::KeyOf(repository).ToString() + " is not Ready: " +
                (condition == nullptr ? "it is being opened" : StringAt(*condition, "message"));
      return std::string();
    }
    const auto id = StringAt(repository, "status.repositoryID");
    if (handle->repository != id) {
      return name + " has handle " + source.handle + " of another repository; accepted is " + id;
    }
    const auto opened = TRY(OpenRepositoryOf(context, repository));
    const auto point = opened.open.repository->FindPoint(handle->series(), handle->snapshot);
    if (point.Is(Code::kNotFound) || point.Is(Code::kDataLoss)) {
      return name + ": repository " + id + " has no sound restore point for " + source.handle +
             " (" + point.error().message() + ")";
    }
    if (!point.ok()) return point.error();
  }
  return std::string();
}

}  // namespace

Result<RestoreCheck> CheckRestore(Context& context, const Json& restore) {
  RestoreCheck result;
  const auto ns = kube::NamespaceOf(restore);
  if (auto sentences = ValidateRestoreSession(restore); !sentences.empty()) {
    result.invalid = Joined(sentences, " ");
    return result;
  }
  const auto& task_spec = ArrayAt(restore, "spec.addon.tasks")[0];
  const auto task = FindTask(context, StringAt(restore, "spec.addon.name"), "restoreTasks",
                             StringAt(task_spec, "name"));
  if (task.Is(Code::kNotFound)) {
    result.invalid = "spec.addon: " + task.error().message();
    return result;
  }
  if (!task.ok()) return task.error();

  auto source_ns = StringAt(restore, "spec.dataSource.namespace");
  if (source_ns.empty()) source_ns = ns;
  auto repository_name = StringAt(restore, "spec.dataSource.repository");
  if (repository_name.empty()) {
    const kube::ObjectKey key{source_ns, StringAt(restore, "spec.dataSource.snapshot")};
    const auto snapshot = TRY(GetIfExists(context.client, context.kinds.snapshot, key));
    if (!snapshot) {
      result.pending =
          "Snapshot " + key.ToString() + ", named in spec.dataSource.snapshot, does not exist";
      return result;
    }
    repository_name = StringAt(*snapshot, "spec.repository");
  }
  const kube::ObjectKey repository_key{source_ns, repository_name};
  auto repository = TRY(GetIfExists(context.client, context.kinds.repository, repository_key));
  if (!repository) {
    const auto there = TRY(context.client.List(context.kinds.repository, source_ns));
    result.pending = "Repository " + repository_key.ToString() +
                     ", named in spec.dataSource.repository, does not exist; namespace " +
                     source_ns + " has: " + NamesOf(there.items);
    return result;
  }
  result.repository = std::move(*repository);
  result.invalid = TRY(RefuseUse(context, result.repository, ns));
  if (!result.invalid.empty()) return result;

  auto snapshot = TRY(FindSnapshot(context, restore, repository_key));
  const auto wanted = StringAt(restore, "spec.dataSource.snapshot");
  if (!snapshot) {
    result.pending =
        wanted == "latest"
            ? "Repository " + repository_key.ToString() + " has no Snapshot that succeeded"
            : "Snapshot " + source_ns + "/" + wanted +
                  ", named in spec.dataSource.snapshot, does not exist; accepted are latest and, "
                  "of Repository " +
                  repository_name + ": " + NamesOf(TRY(SnapshotsOf(context, result.repository)));
    return result;
  }
  result.snapshot = std::move(*snapshot);
  if (StringAt(result.snapshot, "spec.repository") != repository_name) {
    result.invalid = "spec.dataSource: Snapshot " + wanted + " is of Repository " +
                     StringAt(result.snapshot, "spec.repository") + "; found " + repository_name;
    return result;
  }
  const auto phase = StringAt(result.snapshot, "status.phase", "Pending");
  if (phase != "Succeeded") {
    (phase == "Failed" ? result.invalid : result.pending) =
        "Snapshot " + kube::NameOf(result.snapshot) + " is " + phase +
        "; only one that Succeeded can be restored";
    return result;
  }

  std::vector<std::string> components;
  for (const auto& item : ArrayAt(restore, "spec.dataSource.components")) {
    if (item.is_string()) components.emplace_back(std::string_view(item.get_string()));
  }
  const auto sources = SourcesOf(result.snapshot, components);
  if (!sources.ok()) {
    result.invalid = sources.error().message();
    return result;
  }
  auto plan = PlanRestore(*sources, ArrayAt(task_spec, "targetVolumes.volumeClaimTemplates"),
                          context.kinds.Key("source-claim"));
  if (!plan.ok()) {
    result.invalid = plan.error().message();
    return result;
  }
  result.plan = std::move(*plan);
  TRY(CheckStorageClasses(context, result));
  if (!result.invalid.empty() || !result.pending.empty()) return result;
  TRY(CheckPassphrase(context, restore, result));
  if (!result.invalid.empty() || !result.pending.empty()) return result;
  result.invalid =
      TRY(CheckPoints(context, result.repository, result.snapshot, *sources, result.pending));
  return result;
}

}  // namespace thinsnap::backup
