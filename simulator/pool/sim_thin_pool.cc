#include "simulator/pool/sim_thin_pool.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "csi/pool/cut.h"
#include "csi/pool/pool_index.h"
#include "simulator/pool/block_tree.h"

namespace thinsnap::pool {

struct SimPoolImage {
  PoolId id;
  std::shared_ptr<ChunkBudget> budget;
  std::mutex mutex;  // guards all below, and the trees' chunks
  PoolIndex index;
  std::map<VolumeId, std::shared_ptr<BlockTree>> volumes;
  std::map<SnapshotId, std::shared_ptr<BlockTree>> snapshots;
};

std::shared_ptr<SimPoolImage> NewSimPoolImage(Random& random, std::uint64_t capacity_bytes) {
  auto image = std::make_shared<SimPoolImage>();
  image->id = NewPoolId(random);
  image->budget = std::make_shared<ChunkBudget>();
  image->budget->capacity = capacity_bytes / kChunkBytes;
  return image;
}

namespace {

constexpr std::uint64_t kGrain = 4096;
using FaultHook = std::function<PoolFault(std::string_view)>;

Error NoAnswer() { return Error(Code::kUnavailable, "the pool does not answer"); }

class SimBlockDevice final : public block::BlockDevice {
 public:
  SimBlockDevice(std::shared_ptr<SimPoolImage> image, std::shared_ptr<BlockTree> tree,
                 std::uint64_t size_bytes, bool writable, FaultHook fault)
      : image_(std::move(image)),
        tree_(std::move(tree)),
        size_bytes_(size_bytes),
        writable_(writable),
        fault_(std::move(fault)) {}

  std::uint64_t size_bytes() const override { return size_bytes_; }

  Status ReadAt(std::uint64_t offset, MutableByteSpan into) override {
    TRY(Check("ReadAt", offset, into.size(), false));
    const std::lock_guard lock(image_->mutex);
    tree_->Read(offset, into);
    return {};
  }

  Status WriteAt(std::uint64_t offset, ByteSpan bytes) override {
    TRY(Check("WriteAt", offset, bytes.size(), true));
    const std::lock_guard lock(image_->mutex);
    return tree_->Write(offset, bytes);
  }

  Status Discard(std::uint64_t offset, std::uint64_t length) override {
    TRY(Check("Discard", offset, length, true));
    const std::lock_guard lock(image_->mutex);
    return tree_->Discard(offset, length);
  }

  Status Flush() override { return Check("Flush", 0, 0, false); }

  Status Allocated(const block::ExtentVisitor& visit) override {
    // Of a copy, without the lock: whoever visits may wait for those who read.
    const BlockTree tree = [&] {
      const std::lock_guard lock(image_->mutex);
      return *tree_;
    }();
    return tree.VisitAllocated([&](const block::Extent& extent) -> Status {
      if (extent.offset >= size_bytes_) return {};
      return visit({extent.offset, std::min(extent.length, size_bytes_ - extent.offset)});
    });
  }

 private:
  Status Check(std::string_view verb, std::uint64_t offset, std::uint64_t length,
               bool writes) const {
    if (offset > size_bytes_ || length > size_bytes_ - offset) {
      return Error(Code::kOutOfRange, "beyond the end of the device");
    }
    if (writes && !writable_) return Error(Code::kFailedPrecondition, "the device is read-only");
    if (fault_ && fault_(verb) != PoolFault::kNone) {
      return Error(Code::kInternal, "input/output error in " + std::string(verb));
    }
    return {};
  }

  const std::shared_ptr<SimPoolImage> image_;
  const std::shared_ptr<BlockTree> tree_;
  const std::uint64_t size_bytes_;
  const bool writable_;
  const FaultHook fault_;
};

class SimLease final : public Lease {
 public:
  using Opener = std::function<Result<std::unique_ptr<block::BlockDevice>>()>;
  SimLease(std::unique_ptr<Pin> pin, const std::string& id, Opener open)
      : pin_(std::move(pin)), node_("/dev/thinsnap/" + id), open_(std::move(open)) {}
  Result<std::string> Node() override { return node_; }
  Result<std::unique_ptr<block::BlockDevice>> Open() override { return open_(); }

 private:
  const std::unique_ptr<Pin> pin_;
  const std::string node_;
  const Opener open_;
};

class SimThinPool final : public ThinPool, private CutSteps {
 public:
  SimThinPool(std::shared_ptr<SimPoolImage> image, Clock& clock, Random& random,
              SimThinPoolOptions options)
      : image_(std::move(image)),
        clock_(clock),
        random_(random),
        options_(std::move(options)),
        cuts_(clock, random) {}

