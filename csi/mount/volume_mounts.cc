#include "csi/mount/volume_mounts.h"

#include <algorithm>
#include <utility>

#include "base/block/aligned_buffer.h"
#include "base/block/block_device.h"
#include "base/core/bytes.h"
#include "base/core/log.h"
#include "csi/pool/short_hash.h"

namespace thinsnap::mount {
namespace {

constexpr char kMaking[] = "making ";

std::string DescribeUsage(const Usage& usage) {
  if (usage.block) return usage.read_only ? "block ro" : "block";
  std::string text = "mount " + usage.fs_type;
  if (usage.read_only) text += " ro";
  // Mount flags may hold secrets and be long.
  std::string flags;
  for (const std::string& flag : usage.mount_flags) flags += flag + '\n';
  if (!flags.empty()) text += " flags:" + pool::ShortHash(flags);
  return text;
}

bool IsReadOnly(const std::string& usage) {
  return usage.ends_with(" ro") || usage.find(" ro flags:") != std::string::npos;
}

std::string KindOf(const std::string& usage) {
  return usage.starts_with("block") ? "a block device" : "a filesystem";
}

// Whether every byte is zero. What the device knows to be unused is not read.
Result<bool> ReadsAsZeros(block::BlockDevice& device) {
  // Nobody leaves so many separate ranges of zeros behind.
  constexpr std::size_t kMostExtents = 4096;
  // Collected first: a device may not be readable while it tells of its extents.
  std::vector<block::Extent> extents;
  const Status visited = device.Allocated([&](const block::Extent& extent) -> Status {
    if (extents.size() == kMostExtents) return Error(Code::kOutOfRange, "enough seen");
    extents.push_back(extent);
    return {};
  });
  if (extents.size() == kMostExtents) return false;
  TRY(visited);
  block::AlignedBuffer buffer(kMiB);
  for (const block::Extent& extent : extents) {
    for (std::uint64_t at = extent.offset; at < extent.end();) {
      const auto part = buffer.span().first(std::min<std::uint64_t>(kMiB, extent.end() - at));
      TRY(device.ReadAt(at, part));
      if (std::any_of(part.begin(), part.end(), [](auto byte) { return byte != 0; })) return false;
      at += part.size();
    }
  }
  return true;
}

std::string TagOf(const pool::Tags& tags, const std::string& key) {
  const auto found = tags.find(key);
  return found == tags.end() ? "" : found->second;
}

}  // namespace

// One verb at a time for each volume.
class VolumeMounts::Busy {
 public:
  Busy(VolumeMounts& mounts, const pool::VolumeId& volume) : mounts_(mounts), volume_(volume) {
    const std::lock_guard lock(mounts_.mutex_);
    taken_ = mounts_.busy_.insert(volume_).second;
  }
  ~Busy() {
    if (!taken_) return;
    const std::lock_guard lock(mounts_.mutex_);
    mounts_.busy_.erase(volume_);
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  Status Check() const {
    if (taken_) return {};
    return Error(Code::kAborted, "another operation on volume " + volume_.str() + " is running");
  }

 private:
  VolumeMounts& mounts_;
  const pool::VolumeId volume_;
  bool taken_ = false;
};

VolumeMounts::VolumeMounts(pool::ThinPool& pool, Mounter& mounter, CommandRunner& runner,
                           std::string default_fs_type)
    : pool_(pool),
      mounter_(mounter),
      filesystem_(runner),
      default_fs_type_(std::move(default_fs_type)) {}

Status VolumeMounts::Recover() {
  for (const pool::VolumeInfo& info : TRY(pool_.ListVolumes())) {
    // A volume that is sick is in nobody's way but its own.
    if (const Status recovered = RecoverOne(info); !recovered.ok()) {
      LogWarning("node", "volume " + info.id.str() +
                             " is not taken up again: " + recovered.error().ToString());
    }
  }
  return {};
}

Status VolumeMounts::RecoverOne(const pool::VolumeInfo& info) {
  const std::string staging = TagOf(info.tags, kStagedTag);
  if (staging.empty()) return {};
  if (!TRY(IsThere(staging, TagOf(info.tags, kUsageTag)))) return Forget(info.id);
  Keep(info.id, TRY(LeaseFor(info.id, staging)));
  if (!TRY(mounter_.Find(staging))) return {};
  return mounter_.Thaw(staging);
}

Result<bool> VolumeMounts::IsThere(const std::string& staging, const std::string& staged_as) {
  if (TRY(mounter_.Find(staging))) return true;
  return staged_as.starts_with("block") && TRY(mounter_.Kind(staging))
  != PathKind::kMissing;
}

std::optional<std::string> VolumeMounts::DeviceOf(const pool::VolumeId& volume) {
  const std::lock_guard lock(mutex_);
  const auto found = devices_.find(volume);
  return found == devices_.end() ? std::nullopt : std::optional(found->second.path);
}

Result<VolumeMounts::StagedDevice> VolumeMounts::LeaseFor(const pool::VolumeId& volume,
                                                          const std::string& staging) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = devices_.find(volume); found != devices_.end()) return found->second;
  }
  StagedDevice device;
  device.lease = TRY(pool_.LeaseVolume(volume, {.name = "it is staged at " + staging}));
  device.path = TRY(device.lease->Node());
  return device;
}

