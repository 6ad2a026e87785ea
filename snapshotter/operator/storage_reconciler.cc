// BackupStorage: finds the Secret, makes metadata.yaml through a Job, has what the bucket already
// holds brought back, and ends as its deletionPolicy asks.
#include <utility>

#include "snapshotter/api/views.h"
#include "snapshotter/operator/jobs.h"
#include "snapshotter/operator/reconcilers.h"
#include "snapshotter/operator/storage_sync.h"
#include "snapshotter/store/s3_error.h"

namespace thinsnap::backup {

namespace {

constexpr Duration kWaitForSecret = std::chrono::seconds(2);
constexpr Duration kCheckAgain = std::chrono::seconds(60);

// What a look at the bucket gave.
struct Initialization {
  bool done = false;
  std::string failure;  // a sentence, empty while the Job is on its way
  Metadata metadata;
};

JobPlan InitJob(const Context& context, const Json& storage) {
  const auto key = kube::KeyOf(storage);
  JobPlan plan;
  plan.key = {key.ns, ValidName("init", key.name, "storage")};
  plan.owner = storage;
  plan.component = "thinsnap-initializer";
  plan.cluster_role = "thinsnap-storage-initializer-job";
  plan.image = context.options.image;
  plan.command = {"thinsnap-operator", "init", "--namespace=" + key.ns,
                  "--backup-storage=" + key.name, "--api-domain=" + context.kinds.domain};
  plan.labels = OffshootLabels(context.kinds, "BackupStorage", key.name, key.ns, "");
  return plan;
}

// The initializer alone reads credentials: those of its own storage, by name.
Status EnsureSecretRole(Context& context, const JobPlan& plan, const Json& storage) {
  const auto secret = CredentialsSecretName(storage);
  if (secret.empty()) return {};
  const kube::ObjectKey key{plan.key.ns, plan.key.name + "-secret"};
  auto role = kube::NewObject(kube::types::kRole, key);
  kube::AddOwnerReference(role, kube::OwnerReference(storage));
  role.as_object()["rules"] = JsonArray{JsonObject{{"apiGroups", JsonArray{Json("")}},
                                                   {"resources", JsonArray{Json("secrets")}},
                                                   {"resourceNames", JsonArray{Json(secret)}},
                                                   {"verbs", JsonArray{Json("get")}}}};
  TRY(EnsureExists(context.client, kube::types::kRole, role));
  auto binding = kube::NewObject(kube::types::kRoleBinding, key);
  kube::AddOwnerReference(binding, kube::OwnerReference(storage));
  binding.as_object()["roleRef"] =
      JsonObject{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "Role"}, {"name", key.name}};
  binding.as_object()["subjects"] = JsonArray{
      JsonObject{{"kind", "ServiceAccount"}, {"name", plan.key.name}, {"namespace", plan.key.ns}}};
  TRY(EnsureExists(context.client, kube::types::kRoleBinding, binding));
  return {};
}

// The field of spec.storage.s3 that an answer of the store is about, as far as it can be told.
std::string FieldAtFault(const Error& error) {
  if (store::BucketIsGone(error)) return ".bucket";
  switch (error.code()) {
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
      return ".endpoint";
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
      return ".secretName";
    default:
      return "";
  }
}

Result<Initialization> Initialize(Context& context, const Json& storage,
                                  const Backends::Access& access) {
  Initialization result;
  const auto failure = [&](const Error& error) {
    return "BackupStorage " + kube::KeyOf(storage).ToString() + ", spec.storage.s3" +
           FieldAtFault(error) + ": " + error.message() + "; this is tried again every 10 s";
  };
  auto opened = context.backends.OpenStorage(access);
  if (!opened.ok()) {
    result.failure = failure(opened.error());
    return result;
  }
  auto& store = **opened;
  auto metadata = ReadMetadata(store);
  if (metadata.ok()) {
    result.done = true;
    result.metadata = std::move(*metadata);
    return result;
  }
  if (metadata.Is(Code::kDataLoss)) {
    context.events.Emit(storage, "Warning", "MetadataDamaged",
                        "BackupStorage " + kube::KeyOf(storage).ToString() + ": " +
                            metadata.error().message() +
                            "; it is written anew from the repositories that the bucket holds, and "
                            "what was there is kept as " +
                            kDamagedMetadataKey);
  } else if (!metadata.Is(Code::kNotFound)) {
    if (metadata.Is(Code::kCancelled)) return std::move(metadata).error();
    result.failure = failure(metadata.error());
    return result;
  }
  // A bucket that is not there answers "not found" too; listing tells the two apart.
  const auto probe = store.List("");
  if (!probe.ok()) {
    if (probe.Is(Code::kCancelled)) return probe.error();
    result.failure = failure(probe.error());
    return result;
  }
  const auto plan = InitJob(context, storage);
  TRY(EnsureSecretRole(context, plan, storage));
  const auto job = TRY(EnsureJob(context, plan));
  switch (StateOfJob(job)) {
    case JobState::kRunning:
      break;
    case JobState::kSucceeded:
      // metadata.yaml was written and is gone again: once more.
      TRY(DeleteIfExists(context.client, kube::types::kJob, plan.key));
      break;
    case JobState::kFailed:
      result.failure = "Job " + plan.key.ToString() + " could not write metadata.yaml (" +
                       FailureOfJob(job) + "); its log says why";
      TRY(DeleteIfExists(context.client, kube::types::kJob, plan.key));
      break;
  }
  return result;
}

// Why this object may not stand beside the others, or cannot mean anything; empty when it may.
Result<std::string> Refusal(Context& context, const Json& storage, const std::string& url) {
  const auto key = kube::KeyOf(storage);
  const auto name = "BackupStorage " + key.ToString();
  const auto from = StringAt(storage, "spec.usagePolicy.allowedNamespaces.from");
  if (from == "Selector" &&
      Find(storage, "spec.usagePolicy.allowedNamespaces.selector") == nullptr) {
    return name +
           ", spec.usagePolicy.allowedNamespaces.selector: found nothing; from: Selector needs a "
           "label selector";
  }
  const auto age = [](const Json& object) {
    return std::pair(StringAt(object, "metadata.creationTimestamp"), kube::KeyOf(object));
  };
  const auto all = TRY(context.client.List(context.kinds.backup_storage, ""));
  for (const auto& other : all.items) {
    const auto other_key = kube::KeyOf(other);
    if (other_key == key || kube::IsDeleting(other) || age(storage) < age(other)) continue;
    const auto location = StorageLocation(other, nullptr);
    if (location.ok() && location->url == url) {
      return name + ", spec.storage: bucket and prefix, " + url + ", belong to BackupStorage " +
             other_key.ToString() + "; accepted is a prefix that no other BackupStorage has";
    }
    if (other_key.ns == key.ns && BoolAt(other, "spec.default") &&
        BoolAt(storage, "spec.default")) {
      return name + ", spec.default: found true, and BackupStorage " + other_key.ToString() +
             " is the default already; accepted is one default in a namespace";
    }
  }
  return std::string();
}

// What cannot be reached for want of a sound spec or a Secret was never written from here.
Status RemoveMetadata(Context& context, const Json& storage) {
  auto access = context.backends.AccessOf(storage);
  if (!access.ok()) return access.Is(Code::kUnavailable) ? Status(access.error()) : Status();
  if (Find(storage, "status.totalSize") == nullptr) return {};
  auto store = TRY(context.backends.OpenStorage(*access));
  const auto metadata = ReadMetadata(*store);
  if (metadata.Is(Code::kDataLoss)) return store->Delete(kMetadataKey);
  if (!metadata.ok()) {
    const bool gone = metadata.Is(Code::kNotFound) || store::BucketIsGone(metadata.error());
    return gone ? Status() : Status(metadata.error());
  }
  if (!RepositoriesOf(metadata->content).empty()) return {};
  TRY(store->Delete(kDamagedMetadataKey));
  return store->Delete(kMetadataKey);
}

// Delete leaves the bucket alone. WipeOut removes the Repositories with their data first, then
// metadata.yaml.
Result<kube::Requeue> FinishStorage(Context& context, Json storage) {
  const auto key = kube::KeyOf(storage);
  if (StringAt(storage, "spec.deletionPolicy") == "WipeOut") {
    if (TRY(NamespaceIsGoing(context, key.ns))) {
      ReportKeptData(context, storage);
    } else {
      const auto all = TRY(context.client.List(context.kinds.repository, ""));
      bool waiting = false;
      for (auto repository : all.items) {
        const auto* reference = Find(repository, "spec.storageRef");
        if (reference == nullptr || ReferenceKey(*reference, kube::NamespaceOf(repository)) != key)
          continue;
        waiting = true;
        if (kube::IsDeleting(repository)) continue;
        Set(repository, "spec.deletionPolicy", "WipeOut");
        TRY(context.client.Update(context.kinds.repository, repository));
        TRY(DeleteIfExists(context.client, context.kinds.repository, kube::KeyOf(repository)));
      }
      if (waiting) return kube::Requeue::After(std::chrono::seconds(1));
      const auto removed = RemoveMetadata(context, storage);
      if (!removed.ok()) {
        if (removed.Is(Code::kCancelled)) return removed.error();
        Json next = storage;
        Report(context, next, "WipedOut", false, "WipeOutFailed",
               "metadata.yaml could not be removed: " + removed.error().message() +
                   "; this is tried again, deletionPolicy Delete releases the object and keeps it");
        TRY(WriteStatus(context, context.kinds.backup_storage, storage, next));
        return kube::Requeue::After(kRetryInterval);
      }
    }
  }
  TRY(DropFinalizer(context, context.kinds.backup_storage, storage));
  return kube::Requeue::Done();
}

}  // namespace

