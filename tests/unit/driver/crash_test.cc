// The node driver, killed after each of its effects, refused each, left without an answer to each,
// while the CO repeats its calls: nothing acknowledged is lost, and at the end nothing is left.
#include <set>

#include "tests/contract/pool/leased_device.h"
#include "tests/unit/driver/crash_world.h"

namespace thinsnap::driver {
namespace {

using csi::v1::VolumeCapability;
using faults::Effects;
using faults::Fault;

constexpr char kStaging[] = "/staging";
constexpr char kTarget[] = "/pod/volume";

// What the sidecars take as the last word: nothing was made, nobody will ask again.
bool IsFinal(const Error& error) {
  static const std::set<Code> kMayGoOn{Code::kCancelled, Code::kDeadlineExceeded,
                                       Code::kUnavailable, Code::kAborted, Code::kUnknownOutcome};
  return !kMayGoOn.contains(error.code());
}

VolumeCapability Mounted() {
  VolumeCapability capability;
  capability.mutable_mount();
  capability.mutable_access_mode()->set_mode(VolumeCapability::AccessMode::SINGLE_NODE_WRITER);
  return capability;
}

class CrashRun {
 public:
  CrashRun(Runtime& runtime, Effects& effects) : world(runtime, effects) {}

  std::string CreateVolume(const std::string& name, const std::string& snapshot = "",
                           const std::string& volume = "") {
    csi::v1::CreateVolumeRequest request;
    request.set_name(name);
    request.mutable_capacity_range()->set_required_bytes(8 * kMiB);
    *request.add_volume_capabilities() = Mounted();
    auto& source = *request.mutable_volume_content_source();
    if (!snapshot.empty()) source.mutable_snapshot()->set_snapshot_id(snapshot);
    if (!volume.empty()) source.mutable_volume()->set_volume_id(volume);
    if (snapshot.empty() && volume.empty()) request.clear_volume_content_source();
    return world
        .Call(&NodeDriver::CreateVolume, request,
              [&](const Error& error) {
                if (!IsFinal(error)) return;
                for (const auto& made : *world.pool().ListVolumes())
                  EXPECT_NE(made.name, name) << "left behind after " << error.ToString();
              })
        .volume()
        .volume_id();
  }
  csi::v1::CreateSnapshotRequest SnapshotRequest(const std::string& name,
                                                 const std::string& volume) {
    csi::v1::CreateSnapshotRequest request;
    request.set_name(name);
    request.set_source_volume_id(volume);
    auto& parameters = *request.mutable_parameters();
    parameters["repositories"] = world.repository().id().str();
    parameters["csi.storage.k8s.io/volumesnapshot/name"] = "vs-" + name;
    parameters["csi.storage.k8s.io/volumesnapshot/namespace"] = "shop";
    parameters["csi.storage.k8s.io/volumesnapshotcontent/name"] = "content-" + name;
    return request;
  }
  std::string Cut(const std::string& name, const std::string& volume) {
    return world.Call(&NodeDriver::CreateSnapshot, SnapshotRequest(name, volume))
        .snapshot()
        .snapshot_id();
  }
  std::string CreateSnapshot(const std::string& name, const std::string& volume) {
    const auto request = SnapshotRequest(name, volume);
    std::string handle;
    for (int i = 0; i < 400; ++i) {
      const auto snapshot = world
                                .Call(&NodeDriver::CreateSnapshot, request,
                                      [&](const Error& error) {
                                        if (!IsFinal(error) || !handle.empty()) return;
                                        for (const auto& made : *world.pool().ListSnapshots())
                                          EXPECT_NE(made.name, name)
                                              << "left behind after " << error.ToString();
                                      })
                                .snapshot();
      EXPECT_TRUE(handle.empty() || snapshot.snapshot_id() == handle);
      handle = snapshot.snapshot_id();
      if (snapshot.ready_to_use()) return handle;
      EXPECT_TRUE(world.runtime.SleepFor(std::chrono::seconds(1)).ok());
    }
    ADD_FAILURE() << name << " never became ready";
    return handle;
  }
  void Stage(const std::string& volume) {
    csi::v1::NodeStageVolumeRequest stage;
    stage.set_volume_id(volume);
    stage.set_staging_target_path(kStaging);
    *stage.mutable_volume_capability() = Mounted();
    world.Call(&NodeDriver::NodeStageVolume, stage);
    csi::v1::NodePublishVolumeRequest publish;
    publish.set_volume_id(volume);
    publish.set_staging_target_path(kStaging);
    publish.set_target_path(kTarget);
    *publish.mutable_volume_capability() = Mounted();
    world.Call(&NodeDriver::NodePublishVolume, publish);
  }
  void Unstage(const std::string& volume) {
    csi::v1::NodeUnpublishVolumeRequest unpublish;
    unpublish.set_volume_id(volume);
    unpublish.set_target_path(kTarget);
    world.Call(&NodeDriver::NodeUnpublishVolume, unpublish);
    csi::v1::NodeUnstageVolumeRequest unstage;
    unstage.set_volume_id(volume);
    unstage.set_staging_target_path(kStaging);
    world.Call(&NodeDriver::NodeUnstageVolume, unstage);
  }
  void Expand(const std::string& volume, std::uint64_t size_bytes) {
    csi::v1::ControllerExpandVolumeRequest expand;
    expand.set_volume_id(volume);
    expand.mutable_capacity_range()->set_required_bytes(static_cast<std::int64_t>(size_bytes));
    EXPECT_TRUE(world.Call(&NodeDriver::ControllerExpandVolume, expand).node_expansion_required());
    csi::v1::NodeExpandVolumeRequest grow;
    grow.set_volume_id(volume);
    grow.set_volume_path(kTarget);
    world.Call(&NodeDriver::NodeExpandVolume, grow);
  }
  void DeleteVolume(const std::string& volume) {
    csi::v1::DeleteVolumeRequest request;
    request.set_volume_id(volume);
    world.Call(&NodeDriver::DeleteVolume, request);
  }
  void DeleteSnapshot(const std::string& snapshot) {
    csi::v1::DeleteSnapshotRequest request;
    request.set_snapshot_id(snapshot);
    world.Call(&NodeDriver::DeleteSnapshot, request);
  }
  void Write(const std::string& volume, const std::string& text) {
    auto device = pool::OpenVolume(world.pool(), pool::VolumeHandle::Parse(volume)->volume);
    ASSERT_TRUE(device.ok());
    ASSERT_TRUE((*device)->WriteAt(64 * kKiB, AsBytes(text)).ok());
  }
  std::string Read(const std::string& volume) {
    auto device = pool::OpenVolume(world.pool(), pool::VolumeHandle::Parse(volume)->volume);
    if (!device.ok()) return device.error().ToString();
    Bytes bytes(3);
    EXPECT_TRUE((*device)->ReadAt(64 * kKiB, bytes).ok());
    return std::string(AsText(bytes));
  }
  // What nobody waits for comes to its end.
  std::string Settled() {
    world.Run(std::chrono::minutes(5));
    return world.Describe();
  }

