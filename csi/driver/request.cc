#include "csi/driver/request.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>
#include <string_view>

#include "base/core/bytes.h"
#include "base/core/id.h"
#include "csi/pool/short_hash.h"
#include "csi/pool/tags.h"

namespace thinsnap::driver {
namespace {

using csi::v1::VolumeCapability;

constexpr std::size_t kLongestName = 128;
constexpr std::uint64_t kDefaultSize = kGiB;
constexpr std::string_view kSidecarPrefix = "csi.storage.k8s.io/";
constexpr std::string_view kUserKey = "tag/";
constexpr std::string_view kUuidKey = "filesystemUUID";
constexpr std::size_t kLongestTagName = 63;
constexpr int kMostLocalCopies = 1000;
constexpr std::size_t kMostRepositories = 8;

// TAB, LF and CR are allowed; so is everything beyond ASCII but the C1 controls, U+0080 to U+009F.
bool HasControlCharacter(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == 0x7f || (c < 0x20 && c != '\t' && c != '\n' && c != '\r')) return true;
    if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      return true;
    }
  }
  return false;
}

Error Invalid(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

}  // namespace

std::string TopologyValue(const std::string& node) {
  constexpr std::size_t kLongestValue = 63, kHashLength = 16;
  if (node.size() <= kLongestValue) return node;
  return node.substr(0, kLongestValue - kHashLength - 1) + "." + pool::ShortHash(node);
}

Status RequireField(const std::string& value, const char* field) {
  if (value.empty()) return Invalid(std::string(field) + " is missing");
  return {};
}

Status RequireName(const std::string& name) {
  TRY(RequireField(name, "name"));
  if (name.size() > kLongestName) {
    return Invalid("name has " + std::to_string(name.size()) + " bytes; at most " +
                   std::to_string(kLongestName) + " are accepted");
  }
  if (HasControlCharacter(name)) return Invalid("name holds a control character");
  return {};
}

Result<mount::Usage> ReadCapability(const VolumeCapability& capability) {
  mount::Usage usage;
  if (capability.has_block()) {
    usage.block = true;
  } else if (capability.has_mount()) {
    usage.fs_type = capability.mount().fs_type();
    if (!usage.fs_type.empty() && !mount::IsSupportedFsType(usage.fs_type)) {
      return Invalid("volume_capability.mount.fs_type is \"" + usage.fs_type +
                     "\"; ext4 and xfs are accepted");
    }
    usage.mount_flags.assign(capability.mount().mount_flags().begin(),
                             capability.mount().mount_flags().end());
    if (!capability.mount().volume_mount_group().empty()) {
      return Invalid("volume_capability.mount.volume_mount_group is not supported");
    }
  } else {
    return Invalid("volume_capability has no access_type; block and mount are accepted");
  }
  switch (capability.access_mode().mode()) {
    case VolumeCapability::AccessMode::SINGLE_NODE_WRITER:
    case VolumeCapability::AccessMode::SINGLE_NODE_MULTI_WRITER:
      break;
    case VolumeCapability::AccessMode::SINGLE_NODE_READER_ONLY:
    // Its topology brings all readers to the one node.
    case VolumeCapability::AccessMode::MULTI_NODE_READER_ONLY:
      usage.read_only = true;
      break;
    case VolumeCapability::AccessMode::SINGLE_NODE_SINGLE_WRITER:
      usage.single_writer = true;
      break;
    case VolumeCapability::AccessMode::UNKNOWN:
      return Invalid("volume_capability.access_mode is missing");
    default:
      return Invalid(
          "access mode " +
          VolumeCapability::AccessMode::Mode_Name(capability.access_mode().mode()) +
          " needs several nodes, but a volume lives on one; SINGLE_NODE_WRITER (ReadWriteOnce), "
          "SINGLE_NODE_SINGLE_WRITER (ReadWriteOncePod), SINGLE_NODE_MULTI_WRITER, "
          "SINGLE_NODE_READER_ONLY and MULTI_NODE_READER_ONLY (ReadOnlyMany) are accepted");
  }
  return usage;
}

