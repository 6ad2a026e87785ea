// A node driver that runs in this process on a unix socket, and a client to it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/core/bytes.h"
#include "base/core/clock.h"
#include "base/core/command.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "csi/driver/run_node.h"
#include "csi/mount/mounter.h"
#include "csi/pool/thin_pool.h"
#include "csi/proto/csi_service.h"

namespace thinsnap::driver {

// A folder under /tmp that goes with the object.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// What the driver stands on; outlives it, so that it can be started again.
struct NodeWorld {
  NodeWorld(std::unique_ptr<pool::ThinPool> a_pool, std::unique_ptr<mount::Mounter> a_mounter,
            std::unique_ptr<CommandRunner> a_runner);

  TestFolder folder;
  SystemClock clock;
  SystemRandom random;
  ThreadRuntime runtime;
  std::unique_ptr<pool::ThinPool> pool;
  std::unique_ptr<mount::Mounter> mounter;
  std::unique_ptr<CommandRunner> runner;
  kube::KubeClient* kube = nullptr;
  NodeDriverOptions options;  // name and socket are filled in
};

// In memory: SimThinPool, RecordingMounter, and programs that only pretend.
std::unique_ptr<NodeWorld> MakeSimWorld(std::uint64_t capacity_bytes = 64 * kGiB);
// On this machine: ReflinkThinPool on a loop device, real mounts. The error says what the machine
// lacks.
Result<std::unique_ptr<NodeWorld>> MakeReflinkWorld();

class NodeUnderTest {
 public:
  explicit NodeUnderTest(NodeWorld& world);
  ~NodeUnderTest() { Stop(); }
  void Stop();
  proto::CsiService& client() { return *client_; }
  const std::string& address() const { return address_; }  // over TCP

 private:
  NodeWorld& world_;
  TaskGroup group_;
  std::string address_;
  std::unique_ptr<proto::CsiService> client_;
};

}  // namespace thinsnap::driver
