#include "tests/unit/driver/busy_world.h"

#include <algorithm>
#include <utility>

#include "base/core/task_state.h"
#include "csi/pool/handle.h"
#include "csi/pool/tags.h"
#include "snapshotter/repo/repository.h"
#include "tests/contract/pool/leased_device.h"
#include "tests/contract/pool/no_quiesce.h"

namespace thinsnap::driver {

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint64_t kCapacity = 272 * kMiB;
constexpr std::uint64_t kBig = 64 * kMiB, kSparse = 8 * kMiB;
constexpr int kBigVolumes = 3, kSparseVolumes = 17;
constexpr int kClients = 6, kSteps = 40;
// Pauses start between half a second and one and double up to a minute: seven tries, by each of two
// exports that meet the failure at once. The one that is under way then has requests in flight.
constexpr int kMostAMinute = 16;

}  // namespace

// A store as one life of the driver sees it.
class BusyWorld::WatchedStore final : public store::ObjectStore {
 public:
  WatchedStore(BusyWorld& world, faults::Process& process, transfer::Bucket& bucket,
               std::unique_ptr<store::ObjectStore> inner)
      : world_(world), process_(process), bucket_(bucket), inner_(std::move(inner)) {}

  Result<store::PutResult> Put(const std::string& key, ByteSpan body,
                               const store::PutCondition& condition) override {
    auto put = Ask<store::PutResult>([&] { return inner_->Put(key, body, condition); });
    if (put.ok() && key.starts_with("points/")) world_.Commit(bucket_, key);
    return put;
  }
  Result<store::Object> Get(const std::string& key,
                            std::optional<store::ByteRange> range) override {
    return Ask<store::Object>([&] { return inner_->Get(key, range); });
  }
  Result<store::ObjectInfo> Head(const std::string& key) override {
    return Ask<store::ObjectInfo>([&] { return inner_->Head(key); });
  }
  Result<store::Page> List(const std::string& prefix, const std::string& after) override {
    return Ask<store::Page>([&] { return inner_->List(prefix, after); });
  }
  Status Delete(const std::string& key) override {
    return Ask<void>([&] { return inner_->Delete(key); });
  }
  std::string Describe() const override { return inner_->Describe(); }

 private:
  template <typename T>
  Result<T> Ask(const std::function<Result<T>()>& ask) {
    if (process_.dead()) return faults::Process::Gone();
    const bool refuses = bucket_.manners.refuses.has_value();
    if (refuses && !world_.IsClientCall()) {
      world_.CheckRate(world_.refused_[bucket_.id], kMostAMinute * (1 + world_.Importing()),
                       "repository " + bucket_.id + " that refuses");
    }
    return ask();
  }

  BusyWorld& world_;
  faults::Process& process_;
  transfer::Bucket& bucket_;
  const std::unique_ptr<store::ObjectStore> inner_;
};

struct BusyWorld::Life {
  explicit Life(BusyWorld& world)
      : random(world.random_.Stream("life " + std::to_string(world.lives_))),
        pool_random(random->Stream("pool")),
        process(world.runtime_),
        pool(pool::OpenSimThinPool(world.image_, world.runtime_.clock(), *pool_random,
                                   PoolOptions(world))),
        parts(world.runtime_, process.group(), *random, *pool, world.mounter_, world.disks_,
              nullptr, world.buckets_, PartsOptions(world)) {}
  ~Life() {
    process.Kill();
    process.Join();
  }

  pool::SimThinPoolOptions PoolOptions(BusyWorld& world) {
    pool::SimThinPoolOptions options;
    options.fault = [this, &world](std::string_view verb) {
      if (process.dead()) return pool::PoolFault::kFailBefore;
      world.witness_.Before(verb);
      if (verb == "WriteAt") {
        EXPECT_GT(world.FreeBytes(), 0U) << "a restore filled the pool";
      }
      const bool of_device = verb == "WriteAt" || verb == "ReadAt" || verb == "Flush";
      if (!world.disturbing_ || of_device || world.fault_random_->Below(300) != 0) {
        return pool::PoolFault::kNone;
      }
      return world.fault_random_->Below(2) == 0 ? pool::PoolFault::kFailBefore
                                                : pool::PoolFault::kLoseAnswer;
    };
    options.broken = [&world](const pool::VolumeId& volume) {
      if (volume != world.broken_) return false;
      world.CheckRate(world.broken_opened_, kMostAMinute, "the disk that fails");
      return true;
    };
    return options;
  }
  NodePartsOptions PartsOptions(BusyWorld& world) {
    NodePartsOptions options;
    options.node_name = "node-a";
    options.open_store =
        [this, &world, open = world.buckets_.Opener(world.runtime_)](
            const store::Location& location) -> Result<std::unique_ptr<store::ObjectStore>> {
      transfer::Bucket& bucket = world.buckets_.At(location);
      return std::unique_ptr<store::ObjectStore>(
          std::make_unique<WatchedStore>(world, process, bucket, TRY(open(location))));
    };
    return options;
  }

