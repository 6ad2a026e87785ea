// What a CSI request means, checked: names, capabilities, sizes, parameters. Every refusal names
// the field, what was found and what would be accepted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "csi/mount/volume_mounts.h"
#include "csi/pool/thin_pool.h"
#include "csi/proto/csi_service.h"

namespace thinsnap::driver {

inline constexpr char kTopologyKey[] = "topology.thinsnap.io/node";
// Between the two roles: ControllerGetVolume with this and a volume's name finds it by name.
inline constexpr char kByName[] = "by-name/";

// The node's value of kTopologyKey: its name, or what stands for a name that is longer than a
// label's value may be.
std::string TopologyValue(const std::string& node);

Status RequireName(const std::string& name);
Status RequireField(const std::string& value, const char* field);

// A usage for csi/mount; kInvalidArgument for what is missing, unknown or not to be had on one
// node.
Result<mount::Usage> ReadCapability(const csi::v1::VolumeCapability& capability);
// All of them, at least one.
Status CheckCapabilities(
    const google::protobuf::RepeatedPtrField<csi::v1::VolumeCapability>& capabilities);
bool WantsBlock(const google::protobuf::RepeatedPtrField<csi::v1::VolumeCapability>& capabilities);

struct SizeRange {
  std::uint64_t required_bytes = 0;  // at least
  std::uint64_t limit_bytes = 0;     // at most; 0: no limit
};
// Absent bounds are 0. kInvalidArgument for negative bounds or none at all, kOutOfRange when limit
// < required.
Result<SizeRange> ReadSizeRange(bool present, const csi::v1::CapacityRange& range);
// The size to make: at least `least` (the source's), a default where nothing is asked for.
// kOutOfRange above the limit.
Result<std::uint64_t> ChooseSize(const SizeRange& range, std::uint64_t least);

// What a user sets on a volume: "tag/<name>" of a VolumeAttributesClass, as the tags of the pool
// that keep them (kUserPrefix). An empty value removes. Nothing else is accepted; kInvalidArgument
// says what.
Result<pool::Tags> ReadUserTags(const google::protobuf::Map<std::string, std::string>& parameters);

// The parameters of a StorageClass, and those of the VolumeAttributesClass that comes with it.
struct VolumeParameters {
  bool new_uuid = false;  // a copy's filesystem gets a UUID of its own
  pool::Tags user_tags;
};
Result<VolumeParameters> ReadVolumeParameters(const csi::v1::CreateVolumeRequest& request);

// The parameters of a VolumeSnapshotClass.
struct SnapshotParameters {
  std::vector<std::string> repositories;
  int local_copies = 1;
  std::string snapshot_namespace, snapshot_name, content;  // by --extra-create-metadata
};
Result<SnapshotParameters> ReadSnapshotParameters(
    const google::protobuf::Map<std::string, std::string>& parameters);

// Pages of lists that are sorted by "<pool>.<ULID>". A token is the last entry of the page before;
// kAborted for anything else.
struct PageStart {
  std::string pool, id;  // empty: from the start
};
Result<PageStart> ReadToken(const std::string& token);
std::string MakeToken(const std::string& pool, const std::string& id);

// GetSnapshot where ListSnapshots is known: the one that it finds, or kNotFound.
Result<csi::v1::GetSnapshotResponse> GetOneSnapshot(proto::ControllerService& driver,
                                                    const proto::Call& call,
                                                    const csi::v1::GetSnapshotRequest& request);

std::string MapValue(const google::protobuf::Map<std::string, std::string>& map, const char* key);

}  // namespace thinsnap::driver
