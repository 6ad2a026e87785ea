#include "csi/driver/identity.h"

#include "csi/driver/request.h"
#include "csi/pool/handle.h"

namespace thinsnap::driver {

csi::v1::GetPluginInfoResponse PluginInfo() {
  csi::v1::GetPluginInfoResponse info;
  info.set_name(pool::kDriverName);
  info.set_vendor_version(THINSNAP_VERSION);
  return info;
}

csi::v1::GetPluginCapabilitiesResponse PluginCapabilities() {
  using csi::v1::PluginCapability;
  csi::v1::GetPluginCapabilitiesResponse answer;
  for (const auto type : {PluginCapability::Service::CONTROLLER_SERVICE,
                          PluginCapability::Service::VOLUME_ACCESSIBILITY_CONSTRAINTS,
                          PluginCapability::Service::GROUP_CONTROLLER_SERVICE,
                          PluginCapability::Service::SNAPSHOT_METADATA_SERVICE}) {
    answer.add_capabilities()->mutable_service()->set_type(type);
  }
  answer.add_capabilities()->mutable_volume_expansion()->set_type(
      PluginCapability::VolumeExpansion::ONLINE);
  return answer;
}

csi::v1::ControllerGetCapabilitiesResponse ControllerCapabilities() {
  using Rpc = csi::v1::ControllerServiceCapability::RPC;
  csi::v1::ControllerGetCapabilitiesResponse answer;
  for (const auto type :
       {Rpc::CREATE_DELETE_VOLUME, Rpc::CREATE_DELETE_SNAPSHOT, Rpc::LIST_SNAPSHOTS,
        Rpc::LIST_VOLUMES, Rpc::GET_CAPACITY, Rpc::CLONE_VOLUME, Rpc::EXPAND_VOLUME,
        Rpc::VOLUME_CONDITION, Rpc::GET_VOLUME, Rpc::SINGLE_NODE_MULTI_WRITER, Rpc::MODIFY_VOLUME,
        Rpc::GET_SNAPSHOT}) {
    answer.add_capabilities()->mutable_rpc()->set_type(type);
  }
  return answer;
}

csi::v1::GroupControllerGetCapabilitiesResponse GroupCapabilities() {
  using Rpc = csi::v1::GroupControllerServiceCapability::RPC;
  csi::v1::GroupControllerGetCapabilitiesResponse answer;
  answer.add_capabilities()->mutable_rpc()->set_type(Rpc::CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT);
  return answer;
}

csi::v1::NodeGetCapabilitiesResponse NodeCapabilities() {
  using Rpc = csi::v1::NodeServiceCapability::RPC;
  csi::v1::NodeGetCapabilitiesResponse answer;
  for (const auto type : {Rpc::STAGE_UNSTAGE_VOLUME, Rpc::GET_VOLUME_STATS, Rpc::EXPAND_VOLUME,
                          Rpc::VOLUME_CONDITION, Rpc::SINGLE_NODE_MULTI_WRITER}) {
    answer.add_capabilities()->mutable_rpc()->set_type(type);
  }
  return answer;
}

}  // namespace thinsnap::driver