  Result<PoolStatus> GetStatus() override {
    return Guarded<PoolStatus>("GetStatus", [this]() -> Result<PoolStatus> {
      PoolStatus status;
      status.id = image_->id;
      status.size_bytes = image_->budget->capacity * kChunkBytes;
      status.grain_bytes = kGrain;
      status.free_bytes =
          status.size_bytes - std::min(status.size_bytes, image_->budget->used * kChunkBytes);
      status.out_of_data_space = image_->budget->used >= image_->budget->capacity;
      if (options_.spoil_status) options_.spoil_status(status);
      return status;
    });
  }

  Result<VolumeInfo> Create(const CreateRequest& request) override {
    return Guarded<VolumeInfo>("Create", [&]() -> Result<VolumeInfo> {
      const std::uint64_t size = (request.size_bytes + kGrain - 1) / kGrain * kGrain;
      std::optional<VolumeInfo> existing = TRY(image_->index.FindForCreate(request, size));
      if (existing.has_value()) return *existing;
      VolumeInfo volume;
      volume.id = VolumeId(NewUlid(clock_.Now(), random_));
      volume.name = request.name;
      volume.size_bytes = size;
      volume.origin = request.source.value_or(SnapshotId());
      volume.created = clock_.Now();
      volume.tags = request.tags;
      image_->volumes[volume.id] =
          request.source.has_value()
              ? std::make_shared<BlockTree>(*image_->snapshots.at(*request.source))
              : std::make_shared<BlockTree>(image_->budget);
      image_->index.Put(volume);
      return volume;
    });
  }

  Result<SnapshotInfo> Snapshot(const SnapshotRequest& request, Quiesce& quiesce) override {
    GroupInfo alone = TRY(cuts_.Make({"", {request}}, *this, *this, quiesce));
    return std::move(alone.members.front());
  }
  Result<GroupInfo> SnapshotGroup(const GroupRequest& request, Quiesce& quiesce) override {
    if (request.name.empty()) return Error(Code::kInvalidArgument, "a group needs a name");
    return cuts_.Make(request, *this, *this, quiesce);
  }

  Result<std::uint64_t> Resize(const VolumeId& volume, std::uint64_t size_bytes) override {
    return Guarded<std::uint64_t>("Resize", [&]() -> Result<std::uint64_t> {
      VolumeInfo info = TRY(image_->index.Get(volume));
      const std::uint64_t size = (size_bytes + kGrain - 1) / kGrain * kGrain;
      if (size > info.size_bytes) {
        info.size_bytes = size;
        image_->index.Put(info);
      }
      return info.size_bytes;
    });
  }

  Status RemoveVolume(const VolumeId& volume) override {
    const auto retirement = TRY(pins_->Retire(NameOf(volume), Jobs::kEnd));
    return Guarded<void>("RemoveVolume", [&]() -> Status {
      image_->volumes.erase(volume);
      image_->index.Erase(volume);
      return {};
    });
  }

  Status RemoveSnapshot(const SnapshotId& snapshot) override {
    const auto retirement = TRY(pins_->Retire(NameOf(snapshot), Jobs::kEnd));
    return Guarded<void>("RemoveSnapshot", [&]() -> Status {
      image_->snapshots.erase(snapshot);
      image_->index.Erase(snapshot);
      return {};
    });
  }

  Status DropDevice(const SnapshotId& snapshot) override {
    const auto retirement = TRY(pins_->Retire(NameOf(snapshot), Jobs::kSpare));
    return Guarded<void>("DropDevice", [&]() -> Status {
      SnapshotInfo info = TRY(image_->index.Get(snapshot));
      image_->snapshots.erase(snapshot);
      info.has_device = false;
      info.device_identity.clear();
      image_->index.Put(info);
      return {};
    });
  }

  Result<VolumeInfo> GetVolume(const VolumeId& volume) override {
    return Guarded<VolumeInfo>("GetVolume", [&] { return image_->index.Get(volume); });
  }
  Result<SnapshotInfo> GetSnapshot(const SnapshotId& snapshot) override {
    return Guarded<SnapshotInfo>("GetSnapshot", [&] { return image_->index.Get(snapshot); });
  }
  Result<std::vector<VolumeInfo>> ListVolumes() override {
    return Guarded<std::vector<VolumeInfo>>(
        "ListVolumes",
        [&]() -> Result<std::vector<VolumeInfo>> { return image_->index.Volumes(); });
  }
  Result<std::vector<SnapshotInfo>> ListSnapshots() override {
    return Guarded<std::vector<SnapshotInfo>>(
        "ListSnapshots",
        [&]() -> Result<std::vector<SnapshotInfo>> { return image_->index.Snapshots(); });
  }

