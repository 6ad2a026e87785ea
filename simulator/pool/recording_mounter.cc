#include "simulator/pool/recording_mounter.h"

#include <algorithm>
#include <utility>

#include "base/core/bytes.h"

namespace thinsnap::mount {
namespace {

// The number of no device, and the filesystem that holds the nodes of all.
constexpr std::uint64_t kDevices = 1;

}  // namespace

class RecordedFreeze final : public FrozenMount {
 public:
  RecordedFreeze(RecordingMounter& mounter, std::string target)
      : mounter_(mounter), target_(std::move(target)) {}
  ~RecordedFreeze() override { Thaw().IgnoreError(); }  // a test sees it in the log
  Status Thaw() override {
    if (std::exchange(thawed_, true)) return {};
    const std::lock_guard lock(mounter_.mutex_);
    return mounter_.Record("thaw " + target_);
  }

 private:
  RecordingMounter& mounter_;
  const std::string target_;
  bool thawed_ = false;
};

std::vector<std::string> RecordingMounter::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

void RecordingMounter::FailNext(const std::string& prefix, Error error) {
  const std::lock_guard lock(mutex_);
  failures_.emplace_back(prefix, std::move(error));
}

Status RecordingMounter::Record(std::string line) {
  const auto failure = std::find_if(failures_.begin(), failures_.end(),
                                    [&](const auto& f) { return line.starts_with(f.first); });
  log_.push_back(std::move(line));
  if (failure == failures_.end()) return {};
  Error error = std::move(failure->second);
  failures_.erase(failure);
  return error;
}

const MountEntry* RecordingMounter::Topmost(const std::string& target) const {
  const MountEntry* topmost = nullptr;
  for (const MountEntry& entry : mounts_) {
    if (entry.target == target) topmost = &entry;
  }
  return topmost;
}

Status RecordingMounter::Mount(const std::string& source, const std::string& target,
                               const std::string& fs_type,
                               const std::vector<std::string>& options) {
  const std::uint64_t device = TRY(DeviceNumber(source));
  const std::lock_guard lock(mutex_);
  TRY(Record("mount " + source + " " + target + " " + fs_type));
  const bool read_only = std::find(options.begin(), options.end(), "ro") != options.end();
  mounts_.push_back({.target = target,
                     .source = source,
                     .fs_type = fs_type,
                     .root = "/",
                     .device = device,
                     .read_only = read_only});
  return {};
}

Status RecordingMounter::Bind(const std::string& source, const std::string& target,
                              bool read_only) {
  const std::lock_guard lock(mutex_);
  TRY(Record("bind " + source + " " + target + (read_only ? " ro" : "")));
  MountEntry entry;
  if (const MountEntry* from = Topmost(source); from != nullptr) {
    entry = *from;
  } else {
    entry.source = "devtmpfs";
    entry.fs_type = "devtmpfs";
    entry.device = kDevices;
    const auto link = links_.find(source);
    const std::string& node = link == links_.end() ? source : link->second;
    entry.root = node;
    if (const auto known = device_numbers_.find(node); known != device_numbers_.end()) {
      const std::uint64_t number = known->second;
      device_numbers_[target] = number;
    }
  }
  entry.target = target;
  entry.read_only = entry.read_only || read_only;
  mounts_.push_back(std::move(entry));
  return {};
}

Status RecordingMounter::Unmount(const std::string& target) {
  const std::lock_guard lock(mutex_);
  if (Topmost(target) == nullptr) return {};
  TRY(Record("unmount " + target));
  std::erase_if(mounts_, [&](const MountEntry& entry) { return entry.target == target; });
  return {};
}

Result<std::optional<MountEntry>> RecordingMounter::Find(const std::string& target) {
  const std::lock_guard lock(mutex_);
  const MountEntry* entry = Topmost(target);
  return entry == nullptr ? std::nullopt : std::optional(*entry);
}

Result<std::vector<MountEntry>> RecordingMounter::List() {
  const std::lock_guard lock(mutex_);
  return mounts_;
}

Result<PathKind> RecordingMounter::Kind(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const auto known = paths_.find(path);
  return known == paths_.end() ? PathKind::kMissing : known->second;
}

Status RecordingMounter::MakeFolder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  paths_[path] = PathKind::kFolder;
  return {};
}

Status RecordingMounter::MakeFile(const std::string& path) {
  const std::lock_guard lock(mutex_);
  paths_[path] = PathKind::kFile;
  return {};
}

Status RecordingMounter::RemovePath(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (Topmost(path) != nullptr) {
    return Error(Code::kFailedPrecondition, path + " is a mount point");
  }
  paths_.erase(path);
  device_numbers_.erase(path);
  return {};
}

Result<FsFigures> RecordingMounter::Figures(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (Topmost(path) == nullptr) return Error(Code::kNotFound, path + " is not mounted");
  FsFigures figures;
  figures.total_bytes = kGiB;
  figures.available_bytes = kGiB - kMiB;
  figures.used_bytes = kMiB;
  figures.total_inodes = 1000;
  figures.available_inodes = 989;
  figures.used_inodes = 11;
  return figures;
}

Result<std::uint64_t> RecordingMounter::DeviceNumber(const std::string& device_path) {
  const std::lock_guard lock(mutex_);
  const auto link = links_.find(device_path);
  const std::string& node = link == links_.end() ? device_path : link->second;
  return device_numbers_.try_emplace(node, device_numbers_.size() + kDevices + 1).first->second;
}

void RecordingMounter::Link(const std::string& link, const std::string& device) {
  const std::lock_guard lock(mutex_);
  links_[link] = device;
}

void RecordingMounter::StopWrites(const std::string& target) {
  const std::lock_guard lock(mutex_);
  const MountEntry* stopped = Topmost(target);
  ASSERT(stopped != nullptr);
  const std::uint64_t device = stopped->device;
  for (MountEntry& entry : mounts_) entry.read_only = entry.read_only || entry.device == device;
}

std::set<std::string> RecordingMounter::read_only_devices() const {
  const std::lock_guard lock(mutex_);
  return read_only_devices_;
}

Result<std::uint64_t> RecordingMounter::HomeOfNode(const std::string&) { return kDevices; }

Status RecordingMounter::SetDeviceReadOnly(const std::string& device_path, bool read_only) {
  const std::lock_guard lock(mutex_);
  TRY(Record((read_only ? "read-only " : "writable ") + device_path));
  if (read_only) {
    read_only_devices_.insert(device_path);
  } else {
    read_only_devices_.erase(device_path);
  }
  return {};
}

Result<std::uint64_t> RecordingMounter::DeviceSize(const std::string&) { return kGiB; }

Status RecordingMounter::Sync(const std::string& target) {
  const std::lock_guard lock(mutex_);
  return Record("sync " + target);
}

Result<std::unique_ptr<FrozenMount>> RecordingMounter::Freeze(const std::string& target, Duration) {
  const std::lock_guard lock(mutex_);
  TRY(Record("freeze " + target));
  return std::unique_ptr<FrozenMount>(std::make_unique<RecordedFreeze>(*this, target));
}

Status RecordingMounter::Thaw(const std::string&) { return {}; }

}  // namespace thinsnap::mount
