#include "csi/pool/guarded_pool.h"

#include <algorithm>

namespace thinsnap::pool {
namespace {

std::uint64_t Headroom(std::uint64_t size_bytes, const GuardOptions& options,
                       std::uint64_t at_least) {
  const auto share =
      static_cast<std::uint64_t>(static_cast<double>(size_bytes) * options.headroom_fraction);
  return std::max(share, at_least);
}

Error Refusal(const PoolStatus& status, const std::string& what) {
  return Error(Code::kResourceExhausted, "pool " + status.id.str() + " (" +
                                             FormatSize(status.free_bytes) + " free of " +
                                             FormatSize(status.size_bytes) + "): " + what);
}

class GuardedThinPool final : public ThinPool {
 public:
  GuardedThinPool(std::unique_ptr<ThinPool> inner, GuardOptions options)
      : inner_(std::move(inner)), options_(options) {}

  Result<PoolStatus> GetStatus() override {
    PoolStatus status = TRY(inner_->GetStatus());
    std::uint64_t promised = 0;
    if (options_.overprovision > 0) {
      for (const VolumeInfo& volume : TRY(inner_->ListVolumes())) promised += volume.size_bytes;
    }
    SetCapacity(status, promised, options_);
    return status;
  }

  Result<VolumeInfo> Create(const CreateRequest& request) override {
    TRY(CheckCreate(request));
    return inner_->Create(request);
  }

  Result<SnapshotInfo> Snapshot(const SnapshotRequest& request, Quiesce& quiesce) override {
    TRY(CheckSnapshot(request));
    return inner_->Snapshot(request, quiesce);
  }

  Result<std::vector<SnapshotInfo>> SnapshotGroup(const std::vector<SnapshotRequest>& requests,
                                                  Quiesce& quiesce) override {
    for (const SnapshotRequest& request : requests) TRY(CheckSnapshot(request));
    return inner_->SnapshotGroup(requests, quiesce);
  }

  Result<std::uint64_t> Resize(const VolumeId& volume, std::uint64_t size_bytes) override {
    const VolumeInfo current = TRY(inner_->GetVolume(volume));
    if (size_bytes > current.size_bytes) {
      const PoolStatus status = TRY(inner_->GetStatus());
      std::uint64_t promised = 0;
      for (const VolumeInfo& other : TRY(inner_->ListVolumes())) {
        if (other.id != volume) promised += other.size_bytes;
      }
      TRY(CheckHeadroom(status, size_bytes, promised, options_));
    }
    return inner_->Resize(volume, size_bytes);
  }

  Status RemoveVolume(const VolumeId& volume) override { return inner_->RemoveVolume(volume); }
  Status RemoveSnapshot(const SnapshotId& snapshot) override {
    return inner_->RemoveSnapshot(snapshot);
  }
  Status DropDevice(const SnapshotId& snapshot) override { return inner_->DropDevice(snapshot); }
  Result<VolumeInfo> GetVolume(const VolumeId& volume) override {
    return inner_->GetVolume(volume);
  }
  Result<SnapshotInfo> GetSnapshot(const SnapshotId& snapshot) override {
    return inner_->GetSnapshot(snapshot);
  }
  Result<std::vector<VolumeInfo>> ListVolumes() override { return inner_->ListVolumes(); }
  Result<std::vector<SnapshotInfo>> ListSnapshots() override { return inner_->ListSnapshots(); }
  Status TagVolume(const VolumeId& volume, const Tags& tags) override {
    return inner_->TagVolume(volume, tags);
  }
  Status TagSnapshot(const SnapshotId& snapshot, const Tags& tags) override {
    return inner_->TagSnapshot(snapshot, tags);
  }
  Result<std::unique_ptr<block::ExtentStream>> Allocated(const SnapshotId& snapshot,
                                                         std::uint64_t from_offset) override {
    return inner_->Allocated(snapshot, from_offset);
  }
  Result<std::unique_ptr<block::ExtentStream>> Changed(const SnapshotId& base,
                                                       const SnapshotId& target,
                                                       std::uint64_t from_offset) override {
    return inner_->Changed(base, target, from_offset);
  }
  Result<std::unique_ptr<Pin>> PinVolume(const VolumeId& volume, Holder holder) override {
    return inner_->PinVolume(volume, std::move(holder));
  }
  Result<std::unique_ptr<Pin>> PinSnapshot(const SnapshotId& snapshot, Holder holder) override {
    return inner_->PinSnapshot(snapshot, std::move(holder));
  }
  Result<std::unique_ptr<Lease>> LeaseVolume(const VolumeId& volume, Holder holder) override {
    return inner_->LeaseVolume(volume, std::move(holder));
  }
  Result<std::unique_ptr<Lease>> LeaseSnapshot(const SnapshotId& snapshot, Holder holder) override {
    return inner_->LeaseSnapshot(snapshot, std::move(holder));
  }