  const std::unique_ptr<Random> random, pool_random;
  faults::Process process;
  const std::unique_ptr<pool::ThinPool> pool;
  NodeParts parts;
};

int BusyWorld::Rate::Count(MonoTime now) {
  times_.push_back(now);
  while (times_.front() <= now - minutes(1)) times_.pop_front();
  return static_cast<int>(times_.size());
}

BusyWorld::BusyWorld(FiberRuntime& runtime, std::uint64_t seed)
    : runtime_(runtime),
      random_(seed),
      image_(pool::NewSimPoolImage(random_, kCapacity)),
      pool_(pool::OpenSimThinPool(image_, runtime.clock(), random_)),
      witness_(*pool_),
      changed_(runtime.NewEventCount()),
      fault_random_(random_.Stream("faults")) {
  for (transfer::Bucket** bucket : {&good_, &slow_, &refusing_}) {
    *bucket = &buckets_.Add(runtime, random_);
    auto opened = repo::OpenRepository((*bucket)->store, runtime, random_, {});
    EXPECT_TRUE(opened.ok());
    opened_[(*bucket)->id] = std::move(*opened);
  }
}

BusyWorld::~BusyWorld() = default;

void BusyWorld::Run() {
  sidecars_ = std::make_unique<TaskGroup>(runtime_);
  TaskGroup watchers(runtime_);
  PlantSickVolumes();
  StartLife();
  MakeVolumes();
  watchers.Spawn("check commits", [this] { CheckCommits(); });
  watchers.Spawn("inspect", [this] { Inspect(); });
  slow_->manners.pause = seconds(2);
  disturbing_ = true;
  {
    TaskGroup busy(runtime_);
    busy.Spawn("trouble", [this] { Trouble(); });
    for (int i = 0; i < kClients; ++i) {
      busy.Spawn("client " + std::to_string(i),
                 [this, i] { Client(*random_.Stream("client " + std::to_string(i)), kSteps); });
    }
    busy.Join();
  }
  Settle();
  watchers.Join();
  life_.reset();
}

void BusyWorld::PlantSickVolumes() {
  pool::NoQuiesce quiesce;
  pool::CreateRequest create;
  create.name = "broken";
  create.size_bytes = kMiB;
  const auto broken = pool_->Create(create);
  ASSERT_TRUE(broken.ok());
  broken_ = broken->id;
  ASSERT_TRUE((*pool::OpenVolume(*pool_, broken_))->WriteAt(0, Bytes(kBlock, 1)).ok());
  pool::SnapshotRequest cut;
  cut.name = "of broken";
  cut.volume = broken_;
  cut.tags[tags::kRepositories] = good_->id;
  ASSERT_TRUE(pool_->Snapshot(cut, quiesce).ok());
  create.name = "garbled";
  create.tags[tags::kImporting] = "nonsense";
  create.tags[mount::kStagedTag] = "/nowhere";
  ASSERT_TRUE(pool_->Create(create).ok());
}

void BusyWorld::MakeVolumes() {
  for (int i = 0; i < kBigVolumes + kSparseVolumes; ++i) {
    Volume volume;
    const bool big = i < kBigVolumes;
    volume.name = (big ? "big-" : "sparse-") + std::to_string(i);
    volume.size_bytes = big ? kBig : kSparse;
    volume.blocks = volume.size_bytes / kBlock;
    // One of them is as large for a repository as it is here.
    volume.random_bytes = i == 0 ? kBlock : 4 * kKiB;
    const auto made =
        Repeat(&NodeDriver::CreateVolume, VolumeRequest(volume.name, volume.size_bytes));
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    volume.handle = made->volume().volume_id();
    volume.id = pool::VolumeHandle::Parse(volume.handle)->volume;
    witness_.Know(volume.id, std::make_shared<Blocks>());
    const std::uint64_t first = big ? volume.blocks : random_.Below(6);
    for (std::uint64_t block = 0; block < first; ++block) {
      witness_.Write(volume.id, big ? block : random_.Below(volume.blocks), volume.random_bytes);
    }
    volumes_[volume.name] = volume;
  }
}

