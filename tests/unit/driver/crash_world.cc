#include "tests/unit/driver/crash_world.h"

#include <set>
#include <utility>

#include "csi/driver/node_parts.h"
#include "snapshotter/repo/repository.h"
#include "tests/faults/fault_object_store.h"

namespace thinsnap::driver {

namespace {

using faults::Effects;
using faults::Fault;
using faults::Process;

constexpr int kTries = 400;
constexpr Duration kPause = std::chrono::seconds(1);

// A call of the kernel is done or not: no answer is lost without a crash.
template <typename T>
Result<T> PerformHere(Effects& effects, Process& process, const std::string& what,
                      const std::function<Result<T>()>& effect) {
  if (process.dead()) return Process::Gone();
  const auto fault = effects.Next(what);
  if (fault == Fault::kNotDone) return Error(Code::kInternal, what + ": input/output error");
  Result<T> result = effect();
  if (fault != Fault::kCrash) return result;
  process.Kill();
  return Process::Gone();
}

// A call that looks fails as such calls do.
template <typename T>
Result<T> LookHere(Effects& effects, Process& process, const std::string& what,
                   const std::function<Result<T>()>& look) {
  if (process.dead()) return Process::Gone();
  if (effects.IsUnread(what)) return Error(Code::kInternal, what + ": input/output error");
  return look();
}

class FaultMounter final : public mount::Mounter {
 public:
  FaultMounter(mount::Mounter& inner, Effects& effects, Process& process)
      : inner_(inner), effects_(effects), process_(process) {}

  Status Mount(const std::string& source, const std::string& target, const std::string& fs_type,
               const std::vector<std::string>& options) override {
    return Do("mount " + target, [&] { return inner_.Mount(source, target, fs_type, options); });
  }
  Status Bind(const std::string& source, const std::string& target, bool read_only) override {
    return Do("bind " + target, [&] { return inner_.Bind(source, target, read_only); });
  }
  Status Unmount(const std::string& target) override {
    return Do("unmount " + target, [&] { return inner_.Unmount(target); });
  }
  Status MakeFolder(const std::string& path) override {
    return Do("make folder " + path, [&] { return inner_.MakeFolder(path); });
  }
  Status MakeFile(const std::string& path) override {
    return Do("make file " + path, [&] { return inner_.MakeFile(path); });
  }
  Status RemovePath(const std::string& path) override {
    return Do("remove " + path, [&] { return inner_.RemovePath(path); });
  }
  Status Thaw(const std::string& target) override { return inner_.Thaw(target); }
  Status Sync(const std::string& target) override {
    return LookHere<void>(effects_, process_, "sync " + target,
                          [&] { return inner_.Sync(target); });
  }
  Result<std::unique_ptr<mount::FrozenMount>> Freeze(const std::string& target,
                                                     Duration deadline) override {
    return PerformHere<std::unique_ptr<mount::FrozenMount>>(
        effects_, process_, "freeze " + target, [&] { return inner_.Freeze(target, deadline); });
  }
  Result<std::optional<mount::MountEntry>> Find(const std::string& target) override {
    return Look<std::optional<mount::MountEntry>>("find " + target,
                                                  [&] { return inner_.Find(target); });
  }
  Result<std::vector<mount::MountEntry>> List() override {
    return Look<std::vector<mount::MountEntry>>("list mounts", [&] { return inner_.List(); });
  }
  Result<mount::PathKind> Kind(const std::string& path) override {
    return Look<mount::PathKind>("look at " + path, [&] { return inner_.Kind(path); });
  }
  Result<mount::FsFigures> Figures(const std::string& path) override {
    return Look<mount::FsFigures>("statfs " + path, [&] { return inner_.Figures(path); });
  }
  Result<std::uint64_t> DeviceNumber(const std::string& path) override {
    return Look<std::uint64_t>("number of " + path, [&] { return inner_.DeviceNumber(path); });
  }
  Result<std::uint64_t> HomeOfNode(const std::string& path) override {
    return Look<std::uint64_t>("home of " + path, [&] { return inner_.HomeOfNode(path); });
  }
  Status SetDeviceReadOnly(const std::string& path, bool read_only) override {
    return Do((read_only ? "read-only " : "writable ") + path,
              [&] { return inner_.SetDeviceReadOnly(path, read_only); });
  }
  Result<std::uint64_t> DeviceSize(const std::string& path) override {
    return Look<std::uint64_t>("size of " + path, [&] { return inner_.DeviceSize(path); });
  }

