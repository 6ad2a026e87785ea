#include "simulator/kubelet/csi_node.h"

#include <chrono>
#include <utility>

#include "csi/proto/csi_client.h"

namespace thinsnap::kubelet {
namespace {

constexpr Duration kTimeout = std::chrono::minutes(2);

csi::v1::VolumeCapability CapabilityOf(const CsiVolume& volume) {
  csi::v1::VolumeCapability capability;
  if (volume.block) {
    capability.mutable_block();
  } else {
    capability.mutable_mount()->set_fs_type(volume.fs_type);
    capability.mutable_mount()->set_volume_mount_group(volume.mount_group);
    for (const std::string& option : volume.mount_options)
      capability.mutable_mount()->add_mount_flags(option);
  }
  using Mode = csi::v1::VolumeCapability::AccessMode;
  switch (volume.access) {
    case CsiAccess::kSingleNodeWriter:
      capability.mutable_access_mode()->set_mode(Mode::SINGLE_NODE_WRITER);
      break;
    case CsiAccess::kSinglePodWriter:
      capability.mutable_access_mode()->set_mode(Mode::SINGLE_NODE_SINGLE_WRITER);
      break;
    case CsiAccess::kMultiNodeReader:
      capability.mutable_access_mode()->set_mode(Mode::MULTI_NODE_READER_ONLY);
      break;
    case CsiAccess::kMultiNodeWriter:
      capability.mutable_access_mode()->set_mode(Mode::MULTI_NODE_MULTI_WRITER);
      break;
  }
  return capability;
}

class ProtoCsiNode final : public CsiNode {
 public:
  ProtoCsiNode(Runtime& runtime, const std::string& endpoint)
      : runtime_(runtime), service_(proto::ConnectCsi(runtime, endpoint)) {}

  Result<CsiNodeInfo> GetInfo() override {
    CsiNodeInfo info;
    const auto plugin = TRY(service_->GetPluginInfo(Until(std::chrono::seconds(1)), {}));
    info.driver = plugin.name();
    const auto node = TRY(service_->NodeGetInfo(Until(std::chrono::seconds(1)), {}));
    info.node_id = node.node_id();
    info.max_volumes = node.max_volumes_per_node();
    for (const auto& [key, value] : node.accessible_topology().segments())
      info.topology[key] = value;
    return info;
  }

  Result<CsiNodeAbilities> Abilities() override {
    CsiNodeAbilities abilities;
    const auto answer = TRY(service_->NodeGetCapabilities(Until(std::chrono::seconds(1)), {}));
    using Rpc = csi::v1::NodeServiceCapability::RPC;
    for (const auto& capability : answer.capabilities()) {
      abilities.stages |= capability.rpc().type() == Rpc::STAGE_UNSTAGE_VOLUME;
      abilities.expands |= capability.rpc().type() == Rpc::EXPAND_VOLUME;
      abilities.mounts_for_group |= capability.rpc().type() == Rpc::VOLUME_MOUNT_GROUP;
    }
    return abilities;
  }

  Status Stage(const CsiVolume& volume, const CsiSecrets& secrets,
               const std::string& staging_path) override {
    csi::v1::NodeStageVolumeRequest request;
    request.set_volume_id(volume.id);
    request.set_staging_target_path(staging_path);
    *request.mutable_volume_capability() = CapabilityOf(volume);
    request.mutable_volume_context()->insert(volume.context.begin(), volume.context.end());
    request.mutable_secrets()->insert(secrets.begin(), secrets.end());
    TRY(service_->NodeStageVolume(Until(kTimeout), request));
    return {};
  }

  Status Unstage(const std::string& volume_id, const std::string& staging_path) override {
    csi::v1::NodeUnstageVolumeRequest request;
    request.set_volume_id(volume_id);
    request.set_staging_target_path(staging_path);
    TRY(service_->NodeUnstageVolume(Until(kTimeout), request));
    return {};
  }

  Status Publish(const CsiVolume& volume, const CsiSecrets& secrets,
                 const std::string& staging_path, const std::string& target_path,
                 bool read_only) override {
    csi::v1::NodePublishVolumeRequest request;
    request.set_volume_id(volume.id);
    request.set_staging_target_path(staging_path);
    request.set_target_path(target_path);
    request.set_readonly(read_only);
    *request.mutable_volume_capability() = CapabilityOf(volume);
    request.mutable_volume_context()->insert(volume.context.begin(), volume.context.end());
    request.mutable_secrets()->insert(secrets.begin(), secrets.end());
    TRY(service_->NodePublishVolume(Until(kTimeout), request));
    return {};
  }

  Status Unpublish(const std::string& volume_id, const std::string& target_path) override {
    csi::v1::NodeUnpublishVolumeRequest request;
    request.set_volume_id(volume_id);
    request.set_target_path(target_path);
    TRY(service_->NodeUnpublishVolume(Until(kTimeout), request));
    return {};
  }

  Status Expand(const CsiVolume& volume, const CsiSecrets& secrets, const std::string& volume_path,
                const std::string& staging_path) override {
    csi::v1::NodeExpandVolumeRequest request;
    request.set_volume_id(volume.id);
    request.set_volume_path(volume_path);
    request.set_staging_target_path(staging_path);
    *request.mutable_volume_capability() = CapabilityOf(volume);
    request.mutable_secrets()->insert(secrets.begin(), secrets.end());
    TRY(service_->NodeExpandVolume(Until(kTimeout), request));
    return {};
  }

 private:
  proto::Call Until(Duration timeout) const { return {runtime_.clock().MonoNow() + timeout}; }

  Runtime& runtime_;
  std::unique_ptr<proto::CsiService> service_;
};

}  // namespace

std::unique_ptr<CsiNode> MakeCsiNode(Runtime& runtime, const std::string& endpoint) {
  return std::make_unique<ProtoCsiNode>(runtime, endpoint);
}

}  // namespace thinsnap::kubelet