void BusyWorld::Trouble() {
  const auto random = random_.Stream("trouble");
  Pause(*random, minutes(1));
  refusing_->manners.refuses = Code::kPermissionDenied;
  Pause(*random, minutes(2));
  StepBack(*random);
  Pause(*random, minutes(2));
  {
    // As kill -9 does: nothing that it still does has an effect.
    const auto life = std::move(life_);
    life->process.Kill();
  }
  Pause(*random, seconds(20));
  StartLife();
  refusing_->manners.refuses = Code::kUnavailable;
  Pause(*random, minutes(2));
  StepBack(*random);
  refusing_->manners.refuses.reset();
}

void BusyWorld::StepBack(Random& random) {
  runtime_.clock().StepWallTime(-seconds(random.Below(7200)));
}

void BusyWorld::Inspect() {
  while (!done_) {
    ASSERT_TRUE(runtime_.SleepFor(seconds(30)).ok());
    CheckAcknowledged();
  }
}

void BusyWorld::Settle() {
  disturbing_ = false;
  settling_ = true;
  slow_->manners.pause = milliseconds(100);
  sidecars_->Join();
  // What nobody waits for comes to its end, too.
  ASSERT_TRUE(runtime_.SleepFor(minutes(10)).ok());
  CheckAcknowledged();
  for (const auto& [name, volume] : volumes_) {
    const Status checked = witness_.CheckVolume(volume.id);
    EXPECT_TRUE(checked.ok()) << name << ": " << checked.error().ToString();
  }
  for (const Snapshot& snapshot : exported_) {
    for (const std::string& id : snapshot.repositories) {
      const auto handle = pool::SnapshotHandle::Parse(snapshot.handle);
      const auto point = opened_.at(id)->FindPoint(handle->series(), handle->snapshot.str());
      EXPECT_TRUE(point.ok()) << snapshot.name << ": " << point.error().ToString();
    }
  }
  for (const pool::SnapshotInfo& left : *pool_->ListSnapshots()) {
    EXPECT_FALSE(tags::Has(left.tags, tags::kInternal)) << left.name << " is left of a clone";
  }
  for (const pool::VolumeInfo& left : *pool_->ListVolumes()) {
    if (left.name == "broken" || left.name == "garbled") continue;
    EXPECT_TRUE(volumes_.contains(left.name)) << left.name << " is nobody's";
    EXPECT_FALSE(tags::Has(left.tags, tags::kImporting)) << left.name << " is not restored";
  }
  done_ = true;
  changed_->Notify();
}

void BusyWorld::Commit(transfer::Bucket& bucket, const std::string& key) {
  commits_.emplace_back(&bucket, key);
  changed_->Notify();
}

void BusyWorld::CheckCommits() {
  for (;;) {
    const auto seen = changed_->Seen();
    if (commits_.empty()) {
      if (done_) return;
      ASSERT_TRUE(changed_->Wait(seen).ok());
      continue;
    }
    const auto [bucket, key] = commits_.front();
    commits_.pop_front();
    repo::Repository& repository = *opened_.at(bucket->id);
    const auto point = repository.GetPoint(repo::PointName(key.substr(sizeof "points/" - 1)));
    ASSERT_TRUE(point.ok()) << key << ": " << point.error().ToString();
    const auto blocks = witness_.AtCut(pool::SnapshotId(point->snapshot));
    ASSERT_TRUE(blocks) << key << " is of a cut that nobody saw";
    const Status checked = Witness::CheckPoint(repository, runtime_, *point, *blocks);
    EXPECT_TRUE(checked.ok()) << checked.error().ToString() << "; based on \"" << point->base.str()
                              << "\" " << point->mode_reason;
    ++points_;
    if (!point->base.str().empty()) ++incremental_points_;
  }
}