void VolumeMounts::Keep(const pool::VolumeId& volume, const StagedDevice& device) {
  const std::lock_guard lock(mutex_);
  devices_[volume] = device;
}

void VolumeMounts::LetGo(const pool::VolumeId& volume) {
  std::shared_ptr<pool::Lease> ends;  // without the lock
  const std::lock_guard lock(mutex_);
  const auto found = devices_.find(volume);
  if (found == devices_.end()) return;
  ends = std::move(found->second.lease);
  devices_.erase(found);
}

Status VolumeMounts::Forget(const pool::VolumeId& volume) {
  LetGo(volume);
  return pool_.TagVolume(volume, {{kStagedTag, ""}, {kUsageTag, ""}});
}

Result<std::vector<MountEntry>> VolumeMounts::MountsOf(const std::string& device) {
  const std::uint64_t number = TRY(mounter_.DeviceNumber(device));
  const std::uint64_t home = TRY(mounter_.HomeOfNode(device));
  std::vector<MountEntry> mounts;
  for (MountEntry& entry : TRY(mounter_.List())) {
    if (entry.device == number) {
      mounts.push_back(std::move(entry));
    } else if (entry.device == home && entry.root != "/") {
      // A node bound onto a file. Its path there tells nothing: the device may be known by a link.
      const auto bound = mounter_.DeviceNumber(entry.target);
      if (bound.ok() && *bound == number) mounts.push_back(std::move(entry));
    }
  }
  return mounts;
}

Result<bool> VolumeMounts::IsBlank(const pool::VolumeId& volume) {
  const auto lease = TRY(pool_.LeaseVolume(volume, {.name = "it is looked at"}));
  const auto device = TRY(lease->Open());
  return ReadsAsZeros(*device);
}

Status VolumeMounts::PrepareDevice(const pool::VolumeId& volume, const std::string& device,
                                   bool published, bool read_only) {
  if (!published) return mounter_.SetDeviceReadOnly(device, read_only);
  for (const MountEntry& entry : TRY(MountsOf(device))) {
    if (entry.read_only == read_only) continue;
    return Error(Code::kFailedPrecondition,
                 "volume " + volume.str() + " is published at " + entry.target +
                     (entry.read_only ? " read-only" : " for writing") +
                     "; a block device is read-only for all who use it or for nobody");
  }
  return {};
}

// The kernel alone replays a log.
Status VolumeMounts::ReplayLog(const std::string& device, const std::string& staging) {
  TRY(mounter_.Mount(device, staging, "xfs", Filesystem::MountWords("xfs")));
  return mounter_.Unmount(staging);
}