  Result<std::optional<VolumeInfo>> FindVolume(const std::string& name) override {
    using Found = std::optional<VolumeInfo>;
    return Guarded<Found>("FindVolume",
                          [&]() -> Result<Found> { return image_->index.FindVolume(name); });
  }
  Result<std::optional<SnapshotInfo>> FindSnapshot(const std::string& name) override {
    using Found = std::optional<SnapshotInfo>;
    return Guarded<Found>("FindSnapshot",
                          [&]() -> Result<Found> { return image_->index.FindSnapshot(name); });
  }
  Result<std::optional<GroupInfo>> FindGroup(const std::string& name) override {
    using Found = std::optional<GroupInfo>;
    return Guarded<Found>("FindGroup",
                          [&]() -> Result<Found> { return image_->index.FindGroup(name); });
  }
  Result<std::vector<SnapshotInfo>> SnapshotsOf(const VolumeId& volume) override {
    return Guarded<std::vector<SnapshotInfo>>(
        "ListSnapshots",
        [&]() -> Result<std::vector<SnapshotInfo>> { return image_->index.SnapshotsOf(volume); });
  }

  Status TagVolume(const VolumeId& volume, const Tags& tags) override {
    return Guarded<void>("TagVolume", [&]() -> Status {
      VolumeInfo info = TRY(image_->index.Get(volume));
      ApplyTags(tags, info.tags);
      image_->index.Put(info);
      return {};
    });
  }
  Status TagSnapshot(const SnapshotId& snapshot, const Tags& tags) override {
    return Guarded<void>("TagSnapshot", [&]() -> Status {
      SnapshotInfo info = TRY(image_->index.Get(snapshot));
      ApplyTags(tags, info.tags);
      image_->index.Put(info);
      return {};
    });
  }

  Result<std::unique_ptr<block::ExtentStream>> Allocated(const SnapshotId& snapshot,
                                                         std::uint64_t from_offset) override {
    using Ranges = std::unique_ptr<block::ExtentStream>;
    return Guarded<Ranges>("Allocated", [&]() -> Result<Ranges> {
      const std::shared_ptr<const BlockTree> tree = TRY(TreeOf(snapshot));
      return block::CollectExtents(
          [&tree](const block::ExtentVisitor& visit) { return tree->VisitAllocated(visit); },
          from_offset);
    });
  }
  Result<std::unique_ptr<block::ExtentStream>> Changed(const SnapshotId& base,
                                                       const SnapshotId& target,
                                                       std::uint64_t from_offset) override {
    using Ranges = std::unique_ptr<block::ExtentStream>;
    return Guarded<Ranges>("Changed", [&]() -> Result<Ranges> {
      const std::shared_ptr<const BlockTree> before = TRY(TreeOf(base));
      const std::shared_ptr<const BlockTree> after = TRY(TreeOf(target));
      return block::CollectExtents(
          [&](const block::ExtentVisitor& visit) { return after->VisitChanged(*before, visit); },
          from_offset);
    });
  }

  Result<std::uint64_t> Mapped(const VolumeId& volume) override {
    return Guarded<std::uint64_t>("Mapped", [&]() -> Result<std::uint64_t> {
      static_cast<void>(TRY(image_->index.Get(volume)));
      std::set<const void*> chunks;
      image_->volumes.at(volume)->AddChunks(chunks);
      return chunks.size() * kChunkBytes;
    });
  }
  Result<std::uint64_t> Reclaimable(std::span<const SnapshotId> snapshots) override {
    return Guarded<std::uint64_t>("Reclaimable", [&]() -> Result<std::uint64_t> {
      std::set<const void*> kept, given_up;
      for (const auto& [id, tree] : image_->volumes) tree->AddChunks(kept);
      for (const auto& [id, tree] : image_->snapshots) {
        const bool goes = std::find(snapshots.begin(), snapshots.end(), id) != snapshots.end();
        tree->AddChunks(goes ? given_up : kept);
      }
      std::erase_if(given_up, [&](const void* chunk) { return kept.contains(chunk); });
      return given_up.size() * kChunkBytes;
    });
  }

  Result<std::unique_ptr<Pin>> PinVolume(const VolumeId& volume, Holder holder) override {
    using Pinned = std::unique_ptr<Pin>;
    return Guarded<Pinned>("PinVolume", [&]() -> Result<Pinned> {
      static_cast<void>(TRY(image_->index.Get(volume)));
      return pins_->Add(NameOf(volume), std::move(holder));
    });
  }
  Result<std::unique_ptr<Pin>> PinSnapshot(const SnapshotId& snapshot, Holder holder) override {
    using Pinned = std::unique_ptr<Pin>;
    return Guarded<Pinned>("PinSnapshot", [&]() -> Result<Pinned> {
      static_cast<void>(TRY(image_->index.GetWithDevice(snapshot)));
      return pins_->Add(NameOf(snapshot), std::move(holder));
    });
  }
  Result<std::unique_ptr<Lease>> LeaseVolume(const VolumeId& volume, Holder holder) override {
    return std::unique_ptr<Lease>(
        std::make_unique<SimLease>(TRY(PinVolume(volume, std::move(holder))), volume.str(),
                                   [this, volume] { return OpenVolume(volume); }));
  }
  Result<std::unique_ptr<Lease>> LeaseSnapshot(const SnapshotId& snapshot, Holder holder) override {
    return std::unique_ptr<Lease>(
        std::make_unique<SimLease>(TRY(PinSnapshot(snapshot, std::move(holder))), snapshot.str(),
                                   [this, snapshot] { return OpenSnapshot(snapshot); }));
  }