 private:
  Status Do(const std::string& what, const std::function<Status()>& effect) {
    return PerformHere<void>(effects_, process_, what, effect);
  }
  template <typename T>
  Result<T> Look(const std::string& what, const std::function<Result<T>()>& look) {
    return LookHere<T>(effects_, process_, what, look);
  }

  mount::Mounter& inner_;
  Effects& effects_;
  Process& process_;
};

class FaultRunner final : public CommandRunner {
 public:
  FaultRunner(CommandRunner& inner, Effects& effects, Process& process)
      : inner_(inner), effects_(effects), process_(process) {}
  Result<CommandOutput> Run(const Command& command) override {
    if (command.argv.front() == "blkid")
      return LookHere<CommandOutput>(effects_, process_, "blkid",
                                     [&] { return inner_.Run(command); });
    return PerformHere<CommandOutput>(effects_, process_,
                                      command.argv.front() + " " + command.argv.back(),
                                      [&] { return inner_.Run(command); });
  }

 private:
  CommandRunner& inner_;
  Effects& effects_;
  Process& process_;
};

class OneRepository final : public transfer::RepositorySource {
 public:
  explicit OneRepository(transfer::RepositoryConfig config) : config_(std::move(config)) {}
  Result<transfer::RepositoryConfig> Find(const std::string& id) override {
    if (id != config_.id) return Error(Code::kNotFound, "no repository " + id);
    return config_;
  }
  Result<transfer::RepositoryConfig> WaitFor(const std::string& id, MonoTime) override {
    return Find(id);
  }
  void OnChange(std::function<void(const std::string&)>) override {}

 private:
  const transfer::RepositoryConfig config_;
};

pool::SimThinPoolOptions PoolOptions(Effects& effects, Process& process) {
  pool::SimThinPoolOptions options;
  options.fault = [&](std::string_view verb) {
    static const std::set<std::string_view> kReads{
        "GetStatus", "GetVolume",   "GetSnapshot", "ListVolumes",  "ListSnapshots",
        "PinVolume", "PinSnapshot", "FindVolume",  "FindSnapshot", "FindGroup",
        "Mapped",    "Reclaimable", "OpenVolume",  "OpenSnapshot", "Allocated",
        "Changed",   "ReadAt"};
    if (process.dead()) return pool::PoolFault::kFailBefore;
    if (kReads.contains(verb)) {
      return effects.IsUnread("pool " + std::string(verb)) ? pool::PoolFault::kFailBefore
                                                           : pool::PoolFault::kNone;
    }
    const auto fault = effects.Next("pool " + std::string(verb));
    if (!fault || *fault == Fault::kStale) return pool::PoolFault::kNone;
    if (*fault == Fault::kNotDone) return pool::PoolFault::kFailBefore;
    if (*fault == Fault::kCrash) process.Kill();
    return pool::PoolFault::kLoseAnswer;
  };
  return options;
}

transfer::RepositoryConfig ConfigOf(const repo::Repository& repository) {
  transfer::RepositoryConfig config;
  config.id = repository.id().str();
  config.suite = repo::Suite::kPlain;
  config.location.url = "s3://bucket/repository";
  config.namespaces = {"*"};
  return config;
}

}  // namespace

struct CrashWorld::Life {
  Life(CrashWorld& world, Runtime& runtime)
      : random(world.random_.Stream("life " + std::to_string(world.lives_))),
        pool_random(random->Stream("pool")),
        process(runtime),
        pool(pool::OpenSimThinPool(world.image_, runtime.clock(), *pool_random,
                                   PoolOptions(world.effects, process))),
        mounter(world.mounter_, world.effects, process),
        runner(world.disks_, world.effects, process),
        source(ConfigOf(*world.repository_)),
        parts(runtime, process.group(), *random, *pool, mounter, runner, nullptr, source,
              OptionsOf(world)) {}
  ~Life() {
    process.Kill();
    process.Join();
  }

