// csi-snapshotter: turns VolumeSnapshotContents into snapshots of the driver, and back into
// nothing. The annotation being-created spans every CreateSnapshot whose outcome may be unknown, so
// that a deletion in between waits for it and no snapshot is forgotten.
#include <algorithm>

#include "simulator/sidecars/parameters.h"
#include "simulator/sidecars/parts.h"
#include "simulator/sidecars/snapshot_names.h"

namespace thinsnap::sidecars {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

constexpr int kWorkers = 4;
// A snapshot that is being processed is asked for at least so often.
constexpr Duration kPollAtLeast = std::chrono::seconds(1);

// What the driver says of a snapshot, as the content's status has it.
struct Taken {
  std::string handle;
  std::int64_t creation_ns = 0;
  std::int64_t size = 0;
  bool ready = false;
};

class Snapshotter final : public QueuePart {
 public:
  explicit Snapshotter(const Context& context)
      : QueuePart(context, "csi-snapshotter"),
        sidecar_(context),
        contents_(For(types::kVolumeSnapshotContent)),
        backoffs_(context.runtime.clock(), context.options.retry_start, context.options.retry_max) {
    queue_.WatchOwn(contents_);
  }

  void Start(TaskGroup& group) override { queue_.Start(group, kWorkers); }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    if (!contents_.Get(key)) {
      backoffs_.Forget(key.name);
      backoffs_.Forget(DeletionOf(key));
      return Requeue::Done();
    }
    auto live = client_.Get(types::kVolumeSnapshotContent, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    const Json content = TRY(std::move(live));
    if (StringAt(content, "spec.driver") != sidecar_.options.driver_name) return Requeue::Done();
    const bool deletes = kube::IsDeleting(content) && MayDelete(content);
    if (const auto wait = backoffs_.Remaining(deletes ? DeletionOf(key) : key.name);
        wait > Duration::zero()) {
      return Requeue::After(wait);
    }
    if (deletes) return Delete(content);
    const bool being_created = !kube::AnnotationOf(content, kBeingCreated).empty();
    // Of a content that is going, only an unfinished creation is brought to its end.
    if (kube::IsDeleting(content) && !being_created) return Requeue::Done();
    if (!StringAt(content, "spec.source.volumeHandle").empty()) {
      if (!BoolAt(content, "status.readyToUse") ||
          StringAt(content, "status.snapshotHandle").empty()) {
        return Create(content);
      }
      if (being_created) TRY(EndCreation(content));
      return Requeue::Done();
    }
    if (!BoolAt(content, "status.readyToUse")) return LookUp(content);
    return Requeue::Done();
  }

  static bool MayDelete(const Json& content) {
    const bool pre_provisioned = !StringAt(content, "spec.source.snapshotHandle").empty();
    if (pre_provisioned && StringAt(content, "spec.volumeSnapshotRef.uid").empty()) return true;
    return !kube::AnnotationOf(content, kBeingDeleted).empty() &&
           kube::AnnotationOf(content, kBeingCreated).empty();
  }

  static std::string DeletionOf(const ObjectKey& key) { return "delete " + key.name; }
  Requeue Again(const ObjectKey& key) {
    return Requeue::After(
        backoffs_.Next(key.name, std::min(sidecar_.options.retry_max, kPollAtLeast)));
  }

  Result<Json> EndCreation(Json content) {
    JsonObject* annotations = nullptr;
    if (Json* found = FindMutable(content, "metadata.annotations"); found != nullptr)
      annotations = found->if_object();
    if (annotations == nullptr || annotations->erase(kBeingCreated) == 0) return content;
    return client_.Update(types::kVolumeSnapshotContent, content);
  }

