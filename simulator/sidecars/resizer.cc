// csi-resizer: grows the volume of a claim that asks for more. The driver's volume first, then the
// PersistentVolume, then the claim's status; what is left for the node is said in a condition that
// the kubelet answers.
#include "simulator/placement/volume_match.h"
#include "simulator/sidecars/parameters.h"
#include "simulator/sidecars/parts.h"

namespace thinsnap::sidecars {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::ObjectPtr;
using kube::Requeue;

constexpr char kPreResizeCapacity[] = "volume.alpha.kubernetes.io/pre-resize-capacity";

// A claim's conditions carry lastProbeTime, and each of the two of a resize excludes the other.
void SetResizeCondition(Json& claim, const char* type, const std::string& message, WallTime now) {
  JsonArray kept;
  for (const Json& condition : ArrayAt(claim, "status.conditions")) {
    const auto present = StringAt(condition, "type");
    if (present != "Resizing" && present != "FileSystemResizePending") kept.push_back(condition);
  }
  if (type != nullptr) {
    kept.emplace_back(JsonObject{{"type", type},
                                 {"status", "True"},
                                 {"lastProbeTime", nullptr},
                                 {"lastTransitionTime", FormatRfc3339(now)},
                                 {"message", message}});
  }
  if (kept.empty()) {
    Remove(claim, "status.conditions");
  } else {
    Set(claim, "status.conditions", std::move(kept));
  }
}

bool HasResizeCondition(const Json& claim, std::string_view type) {
  return kube::ConditionIs(claim, type);
}

class Resizer final : public QueuePart {
 public:
  explicit Resizer(const Context& context)
      : QueuePart(context, "external-resizer " + context.options.driver_name),
        sidecar_(context),
        driver_(context.options.driver_name),
        claims_(For(types::kPersistentVolumeClaim)),
        volumes_(For(types::kPersistentVolume)),
        backoffs_(context.runtime.clock(), context.options.retry_start, context.options.retry_max) {
    queue_.WatchOwn(claims_);
    queue_.WatchMapped(volumes_, [](const Json& volume) {
      return std::vector<ObjectKey>{
          {StringAt(volume, "spec.claimRef.namespace"), StringAt(volume, "spec.claimRef.name")}};
    });
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const ObjectPtr cached = claims_.Get(key);
    if (!cached) {
      backoffs_.Forget(key.ToString());
      return Requeue::Done();
    }
    if (kube::IsDeleting(*cached) || StringAt(*cached, "status.phase") != "Bound")
      return Requeue::Done();
    const auto wanted = placement::RequestOf(*cached);
    if (wanted <= QuantityBytes(Find(*cached, "status.capacity.storage"))) return Requeue::Done();
    const ObjectPtr volume = volumes_.Get({"", StringAt(*cached, "spec.volumeName")});
    if (!volume || StringAt(*volume, "spec.csi.driver") != driver_ ||
        !placement::IsBoundTo(*volume, *cached)) {
      return Requeue::Done();
    }
    // The rest is the node's.
    if (placement::CapacityOf(*volume) >= wanted &&
        HasResizeCondition(*cached, "FileSystemResizePending")) {
      return Requeue::Done();
    }
    if (const auto wait = backoffs_.Remaining(key.ToString()); wait > Duration::zero())
      return Requeue::After(wait);
    auto live = client_.Get(types::kPersistentVolumeClaim, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    return Expand(TRY(std::move(live)), *volume, wanted);
  }

  Result<Requeue> Expand(Json claim, Json volume, std::int64_t wanted) {
    if (!HasResizeCondition(claim, "Resizing")) {
      Mark(claim, "ControllerResizeInProgress", wanted);
      SetResizeCondition(claim, "Resizing", "", context_.Now());
      claim = TRY(client_.Update(types::kPersistentVolumeClaim, claim, "status"));
      events_.Emit(claim, "Normal", "Resizing",
                   "External resizer is resizing volume " + kube::NameOf(volume));
    }
    csi::v1::ControllerExpandVolumeRequest request;
    request.set_volume_id(StringAt(volume, "spec.csi.volumeHandle"));
    request.mutable_capacity_range()->set_required_bytes(wanted);
    std::optional<ObjectKey> secret;
    if (const auto name = StringAt(volume, "spec.csi.controllerExpandSecretRef.name");
        !name.empty()) {
      secret = ObjectKey{StringAt(volume, "spec.csi.controllerExpandSecretRef.namespace"), name};
    }
    const auto secrets = TRY(ReadSecret(client_, secret));
    for (const auto& [name, value] : secrets) (*request.mutable_secrets())[name] = value;
    auto& capability = *request.mutable_volume_capability();
    capability.mutable_access_mode()->set_mode(
        csi::v1::VolumeCapability::AccessMode::SINGLE_NODE_WRITER);
    if (StringAt(volume, "spec.volumeMode") == "Block") {
      capability.mutable_block();
    } else {
      capability.mutable_mount()->set_fs_type(StringAt(volume, "spec.csi.fsType"));
    }
    const auto answer = sidecar_.csi.ControllerExpandVolume(
        CallWithin(context_.runtime, sidecar_.options.volume_timeout), request);
    if (!answer.ok()) {
      if (Runtime::Cancelled()) return answer.error();
      return Fail(std::move(claim), kube::NameOf(volume), answer.error(), wanted);
    }
    const auto size = std::max(answer->capacity_bytes(), wanted);
    if (placement::CapacityOf(volume) < size) {
      if (answer->node_expansion_required()) {
        kube::SetAnnotation(volume, kPreResizeCapacity, StringAt(claim, "status.capacity.storage"));
      }
      Set(volume, "spec.capacity.storage", Json(BinaryQuantity(size)));
      TRY(client_.Update(types::kPersistentVolume, volume));
    }
    backoffs_.Forget(kube::KeyOf(claim).ToString());
    if (answer->node_expansion_required()) {
      Mark(claim, "NodeResizePending", wanted);
      SetResizeCondition(
          claim, "FileSystemResizePending",
          "Waiting for user to (re-)start a pod to finish file system resize of volume on node.",
          context_.Now());
      claim = TRY(client_.Update(types::kPersistentVolumeClaim, claim, "status"));
      events_.Emit(claim, "Normal", "FileSystemResizeRequired",
                   "Require file system resize of volume on node");
      return Requeue::Done();
    }
    Unmark(claim);
    SetResizeCondition(claim, nullptr, "", context_.Now());
    Set(claim, "status.capacity.storage", Json(BinaryQuantity(size)));
    claim = TRY(client_.Update(types::kPersistentVolumeClaim, claim, "status"));
    events_.Emit(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded");
    return Requeue::Done();
  }

  static void Mark(Json& claim, const char* state, std::int64_t wanted) {
    Set(claim, "status.allocatedResourceStatuses.storage", state);
    Set(claim, "status.allocatedResources.storage", Json(BinaryQuantity(wanted)));
  }
  static void Unmark(Json& claim) { Remove(claim, "status.allocatedResourceStatuses"); }

  Result<Requeue> Fail(Json claim, const std::string& volume, const Error& error,
                       std::int64_t wanted) {
    const auto key = kube::KeyOf(claim);
    const auto wait = backoffs_.Next(key.ToString());
    const bool infeasible = error.code() == Code::kInvalidArgument ||
                            error.code() == Code::kOutOfRange || error.code() == Code::kNotFound;
    if (infeasible) {
      Mark(claim, "ControllerResizeInfeasible", wanted);
      claim = TRY(client_.Update(types::kPersistentVolumeClaim, claim, "status"));
    }
    events_.Emit(claim, "Warning", "VolumeResizeFailed",
                 "resize volume \"" + volume + "\" by resizer \"" + driver_ +
                     "\" failed: " + RpcError(error));
    return Requeue::After(wait);
  }

  const Context sidecar_;
  const std::string driver_;
  kube::Informer& claims_;
  kube::Informer& volumes_;
  Backoffs backoffs_;
};

}  // namespace

std::unique_ptr<Part> MakeResizer(const Context& context) {
  return std::make_unique<Resizer>(context);
}

}  // namespace thinsnap::sidecars