Result<kube::Requeue> ReconcileBackupStorage(Context& context, const kube::ObjectKey& key) {
  auto found = TRY(GetIfExists(context.client, context.kinds.backup_storage, key));
  if (!found) return kube::Requeue::Done();
  if (kube::IsDeleting(*found)) {
    if (!kube::HasFinalizer(*found, context.kinds.finalizer)) return kube::Requeue::Done();
    return FinishStorage(context, std::move(*found));
  }
  TRY(EnsureFinalizer(context, context.kinds.backup_storage, *found));
  Json next = *found;

  auto again = kCheckAgain;
  auto access = context.backends.AccessOf(next);
  const bool needs_secret = !CredentialsSecretName(next).empty();
  if (access.Is(Code::kNotFound)) {
    Report(context, next, "BackendSecretFound", false, "BackendSecretNotAvailable",
           access.error().message());
    again = kWaitForSecret;
  } else if (!access.ok()) {
    if (access.Is(Code::kUnavailable) || access.Is(Code::kCancelled))
      return std::move(access).error();
    Report(context, next, "BackendInitialized", false, "BackendInitializationFailed",
           access.error().message());
    again = kRetryInterval;
  } else {
    if (needs_secret) {
      Report(context, next, "BackendSecretFound", true, "BackendSecretAvailable",
             "Secret " + key.ns + "/" + CredentialsSecretName(next) + " is there");
    } else {
      RemoveCondition(next, "BackendSecretFound");
    }
    Initialization initialization;
    initialization.failure = TRY(Refusal(context, next, access->location.url));
    if (initialization.failure.empty()) initialization = TRY(Initialize(context, next, *access));
    if (initialization.done) {
      Report(context, next, "BackendInitialized", true, "BackendInitializationSucceeded",
             access->location.url + " holds metadata.yaml");
      if (!TRY(SyncRepositories(context, next, *access, initialization.metadata)))
        again = kRetryInterval;
    } else if (!initialization.failure.empty()) {
      Report(context, next, "BackendInitialized", false, "BackendInitializationFailed",
             initialization.failure);
      again = kRetryInterval;
    } else {
      again = std::chrono::seconds(1);
    }
  }
  const bool secret_fine = !needs_secret || kube::ConditionIs(next, "BackendSecretFound");
  const bool ready = secret_fine && kube::ConditionIs(next, "BackendInitialized");
  Set(next, "status.phase", Json(ready ? "Ready" : "NotReady"));
  TRY(WriteStatus(context, context.kinds.backup_storage, *found, next));
  return kube::Requeue::After(again);
}

void ReportKeptData(Context& context, const Json& object) {
  const auto account =
      kube::NewObject(kube::types::kServiceAccount, {context.options.ns, "thinsnap-operator"});
  context.events.Emit(account, "Normal", "DataKept",
                      StringAt(object, "kind") + " " + kube::KeyOf(object).ToString() +
                          " goes with its namespace: its data in the bucket is kept, though its "
                          "deletionPolicy is WipeOut");
}

Result<bool> NamespaceIsGoing(Context& context, const std::string& ns) {
  const auto object = TRY(GetIfExists(context.client, kube::types::kNamespace, {"", ns}));
  return !object || kube::IsDeleting(*object);
}

}  // namespace thinsnap::backup