  CrashWorld world;
};

void SweepDriver(const std::function<std::string(CrashRun&)>& journey) {
  const auto on_virtual_time = [&](FiberRuntime& runtime, Effects& effects) {
    CrashRun run(runtime, effects);
    return journey(run);
  };
  const std::vector<Fault> faults{Fault::kCrash, Fault::kNotDone, Fault::kAnswerLost};
  faults::Sweep(1, faults, on_virtual_time);
  faults::Sweep(1, {Fault::kUnread}, on_virtual_time);
  faults::SweepPairs(1, faults, 6, on_virtual_time);
}

TEST(DriverCrashTest, AVolumeComesIsUsedGrowsAndGoes) {
  SweepDriver([](CrashRun& run) {
    run.world.effects.Begin();
    const auto volume = run.CreateVolume("v");
    run.Stage(volume);
    run.Expand(volume, 16 * kMiB);
    auto state = run.Settled();
    run.Unstage(volume);
    run.DeleteVolume(volume);
    const auto left = run.Settled();
    EXPECT_EQ(left, "");
    return state + "finally " + left;
  });
}

TEST(DriverCrashTest, SnapshotsAreExportedOnceAndInOrder) {
  SweepDriver([](CrashRun& run) {
    const auto volume = run.CreateVolume("v");
    run.Stage(volume);
    run.Write(volume, "one");
    run.world.effects.Begin();
    run.CreateSnapshot("s1", volume);
    run.Write(volume, "two");
    run.CreateSnapshot("s2", volume);
    return run.Settled();
  });
}

TEST(DriverCrashTest, ASnapshotDeletedWhileItIsExportedIsGone) {
  SweepDriver([](CrashRun& run) {
    const auto volume = run.CreateVolume("v");
    run.Stage(volume);
    run.Write(volume, "one");
    run.world.effects.Begin();
    const auto cut = run.Cut("s1", volume);
    run.DeleteSnapshot(cut);
    run.Unstage(volume);
    run.DeleteVolume(volume);
    const auto left = run.Settled();
    // It may have been too late: then its point is the Repository's.
    EXPECT_TRUE(left.empty() || left == "point of vs-s1 of 8388608\n") << left;
    return std::string("gone\n");
  });
}

TEST(DriverCrashTest, VolumesAreMadeFromEverythingThatWasKept) {
  SweepDriver([](CrashRun& run) {
    const auto volume = run.CreateVolume("v");
    run.Stage(volume);
    run.Write(volume, "one");
    const auto first = run.CreateSnapshot("s1", volume);
    run.Write(volume, "two");
    const auto second = run.CreateSnapshot("s2", volume);
    run.world.Run(std::chrono::minutes(1));
    run.world.effects.Begin();
    std::string read;
    // The first one's device went with the second: it comes from the bucket.
    for (const auto& made :
         {run.CreateVolume("from-bucket", first), run.CreateVolume("from-device", second),
          run.CreateVolume("from-volume", "", volume)}) {
      read += "read " + run.Read(made) + "\n";
    }
    return read + run.Settled();
  });
}

TEST(DriverCrashTest, NothingIsLeftButRestorePoints) {
  for (const bool volume_first : {false, true}) {
    SweepDriver([&](CrashRun& run) {
      const auto volume = run.CreateVolume("v");
      run.Stage(volume);
      run.Write(volume, "one");
      const auto first = run.CreateSnapshot("s1", volume);
      const auto second = run.CreateSnapshot("s2", volume);
      const auto copy = run.CreateVolume("copy", second);
      run.world.effects.Begin();
      run.Unstage(volume);
      if (volume_first) run.DeleteVolume(volume);
      run.DeleteSnapshot(second);
      run.DeleteSnapshot(first);
      if (!volume_first) run.DeleteVolume(volume);
      run.DeleteVolume(copy);
      const auto left = run.Settled();
      EXPECT_EQ(left, "point of vs-s1 of 8388608\npoint of vs-s2 of 8388608\n");
      return left;
    });
  }
}

}  // namespace
}  // namespace thinsnap::driver
