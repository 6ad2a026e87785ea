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
#include "csi/pool/cut.h"
#include "csi/pool/pool_index.h"
#include "csi/pool/record.h"
#include "csi/reflink/cut_folders.h"
#include "csi/reflink/file_lease.h"
#include "csi/reflink/file_map.h"
#include "csi/reflink/image_file.h"
#include "csi/reflink/loop_device.h"
#include "csi/reflink/spare_files.h"

namespace thinsnap::reflink {
namespace {

constexpr std::uint64_t kGrain = 4096;

class ReflinkThinPool final : public pool::ThinPool, private pool::CutSteps {
 public:
  ReflinkThinPool(Clock& clock, Random& random, ReflinkPoolOptions options)
      : clock_(clock),
        random_(random),
        options_(std::move(options)),
        cuts_(clock, random),
        folders_(options_.folder, options_.on_step),
        spares_(Path("spares")) {}

  Status Open() {
    TRY(MakeFolders(options_.folder, 0700));
    lock_.Reset(open(Path("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock_) return ErrnoError(errno, "open " + Path("lock"));
    if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      return Error(Code::kFailedPrecondition, "another process has the pool in " + options_.folder);
    }
    for (const char* folder : {"volumes", "snapshots", "groups", "tmp", "trash"})
      TRY(MakeFolders(Path(folder), 0700));
    TRY(Empty("tmp"));
    TRY(Empty("trash"));
    const std::lock_guard lock(mutex_);
    TRY(spares_.Fill());
    TRY(ProbeReflinks());
    TRY(LoadId());
    TRY(folders_.FinishGroups());
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
    status.read_only = (info.f_flag & ST_RDONLY) != 0;
    const std::uint64_t used = status.size_bytes - info.f_bfree * info.f_frsize;
    if (!options_.image.empty()) {
      const std::uint64_t room = TRY(RoomOfImage(options_.image, used));
      status.free_bytes = std::min(status.free_bytes, room);
      status.size_bytes = std::min(status.size_bytes, used + room);
    }
    status.out_of_data_space = status.free_bytes < kGrain;
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
    pool::GroupInfo alone = TRY(cuts_.Make({"", {request}}, *this, *this, quiesce));
    return std::move(alone.members.front());
  }
  Result<pool::GroupInfo> SnapshotGroup(const pool::GroupRequest& request,
                                        pool::Quiesce& quiesce) override {
    if (request.name.empty()) return Error(Code::kInvalidArgument, "a group needs a name");
    return cuts_.Make(request, *this, *this, quiesce);
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

  Result<std::optional<pool::VolumeInfo>> FindVolume(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    return index_.FindVolume(name);
  }
  Result<std::optional<pool::SnapshotInfo>> FindSnapshot(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    return index_.FindSnapshot(name);
  }
  Result<std::optional<pool::GroupInfo>> FindGroup(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    return index_.FindGroup(name);
  }
  Result<std::vector<pool::SnapshotInfo>> SnapshotsOf(const pool::VolumeId& volume) override {
    const std::lock_guard lock(mutex_);
    return index_.SnapshotsOf(volume);
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

  Result<std::uint64_t> Mapped(const pool::VolumeId& volume) override {
    const std::lock_guard lock(mutex_);
    static_cast<void>(TRY(index_.Get(volume)));
    return AllocatedBytes(DataOf(volume));
  }
  Result<std::uint64_t> Reclaimable(std::span<const pool::SnapshotId> snapshots) override {
    // Blocks that two of them share and nobody else has are not counted: it is a lower bound.
    std::uint64_t bytes = 0;
    for (const pool::SnapshotId& snapshot : snapshots) {
      Result<FileMapReader> map = MapOf(snapshot);
      if (map.Is(Code::kNotFound) || map.Is(Code::kFailedPrecondition)) continue;
      if (!map.ok()) return map.error();
      bytes += TRY(CountExclusive(std::move(*map)));
    }
    return bytes;
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

  Result<std::optional<pool::GroupInfo>> FindCut(const pool::GroupRequest& request) override {
    const std::lock_guard lock(mutex_);
    return index_.FindForGroup(request);
  }
  Result<pool::SnapshotInfo> DescribeCut(const pool::SnapshotRequest& request,
                                         WallTime cut) override {
    const std::lock_guard lock(mutex_);
    const pool::VolumeInfo volume = TRY(index_.Get(request.volume));
    pool::SnapshotInfo info;
    info.cut = cut;
    info.id = index_.NewSnapshotId(request.volume, cut, random_);
    info.name = request.name;
    info.volume = request.volume;
    info.size_bytes = volume.size_bytes;
    info.device_identity = "reflink:" + id_.str() + ":" + info.id.str();
    info.tags = request.tags;
    return info;
  }
  Status CopyAll(const std::vector<pool::SnapshotInfo>& members) override {
    for (const pool::SnapshotInfo& member : members) {
      // Writers of a raw device have no filesystem that would write out for them.
      if (const auto device = devices_.Find(DataOf(member.volume))) TRY(SyncLoopDevice(*device));
      TRY(folders_.Copy(members, member, DataOf(member.volume)));
    }
    return {};
  }
  Status PlaceAll(const std::vector<pool::SnapshotInfo>& members) override {
    const std::lock_guard lock(mutex_);
    TRY(folders_.Place(members));
    for (const pool::SnapshotInfo& member : members) index_.Put(member);
    return {};
  }
  void Abandon(const std::vector<pool::SnapshotInfo>& members) override {
    const std::lock_guard lock(mutex_);
    folders_.Remove(members).IgnoreError();  // emptied at the next start at the latest
    for (const pool::SnapshotInfo& member : members) {
      Remove(member.id).IgnoreError();  // one that was already in its place
    }
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
    if (const auto volume = index_.RecordWithout(snapshot)) TRY(Tag(*volume, {}));
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
  pool::Cuts cuts_;
  CutFolders folders_;
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