Status CheckCapabilities(const google::protobuf::RepeatedPtrField<VolumeCapability>& capabilities) {
  if (capabilities.empty()) return Invalid("volume_capabilities is missing");
  bool block = false, mount = false;
  std::string fs_type;
  for (const VolumeCapability& capability : capabilities) {
    const mount::Usage usage = TRY(ReadCapability(capability));
    (usage.block ? block : mount) = true;
    if (usage.fs_type.empty()) continue;
    if (!fs_type.empty() && fs_type != usage.fs_type) {
      return Invalid("volume_capabilities ask for " + fs_type + " and " + usage.fs_type +
                     " in one volume; it has one filesystem");
    }
    fs_type = usage.fs_type;
  }
  if (block && mount) {
    return Invalid("volume_capabilities ask for block and mount access to one volume; it has one");
  }
  return {};
}

bool WantsBlock(const google::protobuf::RepeatedPtrField<VolumeCapability>& capabilities) {
  return std::any_of(capabilities.begin(), capabilities.end(),
                     [](const VolumeCapability& c) { return c.has_block(); });
}

Result<SizeRange> ReadSizeRange(bool present, const csi::v1::CapacityRange& range) {
  if (!present) return SizeRange{};
  if (range.required_bytes() < 0 || range.limit_bytes() < 0) {
    return Invalid("capacity_range has a negative bound");
  }
  if (range.required_bytes() == 0 && range.limit_bytes() == 0) {
    return Invalid("capacity_range has neither required_bytes nor limit_bytes");
  }
  const SizeRange size{static_cast<std::uint64_t>(range.required_bytes()),
                       static_cast<std::uint64_t>(range.limit_bytes())};
  if (size.limit_bytes != 0 && size.limit_bytes < size.required_bytes) {
    return Error(Code::kOutOfRange,
                 "capacity_range.limit_bytes " + std::to_string(size.limit_bytes) +
                     " is less than required_bytes " + std::to_string(size.required_bytes));
  }
  return size;
}

Result<std::uint64_t> ChooseSize(const SizeRange& range, std::uint64_t least) {
  std::uint64_t size_bytes = std::max(range.required_bytes, least);
  if (size_bytes == 0) {
    size_bytes = range.limit_bytes == 0 ? kDefaultSize : std::min(range.limit_bytes, kDefaultSize);
  }
  if (range.limit_bytes != 0 && size_bytes > range.limit_bytes) {
    return Error(Code::kOutOfRange, "capacity_range.limit_bytes is " +
                                        std::to_string(range.limit_bytes) +
                                        ", but the source needs " + std::to_string(least));
  }
  return size_bytes;
}

Result<csi::v1::GetSnapshotResponse> GetOneSnapshot(proto::ControllerService& driver,
                                                    const proto::Call& call,
                                                    const csi::v1::GetSnapshotRequest& request) {
  TRY(RequireField(request.snapshot_id(), "snapshot_id"));
  csi::v1::ListSnapshotsRequest listing;
  listing.set_snapshot_id(request.snapshot_id());
  *listing.mutable_secrets() = request.secrets();
  const auto listed = TRY(driver.ListSnapshots(call, listing));
  if (listed.entries().empty()) {
    return Error(Code::kNotFound, "there is no snapshot " + request.snapshot_id());
  }
  csi::v1::GetSnapshotResponse response;
  *response.mutable_snapshot() = listed.entries(0).snapshot();
  return response;
}

std::string MapValue(const google::protobuf::Map<std::string, std::string>& map, const char* key) {
  const auto found = map.find(key);
  return found == map.end() ? "" : found->second;
}

