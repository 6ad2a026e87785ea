// A cluster on virtual time with the whole operator, its Jobs, and what else has to move for a
// backup: whoever makes an effect may be killed at it, and is started again.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "tests/faults/effects.h"
#include "tests/faults/fault_kube_client.h"
#include "tests/unit/operator/world.h"

namespace thinsnap::backup {

class JourneyCluster {
 public:
  JourneyCluster(Runtime& runtime, Random& random, TestStorage& storage, faults::Effects& effects);
  ~JourneyCluster();

  TestCluster& cluster() { return *cluster_; }
  World& world() { return *world_; }

  // Moves everything until it is so; fails the test when it does not become so in an hour.
  bool Until(const std::string& what, const std::function<bool()>& condition);
  // Moves everything for a while.
  void Run(Duration duration);
  // What there is, in words that are the same for each run: a line for each value.
  std::string Describe();

 private:
  // The operator, or a pod of one of its Jobs.
  struct Life {
    Life(JourneyCluster& owner, Runtime& runtime);
    const std::unique_ptr<Random> random;  // its own: what it draws shifts nobody else's
    faults::FaultKubeClient client;
    StoreOpener open_store;
    faults::Process process;
  };
  struct Pod {
    std::unique_ptr<Life> life;
    int failures = 0;
    bool ended = false;
    Status outcome;
    MonoTime next;
  };

  std::string Sessions();
  void Step();
  void MoveJobs();
  void CollectGarbage();
  void StartOperator();
  void StartPod(const Json& job, Pod& pod);

  Runtime& runtime_;
  Random& random_;
  const std::unique_ptr<Random> server_random_, bytes_;  // of the API server, of the volumes
  int lives_ = 0;
  TestStorage& storage_;
  faults::Effects& effects_;
  std::unique_ptr<TestCluster> cluster_;
  std::unique_ptr<World> world_;
  std::unique_ptr<Life> operator_;
  std::map<std::string, Pod> pods_;  // by the Job's uid
  MonoTime next_collection_{}, restart_{};
};

// What the bucket holds below the URL, packs left out, in the words of Describe.
std::string DescribeBucket(TestStorage& storage, const std::string& url);

}  // namespace thinsnap::backup