 private:
  using Device = std::unique_ptr<block::BlockDevice>;

  Result<Device> OpenVolume(const VolumeId& volume) {
    return Guarded<Device>("OpenVolume", [&]() -> Result<Device> {
      const VolumeInfo info = TRY(image_->index.Get(volume));
      return Device(std::make_unique<SimBlockDevice>(image_, image_->volumes.at(volume),
                                                     info.size_bytes, true, FaultsOf(volume)));
    });
  }
  Result<Device> OpenSnapshot(const SnapshotId& snapshot) {
    return Guarded<Device>("OpenSnapshot", [&]() -> Result<Device> {
      const SnapshotInfo info = TRY(image_->index.GetWithDevice(snapshot));
      return Device(std::make_unique<SimBlockDevice>(
          image_, image_->snapshots.at(snapshot), info.size_bytes, false, FaultsOf(info.volume)));
    });
  }

  // Runs the verb under the pool's lock, with the fault that was asked for.
  template <typename T, typename Body>
  Result<T> Guarded(std::string_view verb, Body body) {
    const PoolFault fault = options_.fault ? options_.fault(verb) : PoolFault::kNone;
    if (fault == PoolFault::kFailBefore) return NoAnswer();
    const std::lock_guard lock(image_->mutex);
    Result<T> outcome = body();
    if (fault == PoolFault::kLoseAnswer) return NoAnswer();
    return outcome;
  }

  FaultHook FaultsOf(const VolumeId& volume) const {
    if (!options_.broken || !options_.broken(volume)) return options_.fault;
    return [](std::string_view) { return PoolFault::kFailBefore; };
  }

  Result<std::optional<GroupInfo>> FindCut(const GroupRequest& request) override {
    const std::lock_guard lock(image_->mutex);
    return image_->index.FindForGroup(request);
  }
  Result<SnapshotInfo> DescribeCut(const SnapshotRequest& request, WallTime cut) override {
    const std::lock_guard lock(image_->mutex);
    const VolumeInfo volume = TRY(image_->index.Get(request.volume));
    SnapshotInfo info;
    info.cut = cut;
    info.id = image_->index.NewSnapshotId(request.volume, cut, random_);
    info.name = request.name;
    info.volume = request.volume;
    info.size_bytes = volume.size_bytes;
    info.device_identity = "sim:" + image_->id.str() + ":" + info.id.str();
    info.tags = request.tags;
    return info;
  }
  Status CopyAll(const std::vector<SnapshotInfo>& members) override {
    const std::lock_guard lock(image_->mutex);
    for (const SnapshotInfo& info : members) {
      image_->snapshots[info.id] = std::make_shared<BlockTree>(*image_->volumes.at(info.volume));
    }
    return {};
  }
  Status PlaceAll(const std::vector<SnapshotInfo>& members) override {
    return Guarded<void>("Snapshot", [&]() -> Status {
      for (const SnapshotInfo& info : members) image_->index.Put(info);
      return {};
    });
  }
  void Abandon(const std::vector<SnapshotInfo>& members) override {
    const std::lock_guard lock(image_->mutex);
    for (const SnapshotInfo& info : members) {
      if (image_->index.Get(info.id).ok()) continue;  // it is there; only the answer was lost
      image_->snapshots.erase(info.id);
    }
  }

  // With the image's mutex held.
  Result<std::shared_ptr<const BlockTree>> TreeOf(const SnapshotId& snapshot) const {
    static_cast<void>(TRY(image_->index.GetWithDevice(snapshot)));
    return std::shared_ptr<const BlockTree>(image_->snapshots.at(snapshot));
  }

  const std::shared_ptr<SimPoolImage> image_;
  Clock& clock_;
  Random& random_;
  const SimThinPoolOptions options_;
  Cuts cuts_;
  // Goes with the process, like a mapping.
  const std::shared_ptr<PinTable> pins_ = std::make_shared<PinTable>();
};

}  // namespace

std::unique_ptr<ThinPool> OpenSimThinPool(std::shared_ptr<SimPoolImage> image, Clock& clock,
                                          Random& random, SimThinPoolOptions options) {
  return std::make_unique<SimThinPool>(std::move(image), clock, random, std::move(options));
}

}  // namespace thinsnap::pool