 private:
  // Repeating a call that succeeded is never refused, however full the pool is by now.
  Status CheckCreate(const CreateRequest& request) {
    const PoolStatus status = TRY(inner_->GetStatus());
    std::uint64_t promised = 0;
    for (const VolumeInfo& volume : TRY(inner_->ListVolumes())) {
      if (volume.name == request.name) return {};
      promised += volume.size_bytes;
    }
    return CheckHeadroom(status, request.size_bytes, promised, options_, request.fill_bytes);
  }

  Status CheckSnapshot(const SnapshotRequest& request) {
    const PoolStatus status = TRY(inner_->GetStatus());
    Status enough = CheckHeadroom(status, 0, 0, options_);
    if (enough.ok()) return enough;
    for (const SnapshotInfo& snapshot : TRY(inner_->ListSnapshots())) {
      if (snapshot.name == request.name) return {};
    }
    return enough;
  }

  const std::unique_ptr<ThinPool> inner_;
  const GuardOptions options_;
};

}  // namespace

Status CheckHeadroom(const PoolStatus& status, std::uint64_t wanted_bytes,
                     std::uint64_t promised_bytes, const GuardOptions& options,
                     std::uint64_t fill_bytes) {
  if (wanted_bytes > status.size_bytes) {
    return Refusal(status, "a volume of " + FormatSize(wanted_bytes) +
                               " is larger than the pool; at most " +
                               FormatSize(status.size_bytes) + " fit");
  }
  const std::uint64_t headroom = Headroom(status.size_bytes, options, options.headroom_bytes);
  if (status.free_bytes < headroom) {
    return Refusal(status, "less than the headroom of " + FormatSize(headroom) +
                               " is free; remove snapshots or volumes, or grow the pool");
  }
  if (status.free_bytes - headroom < fill_bytes) {
    return Refusal(status, FormatSize(fill_bytes) +
                               " are about to be written, and less than the headroom of " +
                               FormatSize(headroom) +
                               " would be left; remove snapshots or volumes, or grow the pool");
  }
  if (status.metadata_size_bytes != 0) {
    const std::uint64_t metadata_headroom = Headroom(status.metadata_size_bytes, options, 0);
    if (status.metadata_free_bytes < metadata_headroom) {
      return Refusal(status, "its metadata has " + FormatSize(status.metadata_free_bytes) +
                                 " free, less than the headroom of " +
                                 FormatSize(metadata_headroom) + "; grow the metadata volume");
    }
  }
  if (options.overprovision > 0 && wanted_bytes > 0) {
    const auto most =
        static_cast<std::uint64_t>(static_cast<double>(status.size_bytes) * options.overprovision);
    if (promised_bytes + wanted_bytes > most) {
      return Refusal(status, "its volumes promise " + FormatSize(promised_bytes) + " already; " +
                                 FormatSize(wanted_bytes) + " more would pass the limit of " +
                                 FormatSize(most));
    }
  }
  return {};
}

void SetCapacity(PoolStatus& status, std::uint64_t promised_bytes, const GuardOptions& options) {
  status.room_bytes = status.largest_volume_bytes = 0;
  if (!CheckHeadroom(status, 0, 0, options).ok()) return;
  const std::uint64_t headroom = Headroom(status.size_bytes, options, options.headroom_bytes);
  status.room_bytes = status.free_bytes - headroom;
  status.largest_volume_bytes = status.size_bytes;
  if (options.overprovision <= 0) return;
  const auto most =
      static_cast<std::uint64_t>(static_cast<double>(status.size_bytes) * options.overprovision);
  status.largest_volume_bytes = std::min(status.size_bytes, most - std::min(most, promised_bytes));
}

std::unique_ptr<ThinPool> MakeGuardedThinPool(std::unique_ptr<ThinPool> inner,
                                              GuardOptions options) {
  return std::make_unique<GuardedThinPool>(std::move(inner), options);
}

}  // namespace thinsnap::pool
