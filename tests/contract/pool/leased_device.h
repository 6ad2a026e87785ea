// Devices of a pool's volumes and snapshots for tests: open as long as they live, and in use so
// long.
#pragma once

#include <memory>
#include <utility>

#include "csi/pool/thin_pool.h"

namespace thinsnap::pool {

// A device that keeps its lease.
class LeasedDevice final : public block::BlockDevice {
 public:
  static Result<std::unique_ptr<block::BlockDevice>> Open(Result<std::unique_ptr<Lease>> lease) {
    std::unique_ptr<Lease> held = TRY(std::move(lease));
    auto device = TRY(held->Open());
    return std::unique_ptr<block::BlockDevice>(
        new LeasedDevice(std::move(held), std::move(device)));
  }
  std::uint64_t size_bytes() const override { return device_->size_bytes(); }
  Status ReadAt(std::uint64_t offset, MutableByteSpan into) override {
    return device_->ReadAt(offset, into);
  }
  Status WriteAt(std::uint64_t offset, ByteSpan bytes) override {
    return device_->WriteAt(offset, bytes);
  }
  Status Discard(std::uint64_t offset, std::uint64_t length) override {
    return device_->Discard(offset, length);
  }
  Status Flush() override { return device_->Flush(); }
  Status Allocated(const block::ExtentVisitor& visit) override { return device_->Allocated(visit); }

 private:
  LeasedDevice(std::unique_ptr<Lease> lease, std::unique_ptr<block::BlockDevice> device)
      : lease_(std::move(lease)), device_(std::move(device)) {}
  const std::unique_ptr<Lease> lease_;
  const std::unique_ptr<block::BlockDevice> device_;
};

inline Result<std::unique_ptr<block::BlockDevice>> OpenVolume(ThinPool& pool,
                                                              const VolumeId& volume) {
  return LeasedDevice::Open(pool.LeaseVolume(volume, {.name = "a test has it"}));
}
inline Result<std::unique_ptr<block::BlockDevice>> OpenSnapshot(ThinPool& pool,
                                                                const SnapshotId& snapshot) {
  return LeasedDevice::Open(pool.LeaseSnapshot(snapshot, {.name = "a test has it"}));
}

}  // namespace thinsnap::pool