Result<std::string> VolumeMounts::PrepareFilesystem(const pool::VolumeInfo& info,
                                                    const std::string& device,
                                                    const std::string& staging,
                                                    const std::string& wanted, bool& made) {
  const std::string fs_type = wanted.empty() ? default_fs_type_ : wanted;
  const std::string known = TagOf(info.tags, kFsTag);
  // What was cut off while it was being made is nobody's data.
  bool may_make = known.starts_with(kMaking);
  bool blank = false;
  if (!may_make) {
    const std::string found = TRY(filesystem_.Probe(device));
    if (!found.empty()) {
      if (!IsSupportedFsType(found)) {
        return Error(Code::kFailedPrecondition, "volume " + info.id.str() + " holds " + found +
                                                    ", which cannot be mounted; ext4 and xfs can");
      }
      if (!wanted.empty() && wanted != found) {
        return Error(Code::kFailedPrecondition, "volume " + info.id.str() +
                                                    " holds a filesystem of type " + found +
                                                    ", but fsType " + wanted + " is asked for");
      }
      TRY(filesystem_.Check(device, found));
      if (TagOf(info.tags, kUuidTag) == kNewUuid) {
        if (found == "xfs") TRY(ReplayLog(device, staging));
        TRY(filesystem_.SetNewUuid(device, found));
        TRY(pool_.TagVolume(info.id, {{kUuidTag, ""}}));
      }
      if (known != found) TRY(pool_.TagVolume(info.id, {{kFsTag, found}}));
      return found;
    }
    blank = TRY(IsBlank(info.id));
    may_make = blank;
  }
  if (!may_make) {
    return Error(Code::kFailedPrecondition,
                 "volume " + info.id.str() +
                     " holds data, but no filesystem that is known: it is not formatted. Use it "
                     "with volumeMode Block, or delete it");
  }
  TRY(pool_.TagVolume(info.id, {{kFsTag, kMaking + fs_type}}));
  TRY(filesystem_.Make(device, fs_type, blank));
  TRY(pool_.TagVolume(info.id, {{kFsTag, fs_type}}));
  made = true;
  return fs_type;
}

Status VolumeMounts::MountStaged(const pool::VolumeInfo& info, const std::string& device,
                                 const std::string& staging, const Usage& usage) {
  bool made = false;
  const std::string fs_type = TRY(PrepareFilesystem(info, device, staging, usage.fs_type, made));
  // A clone or a restored volume may be larger than its filesystem.
  const bool grow = !made && !usage.read_only;
  if (grow) {
    const std::uint64_t device_bytes = TRY(mounter_.DeviceSize(device));
    TRY(filesystem_.GrowUnmounted(device, fs_type, device_bytes));
  }
  std::vector<std::string> words = Filesystem::MountWords(fs_type);
  words.insert(words.end(), usage.mount_flags.begin(), usage.mount_flags.end());
  if (usage.read_only) words.emplace_back("ro");
  TRY(mounter_.Mount(device, staging, fs_type, words));
  // The kernel may have kept a filesystem that stood still when its former node died.
  if (auto thawed = mounter_.Thaw(staging); !thawed.ok()) {
    LogWarning("node", thawed.error().ToString());
  }
  if (!grow || fs_type == "ext4") return {};
  if (auto grown = filesystem_.Grow(device, fs_type, staging); !grown.ok()) {
    if (auto unmounted = mounter_.Unmount(staging); !unmounted.ok()) {
      LogWarning("node", unmounted.error().ToString());
    }
    return grown;
  }
  return {};
}

Status VolumeMounts::Stage(const pool::VolumeId& volume, const std::string& staging,
                           const Usage& usage) {
  const Busy busy(*this, volume);
  TRY(busy.Check());
  const pool::VolumeInfo info = TRY(pool_.GetVolume(volume));
  // Goes again with any answer but one that says what it is staged for.
  const StagedDevice leased = TRY(LeaseFor(volume, staging));
  const std::string& device = leased.path;
  const std::string as = DescribeUsage(usage);
  const std::string staged = TagOf(info.tags, kStagedTag);
  const std::string staged_as = TagOf(info.tags, kUsageTag);
  if (!staged.empty() && staged != staging && TRY(IsThere(staged, staged_as))) {
    return Error(Code::kFailedPrecondition,
                 "volume " + volume.str() + " is staged at " + staged + " already");
  }

  const auto entry = TRY(mounter_.Find(staging));
  const bool here =
      usage.block ? !entry : entry && entry->device == TRY(mounter_.DeviceNumber(device));
  if (staged == staging && (here || entry) && staged_as != as) {
    return Error(Code::kAlreadyExists, "volume " + volume.str() + " is staged at " + staging +
                                           " as " + KindOf(staged_as) + " with other options");
  }
  if (staged == staging && here) return {};
  if (entry) {
    return Error(Code::kAlreadyExists,
                 staging + " is the mount point of something else: " + entry->source);
  }
  // First the tag: whoever cuts a snapshot from here on looks for mounts.
  TRY(pool_.TagVolume(volume, {{kStagedTag, staging}, {kUsageTag, as}}));
  Keep(volume, leased);
  if (usage.block) return {};
  if (auto mounted = MountStaged(info, device, staging, usage); !mounted.ok()) {
    // What could not be unmounted again is still staged.
    if (TRY(mounter_.Find(staging))) return mounted;
    if (auto forgotten = Forget(volume); !forgotten.ok()) {
      LogWarning("node", forgotten.error().ToString());
    }
    return mounted;
  }
  return {};
}

