// A node on virtual time with twenty healthy volumes and two that are not, three repositories of
// which one is slow and one refuses, a pool that runs short, a clock that steps back, a driver that
// is killed, and sidecars and pods that use all of it at once. What happens follows from the seed.
//
// Checked while it runs: every point that is committed holds the bytes of its cut; what was
// acknowledged is there; the pool is never full; a repository or a disk that fails is not asked
// faster than a backoff allows; whatever goes to the healthy repository alone gets there soon.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/fiber_runtime.h"
#include "base/core/random.h"
#include "csi/driver/node_parts.h"
#include "simulator/pool/recording_mounter.h"
#include "simulator/pool/sim_thin_pool.h"
#include "tests/faults/effects.h"
#include "tests/sanity/fake_disks.h"
#include "tests/unit/driver/witness.h"
#include "tests/unit/transfer/buckets.h"

namespace thinsnap::driver {

class BusyWorld {
 public:
  BusyWorld(FiberRuntime& runtime, std::uint64_t seed);
  ~BusyWorld();

  // All of it, until everything has settled. From a task.
  void Run();
  // What is left at the end, as lines of text.
  std::string Describe();

  // How much happened.
  std::string Summary() const;

 private:
  static constexpr Duration kLongest = std::chrono::hours(3);
  struct Life;
  class WatchedStore;
  // Of the same thing in the last minute.
  class Rate {
   public:
    int Count(MonoTime now);

   private:
    std::deque<MonoTime> times_;
  };
  struct Volume {
    std::string name, handle;
    pool::VolumeId id;
    std::uint64_t size_bytes = 0;
    std::uint64_t blocks = 0;  // that its pod uses
    std::size_t random_bytes = 0;
    bool healthy = true;
    bool staged = false;
    bool leaving = false;
    int users = 0;  // calls that name it
  };
  struct Snapshot {
    std::string name, handle;
    pool::SnapshotId id;
    std::string volume;  // its name
    std::string volume_handle;
    std::uint64_t size_bytes = 0;
    std::vector<std::string> repositories;
    bool ready = false;
    bool leaving = false;
    MonoTime cut;
  };

  void PlantSickVolumes();
  void MakeVolumes();
  void Client(Random& random, int steps);
  void Trouble();
  void Inspect();
  void Settle();

  void WriteSome(Random& random);
  void Cut(Random& random);
  void Poll(const std::string& name);
  void Restore(Random& random);
  void Clone(Random& random);
  void Fill(Volume volume, const csi::v1::CreateVolumeRequest& request,
            const std::function<std::shared_ptr<const Blocks>(const pool::VolumeInfo&)>& source);
  void DeleteVolume(Random& random);
  void DeleteSnapshot(Random& random);
  void Expand(Random& random);
  void StageOrUnstage(Random& random);
  void StepBack(Random& random);

  void Commit(transfer::Bucket& bucket, const std::string& key);
  void CheckCommits();
  void CheckAcknowledged();
  void CheckRate(Rate& rate, int most, const std::string& what);
  std::uint64_t FreeBytes();
  // Pods leave room to what the driver has promised.
  bool MayWrite();
  // That restores which run have yet to write, at most.
  std::uint64_t BytesToCome();
  int Importing();
  bool IsClientCall() const;

  std::shared_ptr<Life> Alive();
  void StartLife();
  // Asks the driver that lives. kCancelled when it is killed meanwhile.
  Status Call(const std::string& name,
              const std::function<void(NodeDriver&, const proto::Call&)>& ask);
  template <typename Response, typename Request>
  Result<Response> Once(Result<Response> (NodeDriver::*verb)(const proto::Call&, const Request&),
                        const Request& request) {
    Result<Response> answer = faults::Process::Gone();
    TRY(Call(request.GetTypeName(), [&](NodeDriver& driver, const proto::Call& call) {
      answer = (driver.*verb)(call, request);
    }));
    return answer;
  }
  static bool MayBeRepeated(Code code);
  // Repeats it as a sidecar does, until it is done or final.
  template <typename Response, typename Request>
  Result<Response> Repeat(Result<Response> (NodeDriver::*verb)(const proto::Call&, const Request&),
                          const Request& request) {
    const MonoTime began = runtime_.clock().MonoNow();
    for (;;) {
      Result<Response> answer = Once(verb, request);
      if (answer.ok() || !MayBeRepeated(answer.error().code())) return answer;
      EXPECT_LT(runtime_.clock().MonoNow() - began, kLongest)
          << request.GetTypeName() << ": " << answer.error().ToString();
      if (testing::Test::HasFailure()) return Error(Code::kResourceExhausted, "given up");
      EXPECT_TRUE(runtime_.SleepFor(std::chrono::seconds(3)).ok());
    }
  }

  Volume* AnyVolume(Random& random, const std::function<bool(const Volume&)>& fits);
  Snapshot* AnySnapshot(Random& random, const std::function<bool(const Snapshot&)>& fits);
  csi::v1::CreateVolumeRequest VolumeRequest(const std::string& name, std::uint64_t size_bytes);
  csi::v1::CreateSnapshotRequest SnapshotRequest(const Snapshot& snapshot);
  void Pause(Random& random, Duration most);

  FiberRuntime& runtime_;
  SeededRandom random_;
  std::shared_ptr<pool::SimPoolImage> image_;
  std::unique_ptr<pool::ThinPool> pool_;  // undisturbed
  Witness witness_;
  mount::RecordingMounter mounter_;
  FakeDisks disks_;
  transfer::Buckets buckets_;
  transfer::Bucket *good_ = nullptr, *slow_ = nullptr, *refusing_ = nullptr;
  std::map<std::string, std::unique_ptr<repo::Repository>> opened_;  // by id, undisturbed
  std::shared_ptr<Life> life_;
  int lives_ = 0;
  std::set<const TaskGroup::State*> client_calls_;

  std::map<std::string, Volume> volumes_;
  std::map<std::string, Snapshot> snapshots_;  // acknowledged and not deleted
  std::vector<Snapshot> exported_;             // also deleted ones
  int names_ = 0;
  pool::VolumeId broken_;
  bool disturbing_ = false, settling_ = false, done_ = false;
  std::map<std::string, Rate> refused_;  // by repository
  Rate broken_opened_;
  std::deque<std::pair<transfer::Bucket*, std::string>> commits_;
  std::unique_ptr<EventCount> changed_;
  std::unique_ptr<TaskGroup> sidecars_;
  std::unique_ptr<Random> fault_random_;

  int points_ = 0, incremental_points_ = 0, restores_ = 0, clones_ = 0, refusals_for_room_ = 0;
};

}  // namespace thinsnap::driver