  Result<Requeue> Create(Json content) {
    const auto key = kube::KeyOf(content);
    auto request = Request(content);
    if (request.Is(Code::kCancelled)) return request.error();
    if (!request.ok()) {
      return Fail(std::move(content), "SnapshotCreationFailed",
                  "Failed to create snapshot: " + request.error().message());
    }
    if (kube::AnnotationOf(content, kBeingCreated).empty() &&
        StringAt(content, "status.snapshotHandle").empty()) {
      kube::SetAnnotation(content, kBeingCreated, "yes");
      content = TRY(client_.Update(types::kVolumeSnapshotContent, content));
    }
    const auto answer = sidecar_.csi.CreateSnapshot(
        CallWithin(context_.runtime, sidecar_.options.snapshot_timeout), *request);
    if (!answer.ok()) {
      if (Runtime::Cancelled()) return answer.error();
      if (IsSnapshotErrorFinal(answer.error().code()))
        content = TRY(EndCreation(std::move(content)));
      return Fail(std::move(content), "SnapshotCreationFailed",
                  "Failed to create snapshot: failed to take snapshot of the volume " +
                      request->source_volume_id() + ": \"" + RpcError(answer.error()) + "\"");
    }
    const auto& snapshot = answer->snapshot();
    Taken taken{snapshot.snapshot_id(), 0, snapshot.size_bytes(), snapshot.ready_to_use()};
    if (snapshot.has_creation_time()) {
      taken.creation_ns =
          snapshot.creation_time().seconds() * 1'000'000'000 + snapshot.creation_time().nanos();
    }
    // A wait that grew through failures starts anew once the snapshot is cut.
    if (StringAt(content, "status.snapshotHandle").empty()) backoffs_.Forget(key.name);
    content = TRY(WriteStatus(std::move(content), taken));
    content = TRY(EndCreation(std::move(content)));
    if (!taken.ready) return Again(key);
    backoffs_.Forget(key.name);
    return Requeue::Done();
  }

  Result<csi::v1::CreateSnapshotRequest> Request(const Json& content) {
    const auto class_name = StringAt(content, "spec.volumeSnapshotClassName");
    Parameters all;
    if (!class_name.empty()) {
      const Json snapshot_class = TRY(client_.Get(types::kVolumeSnapshotClass, {"", class_name})
                                          .In("failed to get volume snapshot class " + class_name));
      all = ParametersOf(snapshot_class);
    }
    csi::v1::CreateSnapshotRequest request;
    request.set_name("snapshot-" + StringAt(content, "spec.volumeSnapshotRef.uid"));
    request.set_source_volume_id(StringAt(content, "spec.source.volumeHandle"));
    const auto own = TRY(DriverParameters(all));
    for (const auto& [name, value] : own) (*request.mutable_parameters())[name] = value;
    if (sidecar_.options.extra_create_metadata) {
      auto& parameters = *request.mutable_parameters();
      parameters["csi.storage.k8s.io/volumesnapshot/name"] =
          StringAt(content, "spec.volumeSnapshotRef.name");
      parameters["csi.storage.k8s.io/volumesnapshot/namespace"] =
          StringAt(content, "spec.volumeSnapshotRef.namespace");
      parameters["csi.storage.k8s.io/volumesnapshotcontent/name"] = kube::NameOf(content);
    }
    const auto secrets = TRY(Secrets(content));
    for (const auto& [name, value] : secrets) (*request.mutable_secrets())[name] = value;
    return request;
  }

  // The controller wrote which Secret it is; it serves creation and deletion.
  Result<std::map<std::string, std::string>> Secrets(const Json& content) {
    const auto name = kube::AnnotationOf(content, kDeletionSecretName);
    const auto ns = kube::AnnotationOf(content, kDeletionSecretNamespace);
    std::optional<ObjectKey> secret;
    if (!name.empty() && !ns.empty()) secret = ObjectKey{ns, name};
    return ReadSecret(client_, secret);
  }

  // A pre-provisioned snapshot: does the driver know it?
  Result<Requeue> LookUp(Json content) {
    const auto key = kube::KeyOf(content);
    const auto handle = StringAt(content, "spec.source.snapshotHandle");
    Taken taken{handle, 0, 0, true};
    if (sidecar_.driver->list_snapshots) {
      csi::v1::ListSnapshotsRequest request;
      request.set_snapshot_id(handle);
      auto secrets = Secrets(content);
      if (!secrets.ok())
        return Fail(std::move(content), "SnapshotContentCheckandUpdateFailed",
                    secrets.error().message());
      for (const auto& [name, value] : *secrets) (*request.mutable_secrets())[name] = value;
      const auto answer = sidecar_.csi.ListSnapshots(
          CallWithin(context_.runtime, sidecar_.options.snapshot_timeout), request);
      if (!answer.ok() && Runtime::Cancelled()) return answer.error();
      if (!answer.ok() || answer->entries().empty()) {
        return Fail(
            std::move(content), "SnapshotContentCheckandUpdateFailed",
            "Failed to check and update snapshot content: failed to list snapshot for content " +
                key.name + ": \"" +
                (answer.ok() ? "can not find snapshot for snapshotID " + handle
                             : RpcError(answer.error())) +
                "\"");
      }
      const auto& snapshot = answer->entries(0).snapshot();
      taken.size = snapshot.size_bytes();
      taken.ready = snapshot.ready_to_use();
      if (snapshot.has_creation_time()) {
        taken.creation_ns =
            snapshot.creation_time().seconds() * 1'000'000'000 + snapshot.creation_time().nanos();
      }
    }
    content = TRY(WriteStatus(std::move(content), taken));
    if (!taken.ready) return Again(key);
    backoffs_.Forget(key.name);
    return Requeue::Done();
  }

