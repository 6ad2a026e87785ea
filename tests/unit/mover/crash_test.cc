// The engine on virtual time, one writer or two, one PUT or DELETE of which goes wrong: what was
// acknowledged restores bit for bit at once and for good, and a repeated call comes to its end.
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/faults/effects.h"
#include "tests/faults/fault_object_store.h"
#include "tests/unit/mover/fixture.h"

namespace thinsnap::mover {
namespace {

using faults::Effects;
using faults::Fault;
using faults::Process;

constexpr int kTries = 20;
constexpr char kPassphrase[] = "correct horse";

class EngineRun {
 public:
  EngineRun(Runtime& a_runtime, Effects& an_effects)
      : runtime(a_runtime), effects(an_effects), bucket(runtime.clock()) {}

  // Repeats a step in as many lives as it takes; the last one's answer.
  void Repeat(const std::string& what,
              const std::function<Status(store::ObjectStore&, Random&)>& step) {
    // Two writers draw their own.
    const auto draws = random.Stream(what + " " + std::to_string(++calls_));
    Status answer = Error(Code::kCancelled, "not called");
    for (int i = 0; i < kTries && !answer.ok(); ++i) {
      Process process(runtime);
      faults::FaultObjectStore store(bucket, effects, process);
      process.group().Spawn(what, [&] { answer = step(store, *draws); });
      process.Join();
      if (process.dead()) answer = Process::Gone();
      if (!answer.ok()) {
        EXPECT_TRUE(runtime.SleepFor(std::chrono::seconds(1)).ok());
      }
    }
    EXPECT_TRUE(answer.ok()) << what << ": " << (answer.ok() ? "" : answer.error().ToString());
  }
  Result<std::unique_ptr<repo::Repository>> Open(store::ObjectStore& store, Random& draws) {
    repo::OpenOptions options;
    options.passphrase = Secret(kPassphrase);
    return repo::OpenRepository(store, runtime, draws, options);
  }
  void Init() {
    Repeat("init", [&](store::ObjectStore& store, Random& draws) -> Status {
      repo::InitOptions options;
      options.kdf = {64, 1, 1};
      options.passphrase = Secret(kPassphrase);
      const auto made = repo::InitRepository(store, runtime, draws, options);
      // Of an earlier life of ours, whose answer was lost.
      if (made.ok() || made.Is(Code::kAlreadyExists)) return {};
      return made.error();
    });
  }

  // The volume's next snapshot; the bytes are what it has to restore to.
  ExportRequest Cut(MemoryDevice& device, const repo::PointInfo* base = nullptr) {
    ExportRequest request;
    request.series = "pool.volume";
    last_ = NextSnapshotId(runtime.clock().Now(), random, last_);
    request.snapshot = last_;
    request.cut = runtime.clock().Now();
    request.device_identity = "device-" + request.snapshot;
    request.source = &device;
    if (base != nullptr) {
      request.base = base->name;
      request.base_device_identity = base->device_identity;
      request.changed = [&device] {
        return block::CollectExtents(
            [&device](const block::ExtentVisitor& visit) { return device.Changed(visit); });
      };
    }
    truth[request.snapshot] = device.bytes();
    return request;
  }
  repo::PointInfo Export(const ExportRequest& request) {
    repo::PointInfo point;
    Repeat("export", [&](store::ObjectStore& store, Random& draws) -> Status {
      const auto repository = TRY(Open(store, draws));
      point = TRY(ExportBlocks(*repository, runtime, draws, request));
      return {};
    });
    ExpectWhole();
    return point;
  }
  void Forget(const repo::PointInfo& point) {
    Repeat("forget", [&](store::ObjectStore& store, Random& draws) -> Status {
      const auto repository = TRY(Open(store, draws));
      return repository->Forget(point.name);
    });
    ExpectWhole();
  }

