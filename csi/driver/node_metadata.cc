// The verbs of NodeDriver that say which blocks of a snapshot hold data, and which changed.
#include <algorithm>
#include <utility>

#include "csi/driver/node_driver.h"
#include "csi/transfer/importer.h"
#include "snapshotter/mover/point_ranges.h"

namespace thinsnap::driver {
namespace {

// Ranges in a message, where the caller leaves it to us or asks for more.
constexpr std::int32_t kMostResults = 4096;

Status CheckRequest(std::int64_t starting_offset, std::int32_t max_results) {
  if (max_results < 0) {
    return Error(Code::kInvalidArgument,
                 "max_results is " + std::to_string(max_results) + "; 0 or more is accepted");
  }
  if (starting_offset < 0) {
    return Error(Code::kOutOfRange, "starting_offset is " + std::to_string(starting_offset) +
                                        "; 0 or more is accepted");
  }
  return {};
}

// At least one message, which tells the size.
template <typename Response>
Status Send(std::uint64_t size_bytes, block::ExtentStream& ranges, std::int64_t starting_offset,
            std::int32_t max_results, const proto::Sink<Response>& sink) {
  if (static_cast<std::uint64_t>(starting_offset) > size_bytes) {
    return Error(Code::kOutOfRange, "starting_offset is " + std::to_string(starting_offset) +
                                        ", but the volume has " + std::to_string(size_bytes) +
                                        " bytes");
  }
  const std::int32_t most = max_results == 0 ? kMostResults : std::min(max_results, kMostResults);
  Response message;
  message.set_block_metadata_type(csi::v1::VARIABLE_LENGTH);
  message.set_volume_capacity_bytes(static_cast<std::int64_t>(size_bytes));
  bool told = false;
  for (;;) {
    const auto range = TRY(ranges.Next());
    if (range && range->offset < size_bytes && range->length > 0) {
      auto* entry = message.add_block_metadata();
      entry->set_byte_offset(static_cast<std::int64_t>(range->offset));
      entry->set_size_bytes(
          static_cast<std::int64_t>(std::min(range->end(), size_bytes) - range->offset));
    }
    if (range ? message.block_metadata_size() == most
              : !told || message.block_metadata_size() > 0) {
      TRY(sink(message));
      told = true;
      message.clear_block_metadata();
    }
    if (!range) return {};
  }
}

// The pool has lost the device meanwhile, or never knew how the two are related.
bool CannotSay(const Error& error) {
  return error.code() == Code::kFailedPrecondition || error.code() == Code::kNotFound;
}

}  // namespace

Result<std::optional<pool::SnapshotInfo>> NodeDriver::FindDevice(
    const pool::SnapshotHandle& handle) {
  if (handle.pool != pool_id_) return std::optional<pool::SnapshotInfo>();
  auto found = pool_.GetSnapshot(handle.snapshot);
  if (!found.ok() && !found.Is(Code::kNotFound)) return found.error();
  if (!found.ok() || !found->has_device || found->volume != handle.volume) {
    return std::optional<pool::SnapshotInfo>();
  }
  return std::optional(std::move(*found));
}

Result<NodeDriver::BlockRanges> NodeDriver::AllocatedRanges(const std::string& snapshot,
                                                            std::uint64_t from_offset) {
  const auto handle = TRY(pool::SnapshotHandle::Parse(snapshot));
  if (const auto device = TRY(FindDevice(handle))) {
    auto ranges = pool_.Allocated(device->id, from_offset);
    if (ranges.ok()) return BlockRanges{device->size_bytes, std::move(*ranges)};
    if (!CannotSay(ranges.error())) return ranges.error();
  }
  if (handle.repository.empty()) {
    return Error(Code::kNotFound, "there is no snapshot " + snapshot);
  }
  const auto repository = TRY(repositories_.Open(handle.repository));
  const auto point = TRY(transfer::FindPoint(repositories_, handle));
  auto stored = TRY(mover::StoredRanges(*repository, runtime_, point.name, from_offset));
  return BlockRanges{stored.size_bytes, std::move(stored.ranges)};
}

Result<NodeDriver::BlockRanges> NodeDriver::ChangedRanges(const std::string& base,
                                                          const std::string& target,
                                                          std::uint64_t from_offset) {
  const auto older = TRY(pool::SnapshotHandle::Parse(base));
  const auto younger = TRY(pool::SnapshotHandle::Parse(target));
  if (older.volume_handle().ToString() != younger.volume_handle().ToString()) {
    return Error(Code::kInvalidArgument,
                 "base_snapshot_id is of volume " + older.volume_handle().ToString() +
                     ", target_snapshot_id of " + younger.volume_handle().ToString());
  }
  if (older.snapshot >= younger.snapshot) {
    return Error(Code::kInvalidArgument,
                 "base_snapshot_id " + base + " was not cut before target_snapshot_id " + target);
  }
  const auto base_device = TRY(FindDevice(older));
  const auto target_device = TRY(FindDevice(younger));
  if (base_device && target_device) {
    auto ranges = pool_.Changed(base_device->id, target_device->id, from_offset);
    if (ranges.ok()) return BlockRanges{target_device->size_bytes, std::move(*ranges)};
    if (!CannotSay(ranges.error())) return ranges.error();
  }
  // One of them has left the pool: what it held is known where it was exported to.
  if (older.repository.empty() || older.repository != younger.repository) {
    for (const auto& [device, handle] :
         {std::pair(&base_device, &older), {&target_device, &younger}}) {
      if (*device || !handle->repository.empty()) continue;
      return Error(Code::kNotFound, "there is no snapshot " + handle->ToString());
    }
    return Error(Code::kFailedPrecondition,
                 "the pool cannot compare " + base + " with " + target +
                     ", and no repository has both: read all that is allocated");
  }
  const auto repository = TRY(repositories_.Open(younger.repository));
  repo::PointName names[2];
  for (const auto& [handle, device, name] :
       {std::tuple(&older, &base_device, &names[0]), {&younger, &target_device, &names[1]}}) {
    auto point = transfer::FindPoint(repositories_, *handle);
    if (point.Is(Code::kNotFound) && *device) {
      return Error(Code::kFailedPrecondition,
                   "snapshot " + handle->ToString() +
                       " is not exported yet, and the pool cannot compare it with one that is "
                       "gone: read all that is allocated, or ask again later");
    }
    if (!point.ok()) return point.error();
    *name = point->name;
  }
  auto changed = TRY(mover::ChangedRanges(*repository, runtime_, names[0], names[1], from_offset));
  return BlockRanges{changed.size_bytes, std::move(changed.ranges)};
}

Status NodeDriver::GetMetadataAllocated(
    const proto::Call&, const csi::v1::GetMetadataAllocatedRequest& request,
    const proto::Sink<csi::v1::GetMetadataAllocatedResponse>& sink) {
  TRY(RequireField(request.snapshot_id(), "snapshot_id"));
  TRY(CheckRequest(request.starting_offset(), request.max_results()));
  const BlockRanges found = TRY(AllocatedRanges(
      request.snapshot_id(), static_cast<std::uint64_t>(request.starting_offset())));
  return Send(found.size_bytes, *found.ranges, request.starting_offset(), request.max_results(),
              sink);
}

Status NodeDriver::GetMetadataDelta(const proto::Call&,
                                    const csi::v1::GetMetadataDeltaRequest& request,
                                    const proto::Sink<csi::v1::GetMetadataDeltaResponse>& sink) {
  TRY(RequireField(request.base_snapshot_id(), "base_snapshot_id"));
  TRY(RequireField(request.target_snapshot_id(), "target_snapshot_id"));
  TRY(CheckRequest(request.starting_offset(), request.max_results()));
  const BlockRanges found =
      TRY(ChangedRanges(request.base_snapshot_id(), request.target_snapshot_id(),
                        static_cast<std::uint64_t>(request.starting_offset())));
  return Send(found.size_bytes, *found.ranges, request.starting_offset(), request.max_results(),
              sink);
}

}  // namespace thinsnap::driver
