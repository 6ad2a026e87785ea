#include "csi/reflink/file_lease.h"

#include <utility>

namespace thinsnap::reflink {
namespace {

// The same for a volume and for its clones: a small ext4 made on 512 cannot be mounted on 4096.
constexpr unsigned kSectorBytes = 4096;

class FileLease final : public pool::Lease {
 public:
  FileLease(std::unique_ptr<pool::Pin> pin, ActiveDevices& devices, std::string file,
            block::OpenMode mode)
      : pin_(std::move(pin)), devices_(devices), file_(std::move(file)), mode_(mode) {}

  Result<std::string> Node() override {
    const std::lock_guard lock(mutex_);
    if (device_ == nullptr) {
      device_ = TRY(devices_.Attach(file_, mode_ == block::OpenMode::kReadOnly));
    }
    return device_->path;
  }

  Result<std::unique_ptr<block::BlockDevice>> Open() override {
    return block::OpenFileDevice(file_, mode_);
  }

 private:
  const std::unique_ptr<pool::Pin> pin_;  // lets go last
  ActiveDevices& devices_;
  const std::string file_;
  const block::OpenMode mode_;
  std::mutex mutex_;
  std::shared_ptr<const LoopDevice> device_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::shared_ptr<const LoopDevice>> ActiveDevices::Attach(const std::string& file,
                                                                bool read_only) {
  const std::lock_guard lock(mutex_);
  std::erase_if(devices_, [](const auto& device) { return device.second.expired(); });
  if (const auto found = devices_.find(file); found != devices_.end()) {
    if (auto device = found->second.lock()) return device;
  }
  auto device =
      std::make_shared<const LoopDevice>(TRY(AttachLoopDevice(file, kSectorBytes, read_only)));
  devices_[file] = device;
  return device;
}

std::shared_ptr<const LoopDevice> ActiveDevices::Find(const std::string& file) {
  const std::lock_guard lock(mutex_);
  const auto found = devices_.find(file);
  return found == devices_.end() ? nullptr : found->second.lock();
}

std::unique_ptr<pool::Lease> MakeFileLease(std::unique_ptr<pool::Pin> pin, ActiveDevices& devices,
                                           std::string file, block::OpenMode mode) {
  return std::make_unique<FileLease>(std::move(pin), devices, std::move(file), mode);
}

}  // namespace thinsnap::reflink
