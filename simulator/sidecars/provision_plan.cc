#include "simulator/sidecars/provision_plan.h"

#include <algorithm>
#include <array>
#include <set>

#include "simulator/placement/node_match.h"
#include "simulator/placement/volume_match.h"
#include "simulator/sidecars/parameters.h"
#include "simulator/sidecars/snapshot_names.h"

namespace thinsnap::sidecars {

namespace {

using csi::v1::TopologyRequirement;
using csi::v1::VolumeCapability;
using Segments = std::map<std::string, std::string>;

Error Refuse(std::string message) { return {Code::kFailedPrecondition, std::move(message)}; }

const Json* DriverOn(const Json& csi_node, const std::string& driver) {
  for (const Json& candidate : ArrayAt(csi_node, "spec.drivers")) {
    if (StringAt(candidate, "name") == driver) return &candidate;
  }
  return nullptr;
}

// The node's own place: the values of the driver's keys among its labels. Nullopt if one is
// missing.
std::optional<Segments> PlaceOf(const Json& node, const Json& driver) {
  Segments segments;
  for (const Json& key : ArrayAt(driver, "topologyKeys")) {
    if (!key.is_string()) continue;
    const std::string name(key.get_string());
    const JsonObject* labels = FindObject(node, "metadata.labels");
    const Json* value = labels == nullptr ? nullptr : labels->if_contains(name);
    if (value == nullptr || !value->is_string()) return std::nullopt;
    segments.emplace(name, value->get_string());
  }
  if (segments.empty()) return std::nullopt;
  return segments;
}

void Fill(const std::vector<Segments>& places,
          google::protobuf::RepeatedPtrField<csi::v1::Topology>& into) {
  for (const auto& place : places) {
    auto& segments = *into.Add()->mutable_segments();
    for (const auto& [key, value] : place) segments[key] = value;
  }
}

Result<VolumeCapability::AccessMode::Mode> ModeOf(const std::string& name,
                                                  const DriverFacts& driver) {
  using AccessMode = VolumeCapability::AccessMode;
  if (name == "ReadWriteMany") return AccessMode::MULTI_NODE_MULTI_WRITER;
  if (name == "ReadOnlyMany") return AccessMode::MULTI_NODE_READER_ONLY;
  if (name == "ReadWriteOnce") {
    return driver.single_node_multi_writer ? AccessMode::SINGLE_NODE_MULTI_WRITER
                                           : AccessMode::SINGLE_NODE_WRITER;
  }
  if (name == "ReadWriteOncePod") {
    return driver.single_node_multi_writer ? AccessMode::SINGLE_NODE_SINGLE_WRITER
                                           : AccessMode::SINGLE_NODE_WRITER;
  }
  return Error(Code::kInvalidArgument,
               "spec.accessModes: \"" + name +
                   "\" is not known; ReadWriteOnce, ReadOnlyMany, ReadWriteMany and "
                   "ReadWriteOncePod are");
}

Result<std::string> FsTypeOf(const Parameters& all, const std::string& fallback) {
  const auto current = all.find("csi.storage.k8s.io/fstype"), old = all.find("fstype");
  if (current != all.end() && old != all.end()) {
    return Error(Code::kInvalidArgument,
                 "fstype specified in parameters with both \"fstype\" and "
                 "\"csi.storage.k8s.io/fstype\" keys; accepted is one of them");
  }
  const std::string named = current != all.end() ? current->second
                            : old != all.end()   ? old->second
                                                 : "";
  return named.empty() ? fallback : named;
}

Json MountOptions(const Json& storage_class) {
  const JsonArray* options = FindArray(storage_class, "mountOptions");
  return options == nullptr || options->empty() ? Json() : Json(*options);
}

Json SecretRef(const kube::ObjectKey& key) {
  return JsonObject{{"name", key.name}, {"namespace", key.ns}};
}

}  // namespace

Result<TopologyRequirement> PlanTopology(const TopologyInput& input) {
  std::set<Segments> everywhere;
  std::optional<Segments> selected;
  bool selected_exists = false;
  for (const auto& node : input.nodes) {
    const auto name = kube::NameOf(*node);
    if (name == input.selected_node) selected_exists = true;
    const auto csi_node =
        std::find_if(input.csi_nodes.begin(), input.csi_nodes.end(),
                     [&](const auto& candidate) { return kube::NameOf(*candidate) == name; });
    const Json* driver =
        csi_node == input.csi_nodes.end() ? nullptr : DriverOn(**csi_node, input.driver);
    if (driver == nullptr) continue;
    const auto place = PlaceOf(*node, *driver);
    if (!place) continue;
    if (name == input.selected_node) selected = place;
    if (placement::MatchesAllowedTopologies(input.storage_class, *node)) everywhere.insert(*place);
  }
  TopologyRequirement requirement;
  if (!input.selected_node.empty()) {
    if (!selected_exists)
      return Error(Code::kNotFound, "selected node \"" + input.selected_node + "\" not found");
    if (!selected) {
      return Refuse(
          "error generating accessibility requirements: no topology key found on CSINode " +
          input.selected_node);
    }
    std::vector<Segments> ordered{*selected};
    if (!input.strict) {
      for (const auto& place : everywhere) {
        if (place != *selected) ordered.push_back(place);
      }
    }
    Fill(ordered, *requirement.mutable_requisite());
    Fill(ordered, *requirement.mutable_preferred());
    return requirement;
  }
  if (everywhere.empty()) {
    return Refuse(
        "error generating accessibility requirements: no available topology found: no CSINode has "
        "driver " +
        input.driver);
  }
  std::vector<Segments> ordered(everywhere.begin(), everywhere.end());
  Fill(ordered, *requirement.mutable_requisite());
  // Claims without a node begin at different places.
  const auto first = std::hash<std::string>()(input.seed) % ordered.size();
  std::rotate(ordered.begin(), ordered.begin() + static_cast<std::ptrdiff_t>(first), ordered.end());
  Fill(ordered, *requirement.mutable_preferred());
  return requirement;
}

Result<csi::v1::CreateVolumeRequest> VolumeRequest(const Json& claim, const Json& storage_class,
                                                   const DriverFacts& driver,
                                                   const SidecarOptions& options) {
  const Parameters all = ParametersOf(storage_class);
  csi::v1::CreateVolumeRequest request;
  request.set_name(VolumeNameOf(claim));
  request.mutable_capacity_range()->set_required_bytes(placement::RequestOf(claim));
  const auto own = TRY(DriverParameters(all));
  for (const auto& [key, value] : own) (*request.mutable_parameters())[key] = value;
  if (options.extra_create_metadata) {
    auto& parameters = *request.mutable_parameters();
    parameters["csi.storage.k8s.io/pvc/name"] = kube::NameOf(claim);
    parameters["csi.storage.k8s.io/pvc/namespace"] = kube::NamespaceOf(claim);
    parameters["csi.storage.k8s.io/pv/name"] = request.name();
  }
  const bool block = StringAt(claim, "spec.volumeMode") == "Block";
  const std::string fs_type = TRY(FsTypeOf(all, options.default_fs_type));
  for (const Json& mode : ArrayAt(claim, "spec.accessModes")) {
    if (!mode.is_string()) continue;
    auto& capability = *request.add_volume_capabilities();
    capability.mutable_access_mode()->set_mode(TRY(ModeOf(std::string(mode.get_string()), driver)));
    if (block) {
      capability.mutable_block();
      continue;
    }
    capability.mutable_mount()->set_fs_type(fs_type);
    for (const Json& option : ArrayAt(storage_class, "mountOptions")) {
      if (option.is_string())
        capability.mutable_mount()->add_mount_flags(std::string(option.get_string()));
    }
  }
  return request;
}

Status CheckSnapshotSource(const Json& claim, const Json& snapshot, const Json& content,
                           const std::string& driver) {
  const auto name = kube::NameOf(snapshot);
  if (kube::IsDeleting(snapshot) && !kube::HasFinalizer(snapshot, kRestoreFinalizer)) {
    return Refuse("snapshot " + name + " is currently being deleted");
  }
  if (!RefersTo(content, snapshot) || StringAt(content, "spec.volumeSnapshotRef.uid").empty()) {
    return Refuse("snapshot " + name + " not bound: content " + kube::NameOf(content) +
                  " names another snapshot");
  }
  if (const auto found = StringAt(content, "spec.driver"); found != driver) {
    return Refuse("snapshot " + name + " is of driver " + found +
                  ", but the storage class provisions with " + driver);
  }
  if (!BoolAt(snapshot, "status.readyToUse")) return Refuse("snapshot " + name + " is not Ready");
  if (StringAt(content, "status.snapshotHandle").empty()) {
    return Refuse("snapshot handle not available: content " + kube::NameOf(content) +
                  " has none yet");
  }
  const auto needed = QuantityBytes(Find(snapshot, "status.restoreSize"));
  const auto requested = placement::RequestOf(claim);
  if (requested < needed) {
    return Refuse("requested volume size " + std::to_string(requested) + " is less than the size " +
                  std::to_string(needed) + " for the source snapshot " + name);
  }
  const auto source_mode = StringAt(content, "spec.sourceVolumeMode");
  const auto mode = StringAt(claim, "spec.volumeMode", "Filesystem");
  if (!source_mode.empty() && source_mode != mode &&
      kube::AnnotationOf(content, kAllowVolumeModeChange) != "true") {
    return Refuse("requested volume " + kube::KeyOf(claim).ToString() +
                  " modifies the mode of the source volume from " + source_mode + " to " + mode +
                  " but does not have permission to do so. " + kAllowVolumeModeChange +
                  " annotation is not present on snapshotcontent " + kube::NameOf(content));
  }
  return {};
}

Status CheckClaimSource(const Json& claim, const Json& source, const Json& source_volume,
                        const std::string& driver) {
  const auto name = kube::NameOf(source);
  if (kube::IsDeleting(source) && !kube::HasFinalizer(source, kCloneFinalizer)) {
    return Refuse("the PVC DataSource " + name + " is currently being deleted");
  }
  if (StringAt(source, "status.phase") != "Bound")
    return Refuse("the PVC DataSource " + name + " is not bound yet");
  if (StringAt(source_volume, "status.phase") != "Bound" ||
      !placement::IsBoundTo(source_volume, source)) {
    return Refuse("volume " + kube::NameOf(source_volume) + " of the PVC DataSource " + name +
                  " is not bound to it");
  }
  if (const auto found = StringAt(source_volume, "spec.csi.driver"); found != driver) {
    return Refuse("the PVC DataSource " + name + " is of driver \"" + found +
                  "\", but the storage class provisions with " + driver);
  }
  const auto requested = placement::RequestOf(claim), needed = placement::RequestOf(source);
  if (requested < needed) {
    return Refuse(
        "error, new PVC request must be greater than or equal in size to the specified PVC data "
        "source, "
        "requested " +
        std::to_string(requested) + " but source is " + std::to_string(needed));
  }
  if (StringAt(source, "spec.volumeMode", "Filesystem") !=
      StringAt(claim, "spec.volumeMode", "Filesystem")) {
    return Refuse("the source PVC " + name + " and the destination have different volume modes");
  }
  return {};
}

Status CheckVolume(const csi::v1::CreateVolumeRequest& request, const csi::v1::Volume& volume) {
  if (volume.volume_id().empty()) return Refuse("the driver returned no volume id");
  const auto capacity = volume.capacity_bytes(), wanted = request.capacity_range().required_bytes();
  if (capacity != 0 && capacity < wanted) {
    return Refuse("created volume capacity " + std::to_string(capacity) +
                  " less than requested capacity " + std::to_string(wanted));
  }
  if (!request.has_volume_content_source()) return {};
  if (!volume.has_content_source()) return Refuse("volume content source missing");
  const auto& source = request.volume_content_source();
  const auto& got = volume.content_source();
  if (source.has_snapshot() ? got.snapshot().snapshot_id() != source.snapshot().snapshot_id()
                            : got.volume().volume_id() != source.volume().volume_id()) {
    return Refuse("volume content source is another one than requested");
  }
  return {};
}

Result<Json> NewVolume(const Json& claim, const Json& storage_class,
                       const csi::v1::CreateVolumeRequest& request, const csi::v1::Volume& volume,
                       const std::string& driver, const std::string& identity) {
  const Parameters all = ParametersOf(storage_class);
  const Variables variables{{"pv.name", request.name()},
                            {"pvc.name", kube::NameOf(claim)},
                            {"pvc.namespace", kube::NamespaceOf(claim)}};
  Json pv = kube::NewObject(kube::types::kPersistentVolume, {"", request.name()});
  kube::SetAnnotation(pv, placement::kProvisionedBy, driver);
  const auto secret = TRY(SecretReference(all, "provisioner", variables));
  kube::SetAnnotation(pv, kDeletionSecretNameOfVolume, secret ? secret->name : "");
  kube::SetAnnotation(pv, kDeletionSecretNamespaceOfVolume, secret ? secret->ns : "");
  const auto policy = StringAt(storage_class, "reclaimPolicy", "Delete");
  if (policy == "Delete") kube::AddFinalizer(pv, kVolumeFinalizer);

  JsonObject attributes;
  for (const auto& [key, value] : volume.volume_context()) attributes[key] = value;
  attributes["storage.kubernetes.io/csiProvisionerIdentity"] = identity;
  Json source = JsonObject{{"driver", driver}, {"volumeHandle", volume.volume_id()}};
  Set(source, "volumeAttributes", std::move(attributes));
  const auto& capability = request.volume_capabilities(0);
  if (capability.has_mount() && !capability.mount().fs_type().empty()) {
    Set(source, "fsType", Json(capability.mount().fs_type()));
  }
  static constexpr std::array<std::pair<const char*, const char*>, 5> kReferences{
      {{"controller-publish", "controllerPublishSecretRef"},
       {"node-stage", "nodeStageSecretRef"},
       {"node-publish", "nodePublishSecretRef"},
       {"controller-expand", "controllerExpandSecretRef"},
       {"node-expand", "nodeExpandSecretRef"}}};
  for (const auto& [prefix, field] : kReferences) {
    const auto reference = TRY(SecretReference(all, prefix, variables));
    if (reference) Set(source, field, SecretRef(*reference));
  }

  const auto bytes = volume.capacity_bytes() != 0 ? volume.capacity_bytes()
                                                  : request.capacity_range().required_bytes();
  Set(pv, "spec.capacity.storage", Json(BinaryQuantity(bytes)));
  Set(pv, "spec.accessModes", JsonArray(ArrayAt(claim, "spec.accessModes")));
  Set(pv, "spec.volumeMode", Json(StringAt(claim, "spec.volumeMode", "Filesystem")));
  Set(pv, "spec.persistentVolumeReclaimPolicy", Json(policy));
  Set(pv, "spec.storageClassName", Json(kube::NameOf(storage_class)));
  if (Json options = MountOptions(storage_class); !options.is_null())
    Set(pv, "spec.mountOptions", std::move(options));
  Set(pv, "spec.claimRef",
      JsonObject{{"apiVersion", "v1"},
                 {"kind", "PersistentVolumeClaim"},
                 {"name", kube::NameOf(claim)},
                 {"namespace", kube::NamespaceOf(claim)},
                 {"resourceVersion", kube::ResourceVersionOf(claim)},
                 {"uid", kube::UidOf(claim)}});
  Set(pv, "spec.csi", std::move(source));
  JsonArray terms;
  for (const auto& topology : volume.accessible_topology()) {
    JsonArray expressions;
    const Segments sorted(topology.segments().begin(), topology.segments().end());
    for (const auto& [key, value] : sorted) {
      expressions.emplace_back(
          JsonObject{{"key", key}, {"operator", "In"}, {"values", JsonArray{Json(value)}}});
    }
    terms.emplace_back(JsonObject{{"matchExpressions", std::move(expressions)}});
  }
  if (!terms.empty()) Set(pv, "spec.nodeAffinity.required.nodeSelectorTerms", std::move(terms));
  return pv;
}

}  // namespace thinsnap::sidecars