Status VolumeMounts::Unstage(const pool::VolumeId& volume, const std::string& staging) {
  const Busy busy(*this, volume);
  TRY(busy.Check());
  const auto info = pool_.GetVolume(volume);
  if (info.Is(Code::kNotFound)) return mounter_.Unmount(staging);
  if (!info.ok()) return info.error();
  const std::string staged = TagOf(info->tags, kStagedTag);
  // Not staged, or elsewhere: not what this call is about.
  if (staged != staging) return {};
  if (const auto device = DeviceOf(volume)) {
    const auto staged_at = TRY(mounter_.Find(staging));
    for (const MountEntry& entry : TRY(MountsOf(*device))) {
      if (staged_at && entry.target == staged_at->target) continue;
      return Error(Code::kFailedPrecondition,
                   "volume " + volume.str() + " is still published at " + entry.target);
    }
  }
  TRY(mounter_.Unmount(staging));
  const bool raw = TagOf(info->tags, kUsageTag).starts_with("block");
  if (const auto device = DeviceOf(volume); device && raw) {
    // The kernel may give the number of the device to another volume.
    TRY(mounter_.SetDeviceReadOnly(*device, false));
  }
  return Forget(volume);
}

Status VolumeMounts::Publish(const pool::VolumeId& volume, const std::string& staging,
                             const std::string& target, const Usage& usage, bool read_only) {
  const Busy busy(*this, volume);
  TRY(busy.Check());
  const pool::VolumeInfo info = TRY(pool_.GetVolume(volume));
  const std::string staged_as = TagOf(info.tags, kUsageTag);
  if (TagOf(info.tags, kStagedTag) != staging || (!usage.block && !TRY(mounter_.Find(staging)))) {
    return Error(Code::kFailedPrecondition,
                 "volume " + volume.str() + " is not staged at " + staging);
  }
  if (staged_as.starts_with("block") != usage.block) {
    return Error(Code::kFailedPrecondition, "volume " + volume.str() + " is staged as " +
                                                KindOf(staged_as) + ", but asked for as " +
                                                (usage.block ? "a block device" : "a filesystem"));
  }
  const std::string fs_type = TagOf(info.tags, kFsTag);
  if (!usage.block && !usage.fs_type.empty() && usage.fs_type != fs_type) {
    return Error(Code::kFailedPrecondition, "volume " + volume.str() +
                                                " holds a filesystem of type " + fs_type +
                                                ", but fsType " + usage.fs_type + " is asked for");
  }
  const StagedDevice leased = TRY(LeaseFor(volume, staging));
  Keep(volume, leased);
  const std::string& device = leased.path;
  const bool ro = read_only || usage.read_only;
  const std::string as = DescribeUsage(usage) + (ro ? " published ro" : " published rw");
  // Find() sees through links in the paths; the mount table has none.
  const auto staged_at = TRY(mounter_.Find(staging));
  const auto published_at = TRY(mounter_.Find(target));
  bool elsewhere = false;
  for (const MountEntry& entry : TRY(MountsOf(device))) {
    if (staged_at && entry.target == staged_at->target) continue;
    if (!published_at || entry.target != published_at->target) {
      elsewhere = true;
      continue;
    }
    std::string earlier;
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = published_as_.find(target); found != published_as_.end()) {
        earlier = found->second;
      }
    }
    // Of an earlier life of this driver only the kernel's word is left.
    if (earlier.empty() ? entry.read_only == ro || usage.block : earlier == as) return {};
    return Error(Code::kAlreadyExists, "volume " + volume.str() + " is published at " + target +
                                           " with another capability or readonly flag");
  }
  if (published_at) {
    return Error(Code::kAlreadyExists,
                 target + " is the mount point of something else: " + published_at->source);
  }
  if (elsewhere && usage.single_writer) {
    return Error(Code::kFailedPrecondition,
                 "volume " + volume.str() +
                     " is for a single writer and published at another target already");
  }
  if (usage.block) TRY(PrepareDevice(volume, device, elsewhere, ro));
  TRY(usage.block ? mounter_.MakeFile(target) : mounter_.MakeFolder(target));
  if (auto bound = mounter_.Bind(usage.block ? device : staging, target, ro); !bound.ok()) {
    if (auto removed = mounter_.RemovePath(target); !removed.ok()) {
      LogWarning("node", removed.error().ToString());
    }
    return bound;
  }
  const std::lock_guard lock(mutex_);
  published_as_[target] = as;
  return {};
}