Result<pool::Tags> ReadUserTags(const google::protobuf::Map<std::string, std::string>& parameters) {
  pool::Tags tags;
  for (const auto& [key, value] : parameters) {
    if (!std::string_view(key).starts_with(kUserKey)) {
      return Invalid("mutable_parameters has \"" + key + "\"; " + std::string(kUserKey) +
                     "NAME is accepted");
    }
    const std::string name = key.substr(kUserKey.size());
    const bool good = !name.empty() && name.size() <= kLongestTagName &&
                      std::all_of(name.begin(), name.end(), [](unsigned char c) {
                        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
                      });
    if (!good) {
      return Invalid("mutable_parameters has \"" + key + "\"; after " + std::string(kUserKey) +
                     " come 1 to " + std::to_string(kLongestTagName) +
                     " letters, digits, '-', '_' and '.'");
    }
    if (value.size() > kLongestName || HasControlCharacter(value)) {
      return Invalid("mutable_parameters." + key + " has " + std::to_string(value.size()) +
                     " bytes; at most " + std::to_string(kLongestName) +
                     " without control characters are accepted");
    }
    tags[tags::kUserPrefix + name] = value;
  }
  return tags;
}

Result<VolumeParameters> ReadVolumeParameters(const csi::v1::CreateVolumeRequest& request) {
  VolumeParameters read;
  for (const auto& [key, value] : request.parameters()) {
    if (key == kUuidKey) {
      if (value != "new" && value != "same") {
        return Invalid("parameters." + key + " is \"" + value + "\"; new and same are accepted");
      }
      read.new_uuid = value == "new";
    } else if (!std::string_view(key).starts_with(kSidecarPrefix)) {
      return Invalid("parameters has \"" + key + "\"; " + std::string(kUuidKey) + " is accepted");
    }
  }
  read.user_tags = TRY(ReadUserTags(request.mutable_parameters()));
  return read;
}

Result<SnapshotParameters> ReadSnapshotParameters(
    const google::protobuf::Map<std::string, std::string>& parameters) {
  SnapshotParameters read;
  for (const auto& [key, value] : parameters) {
    if (key == "repositories") {
      std::set<std::string> seen;
      for (std::string& id : tags::SplitList(value)) {
        if (seen.insert(id).second) read.repositories.push_back(std::move(id));
      }
      if (read.repositories.size() > kMostRepositories) {
        return Invalid("parameters.repositories names " + std::to_string(seen.size()) +
                       " repositories; at most " + std::to_string(kMostRepositories) +
                       " are accepted");
      }
    } else if (key == "localCopies") {
      const auto end = value.data() + value.size();
      const auto [stop, error] = std::from_chars(value.data(), end, read.local_copies);
      if (error != std::errc() || stop != end || read.local_copies < 0 ||
          read.local_copies > kMostLocalCopies) {
        return Invalid("parameters.localCopies is \"" + value + "\"; a number from 0 to " +
                       std::to_string(kMostLocalCopies) + " is accepted");
      }
    } else if (!std::string_view(key).starts_with(kSidecarPrefix)) {
      return Invalid("parameters has \"" + key + "\"; repositories and localCopies are accepted");
    }
  }
  read.snapshot_namespace = MapValue(parameters, "csi.storage.k8s.io/volumesnapshot/namespace");
  // Of a group, whose members have no names yet.
  if (read.snapshot_namespace.empty()) {
    read.snapshot_namespace =
        MapValue(parameters, "csi.storage.k8s.io/volumegroupsnapshot/namespace");
  }
  read.snapshot_name = MapValue(parameters, "csi.storage.k8s.io/volumesnapshot/name");
  read.content = MapValue(parameters, "csi.storage.k8s.io/volumesnapshotcontent/name");
  return read;
}

Result<PageStart> ReadToken(const std::string& token) {
  if (token.empty()) return PageStart{};
  const auto dot = token.find('.');
  constexpr std::size_t kPoolIdLength = 13;
  if (dot != kPoolIdLength || !IsUlid(token.substr(dot + 1))) {
    return Error(Code::kAborted,
                 "starting_token is not one of this driver's; start again without one");
  }
  return PageStart{token.substr(0, dot), token.substr(dot + 1)};
}

std::string MakeToken(const std::string& pool, const std::string& id) { return pool + "." + id; }

}  // namespace thinsnap::driver
