// The end of a Repository. Delete removes what stands in the cluster; WipeOut removes the data too,
// in an order in which every step may be repeated: classes, exports, points, the rest, keys,
// repo.json, the entry in metadata.yaml, the Secret.
#include <algorithm>
#include <utility>

#include "base/core/log.h"
#include "snapshotter/api/views.h"
#include "snapshotter/operator/reconcilers.h"
#include "snapshotter/store/s3_error.h"

namespace thinsnap::backup {

namespace {

Status DeleteDerivedClasses(Context& context, const std::string& id) {
  kube::ListOptions options;
  options.label_selector = "repository.thinsnap.io/" + id;
  const auto classes = TRY(context.client.List(kube::types::kVolumeSnapshotClass, "", options));
  for (const auto& item : classes.items) {
    TRY(DeleteIfExists(context.client, kube::types::kVolumeSnapshotClass, kube::KeyOf(item)));
  }
  return {};
}

Status MarkWiping(Context& context, Json secret) {
  const std::string wiping = "wiping";
  const auto text =
      Base64Encode(ByteSpan(reinterpret_cast<const std::uint8_t*>(wiping.data()), wiping.size()));
  if (StringIn(secret, "data", "state") == text) return {};
  Set(secret, "data.state", text);
  TRY(context.client.Update(kube::types::kSecret, secret));
  return {};
}

Status DeletePrefix(store::ObjectStore& store, const std::string& prefix) {
  std::vector<std::string> keys;
  TRY(store::ListAll(store, prefix, [&](const store::ObjectInfo& info) -> Status {
    keys.push_back(info.key);
    return {};
  }));
  for (const auto& key : keys) {
    TRY(Runtime::CheckCancelled());
    TRY(store.Delete(key));
  }
  return {};
}

// repo.json and keys/ go last, so that a wipe that stopped half-way can still be told from damage.
Status DeleteObjects(store::ObjectStore& store) {
  for (const char* prefix : {"points/", "sessions/", "gc/", "packs/", "snapshots/",
                             "repository.yaml", "keys/", "repo.json"}) {
    TRY(DeletePrefix(store, prefix));
  }
  return {};
}

Status WipeData(Context& context, const Json& repository, const std::string& id) {
  const auto secret = TRY(GetIfExists(context.client, kube::types::kSecret,
                                      {context.options.ns, DriverSecretName(id)}));
  if (!secret) return {};  // the last step was done
  TRY(DeleteDerivedClasses(context, id));
  TRY(MarkWiping(context, *secret));
  Backends::Access access {
    TRY(LocationOfDriverSecret(*secret))
    , "wipe/" + kube::ResourceVersionOf(*secret)
  };
  auto store = TRY(context.backends.OpenStorage(access));
  const auto probe = store->List("");
  if (probe.ok() || !(probe.Is(Code::kNotFound) || store::BucketIsGone(probe.error()))) {
    TRY(DeleteObjects(*store));
    // metadata.yaml lies where the storage's prefix ends: the folder's path is cut off again.
    auto root = access.location;
    const auto path = Below(store::Location(), StringAt(repository, "spec.path")).url;
    if (root.url.ends_with(path)) root.url.resize(root.url.size() - path.size());
    auto storage = TRY(context.backends.OpenStorage({root, access.version}));
    const auto removed = ChangeMetadata(*storage, [&](Json& metadata) {
      return RemoveEntry(metadata, kube::NamespaceOf(repository), kube::NameOf(repository));
    });
    // One that cannot be read is written anew from what is left.
    if (!removed.ok() && !removed.Is(Code::kNotFound) && !removed.Is(Code::kDataLoss))
      return removed;
  }
  LogInfo("operator", "wiped " + store->Describe());
  return {};
}

}  // namespace

Result<kube::Requeue> FinishRepository(Context& context, Json repository) {
  const auto id = StringAt(repository, "status.repositoryID");
  const bool elsewhere = kube::ConditionIs(repository, "OwnedElsewhere");
  const bool wipe =
      StringAt(repository, "spec.deletionPolicy") == "WipeOut" && !elsewhere && !id.empty();
  if (wipe && TRY(NamespaceIsGoing(context, kube::NamespaceOf(repository)))) {
    ReportKeptData(context, repository);
  } else if (wipe) {
    const auto wiped = WipeData(context, repository, id);
    if (!wiped.ok()) {
      if (wiped.Is(Code::kCancelled)) return wiped.error();
      Json next = repository;
      Report(context, next, "WipedOut", false, "WipeOutFailed",
             "the data could not be removed: " + wiped.error().message() +
                 "; this is tried again, deletionPolicy Delete releases the object and keeps what "
                 "is left");
      TRY(WriteStatus(context, context.kinds.repository, repository, next));
      return kube::Requeue::After(kRetryInterval);
    }
  }
  if (!id.empty()) {
    TRY(DeleteDerivedClasses(context, id));
    TRY(DeleteIfExists(context.client, kube::types::kSecret,
                       {context.options.ns, DriverSecretName(id)}));
  }
  TRY(DropFinalizer(context, context.kinds.repository, repository));
  return kube::Requeue::Done();
}

}  // namespace thinsnap::backup