Status VolumeMounts::Unpublish(const pool::VolumeId& volume, const std::string& target) {
  const auto device = DeviceOf(volume);
  if (const auto entry = TRY(mounter_.Find(target)); entry && device) {
    const auto mounts = TRY(MountsOf(*device));
    const bool ours = std::any_of(mounts.begin(), mounts.end(), [&](const MountEntry& mount) {
      return mount.target == entry->target;
    });
    if (!ours) {
      return Error(Code::kFailedPrecondition,
                   target + " is the mount point of something else than volume " + volume.str() +
                       ": " + entry->source);
    }
  }
  TRY(mounter_.Unmount(target));
  TRY(mounter_.RemovePath(target));
  const std::lock_guard lock(mutex_);
  published_as_.erase(target);
  return {};
}

Result<VolumeFigures> VolumeMounts::Figures(const pool::VolumeId& volume, const std::string& path) {
  const auto not_there = [&] {
    return Error(Code::kNotFound, "volume " + volume.str() + " is not at " + path);
  };
  const auto device = DeviceOf(volume);
  if (!device) return not_there();
  const auto at = TRY(mounter_.Find(path));
  const pool::VolumeInfo info = TRY(pool_.GetVolume(volume));
  if (!at) {
    // A raw device is staged without a mount.
    if (TagOf(info.tags, kStagedTag) != path) return not_there();
    VolumeFigures figures;
    figures.block = true;
    figures.fs.total_bytes = info.size_bytes;
    return figures;
  }
  for (const MountEntry& entry : TRY(MountsOf(*device))) {
    if (entry.target != at->target) continue;
    VolumeFigures figures;
    figures.block = TRY(mounter_.DeviceNumber(*device))
    != entry.device;
    if (figures.block) {
      figures.fs.total_bytes = info.size_bytes;
      return figures;
    }
    figures.fs = TRY(mounter_.Figures(path));
    const auto staged = TRY(mounter_.Find(TagOf(info.tags, kStagedTag)));
    if (staged && staged->read_only && !IsReadOnly(TagOf(info.tags, kUsageTag))) {
      figures.trouble = "the kernel made the filesystem read-only after an error: its log says why";
    }
    return figures;
  }
  return not_there();
}

Status VolumeMounts::Expand(const pool::VolumeId& volume, const std::string& path) {
  const Busy busy(*this, volume);
  TRY(busy.Check());
  const auto device = DeviceOf(volume);
  if (device) {
    const pool::VolumeInfo info = TRY(pool_.GetVolume(volume));
    if (TagOf(info.tags, kUsageTag).starts_with("block") &&
        (TagOf(info.tags, kStagedTag) == path || TRY(mounter_.Kind(path)) != PathKind::kMissing)) {
      return {};
    }
    const auto at = TRY(mounter_.Find(path));
    if (at && at->device == TRY(mounter_.DeviceNumber(*device))) {
      return filesystem_.Grow(*device, at->fs_type, at->target);
    }
  }
  return Error(Code::kNotFound, "volume " + volume.str() + " is not at " + path);
}

}  // namespace thinsnap::mount