void BusyWorld::CheckAcknowledged() {
  for (const auto& [name, volume] : volumes_) {
    if (volume.leaving) continue;
    const auto found = pool_->GetVolume(volume.id);
    ASSERT_TRUE(found.ok()) << name << ": " << found.error().ToString();
    EXPECT_GE(found->size_bytes, volume.size_bytes) << name;
  }
  for (const auto& [name, snapshot] : snapshots_) {
    if (snapshot.leaving) continue;
    const auto found = pool_->GetSnapshot(snapshot.id);
    ASSERT_TRUE(found.ok()) << name << ": " << found.error().ToString();
    EXPECT_FALSE(tags::Has(found->tags, tags::kHidden)) << name;
    // A device is given up only for points that are committed everywhere.
    EXPECT_TRUE(found->has_device || (!snapshot.repositories.empty() && tags::IsExported(*found)))
        << name;
  }
}

void BusyWorld::CheckRate(Rate& rate, int most, const std::string& what) {
  EXPECT_LE(rate.Count(runtime_.clock().MonoNow()), most) << "a minute to " << what;
}

std::uint64_t BusyWorld::FreeBytes() { return pool_->GetStatus()->free_bytes; }

bool BusyWorld::MayWrite() {
  // The guard's headroom, and some.
  return FreeBytes() >= kCapacity / 20 + kMiB + BytesToCome() + kBlock;
}

std::uint64_t BusyWorld::BytesToCome() {
  std::uint64_t bytes = 0;
  for (const pool::VolumeInfo& volume : *pool_->ListVolumes()) {
    bytes += tags::GetBytes(volume.tags, tags::kImportBytes, 0);
  }
  return bytes;
}

int BusyWorld::Importing() {
  const auto volumes = pool_->ListVolumes();
  return static_cast<int>(std::count_if(volumes->begin(), volumes->end(), [](const auto& volume) {
    return tags::Has(volume.tags, tags::kImportBytes);
  }));
}

bool BusyWorld::IsClientCall() const { return client_calls_.contains(CurrentTaskGroup().get()); }

void BusyWorld::StartLife() {
  ++lives_;
  auto life = std::make_shared<Life>(*this);
  Status started = Error(Code::kCancelled, "not started");
  // The pool may fail at any verb.
  while (!started.ok()) {
    TaskGroup starting(runtime_, &life->process.group());
    starting.Spawn("start", [&] { started = life->parts.Start(); });
    starting.Join();
    if (started.ok()) break;
    ++lives_;
    life = std::make_shared<Life>(*this);
    ASSERT_TRUE(runtime_.SleepFor(seconds(1)).ok());
  }
  life_ = std::move(life);
  changed_->Notify();
}

std::shared_ptr<BusyWorld::Life> BusyWorld::Alive() {
  for (;;) {
    const auto seen = changed_->Seen();
    if (life_) return life_;
    EXPECT_TRUE(changed_->Wait(seen).ok());
  }
}

Status BusyWorld::Call(const std::string& name,
                       const std::function<void(NodeDriver&, const proto::Call&)>& ask) {
  const std::shared_ptr<Life> life = Alive();
  TaskGroup calling(runtime_, &life->process.group());
  client_calls_.insert(&calling.state());
  proto::Call call;
  call.deadline = runtime_.clock().MonoNow() + seconds(30);
  calling.Spawn(name, [&] { ask(life->parts.driver(), call); });
  calling.Join();
  client_calls_.erase(&calling.state());
  // The answer of a driver that was killed meanwhile reaches nobody.
  if (life->process.dead()) return faults::Process::Gone();
  return {};
}

bool BusyWorld::MayBeRepeated(Code code) {
  static const std::set<Code> kAgain{Code::kCancelled, Code::kDeadlineExceeded, Code::kUnavailable,
                                     Code::kAborted,   Code::kUnknownOutcome,   Code::kInternal};
  return kAgain.contains(code);
}

std::string BusyWorld::Summary() const {
  return std::to_string(points_) + " points, " + std::to_string(incremental_points_) +
         " of them incremental, " + std::to_string(restores_) + " restores, " +
         std::to_string(clones_) + " clones, " + std::to_string(refusals_for_room_) +
         " refusals for want of room";
}

std::string BusyWorld::Describe() {
  std::string text;
  for (const pool::VolumeInfo& volume : *pool_->ListVolumes()) {
    text += volume.id.str() + " " + volume.name + " " + std::to_string(volume.size_bytes) + "\n";
  }
  for (const pool::SnapshotInfo& snapshot : *pool_->ListSnapshots()) {
    text += snapshot.id.str() + " " + snapshot.name;
    for (const auto& [key, value] : snapshot.tags) text += " " + key + "=" + value;
    text += "\n";
  }
  return text;
}

}  // namespace thinsnap::driver