  NodePartsOptions OptionsOf(CrashWorld& world) {
    NodePartsOptions options;
    options.node_name = "node-a";
    options.open_store =
        [this, &world](const store::Location&) -> Result<std::unique_ptr<store::ObjectStore>> {
      return std::unique_ptr<store::ObjectStore>(
          std::make_unique<faults::FaultObjectStore>(world.bucket_, world.effects, process));
    };
    return options;
  }

  // What one draws shifts no other.
  const std::unique_ptr<Random> random, pool_random;
  Process process;
  std::unique_ptr<pool::ThinPool> pool;
  FaultMounter mounter;
  FaultRunner runner;
  OneRepository source;
  NodeParts parts;
};

CrashWorld::CrashWorld(Runtime& a_runtime, Effects& an_effects)
    : runtime(a_runtime),
      effects(an_effects),
      image_(pool::NewSimPoolImage(random_, kGiB)),
      pool_(pool::OpenSimThinPool(image_, runtime.clock(), random_)),
      bucket_(runtime.clock()) {
  auto made = repo::InitRepository(bucket_, runtime, random_, {});
  EXPECT_TRUE(made.ok());
  repository_ = std::move(*made);
}

CrashWorld::~CrashWorld() = default;

CrashWorld::Life& CrashWorld::Alive() {
  for (int i = 0; i < kTries; ++i) {
    if (life_ && !life_->process.dead()) break;
    life_.reset();
    ++lives_;
    life_ = std::make_unique<Life>(*this, runtime);
    Status started;
    TaskGroup call(runtime, &life_->process.group());
    call.Spawn("start", [&] { started = life_->parts.Start(); });
    call.Join();
    if (!started.ok()) life_->process.Kill();
  }
  EXPECT_FALSE(life_->process.dead()) << "the driver never starts";
  return *life_;
}

void CrashWorld::Repeat(const std::string& what, const std::function<Status(NodeDriver&)>& call) {
  Status answer = Error(Code::kCancelled, "not called");
  for (int i = 0; i < kTries && !answer.ok(); ++i) {
    auto& life = Alive();
    {
      TaskGroup calling(runtime, &life.process.group());
      calling.Spawn(what, [&] { answer = call(life.parts.driver()); });
      calling.Join();
    }
    // The answer of a driver that was killed meanwhile reaches nobody.
    if (life.process.dead()) answer = Process::Gone();
    if (answer.ok()) break;
    EXPECT_TRUE(runtime.SleepFor(kPause).ok());
  }
  EXPECT_TRUE(answer.ok()) << what << ": " << (answer.ok() ? "" : answer.error().ToString());
}

void CrashWorld::Run(Duration duration) {
  const auto until = runtime.clock().MonoNow() + duration;
  while (runtime.clock().MonoNow() < until) {
    Alive();
    EXPECT_TRUE(runtime.SleepFor(kPause).ok());
  }
}

std::string CrashWorld::Describe() {
  std::string text;
  const auto volumes = pool_->ListVolumes();
  const auto snapshots = pool_->ListSnapshots();
  EXPECT_TRUE(volumes.ok() && snapshots.ok());
  const auto tagged = [](const pool::Tags& tags) {
    std::string words;
    for (const auto& [key, value] : tags) {
      // Handles and points are named at random.
      const bool random = value.find('.') != std::string::npos || key.starts_with("point.");
      words += " " + (key.starts_with("point.") ? "point" : key) + "=" + (random ? "*" : value);
    }
    return words;
  };
  for (const auto& volume : *volumes) {
    text += "volume " + volume.name + " of " + std::to_string(volume.size_bytes) +
            tagged(volume.tags) + "\n";
  }
  for (const auto& snapshot : *snapshots) {
    text += "snapshot " + snapshot.name + (snapshot.has_device ? "" : " without device") +
            tagged(snapshot.tags) + "\n";
  }
  const auto mounts = mounter_.List();
  for (const auto& mount : *mounts)
    text += "mount at " + mount.target + (mount.read_only ? " ro" : "") + "\n";
  const auto points = repository_->ListPoints();
  EXPECT_TRUE(points.ok());
  for (const auto& point : *points) {
    text += "point of " + StringAt(point.attributes, "volumeSnapshot.name") + " of " +
            std::to_string(point.size_bytes) + "\n";
  }
  return text;
}

}  // namespace thinsnap::driver
