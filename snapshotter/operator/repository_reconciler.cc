// Repository: the engine's repository in the bucket is made, pinned and handed to the driver; what
// it holds is summed up.
#include <algorithm>
#include <set>
#include <utility>

#include "base/core/log.h"
#include "snapshotter/api/snapshot.h"
#include "snapshotter/api/views.h"
#include "snapshotter/operator/reconcilers.h"
#include "snapshotter/operator/repository_points.h"

namespace thinsnap::backup {

namespace {

constexpr Duration kWaitForSecret = std::chrono::seconds(2);
constexpr Duration kCheckAgain = std::chrono::seconds(60);
constexpr Duration kCompareInterval = std::chrono::minutes(10);

std::optional<repo::Suite> PinnedSuite(const Json& repository) {
  const auto suite = StringAt(repository, "status.suite");
  if (suite == "sealed") return repo::Suite::kSealed;
  if (suite == "plain") return repo::Suite::kPlain;
  return std::nullopt;
}

Result<Json> StorageOf(Context& context, const Json& repository) {
  const auto* reference = Find(repository, "spec.storageRef");
  const auto key = reference == nullptr ? kube::ObjectKey{}
                                        : ReferenceKey(*reference, kube::NamespaceOf(repository));
  if (key.name.empty()) {
    return Error(Code::kInvalidArgument,
                 "spec.storageRef: found nothing; accepted is {name, namespace}");
  }
  auto storage = TRY(GetIfExists(context.client, context.kinds.backup_storage, key));
  if (!storage) {
    return Error(Code::kNotFound,
                 "BackupStorage " + key.ToString() + ", named in spec.storageRef, does not exist");
  }
  return std::move(*storage);
}

// Makes the repository where there is none; the answer is its suite. A pinned one that is gone is
// an alarm, never made anew.
Result<repo::Suite> EnsureInitialized(Context& context, const Json& repository,
                                      const Backends::Access& access,
                                      const std::optional<Backends::Passphrase>& passphrase) {
  const auto path = StringAt(repository, "spec.path");
  auto store = TRY(context.backends.OpenFolder(access, path));
  const auto header = repo::ReadRepositoryHeader(*store);
  if (header.ok()) return header->suite;
  if (!header.Is(Code::kNotFound)) return header.error();
  const auto pinned = StringAt(repository, "status.repositoryID");
  if (!pinned.empty()) {
    return Error(
        Code::kDataLoss,
        store->Describe() + " has no repo.json, but repository " + pinned +
            " was there before; it is not made anew. Restore the bucket's objects, or delete "
            "this Repository to begin again");
  }
  repo::InitOptions options;
  if (passphrase) options.passphrase = passphrase->text;
  const auto made = repo::InitRepository(*store, context.runtime, context.random, options);
  if (made.ok()) LogInfo("operator", "initialized " + store->Describe());
  if (!made.ok() && !made.Is(Code::kAlreadyExists)) return made.error().In("making the repository");
  const auto written = TRY(repo::ReadRepositoryHeader(*store));
  return written.suite;
}

// True if a BackupConfiguration of the namespace, made at `since` or later, writes into this
// Repository: that adopts it.
Result<bool> IsConfigured(Context& context, const Json& repository, WallTime since) {
  const auto list =
      TRY(context.client.List(context.kinds.backup_configuration, kube::NamespaceOf(repository)));
  for (const auto& configuration : list.items) {
    if (kube::IsDeleting(configuration) || CreationTime(configuration) < since) continue;
    for (const auto& session : ArrayAt(configuration, "spec.sessions")) {
      for (const auto& item : ArrayAt(session, "repositories")) {
        if (StringAt(item, "name") == kube::NameOf(repository)) return true;
      }
    }
  }
  return false;
}

// Adoption is an act, not a state: two clusters with a BackupConfiguration each would take the
// repository from each other for ever. At first sight any configuration adopts, later one that was
// made since the Repository is somebody else's.
Result<bool> MayAdopt(Context& context, const Json& repository, const std::string& cluster) {
  const auto known = StringAt(repository, "status.owner");
  if (known == cluster) return false;
  const auto* elsewhere = kube::FindCondition(repository, "OwnedElsewhere");
  const auto since = elsewhere == nullptr ? std::nullopt : TimeAt(*elsewhere, "lastTransitionTime");
  return IsConfigured(context, repository, known.empty() ? WallTime{} : since.value_or(WallTime{}));
}

// Enters the repository into metadata.yaml; the answer is the cluster that owns it.
Result<std::string> Register(Context& context, const Json& repository,
                             const Backends::Access& access, const std::string& id) {
  const auto cluster = TRY(ClusterUid(context));
  const bool adopt = TRY(MayAdopt(context, repository, cluster));
  auto store = TRY(context.backends.OpenStorage(access));
  RepositoryEntry entry{kube::NameOf(repository),
                        kube::NamespaceOf(repository),
                        StringAt(repository, "spec.path"),
                        StringAt(repository, "status.size", "0 B"),
                        id,
                        cluster};
  std::string owner = cluster;
  TRY(ChangeMetadata(*store, [&](Json& metadata) {
    // Without an entry, as after a loss of metadata.yaml, it stays whose it was.
    owner = StringAt(repository, "status.owner", cluster);
    for (const auto& known : RepositoriesOf(metadata)) {
      if (known.name == entry.name && known.ns == entry.ns && !known.cluster.empty())
        owner = known.cluster;
    }
    if (owner != cluster && !adopt) return false;
    owner = cluster;
    return PutEntry(metadata, entry);
  }));
  return owner;
}

Status EnsureDriverSecret(Context& context, const DriverAccess& access) {
  const auto wanted = DriverSecret(access, context.options.ns);
  const auto key = kube::KeyOf(wanted);
  auto existing = TRY(GetIfExists(context.client, kube::types::kSecret, key));
  if (!existing) {
    TRY(EnsureExists(context.client, kube::types::kSecret, wanted));
    return {};
  }
  if (ValueAt(*existing, "data") == ValueAt(wanted, "data")) return {};
  Set(*existing, "data", ValueAt(wanted, "data"));
  TRY(context.client.Update(kube::types::kSecret, *existing));
  return {};
}

// Reading every point takes a request each: at the first look, when a view waits for confirmation,
// else now and then.
bool DueForComparison(Context& context, const std::string& uid,
                      const std::vector<Json>& snapshots) {
  const bool waiting = std::any_of(snapshots.begin(), snapshots.end(), [](const Json& snapshot) {
    const auto* condition = kube::FindCondition(snapshot, "Unverified");
    return condition != nullptr && StringAt(*condition, "reason") == "ReadFromView";
  });
  return context.memory.Due("compare/" + uid, context.runtime.clock().MonoNow(),
                            kCompareInterval) ||
         waiting;
}

Result<std::uint64_t> StoredBytes(store::ObjectStore& store) {
  std::uint64_t total = 0;
  TRY(store::ListAll(store, "", [&](const store::ObjectInfo& info) -> Status {
    total += info.size;
    return {};
  }));
  return total;
}

// What the steps after opening found, for the conditions.
Result<kube::Requeue> ReconcileOpened(Context& context, const Json& before, Json next,
                                      const OpenedRepository& opened,
                                      const std::optional<Backends::Passphrase>& passphrase) {
  auto& engine = *opened.open.repository;
  const bool sealed = engine.suite() == repo::Suite::kSealed;
  // Pinned before anything is written under this name.
  Set(next, "status.repositoryID", Json(engine.id().str()));
  Set(next, "status.suite", Json(sealed ? "sealed" : "plain"));
  if (StringAt(before, "status.repositoryID").empty())
    TRY(WriteStatus(context, context.kinds.repository, before, next));
  const Json pinned = next;

  const auto cluster = TRY(ClusterUid(context));
  const auto owner = TRY(Register(context, next, opened.access, engine.id().str()));
  const bool ours = owner == cluster;
  const bool taken = !ours && StringAt(next, "status.owner") == cluster;
  Set(next, "status.owner", Json(owner));

  DriverAccess access;
  access.id = engine.id().str();
  access.suite = engine.suite();
  access.location = Below(opened.access.location, StringAt(next, "spec.path"));
  if (passphrase) access.passphrase = passphrase->text;
  access.namespaces = ours ? kube::NamespaceOf(next) : "";
  TRY(EnsureDriverSecret(context, access));

  auto snapshots = TRY(SnapshotsOf(context, next));
  const bool quiet = std::all_of(snapshots.begin(), snapshots.end(), [](const Json& snapshot) {
    return IsFinalPhase(StringAt(snapshot, "status.phase"));
  });
  // Integrity is what the last comparison found; a bad one is looked at again with each pass.
  bool view_lost = false;
  const bool doubtful = !BoolAt(next, "status.integrity");
  if (quiet && (DueForComparison(context, kube::UidOf(next), snapshots) || doubtful)) {
    Set(next, "status.integrity", TRY(CompareWithPoints(context, next, engine, snapshots)));
    snapshots = TRY(SnapshotsOf(context, next));
    if (ours) view_lost = TRY(RestoreViews(context, next, *opened.open.store, snapshots));
  }
  SummarizeSnapshots(next, snapshots);
  const bool first = StringAt(before, "status.phase") != "Ready";
  std::string contents;
  for (const auto& snapshot : snapshots) {
    contents += kube::NameOf(snapshot) + "=" + StringAt(snapshot, "status.phase") + " ";
  }
  const auto size_key = "size/" + kube::UidOf(next);
  const bool count_bytes = quiet && !context.memory.Knows(size_key, contents);
  if (count_bytes) Set(next, "status.size", Json(SizeText(TRY(StoredBytes(*opened.open.store)))));

  if (ours) {
    RemoveCondition(next, "OwnedElsewhere");
  } else {
    Report(context, next, "OwnedElsewhere", true, "OwnedByAnotherCluster",
           "metadata.yaml names cluster " + owner + " as the owner, this is cluster " + cluster +
               ": restores work, backups and deletion do not. A BackupConfiguration that names "
               "this Repository and is made from now on adopts it",
           !taken);
  }
  if (sealed) {
    Report(context, next, "Sealed", true, "SealedWithPassphrase",
           "what is stored can be read with the passphrase only");
  } else {
    Report(context, next, "Sealed", false, "NoEncryptionSecret",
           "the repository is plain, because it was made without spec.encryptionSecret: whoever "
           "reads the bucket reads "
           "the backups",
           true);
  }
  RemoveCondition(next, "Unverified");
  Report(context, next, "RepositoryInitialized", true, "RepositoryOpened",
         "repository " + engine.id().str() + " is open");
  Set(next, "status.phase", "Ready");
  // The bucket first: whoever wakes at the status, such as the BackupStorage, finds it current.
  if (ours && (first || view_lost || ValueAt(pinned, "status") != ValueAt(next, "status"))) {
    Json view = next;
    kube::SetAnnotation(view, context.kinds.Key("cluster"), cluster);
    TRY(PutText(*opened.open.store, kRepositoryKey, ViewOf(view)));
    TRY(Register(context, next, opened.access, engine.id().str()));  // the size in metadata.yaml
  }
  TRY(WriteStatus(context, context.kinds.repository, pinned, next));
  if (count_bytes) context.memory.Learn(size_key, contents);
  return kube::Requeue::After(kCheckAgain);
}

}  // namespace

Result<OpenedRepository> OpenRepositoryOf(Context& context, const Json& repository) {
  OpenedRepository result;
  result.storage = TRY(StorageOf(context, repository));
  result.access = TRY(context.backends.AccessOf(result.storage));
  const auto passphrase = TRY(context.backends.PassphraseOf(repository, result.storage));
  result.open = TRY(context.backends.Open(result.access, StringAt(repository, "spec.path"),
                                          passphrase, StringAt(repository, "status.repositoryID"),
                                          PinnedSuite(repository)));
  return result;
}

Result<std::vector<Json>> SnapshotsOf(Context& context, const Json& repository) {
  kube::ListOptions options;
  options.label_selector = context.kinds.Key("repo-name") + "=" + kube::NameOf(repository);
  auto list =
      TRY(context.client.List(context.kinds.snapshot, kube::NamespaceOf(repository), options));
  std::sort(list.items.begin(), list.items.end(), [](const Json& a, const Json& b) {
    const auto time = [](const Json& s) {
      return StringAt(s, "status.snapshotTime", StringAt(s, "metadata.creationTimestamp"));
    };
    return std::pair(time(a), kube::NameOf(a)) < std::pair(time(b), kube::NameOf(b));
  });
  return std::move(list.items);
}

Result<kube::Requeue> ReconcileRepository(Context& context, const kube::ObjectKey& key) {
  auto found = TRY(GetIfExists(context.client, context.kinds.repository, key));
  if (!found) return kube::Requeue::Done();
  if (kube::IsDeleting(*found)) {
    if (!kube::HasFinalizer(*found, context.kinds.finalizer)) return kube::Requeue::Done();
    return FinishRepository(context, std::move(*found));
  }
  TRY(EnsureFinalizer(context, context.kinds.repository, *found));
  Json next = *found;

  const auto not_ready = [&](std::string_view reason, const Error& error,
                             Duration again) -> Result<kube::Requeue> {
    if (error.code() == Code::kCancelled) return error;
    Report(context, next, "RepositoryInitialized", false, reason, error.message());
    Set(next, "status.phase", "NotReady");
    if (error.code() == Code::kDataLoss) Set(next, "status.integrity", false);
    SummarizeSnapshots(next, TRY(SnapshotsOf(context, next)));
    TRY(WriteStatus(context, context.kinds.repository, *found, next));
    return kube::Requeue::After(again);
  };
  OpenedRepository opened;
  auto storage = StorageOf(context, next);
  if (!storage.ok()) return not_ready("BackendNotAvailable", storage.error(), kRetryInterval);
  opened.storage = std::move(*storage);
  if (StringAt(opened.storage, "status.phase") != "Ready") {
    return not_ready(
        "BackendNotAvailable",
        Error(Code::kFailedPrecondition, "BackupStorage " + kube::KeyOf(opened.storage).ToString() +
                                             " is not Ready: " + FalseConditions(opened.storage)),
        kRetryInterval);
  }
  auto access = context.backends.AccessOf(opened.storage);
  if (!access.ok()) return not_ready("BackendNotAvailable", access.error(), kWaitForSecret);
  opened.access = std::move(*access);

  auto passphrase = context.backends.PassphraseOf(next, opened.storage);
  if (!passphrase.ok()) {
    Report(context, next, "EncryptionSecretFound", false, kEncryptionSecretMissing,
           passphrase.error().message());
    return not_ready(kEncryptionSecretMissing, passphrase.error(), kWaitForSecret);
  }
  if (*passphrase) {
    Report(context, next, "EncryptionSecretFound", true, "EncryptionSecretAvailable",
           "the passphrase is there");
  }
  const auto initialized = EnsureInitialized(context, next, opened.access, *passphrase);
  if (!initialized.ok())
    return not_ready("RepositoryNotInitialized", initialized.error(), kRetryInterval);
  auto open = context.backends.Open(opened.access, StringAt(next, "spec.path"), *passphrase,
                                    StringAt(next, "status.repositoryID"), PinnedSuite(next));
  if (open.Is(Code::kUnauthenticated) && *passphrase) {
    const auto secret = ReferenceKey(ValueAt(next, "spec.encryptionSecret"), key.ns);
    return not_ready("WrongPassphrase",
                     Error(open.error().code(),
                           "spec.encryptionSecret: Secret " + secret.ToString() +
                               ", key RESTIC_PASSWORD: " + open.error().message() +
                               "; accepted is the passphrase that the repository was made with"),
                     kRetryInterval);
  }
  if (!open.ok()) {
    const bool lacks_passphrase = *initialized == repo::Suite::kSealed && !*passphrase;
    return not_ready(lacks_passphrase ? kEncryptionSecretMissing : "RepositoryNotOpened",
                     open.error(), kRetryInterval);
  }
  opened.open = std::move(*open);
  return ReconcileOpened(context, *found, std::move(next), opened, *passphrase);
}

}  // namespace thinsnap::backup
