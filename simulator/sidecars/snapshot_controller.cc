// snapshot-controller: the cluster's half of snapshots. Finds the class, makes and binds the
// content, copies its status, keeps finalizers where something still depends on an object, and
// tells the sidecar when to delete.
#include "simulator/sidecars/parts.h"
#include "simulator/sidecars/snapshot_names.h"
#include "simulator/sidecars/snapshot_plan.h"

namespace thinsnap::sidecars {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::ObjectPtr;
using kube::Requeue;

class SnapshotController final : public QueuePart {
 public:
  explicit SnapshotController(const Context& context)
      : QueuePart(context, "snapshot-controller"),
        snapshots_(For(types::kVolumeSnapshot)),
        contents_(For(types::kVolumeSnapshotContent)),
        classes_(For(types::kVolumeSnapshotClass)),
        claims_(For(types::kPersistentVolumeClaim)),
        content_queue_(context.runtime, "snapshot-controller-contents",
                       [this](const ObjectKey& key) { return SyncContent(key); }),
        backoffs_(context.runtime.clock(), context.options.retry_start, context.options.retry_max) {
    queue_.WatchOwn(snapshots_);
    queue_.WatchMapped(contents_, [](const Json& content) {
      return std::vector<ObjectKey>{{StringAt(content, "spec.volumeSnapshotRef.namespace"),
                                     StringAt(content, "spec.volumeSnapshotRef.name")}};
    });
    // What waits for a claim to be bound, or for a restore to end.
    queue_.WatchMapped(claims_, [this](const Json& claim) {
      std::vector<ObjectKey> keys;
      for (const auto& snapshot : snapshots_.List(kube::NamespaceOf(claim))) {
        if (kube::IsDeleting(*snapshot) || !BoolAt(*snapshot, "status.readyToUse"))
          keys.push_back(kube::KeyOf(*snapshot));
      }
      return keys;
    });
    queue_.WatchMapped(classes_, [this](const Json&) {
      std::vector<ObjectKey> keys;
      for (const auto& snapshot : snapshots_.List()) {
        if (!BoolAt(*snapshot, "status.readyToUse")) keys.push_back(kube::KeyOf(*snapshot));
      }
      return keys;
    });
    content_queue_.WatchOwn(contents_);
  }

  void Start(TaskGroup& group) override {
    QueuePart::Start(group);
    content_queue_.Start(group);
  }

 private:
  Result<Requeue> SyncContent(const ObjectKey& key) {
    const ObjectPtr cached = contents_.Get(key);
    if (!cached || kube::IsDeleting(*cached) || kube::HasFinalizer(*cached, kContentFinalizer))
      return Requeue::Done();
    Json content = *cached;
    kube::AddFinalizer(content, kContentFinalizer);
    TRY(client_.Update(types::kVolumeSnapshotContent, content));
    return Requeue::Done();
  }

