#include "csi/pool/record.h"

#include "base/data/json.h"

namespace thinsnap::pool {
namespace {

JsonObject TagsToJson(const Tags& tags) {
  JsonObject object;
  for (const auto& [key, value] : tags) object[key] = value;
  return object;
}

Tags TagsFromJson(const Json& record) {
  Tags tags;
  if (const JsonObject* object = FindObject(record, "tags")) {
    for (const auto& [key, value] : *object) {
      if (value.is_string()) tags[std::string(key)] = std::string(value.get_string());
    }
  }
  return tags;
}

std::int64_t Nanoseconds(WallTime time) { return time.time_since_epoch().count(); }

WallTime TimeFrom(const Json& record, const char* field) {
  return WallTime(Duration(IntAt(record, field)));
}

}  // namespace

Json ToRecord(const VolumeInfo& volume) {
  return JsonObject({{"id", volume.id.str()},
                     {"name", volume.name},
                     {"sizeBytes", volume.size_bytes},
                     {"origin", volume.origin.str()},
                     {"created", Nanoseconds(volume.created)},
                     {"tags", TagsToJson(volume.tags)}});
}

Json ToRecord(const SnapshotInfo& snapshot) {
  return JsonObject({{"id", snapshot.id.str()},
                     {"name", snapshot.name},
                     {"volume", snapshot.volume.str()},
                     {"sizeBytes", snapshot.size_bytes},
                     {"cut", Nanoseconds(snapshot.cut)},
                     {"deviceIdentity", snapshot.device_identity},
                     {"hasDevice", snapshot.has_device},
                     {"group", snapshot.group.str()},
                     {"groupName", snapshot.group_name},
                     {"tags", TagsToJson(snapshot.tags)}});
}

Result<VolumeInfo> VolumeFromRecord(const Json& record) {
  VolumeInfo volume;
  volume.id = VolumeId(StringAt(record, "id"));
  volume.name = StringAt(record, "name");
  volume.size_bytes = static_cast<std::uint64_t>(IntAt(record, "sizeBytes"));
  volume.origin = SnapshotId(StringAt(record, "origin"));
  volume.created = TimeFrom(record, "created");
  volume.tags = TagsFromJson(record);
  if (!IsUlid(volume.id.str()) || volume.name.empty() || volume.size_bytes == 0) {
    return Error(Code::kDataLoss, "a volume's record lacks id, name or size");
  }
  return volume;
}

Result<SnapshotInfo> SnapshotFromRecord(const Json& record) {
  SnapshotInfo snapshot;
  snapshot.id = SnapshotId(StringAt(record, "id"));
  snapshot.name = StringAt(record, "name");
  snapshot.volume = VolumeId(StringAt(record, "volume"));
  snapshot.size_bytes = static_cast<std::uint64_t>(IntAt(record, "sizeBytes"));
  snapshot.cut = TimeFrom(record, "cut");
  snapshot.device_identity = StringAt(record, "deviceIdentity");
  snapshot.has_device = BoolAt(record, "hasDevice", true);
  snapshot.group = GroupId(StringAt(record, "group"));
  snapshot.group_name = StringAt(record, "groupName");
  snapshot.tags = TagsFromJson(record);
  if (!IsUlid(snapshot.id.str()) || snapshot.name.empty() || snapshot.volume.empty()) {
    return Error(Code::kDataLoss, "a snapshot's record lacks id, name or volume");
  }
  return snapshot;
}

}  // namespace thinsnap::pool
