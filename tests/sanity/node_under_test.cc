#include "tests/sanity/node_under_test.h"

#include <atomic>
#include <filesystem>
#include <stdlib.h>
#include <utility>

#include "base/core/bytes.h"
#include "csi/mount/system_mounter.h"
#include "csi/proto/csi_client.h"
#include "csi/reflink/reflink_thin_pool.h"
#include "simulator/pool/recording_mounter.h"
#include "simulator/pool/sim_thin_pool.h"
#include "tests/contract/pool/reflink_image.h"
#include "tests/sanity/fake_disks.h"

namespace thinsnap::driver {
namespace {

// csi-sanity makes volumes of 10 GiB; nothing of that is ever written.
constexpr std::uint64_t kImageBytes = 64 * kGiB;

}  // namespace

TestFolder::TestFolder() {
  char folder[] = "/tmp/thinsnap-csi-XXXXXX";
  ASSERT(mkdtemp(folder) != nullptr);
  path_ = folder;
}

TestFolder::~TestFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

NodeWorld::NodeWorld(std::unique_ptr<pool::ThinPool> a_pool,
                     std::unique_ptr<mount::Mounter> a_mounter,
                     std::unique_ptr<CommandRunner> a_runner)
    : runtime(clock),
      pool(std::move(a_pool)),
      mounter(std::move(a_mounter)),
      runner(std::move(a_runner)) {
  options.node_name = "node-a";
  options.socket_path = folder.path() + "/csi.sock";
}

std::unique_ptr<NodeWorld> MakeSimWorld(std::uint64_t capacity_bytes) {
  static SystemClock clock;
  static SystemRandom random;
  auto pool = pool::OpenSimThinPool(pool::NewSimPoolImage(random, capacity_bytes), clock, random);
  return std::make_unique<NodeWorld>(std::move(pool), std::make_unique<mount::RecordingMounter>(),
                                     std::make_unique<FakeDisks>());
}

Result<std::unique_ptr<NodeWorld>> MakeReflinkWorld() {
  static SystemClock clock;
  static SystemRandom random;
  static std::atomic<int> counter = 0;
  const std::string image = TRY(pool::MountReflinkImage(kImageBytes));
  reflink::ReflinkPoolOptions options;
  options.folder = image + "/pool-" + std::to_string(++counter);
  auto pool = TRY(reflink::OpenReflinkThinPool(clock, random, options));
  return std::make_unique<NodeWorld>(std::move(pool), std::make_unique<mount::SystemMounter>(),
                                     std::make_unique<PosixCommandRunner>());
}

NodeUnderTest::NodeUnderTest(NodeWorld& world) : world_(world), group_(world.runtime) {
  Channel<std::string> ready(world.runtime, 1);
  NodeDriverOptions options = world.options;
  options.on_ready = [&](const std::string& address) {
    const Status sent = ready.Send(address);
    ASSERT(sent.ok());
  };
  group_.Spawn("node driver", [this, options] {
    const Status ran = RunNodeDriver(world_.runtime, group_, world_.random, *world_.pool,
                                     *world_.mounter, *world_.runner, world_.kube, options);
    ASSERT(ran.ok());
  });
  auto address = ready.Receive();
  ASSERT(address.ok() && address->has_value());
  address_ = **address;
  client_ = proto::ConnectCsi(world.runtime, "unix://" + options.socket_path);
}

void NodeUnderTest::Stop() {
  client_.reset();
  group_.Stop();
  group_.Join();
}

}  // namespace thinsnap::driver
