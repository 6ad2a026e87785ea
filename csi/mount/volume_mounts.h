// VolumeMounts: the node's side of a volume's life: staged once (filesystem made, checked, mounted,
// grown), published for each pod, and back. What is mounted is asked of the kernel and what is
// staged stands in the volume's tags, so a driver that starts again knows everything.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/command.h"
#include "base/core/guarded.h"
#include "csi/mount/filesystem.h"
#include "csi/mount/mounter.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::mount {

// Tags of a volume that are kept here.
inline constexpr char kFsTag[] = "fs";            // "ext4"; "making ext4" until it is made
inline constexpr char kStagedTag[] = "staged";    // the staging path
inline constexpr char kUsageTag[] = "staged-as";  // how
inline constexpr char kUuidTag[] = "uuid";        // kNewUuid until the filesystem has another one
inline constexpr char kNewUuid[] = "new";

// How a volume is to be used.
struct Usage {
  bool block = false;
  std::string fs_type;  // empty: what is there, else the default
  std::vector<std::string> mount_flags;
  bool read_only = false;
  bool single_writer = false;  // by one workload at a time
};

struct VolumeFigures {
  bool block = false;
  FsFigures fs;         // of a block volume only total_bytes is known
  std::string trouble;  // that the kernel has with it; empty if none
};

// Thread-safe. Verbs of one volume exclude each other: kAborted while another one runs. All may be
// repeated.
class VolumeMounts {
 public:
  VolumeMounts(pool::ThinPool& pool, Mounter& mounter, CommandRunner& runner,
               std::string default_fs_type);

  // What a volume gets that asks for no type.
  const std::string& default_fs_type() const { return default_fs_type_; }

  // After a start: thaws what an earlier life left frozen, forgets stagings that did not survive.
  Status Recover();

  // kAlreadyExists when it is staged there in another way; kFailedPrecondition when it is staged
  // elsewhere, or the device holds something else than what is asked for.
  Status Stage(const pool::VolumeId& volume, const std::string& staging, const Usage& usage);
  // Also for a volume that is gone. What something else mounted there stays.
  Status Unstage(const pool::VolumeId& volume, const std::string& staging);
  // kAlreadyExists when it is published there in another way; kFailedPrecondition when it is not
  // staged, or another target has it and the usage is single_writer.
  Status Publish(const pool::VolumeId& volume, const std::string& staging,
                 const std::string& target, const Usage& usage, bool read_only);
  // Missing is fine; kFailedPrecondition when something else is mounted there.
  Status Unpublish(const pool::VolumeId& volume, const std::string& target);
  // kNotFound when the volume is not at the path.
  Result<VolumeFigures> Figures(const pool::VolumeId& volume, const std::string& path);
  Status Expand(const pool::VolumeId& volume, const std::string& path);

  // The device of a volume that is staged here. Asks nobody: pools call it while they cut.
  std::optional<std::string> DeviceOf(const pool::VolumeId& volume);

 private:
  class Busy;
  struct StagedDevice {
    std::shared_ptr<pool::Lease> lease;
    std::string path;
  };
  Result<std::string> PrepareFilesystem(const pool::VolumeInfo& info, const std::string& device,
                                        const std::string& staging, const std::string& wanted,
                                        bool& made);
  Status ReplayLog(const std::string& device, const std::string& staging);
  Status MountStaged(const pool::VolumeInfo& info, const std::string& device,
                     const std::string& staging, const Usage& usage);
  // The device that was kept, or a new lease.
  Result<StagedDevice> LeaseFor(const pool::VolumeId& volume, const std::string& staging);
  void Keep(const pool::VolumeId& volume, const StagedDevice& device);
  void LetGo(const pool::VolumeId& volume);
  // Whether the kernel knows of a staging that the tags tell of.
  Status RecoverOne(const pool::VolumeInfo& info);
  Result<bool> IsThere(const std::string& staging, const std::string& staged_as);
  // No longer staged.
  Status Forget(const pool::VolumeId& volume);
  Result<bool> IsBlank(const pool::VolumeId& volume);
  // Where the device is mounted or its node is bound, staging included.
  Result<std::vector<MountEntry>> MountsOf(const std::string& device);
  // Raw devices are read-only for all or for nobody.
  Status PrepareDevice(const pool::VolumeId& volume, const std::string& device, bool published,
                       bool read_only);

  pool::ThinPool& pool_;
  Mounter& mounter_;
  Filesystem filesystem_;
  const std::string default_fs_type_;
  std::mutex mutex_;
  std::set<pool::VolumeId> busy_ GUARDED_BY(mutex_);
  std::map<pool::VolumeId, StagedDevice> devices_ GUARDED_BY(mutex_);
  std::map<std::string, std::string> published_as_
      GUARDED_BY(mutex_);  // target -> how, of this life
};

}  // namespace thinsnap::mount