  // Every point that is there restores to what its snapshot was; their number.
  std::size_t ExpectWhole() {
    const auto repository = Open(bucket, random);
    EXPECT_TRUE(repository.ok()) << repository.error().ToString();
    if (!repository.ok()) return 0;
    const auto points = (*repository)->ListPoints("", [](const auto& name, const Error& error) {
      ADD_FAILURE() << name.str() << ": " << error.ToString();
    });
    EXPECT_TRUE(points.ok());
    for (const auto& point : *points) {
      MemoryDevice target(point.size_bytes, 0xee);
      ImportRequest request;
      request.point = point.name;
      request.target = &target;
      const auto restored = ImportBlocks(**repository, runtime, request);
      EXPECT_TRUE(restored.ok()) << restored.error().ToString();
      EXPECT_TRUE(target.bytes() == truth.at(point.snapshot)) << point.name.str();
    }
    return points->size();
  }
  std::string Points() { return std::to_string(ExpectWhole()) + " points\n"; }

  Runtime& runtime;
  Effects& effects;
  SeededRandom random{42};
  store::MemoryObjectStore bucket;
  std::map<std::string, Bytes> truth;

 private:
  int calls_ = 0;
  std::string last_;
};

void SweepEngine(std::uint64_t seed, const std::function<std::string(EngineRun&)>& journey) {
  faults::Sweep(seed,
                {Fault::kCrash, Fault::kNotDone, Fault::kAnswerLost, Fault::kFull, Fault::kUnread},
                [&](FiberRuntime& runtime, Effects& effects) {
                  EngineRun run(runtime, effects);
                  return journey(run);
                });
}

TEST(EngineCrashTest, ARepositoryIsMadeAndOpensWithItsPassphrase) {
  SweepEngine(1, [](EngineRun& run) {
    run.effects.Begin();
    run.Init();
    MemoryDevice device(SomeBytes(run.random, kMiB));
    run.Export(run.Cut(device));
    return run.Points();
  });
}

TEST(EngineCrashTest, PointsComeAndGoAndTheRestStaysWhole) {
  SweepEngine(1, [](EngineRun& run) {
    run.Init();
    MemoryDevice device(SomeBytes(run.random, 2 * kMiB));
    const auto first = run.Export(run.Cut(device));
    run.effects.Begin();
    device.Cut();
    EXPECT_TRUE(device.WriteAt(kMiB, SomeBytes(run.random, 300000)).ok());
    const auto second = run.Export(run.Cut(device, &first));
    run.Forget(first);
    device.Cut();
    EXPECT_TRUE(device.WriteAt(0, SomeBytes(run.random, 300000)).ok());
    run.Export(run.Cut(device, &second));
    return run.Points();
  });
}

// Two processes believe that the same export is theirs.
TEST(EngineCrashTest, OfTwoWritersOneCommitsAndBothAreTold) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    SweepEngine(seed, [](EngineRun& run) {
      run.Init();
      MemoryDevice device(SomeBytes(run.random, kMiB));
      const auto request = run.Cut(device);
      run.effects.Begin();
      repo::PointInfo points[2];
      TaskGroup writers(run.runtime);
      for (auto& point : points) {
        writers.Spawn("writer", [&] { point = run.Export(request); });
      }
      writers.Join();
      EXPECT_EQ(points[0].name, points[1].name);
      return run.Points();
    });
  }
}

// The node that has the volume now, and one that was thought dead.
TEST(EngineCrashTest, TwoWritersOfOneSeriesDoNotHurtEachOther) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    SweepEngine(seed, [](EngineRun& run) {
      run.Init();
      MemoryDevice old_device(SomeBytes(run.random, kMiB));
      MemoryDevice new_device(SomeBytes(run.random, kMiB));
      const auto base = run.Export(run.Cut(old_device));
      old_device.Cut();
      EXPECT_TRUE(old_device.WriteAt(0, SomeBytes(run.random, 300000)).ok());
      const auto late = run.Cut(old_device, &base);
      const auto current = run.Cut(new_device);
      run.effects.Begin();
      TaskGroup writers(run.runtime);
      writers.Spawn("late", [&] { run.Export(late); });
      writers.Spawn("current", [&] { run.Export(current); });
      writers.Join();
      return run.Points();
    });
  }
}

}  // namespace
}  // namespace thinsnap::mover