  Result<Json> WriteStatus(Json content, const Taken& taken) {
    Json status = ObjectAt(content, "status");
    Set(status, "snapshotHandle", Json(taken.handle));
    Set(status, "readyToUse", taken.ready);
    if (taken.creation_ns != 0) {
      Set(status, "creationTime", taken.creation_ns);
    } else if (Find(status, "creationTime") == nullptr) {
      Set(status, "creationTime", std::int64_t{context_.Now().time_since_epoch().count()});
    }
    if (taken.size > 0) Set(status, "restoreSize", taken.size);
    Remove(status, "error");
    if (const Json* present = Find(content, "status"); present != nullptr && *present == status)
      return content;
    Set(content, "status", std::move(status));
    return client_.Update(types::kVolumeSnapshotContent, content, "status");
  }

  Result<Requeue> Fail(Json content, const char* reason, const std::string& message,
                       bool deleting = false) {
    const auto key = kube::KeyOf(content);
    const auto wait = backoffs_.Next(deleting ? DeletionOf(key) : key.name);
    if (StringAt(content, "status.error.message") != message ||
        BoolAt(content, "status.readyToUse")) {
      Set(content, "status.error",
          Json{{"time", FormatRfc3339(context_.Now())}, {"message", message}});
      Set(content, "status.readyToUse", false);
      content = TRY(client_.Update(types::kVolumeSnapshotContent, content, "status"));
      events_.Emit(content, "Warning", reason, message);
    }
    return Requeue::After(wait);
  }

  Result<Requeue> Delete(Json content) {
    const auto key = kube::KeyOf(content);
    auto handle = StringAt(content, "status.snapshotHandle");
    if (handle.empty()) handle = StringAt(content, "spec.source.snapshotHandle");
    const bool group_member = !kube::AnnotationOf(content, kGroupHandle).empty();
    if (StringAt(content, "spec.deletionPolicy") == "Delete" && !handle.empty() && !group_member &&
        kube::HasFinalizer(content, kContentFinalizer)) {
      csi::v1::DeleteSnapshotRequest request;
      request.set_snapshot_id(handle);
      auto secrets = Secrets(content);
      if (!secrets.ok())
        return Fail(std::move(content), "SnapshotDeleteError", secrets.error().message(), true);
      for (const auto& [name, value] : *secrets) (*request.mutable_secrets())[name] = value;
      const auto answer = sidecar_.csi.DeleteSnapshot(
          CallWithin(context_.runtime, sidecar_.options.snapshot_timeout), request);
      if (!answer.ok()) {
        if (Runtime::Cancelled()) return answer.error();
        return Fail(std::move(content), "SnapshotDeleteError",
                    "Failed to delete snapshot: failed to delete snapshot " + handle + ": \"" +
                        RpcError(answer.error()) + "\"",
                    true);
      }
      if (Find(content, "status") != nullptr) {
        for (const char* field : {"status.snapshotHandle", "status.creationTime",
                                  "status.restoreSize", "status.error"}) {
          Remove(content, field);
        }
        Set(content, "status.readyToUse", false);
        content = TRY(client_.Update(types::kVolumeSnapshotContent, content, "status"));
      }
    }
    backoffs_.Forget(DeletionOf(key));
    if (!kube::HasFinalizer(content, kContentFinalizer)) return Requeue::Done();
    kube::RemoveFinalizer(content, kContentFinalizer);
    auto updated = client_.Update(types::kVolumeSnapshotContent, content);
    if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    return Requeue::Done();
  }

  const Context sidecar_;
  kube::Informer& contents_;
  Backoffs backoffs_;
};

}  // namespace

std::unique_ptr<Part> MakeSnapshotter(const Context& context) {
  return std::make_unique<Snapshotter>(context);
}

}  // namespace thinsnap::sidecars
