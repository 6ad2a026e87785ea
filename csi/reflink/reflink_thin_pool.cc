#include "csi/reflink/reflink_thin_pool.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <mutex>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/core/file.h"
#include "base/core/guarded.h"
#include "base/core/log.h"
#include "base/data/json.h"
#include "csi/pool/pool_index.h"
#include "csi/pool/record.h"
#include "csi/reflink/file_lease.h"
#include "csi/reflink/file_map.h"
#include "csi/reflink/image_file.h"
#include "csi/reflink/loop_device.h"
#include "csi/reflink/spare_files.h"

namespace thinsnap::reflink {
namespace {

constexpr std::uint64_t kGrain = 4096;

class ReflinkThinPool final : public pool::ThinPool {
 public:
  ReflinkThinPool(Clock& clock, Random& random, ReflinkPoolOptions options)
      : clock_(clock), random_(random), options_(std::move(options)), spares_(Path("spares")) {}

  Status Open() {
    TRY(MakeFolders(options_.folder, 0700));
    lock_.Reset(open(Path("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock_) return ErrnoError(errno, "open " + Path("lock"));
    if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      return Error(Code::kFailedPrecondition, "another process has the pool in " + options_.folder);
    }
    for (const char* folder : {"volumes", "snapshots", "tmp", "trash"})
      TRY(MakeFolders(Path(folder), 0700));
    TRY(Empty("tmp"));
    TRY(Empty("trash"));
    const std::lock_guard lock(mutex_);
    TRY(spares_.Fill());
    TRY(ProbeReflinks());
    TRY(LoadId());
    return LoadRecords();
  }

  Result<pool::PoolStatus> GetStatus() override {
    struct statvfs info{};
    if (statvfs(options_.folder.c_str(), &info) != 0) return ErrnoError(errno, "statvfs");
    pool::PoolStatus status;
    status.id = id_;
    status.size_bytes = info.f_blocks * info.f_frsize;
    status.free_bytes = info.f_bavail * info.f_frsize;
    status.grain_bytes = kGrain;
    const std::uint64_t used = status.size_bytes - info.f_bfree * info.f_frsize;
    if (!options_.image.empty()) {
      const std::uint64_t room = TRY(RoomOfImage(options_.image, used));
      status.free_bytes = std::min(status.free_bytes, room);
      status.size_bytes = std::min(status.size_bytes, used + room);
    }
    // What the live volumes map, they would hold without snapshots too; clones are counted twice,
    // so this is a floor.
    std::uint64_t live = 0;
    const std::lock_guard lock(mutex_);
    for (const pool::VolumeInfo& volume : index_.Volumes())
      live += AllocatedBytes(DataOf(volume.id));
    if (!index_.Snapshots().empty() && used > live) status.snapshot_overhead_bytes = used - live;
    return status;
  }

  Result<pool::VolumeInfo> Create(const pool::CreateRequest& request) override {
    const std::lock_guard lock(mutex_);
    const std::uint64_t size = (request.size_bytes + kGrain - 1) / kGrain * kGrain;
    std::optional<pool::VolumeInfo> existing = TRY(index_.FindForCreate(request, size));
    if (existing.has_value()) return *existing;
    pool::VolumeInfo volume;
    volume.created = clock_.Now();
    volume.id = pool::VolumeId(NewUlid(volume.created, random_));
    volume.name = request.name;
    volume.size_bytes = size;
    volume.origin = request.source.value_or(pool::SnapshotId());
    volume.tags = request.tags;
    const std::string folder = Path("tmp/" + volume.id.str());
    const auto fill = [&]() -> Status {
      TRY(MakeFolders(folder, 0700, kNoRoom));
      Step("create:folder");
      if (request.source.has_value()) {
        TRY(MakeClone(DataOf(*request.source), folder + "/data", size));
      } else {
        TRY(MakeSparse(folder + "/data", size));
      }
      Step("create:data");
      TRY(WriteFileAtomic(folder + "/meta.json", ToJson(pool::ToRecord(volume)), 0600, kNoRoom));
      Step("create:meta");
      return RenameDurably(folder, FolderOf(volume.id));
    };
    if (Status made = fill(); !made.ok()) {
      RemoveTree(folder).IgnoreError();  // emptied at the next start at the latest
      // It may have its name already; nobody was told.
      Discard(FolderOf(volume.id), volume.id.str()).IgnoreError();
      return std::move(made).error().In("create volume \"" + request.name + "\"");
    }
    Step("create:done");
    index_.Put(volume);
    return volume;
  }

  Result<pool::SnapshotInfo> Snapshot(const pool::SnapshotRequest& request,
                                      pool::Quiesce& quiesce) override {
    std::vector<pool::SnapshotInfo> made = TRY(SnapshotGroup({request}, quiesce));
    return std::move(made.front());
  }

  Result<std::vector<pool::SnapshotInfo>> SnapshotGroup(
      const std::vector<pool::SnapshotRequest>& requests, pool::Quiesce& quiesce) override {
    const std::lock_guard lock(mutex_);
    std::vector<pool::SnapshotInfo> all;
    std::vector<pool::SnapshotInfo> fresh;
    for (const pool::SnapshotRequest& request : requests) {
      std::optional<pool::SnapshotInfo> existing = TRY(index_.FindForSnapshot(request));
      if (existing.has_value()) {
        all.push_back(std::move(*existing));
        continue;
      }
      pool::SnapshotInfo info;
      info.cut = clock_.Now();
      info.id = index_.NewSnapshotId(request.volume, info.cut, random_);
      info.name = request.name;
      info.volume = request.volume;
      const pool::VolumeInfo volume = TRY(index_.Get(request.volume));
      info.size_bytes = volume.size_bytes;
      info.device_identity = "reflink:" + id_.str() + ":" + info.id.str();
      info.tags = request.tags;
      TRY(MakeFolders(Path("tmp/" + info.id.str()), 0700, kNoRoom));
      all.push_back(info);
      fresh.push_back(std::move(info));
    }
    Status outcome = CutFrozen(fresh, quiesce);
    for (const pool::SnapshotInfo& info : fresh) {
      if (!outcome.ok()) break;
      const std::string folder = Path("tmp/" + info.id.str());
      outcome = WriteFileAtomic(folder + "/meta.json", ToJson(pool::ToRecord(info)), 0600, kNoRoom);
      Step("snapshot:meta");
    }
    for (const pool::SnapshotInfo& info : fresh) {
      if (!outcome.ok()) break;
      outcome = RenameDurably(Path("tmp/" + info.id.str()), FolderOf(info.id));
      if (outcome.ok()) index_.Put(info);
    }
    Step("snapshot:done");
    if (outcome.ok()) return all;
    for (const pool::SnapshotInfo& info : fresh) {
      RemoveTree(Path("tmp/" + info.id.str()))
          .IgnoreError();             // emptied at the next start at the latest
      Remove(info.id).IgnoreError();  // a member that was already in its place
    }
    return std::move(outcome).error().In("snapshot");
  }

  Result<std::uint64_t> Resize(const pool::VolumeId& volume, std::uint64_t size_bytes) override {
    const std::lock_guard lock(mutex_);
    pool::VolumeInfo info = TRY(index_.Get(volume));
    const std::uint64_t size = (size_bytes + kGrain - 1) / kGrain * kGrain;
    if (size <= info.size_bytes) return info.size_bytes;
    // The file first: a record that promises more than the file has would be a lie after a crash.
    if (truncate(DataOf(volume).c_str(), static_cast<off_t>(size)) != 0) {
      return ErrnoError(errno, "grow volume " + volume.str(), kNoRoom);
    }
    Step("resize:data");
    info.size_bytes = size;
    TRY(spares_.Write(FolderOf(volume) + "/meta.json", ToJson(pool::ToRecord(info))));
    index_.Put(info);
    if (const auto device = devices_.Find(DataOf(volume))) TRY(RefreshLoopDevice(*device));
    return size;
  }

  Status RemoveVolume(const pool::VolumeId& volume) override {
    const auto retirement = TRY(pins_->Retire(pool::NameOf(volume), pool::Jobs::kEnd));
    const std::lock_guard lock(mutex_);
    if (!index_.Get(volume).ok()) return {};
    // A mount of an earlier life that nobody took up again.
    TRY(CheckNotMounted(DataOf(volume)).In(pool::NameOf(volume)));
    TRY(Discard(FolderOf(volume), volume.str()));
    index_.Erase(volume);
    return {};
  }

  Status RemoveSnapshot(const pool::SnapshotId& snapshot) override {
    const auto retirement = TRY(pins_->Retire(pool::NameOf(snapshot), pool::Jobs::kEnd));
    const std::lock_guard lock(mutex_);
    return Remove(snapshot);
  }

  Status DropDevice(const pool::SnapshotId& snapshot) override {
    const auto retirement = TRY(pins_->Retire(pool::NameOf(snapshot), pool::Jobs::kSpare));
    const std::lock_guard lock(mutex_);
    pool::SnapshotInfo info = TRY(index_.Get(snapshot));
    if (!info.has_device) return {};
    info.has_device = false;
    info.device_identity.clear();
    // The record first: a record that promises a device that is gone would be a lie after a crash;
    // a device without a promise is removed at the next start.
    TRY(spares_.Write(FolderOf(snapshot) + "/meta.json", ToJson(pool::ToRecord(info))));
    Step("drop:meta");
    index_.Put(info);
    return RemoveFile(DataOf(snapshot)).In("drop the device of snapshot " + snapshot.str());
  }

  Result<pool::VolumeInfo> GetVolume(const pool::VolumeId& volume) override {
    const std::lock_guard lock(mutex_);
    return index_.Get(volume);
  }
  Result<pool::SnapshotInfo> GetSnapshot(const pool::SnapshotId& snapshot) override {
    const std::lock_guard lock(mutex_);
    return index_.Get(snapshot);
  }
  Result<std::vector<pool::VolumeInfo>> ListVolumes() override {
    const std::lock_guard lock(mutex_);
    return index_.Volumes();
  }
  Result<std::vector<pool::SnapshotInfo>> ListSnapshots() override {
    const std::lock_guard lock(mutex_);
    return index_.Snapshots();
  }

  Status TagVolume(const pool::VolumeId& volume, const pool::Tags& tags) override {
    const std::lock_guard lock(mutex_);
    return Tag(TRY(index_.Get(volume)), tags);
  }
  Status TagSnapshot(const pool::SnapshotId& snapshot, const pool::Tags& tags) override {
    const std::lock_guard lock(mutex_);
    return Tag(TRY(index_.Get(snapshot)), tags);
  }

  Result<std::unique_ptr<block::ExtentStream>> Allocated(const pool::SnapshotId& snapshot,
                                                         std::uint64_t from_offset) override {
    FileMapReader map = TRY(MapOf(snapshot));
    block::ExtentSpool spool(from_offset);
    TRY(CollectWritten(std::move(map), spool));
    return std::move(spool).Finish();
  }
  Result<std::unique_ptr<block::ExtentStream>> Changed(const pool::SnapshotId& base,
                                                       const pool::SnapshotId& target,
                                                       std::uint64_t from_offset) override {
    FileMapReader before = TRY(MapOf(base));
    FileMapReader after = TRY(MapOf(target));
    block::ExtentSpool spool(from_offset);
    TRY(CollectDifferent(std::move(before), std::move(after), spool));
    return std::move(spool).Finish();
  }

  Result<std::unique_ptr<pool::Pin>> PinVolume(const pool::VolumeId& volume,
                                               pool::Holder holder) override {
    const std::lock_guard lock(mutex_);
    static_cast<void>(TRY(index_.Get(volume)));
    return pins_->Add(pool::NameOf(volume), std::move(holder));
  }
  Result<std::unique_ptr<pool::Pin>> PinSnapshot(const pool::SnapshotId& snapshot,
                                                 pool::Holder holder) override {
    const std::lock_guard lock(mutex_);
    static_cast<void>(TRY(index_.GetWithDevice(snapshot)));
    return pins_->Add(pool::NameOf(snapshot), std::move(holder));
  }
  Result<std::unique_ptr<pool::Lease>> LeaseVolume(const pool::VolumeId& volume,
                                                   pool::Holder holder) override {
    return MakeFileLease(TRY(PinVolume(volume, std::move(holder))), devices_, DataOf(volume),
                         block::OpenMode::kReadWrite);
  }
  Result<std::unique_ptr<pool::Lease>> LeaseSnapshot(const pool::SnapshotId& snapshot,
                                                     pool::Holder holder) override {
    return MakeFileLease(TRY(PinSnapshot(snapshot, std::move(holder))), devices_, DataOf(snapshot),
                         block::OpenMode::kReadOnly);
  }

 private:
  std::string Path(const std::string& name) const { return options_.folder + "/" + name; }
  std::string FolderOf(const pool::VolumeId& id) const { return Path("volumes/" + id.str()); }
  std::string FolderOf(const pool::SnapshotId& id) const { return Path("snapshots/" + id.str()); }
  template <typename AnyId>
  std::string DataOf(const AnyId& id) const {
    return FolderOf(id) + "/data";
  }

  void Step(const char* step) const {
    if (options_.on_step) options_.on_step(step);
  }

  // Clones all between one freeze and one thaw.
  Status CutFrozen(const std::vector<pool::SnapshotInfo>& fresh, pool::Quiesce& quiesce)
      REQUIRES(mutex_) {
    Status outcome;
    std::vector<pool::VolumeId> frozen;
    for (const pool::SnapshotInfo& info : fresh) {
      outcome = quiesce.Freeze(info.volume);
      if (!outcome.ok()) break;
      frozen.push_back(info.volume);
    }
    for (const pool::SnapshotInfo& info : fresh) {
      if (!outcome.ok()) break;
      if (const auto device = devices_.Find(DataOf(info.volume))) {
        outcome = SyncLoopDevice(*device);
      }
      if (outcome.ok()) {
        outcome =
            MakeClone(DataOf(info.volume), Path("tmp/" + info.id.str()) + "/data", info.size_bytes);
      }
      Step("snapshot:clone");
    }
    for (const pool::VolumeId& volume : frozen) {
      Status thawed = quiesce.Thaw(volume);
      if (!thawed.ok() && outcome.ok()) outcome = std::move(thawed);
    }
    return outcome;
  }

  // Removing renames first: what has a name in its place is whole.
  Status Discard(const std::string& folder, const std::string& name) {
    const std::string trash = Path("trash/" + name);
    if (rename(folder.c_str(), trash.c_str()) != 0) {
      if (errno == ENOENT) return {};
      return ErrnoError(errno, "remove " + name);
    }
    TRY(FsyncFolder(std::filesystem::path(folder).parent_path()));
    Step("remove:renamed");
    // Whoever removes for room looks at once.
    TRY(RemoveFile(trash + "/data"));
    return RemoveTree(trash);
  }

  Status Remove(const pool::SnapshotId& snapshot) REQUIRES(mutex_) {
    TRY(Discard(FolderOf(snapshot), snapshot.str()));
    index_.Erase(snapshot);
    return {};
  }

  template <typename Info>
  Status Tag(Info info, const pool::Tags& tags) REQUIRES(mutex_) {
    pool::ApplyTags(tags, info.tags);
    TRY(spares_.Write(FolderOf(info.id) + "/meta.json", ToJson(pool::ToRecord(info))));
    index_.Put(std::move(info));
    return {};
  }

  // Opened under the mutex, as all that is read here: what is open is not truncated by a removal.
  Result<FileMapReader> MapOf(const pool::SnapshotId& snapshot) {
    const std::lock_guard lock(mutex_);
    static_cast<void>(TRY(index_.GetWithDevice(snapshot)));
    return FileMapReader::Open(DataOf(snapshot));
  }

  Status Empty(const std::string& folder) {
    std::error_code failure;
    for (const auto& entry : std::filesystem::directory_iterator(Path(folder), failure)) {
      TRY(RemoveTree(entry.path()));
    }
    return {};
  }

  Status ProbeReflinks() {
    const std::string from = Path("tmp/probe-a");
    const std::string to = Path("tmp/probe-b");
    Status cloned = MakeSparse(from, kGrain);
    if (cloned.ok()) cloned = MakeClone(from, to, kGrain);
    TRY(Empty("tmp"));
    // A full pool was asked when it had room.
    if (cloned.ok() || cloned.Is(Code::kResourceExhausted)) return {};
    return Error(Code::kFailedPrecondition,
                 options_.folder +
                     " is not on a filesystem with reflinks (XFS made with reflink=1): " +
                     cloned.error().message());
  }

  Status LoadId() {
    const Result<std::string> text = ReadFile(Path("pool.json"), kMiB);
    if (text.Is(Code::kNotFound)) {
      id_ = pool::NewPoolId(random_);
      return WriteFileAtomic(Path("pool.json"),
                             ToJson(JsonObject({{"id", id_.str()}, {"version", 1}})), 0600);
    }
    if (!text.ok()) return text.error();
    id_ = pool::PoolId(StringAt(TRY(ParseJson(*text).In(Path("pool.json"))), "id"));
    if (id_.str().size() != 13)
      return Error(Code::kDataLoss, Path("pool.json") + " has no pool id");
    return {};
  }

  Status LoadRecords() REQUIRES(mutex_) {
    for (const auto& entry : std::filesystem::directory_iterator(Path("volumes"))) {
      const Json record = TRY(ReadRecord(entry.path()));
      index_.Put(TRY(pool::VolumeFromRecord(record).In(entry.path().string())));
    }
    for (const auto& entry : std::filesystem::directory_iterator(Path("snapshots"))) {
      const Json record = TRY(ReadRecord(entry.path()));
      pool::SnapshotInfo snapshot = TRY(pool::SnapshotFromRecord(record).In(entry.path().string()));
      if (!snapshot.has_device) unlink(DataOf(snapshot.id).c_str());
      index_.Put(std::move(snapshot));
    }
    return {};
  }

  static Result<Json> ReadRecord(const std::filesystem::path& folder) {
    const std::string path = (folder / "meta.json").string();
    return ParseJson(TRY(ReadFile(path, kMiB))).In(path);
  }

  Clock& clock_;
  Random& random_;
  const ReflinkPoolOptions options_;
  UniqueFd lock_;
  pool::PoolId id_;  // constant after Open
  const std::shared_ptr<pool::PinTable> pins_ = std::make_shared<pool::PinTable>();
  ActiveDevices devices_;

  std::mutex mutex_;  // guards all below and the folders
  pool::PoolIndex index_ GUARDED_BY(mutex_);
  SpareFiles spares_ GUARDED_BY(mutex_);  // what is there already is changed also in a full pool
};

}  // namespace

Result<std::unique_ptr<pool::ThinPool>> OpenReflinkThinPool(Clock& clock, Random& random,
                                                            ReflinkPoolOptions options) {
  auto pool = std::make_unique<ReflinkThinPool>(clock, random, std::move(options));
  TRY(pool->Open());
  return std::unique_ptr<pool::ThinPool>(std::move(pool));
}

}  // namespace thinsnap::reflink