  Result<Requeue> Reconcile(const ObjectKey& key) override {
    if (key.name.empty()) return Requeue::Done();
    auto live = client_.Get(types::kVolumeSnapshot, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    Json snapshot = TRY(std::move(live));
    if (kube::IsDeleting(snapshot)) return Delete(std::move(snapshot));
    const bool dynamic = !StringAt(snapshot, "spec.source.persistentVolumeClaimName").empty();
    if (dynamic && StringAt(snapshot, "spec.volumeSnapshotClassName").empty()) {
      auto chosen = ChooseClass(snapshot);
      if (chosen.Is(Code::kFailedPrecondition)) {
        return Fail(std::move(snapshot), "SetDefaultSnapshotClassFailed",
                    "Failed to set default snapshot class with error " + chosen.error().message());
      }
      Set(snapshot, "spec.volumeSnapshotClassName", Json(TRY(std::move(chosen))));
      snapshot = TRY(client_.Update(types::kVolumeSnapshot, snapshot));
    }
    snapshot = TRY(AddFinalizers(std::move(snapshot)));
    if (BoolAt(snapshot, "status.readyToUse") &&
        !StringAt(snapshot, "status.boundVolumeSnapshotContentName").empty()) {
      return SyncReady(std::move(snapshot));
    }
    return dynamic ? SyncDynamic(std::move(snapshot)) : SyncPreProvisioned(std::move(snapshot));
  }

  // kFailedPrecondition: what its message says is missing.
  Result<std::string> ChooseClass(const Json& snapshot) {
    const Json claim = TRY(SourceClaim(snapshot));
    const Json volume = TRY(SourceVolume(claim));
    return DefaultSnapshotClass(classes_.List(), StringAt(volume, "spec.csi.driver"));
  }

  static Error Missing(const std::string& what, const Error& error) {
    if (error.code() != Code::kNotFound) return error;
    return {Code::kFailedPrecondition, what + ": " + error.message()};
  }

  Result<Json> SourceClaim(const Json& snapshot) {
    const auto name = StringAt(snapshot, "spec.source.persistentVolumeClaimName");
    auto claim = client_.Get(types::kPersistentVolumeClaim, {kube::NamespaceOf(snapshot), name});
    if (!claim.ok())
      return Missing("failed to get input parameters to create snapshot " + kube::NameOf(snapshot),
                     claim.error());
    return claim;
  }

  Result<Json> SourceVolume(const Json& claim) {
    const auto name = StringAt(claim, "spec.volumeName");
    if (name.empty()) {
      return Error(Code::kFailedPrecondition,
                   "the PVC " + kube::NameOf(claim) +
                       " is not yet bound to a PV, will not attempt to take a snapshot");
    }
    auto volume = client_.Get(types::kPersistentVolume, {"", name});
    if (!volume.ok())
      return Missing("failed to retrieve PV " + name + " from the API server", volume.error());
    return volume;
  }

  Result<Json> AddFinalizers(Json snapshot) {
    bool changed = false;
    if (!kube::HasFinalizer(snapshot, kAsSourceFinalizer)) {
      kube::AddFinalizer(snapshot, kAsSourceFinalizer);
      changed = true;
    }
    const auto bound = StringAt(snapshot, "status.boundVolumeSnapshotContentName");
    if (!bound.empty() && !kube::HasFinalizer(snapshot, kBoundFinalizer)) {
      const ObjectPtr content = contents_.Get({"", bound});
      if (content && StringAt(*content, "spec.deletionPolicy") == "Delete" &&
          RefersTo(*content, snapshot)) {
        kube::AddFinalizer(snapshot, kBoundFinalizer);
        changed = true;
      }
    }
    if (!changed) return snapshot;
    return client_.Update(types::kVolumeSnapshot, snapshot);
  }

  Result<std::optional<Json>> Content(const std::string& name) {
    auto live = client_.Get(types::kVolumeSnapshotContent, {"", name});
    if (live.Is(Code::kNotFound)) return std::optional<Json>();
    if (!live.ok()) return std::move(live).error();
    return std::optional<Json>(std::move(*live));
  }

  Result<Requeue> SyncReady(Json snapshot) {
    const auto content = TRY(Content(StringAt(snapshot, "status.boundVolumeSnapshotContentName")));
    if (!content)
      return Fail(std::move(snapshot), "SnapshotContentMissing",
                  "VolumeSnapshotContent is missing");
    if (!RefersTo(*content, snapshot)) {
      return Fail(std::move(snapshot), "SnapshotMisbound",
                  "VolumeSnapshotContent is not bound to the VolumeSnapshot correctly");
    }
    TRY(ReleaseClaim(snapshot));
    return Requeue::Done();
  }

  Result<Requeue> SyncPreProvisioned(Json snapshot) {
    auto content = TRY(Content(StringAt(snapshot, "spec.source.volumeSnapshotContentName")));
    // The content's arrival calls us.
    if (!content)
      return Fail(std::move(snapshot), "SnapshotContentMissing",
                  "VolumeSnapshotContent is missing");
    return BindTo(std::move(snapshot), std::move(*content));
  }

  Result<Requeue> SyncDynamic(Json snapshot) {
    auto content = TRY(Content(DynamicContentName(snapshot)));
    if (content) return BindTo(std::move(snapshot), std::move(*content));
    if (!StringAt(snapshot, "status.boundVolumeSnapshotContentName").empty()) {
      return Fail(std::move(snapshot), "SnapshotContentMissing",
                  "VolumeSnapshotContent is missing");
    }
    const auto key = kube::KeyOf(snapshot);
    auto created = CreateContent(snapshot);
    if (created.Is(Code::kFailedPrecondition) || created.Is(Code::kInvalidArgument)) {
      TRY(Fail(std::move(snapshot), "SnapshotContentCreationFailed",
               "Failed to create snapshot content with error " + created.error().message()));
      return Requeue::After(backoffs_.Next(key.ToString()));
    }
    backoffs_.Forget(key.ToString());
    Json made = TRY(std::move(created));
    events_.Emit(snapshot, "Normal", "CreatingSnapshot",
                 "Waiting for a snapshot " + key.ToString() + " to be created by the CSI driver.");
    return BindTo(std::move(snapshot), std::move(made));
  }

  Result<Json> CreateContent(const Json& snapshot) {
    const Json claim = TRY(SourceClaim(snapshot));
    const auto class_name = StringAt(snapshot, "spec.volumeSnapshotClassName");
    const ObjectPtr snapshot_class = classes_.Get({"", class_name});
    if (!snapshot_class) {
      return Error(Code::kFailedPrecondition,
                   "failed to retrieve snapshot class " + class_name +
                       ": volumesnapshotclass.snapshot.storage.k8s.io \"" + class_name +
                       "\" not found");
    }
    const Json volume = TRY(SourceVolume(claim));
    const Json content = TRY(NewContent(snapshot, claim, volume, *snapshot_class));
    TRY(HoldClaim(claim));
    auto created = client_.Create(types::kVolumeSnapshotContent, content);
    // From before a crash; whose it is, is checked when it is bound.
    if (created.Is(Code::kAlreadyExists))
      return client_.Get(types::kVolumeSnapshotContent, kube::KeyOf(content));
    return created;
  }

  Status HoldClaim(Json claim) {
    if (kube::HasFinalizer(claim, kClaimFinalizer)) return {};
    if (kube::IsDeleting(claim)) {
      return Error(Code::kFailedPrecondition, "cannot add finalizer on claim " +
                                                  kube::KeyOf(claim).ToString() +
                                                  ": it is being deleted");
    }
    kube::AddFinalizer(claim, kClaimFinalizer);
    TRY(client_.Update(types::kPersistentVolumeClaim, claim));
    return {};
  }

  // Lets the claim go once no other snapshot of it is still being made.
  Status ReleaseClaim(const Json& snapshot) {
    const auto claim_name = StringAt(snapshot, "spec.source.persistentVolumeClaimName");
    if (claim_name.empty()) return {};
    const ObjectPtr cached = claims_.Get({kube::NamespaceOf(snapshot), claim_name});
    if (!cached || !kube::HasFinalizer(*cached, kClaimFinalizer)) return {};
    for (const auto& other : snapshots_.List(kube::NamespaceOf(snapshot))) {
      if (kube::UidOf(*other) != kube::UidOf(snapshot) && !BoolAt(*other, "status.readyToUse") &&
          StringAt(*other, "spec.source.persistentVolumeClaimName") == claim_name &&
          !kube::IsDeleting(*other)) {
        return {};
      }
    }
    Json claim = *cached;
    kube::RemoveFinalizer(claim, kClaimFinalizer);
    auto updated = client_.Update(types::kPersistentVolumeClaim, claim);
    if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    return {};
  }

  Result<Requeue> BindTo(Json snapshot, Json content) {
    if (const auto fits = CheckContent(content, snapshot); !fits.ok()) {
      const char* reason =
          RefersTo(content, snapshot) ? "SnapshotContentMismatch" : "SnapshotContentMisbound";
      return Fail(std::move(snapshot), reason, fits.error().message());
    }
    if (StringAt(content, "spec.volumeSnapshotRef.uid").empty()) {
      Set(content, "spec.volumeSnapshotRef.uid", Json(kube::UidOf(snapshot)));
      const auto class_name = StringAt(snapshot, "spec.volumeSnapshotClassName");
      if (!class_name.empty()) Set(content, "spec.volumeSnapshotClassName", Json(class_name));
      content = TRY(client_.Update(types::kVolumeSnapshotContent, content));
    }
    Json status = SnapshotStatus(snapshot, content);
    if (const Json* present = Find(snapshot, "status"); present == nullptr || *present != status) {
      const bool was_cut = !StringAt(snapshot, "status.creationTime").empty();
      const bool was_ready = BoolAt(snapshot, "status.readyToUse");
      Set(snapshot, "status", std::move(status));
      snapshot = TRY(client_.Update(types::kVolumeSnapshot, snapshot, "status"));
      const auto name = kube::KeyOf(snapshot).ToString();
      if (!was_cut && !StringAt(snapshot, "status.creationTime").empty()) {
        events_.Emit(snapshot, "Normal", "SnapshotCreated",
                     "Snapshot " + name + " was successfully created by the CSI driver.");
      }
      if (!was_ready && BoolAt(snapshot, "status.readyToUse")) {
        events_.Emit(snapshot, "Normal", "SnapshotReady", "Snapshot " + name + " is ready to use.");
      }
    }
    snapshot = TRY(AddFinalizers(std::move(snapshot)));
    if (BoolAt(snapshot, "status.readyToUse")) TRY(ReleaseClaim(snapshot));
    return Requeue::Done();
  }

  Result<Requeue> Fail(Json snapshot, const char* reason, const std::string& message) {
    Json status = FailedSnapshotStatus(snapshot, message, context_.Now());
    if (const Json* present = Find(snapshot, "status"); present != nullptr && *present == status)
      return Requeue::Done();
    Set(snapshot, "status", std::move(status));
    snapshot = TRY(client_.Update(types::kVolumeSnapshot, snapshot, "status"));
    events_.Emit(snapshot, "Warning", reason, message);
    return Requeue::Done();
  }

  Result<Requeue> Delete(Json snapshot) {
    const bool held = kube::HasFinalizer(snapshot, kAsSourceFinalizer) ||
                      kube::HasFinalizer(snapshot, kBoundFinalizer);
    if (!held) return Requeue::Done();
    for (const auto& claim : claims_.List(kube::NamespaceOf(snapshot))) {
      if (!IsBeingRestored(*claim, snapshot)) continue;
      events_.Emit(snapshot, "Warning", "SnapshotDeletePending",
                   "Snapshot is being used to restore a PVC");
      return Requeue::Done();  // the claim's change calls us
    }
    auto content = TRY(Content(ContentNameOf(snapshot)));
    // Bound by name only, or bound to somebody else: not ours to delete.
    const bool ours = content && RefersTo(*content, snapshot) &&
                      !StringAt(*content, "spec.volumeSnapshotRef.uid").empty();
    if (ours) {
      if (kube::AnnotationOf(*content, kBeingDeleted).empty()) {
        kube::SetAnnotation(*content, kBeingDeleted, "yes");
        content = TRY(client_.Update(types::kVolumeSnapshotContent, *content));
      }
      if (StringAt(*content, "spec.deletionPolicy") == "Delete") {
        if (!kube::IsDeleting(*content)) {
          const auto deleted = client_.Delete(types::kVolumeSnapshotContent, kube::KeyOf(*content));
          if (!deleted.ok() && !deleted.Is(Code::kNotFound)) {
            events_.Emit(snapshot, "Warning", "SnapshotContentObjectDeleteError",
                         "Failed to delete snapshot content API object");
            return deleted.error();
          }
        }
        return Requeue::Done();  // the content's end calls us
      }
    }
    TRY(ReleaseClaim(snapshot));
    kube::RemoveFinalizer(snapshot, kAsSourceFinalizer);
    kube::RemoveFinalizer(snapshot, kBoundFinalizer);
    auto updated = client_.Update(types::kVolumeSnapshot, snapshot);
    if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    return Requeue::Done();
  }

  kube::Informer& snapshots_;
  kube::Informer& contents_;
  kube::Informer& classes_;
  kube::Informer& claims_;
  kube::Controller content_queue_;
  Backoffs backoffs_;
};

}  // namespace

std::unique_ptr<Part> MakeSnapshotController(const Context& context) {
  return std::make_unique<SnapshotController>(context);
}

}  // namespace thinsnap::sidecars
