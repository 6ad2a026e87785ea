// What sidecars, kubelet and pods do in the busy world.
#include <algorithm>
#include <utility>

#include "csi/pool/handle.h"
#include "csi/pool/tags.h"
#include "tests/unit/driver/busy_world.h"

namespace thinsnap::driver {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kSoon = minutes(15);

std::string StagingOf(const std::string& volume) { return "/staging/" + volume; }

csi::v1::VolumeCapability Mounted() {
  csi::v1::VolumeCapability capability;
  capability.mutable_mount();
  capability.mutable_access_mode()->set_mode(
      csi::v1::VolumeCapability::AccessMode::SINGLE_NODE_WRITER);
  return capability;
}

}  // namespace

void BusyWorld::Client(Random& random, int steps) {
  for (int i = 0; i < steps; ++i) {
    Pause(random, seconds(20));
    const std::uint64_t dice = random.Below(100);
    if (dice < 40) {
      WriteSome(random);
    } else if (dice < 62) {
      Cut(random);
    } else if (dice < 72) {
      Restore(random);
    } else if (dice < 80) {
      Clone(random);
    } else if (dice < 87) {
      DeleteSnapshot(random);
    } else if (dice < 93) {
      DeleteVolume(random);
    } else if (dice < 96) {
      Expand(random);
    } else {
      StageOrUnstage(random);
    }
  }
}

void BusyWorld::WriteSome(Random& random) {
  Volume* volume = AnyVolume(random, [](const Volume&) { return true; });
  const std::uint64_t count = 1 + random.Below(8);
  for (std::uint64_t i = 0; i < count; ++i) {
    // Whatever fills the pool is the driver.
    if (!MayWrite()) return;
    const std::uint64_t block = random.Below(volume->blocks);
    if (random.Below(8) == 0) {
      witness_.Discard(volume->id, block);
    } else {
      witness_.Write(volume->id, block, volume->random_bytes);
    }
  }
}

void BusyWorld::Cut(Random& random) {
  Volume* volume = AnyVolume(random, [](const Volume&) { return true; });
  const std::vector<std::vector<std::string>> classes{
      {good_->id},     {good_->id}, {slow_->id, good_->id}, {refusing_->id, good_->id}, {slow_->id},
      {refusing_->id}, {}};
  Snapshot snapshot;
  snapshot.name = "snapshot-" + std::to_string(++names_);
  snapshot.volume = volume->name;
  snapshot.volume_handle = volume->handle;
  snapshot.repositories = classes[random.Below(classes.size())];
  ++volume->users;
  const auto made = Repeat(&NodeDriver::CreateSnapshot, SnapshotRequest(snapshot));
  --volumes_.at(snapshot.volume).users;
  if (!made.ok()) {
    // No room, or a repository that refuses to be opened.
    EXPECT_TRUE(made.Is(Code::kFailedPrecondition)) << made.error().ToString();
    if (made.error().message().find("headroom") != std::string::npos) ++refusals_for_room_;
    return;
  }
  snapshot.handle = made->snapshot().snapshot_id();
  snapshot.id = pool::SnapshotHandle::Parse(snapshot.handle)->snapshot;
  snapshot.size_bytes = static_cast<std::uint64_t>(made->snapshot().size_bytes());
  snapshot.cut = runtime_.clock().MonoNow();
  snapshots_[snapshot.name] = snapshot;
  sidecars_->Spawn("snapshotter", [this, name = snapshot.name] { Poll(name); });
}

void BusyWorld::Poll(const std::string& name) {
  const auto random = random_.Stream("poll " + name);
  const MonoTime began = runtime_.clock().MonoNow();
  for (;;) {
    const auto found = snapshots_.find(name);
    if (found == snapshots_.end() || found->second.leaving) return;
    const Snapshot snapshot = found->second;
    const auto polled = Once(&NodeDriver::CreateSnapshot, SnapshotRequest(snapshot));
    const auto again = snapshots_.find(name);
    if (again == snapshots_.end() || again->second.leaving) return;
    const Duration waited = runtime_.clock().MonoNow() - began;
    if (polled.ok()) {
      ASSERT_EQ(polled->snapshot().snapshot_id(), snapshot.handle);
      if (polled->snapshot().ready_to_use()) {
        if (snapshot.repositories == std::vector<std::string>{good_->id}) {
          EXPECT_LT(waited, kSoon) << name << " took long to the healthy repository";
        }
        again->second.ready = true;
        if (!snapshot.repositories.empty()) exported_.push_back(again->second);
        return;
      }
    } else {
      EXPECT_TRUE(MayBeRepeated(polled.error().code())) << name << polled.error().ToString();
    }
    ASSERT_LT(waited, kLongest) << name << " never becomes ready: "
                                << (polled.ok() ? "" : polled.error().ToString());
    Pause(*random, seconds(20));
  }
}

void BusyWorld::Restore(Random& random) {
  Snapshot* from = nullptr;
  Snapshot chosen;
  if (random.Below(2) == 0 && !exported_.empty()) {
    chosen = exported_[random.Below(exported_.size())];  // perhaps from the repository alone
  } else {
    from = AnySnapshot(random, [](const Snapshot&) { return true; });
    if (from == nullptr) return;
    chosen = *from;
  }
  Volume volume;
  volume.name = "restore-" + std::to_string(++names_);
  volume.size_bytes = chosen.size_bytes;
  auto request = VolumeRequest(volume.name, volume.size_bytes);
  request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(chosen.handle);
  Fill(volume, request, [&](const pool::VolumeInfo&) { return witness_.AtCut(chosen.id); });
}

void BusyWorld::Clone(Random& random) {
  Volume* from = AnyVolume(random, [](const Volume&) { return true; });
  const std::string source = from->name;
  Volume volume;
  volume.name = "clone-of-" + std::to_string(++names_);
  volume.size_bytes = from->size_bytes;
  auto request = VolumeRequest(volume.name, volume.size_bytes);
  request.mutable_volume_content_source()->mutable_volume()->set_volume_id(from->handle);
  ++from->users;
  Fill(volume, request, [&](const pool::VolumeInfo& made) { return witness_.AtCut(made.origin); });
  --volumes_.at(source).users;
}

void BusyWorld::Fill(
    Volume volume, const csi::v1::CreateVolumeRequest& request,
    const std::function<std::shared_ptr<const Blocks>(const pool::VolumeInfo&)>& source) {
  const auto made = Repeat(&NodeDriver::CreateVolume, request);
  if (!made.ok()) {
    if (made.Is(Code::kResourceExhausted)) ++refusals_for_room_;
    // No room; or the snapshot was deleted meanwhile and never exported; or the repository refuses.
    static const std::set<Code> kExpected{Code::kResourceExhausted, Code::kNotFound,
                                          Code::kPermissionDenied};
    EXPECT_TRUE(kExpected.contains(made.error().code())) << made.error().ToString();
    for (const pool::VolumeInfo& left : *pool_->ListVolumes()) {
      EXPECT_NE(left.name, volume.name) << "left behind after " << made.error().ToString();
    }
    return;
  }
  volume.handle = made->volume().volume_id();
  volume.id = pool::VolumeHandle::Parse(volume.handle)->volume;
  volume.blocks = volume.size_bytes / kBlock;
  volume.random_bytes = 4 * kKiB;
  const auto info = pool_->GetVolume(volume.id);
  ASSERT_TRUE(info.ok());
  const auto blocks = source(*info);
  ASSERT_TRUE(blocks) << volume.name << " was made of a cut that nobody saw";
  witness_.Know(volume.id, blocks);
  const Status checked = witness_.CheckVolume(volume.id);
  EXPECT_TRUE(checked.ok()) << volume.name << ": " << checked.error().ToString();
  volumes_[volume.name] = volume;
  ++(volume.name.starts_with("clone") ? clones_ : restores_);
}

void BusyWorld::DeleteVolume(Random& random) {
  Volume* volume = AnyVolume(random, [](const Volume& candidate) {
    return !candidate.name.starts_with("big-") && candidate.users == 0;
  });
  if (volume == nullptr) return;
  volume->leaving = true;
  if (volume->staged) {
    csi::v1::NodeUnstageVolumeRequest unstage;
    unstage.set_volume_id(volume->handle);
    unstage.set_staging_target_path(StagingOf(volume->name));
    const auto unstaged = Repeat(&NodeDriver::NodeUnstageVolume, unstage);
    ASSERT_TRUE(unstaged.ok()) << unstaged.error().ToString();
  }
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume->handle);
  const auto removed = Repeat(&NodeDriver::DeleteVolume, remove);
  ASSERT_TRUE(removed.ok()) << removed.error().ToString();
  EXPECT_TRUE(pool_->GetVolume(volume->id).Is(Code::kNotFound));
  witness_.Forget(volume->id);
  volumes_.erase(volume->name);
}

void BusyWorld::DeleteSnapshot(Random& random) {
  Snapshot* snapshot = AnySnapshot(random, [](const Snapshot&) { return true; });
  if (snapshot == nullptr) return;
  snapshot->leaving = true;
  csi::v1::DeleteSnapshotRequest remove;
  remove.set_snapshot_id(snapshot->handle);
  const auto removed = Repeat(&NodeDriver::DeleteSnapshot, remove);
  ASSERT_TRUE(removed.ok()) << removed.error().ToString();
  const auto left = pool_->GetSnapshot(snapshot->id);
  EXPECT_TRUE(!left.ok() || tags::Has(left->tags, tags::kHidden)) << snapshot->name;
  snapshots_.erase(snapshot->name);
}

void BusyWorld::Expand(Random& random) {
  Volume* volume =
      AnyVolume(random, [](const Volume& candidate) { return candidate.size_bytes < 64 * kMiB; });
  if (volume == nullptr) return;
  const std::string name = volume->name;
  ++volume->users;
  csi::v1::ControllerExpandVolumeRequest expand;
  expand.set_volume_id(volume->handle);
  expand.mutable_capacity_range()->set_required_bytes(
      static_cast<std::int64_t>(volume->size_bytes + kMiB));
  const auto expanded = Repeat(&NodeDriver::ControllerExpandVolume, expand);
  Volume& now = volumes_.at(name);
  --now.users;
  if (expanded.ok()) {
    now.size_bytes =
        std::max(now.size_bytes, static_cast<std::uint64_t>(expanded->capacity_bytes()));
    now.blocks = now.size_bytes / kBlock;
  } else {
    EXPECT_TRUE(expanded.Is(Code::kResourceExhausted)) << expanded.error().ToString();
    ++refusals_for_room_;
  }
}

void BusyWorld::StageOrUnstage(Random& random) {
  Volume* volume = AnyVolume(random, [](const Volume& candidate) { return candidate.users == 0; });
  if (volume == nullptr) return;
  const std::string name = volume->name;
  const bool stage = !volume->staged;
  ++volume->users;
  if (stage) {
    csi::v1::NodeStageVolumeRequest request;
    request.set_volume_id(volume->handle);
    request.set_staging_target_path(StagingOf(name));
    *request.mutable_volume_capability() = Mounted();
    const std::string device = "/dev/thinsnap/" + volume->id.str();
    // A pod wrote here before: what it wrote counts as its filesystem.
    disks_.SetType(device, "ext4");
    const auto staged = Repeat(&NodeDriver::NodeStageVolume, request);
    EXPECT_TRUE(staged.ok()) << staged.error().ToString();
  } else {
    csi::v1::NodeUnstageVolumeRequest request;
    request.set_volume_id(volume->handle);
    request.set_staging_target_path(StagingOf(name));
    const auto unstaged = Repeat(&NodeDriver::NodeUnstageVolume, request);
    EXPECT_TRUE(unstaged.ok()) << unstaged.error().ToString();
  }
  Volume& now = volumes_.at(name);
  now.staged = stage;
  --now.users;
}

BusyWorld::Volume* BusyWorld::AnyVolume(Random& random,
                                        const std::function<bool(const Volume&)>& fits) {
  std::vector<Volume*> all;
  for (auto& [name, volume] : volumes_) {
    if (!volume.leaving && fits(volume)) all.push_back(&volume);
  }
  return all.empty() ? nullptr : all[random.Below(all.size())];
}

BusyWorld::Snapshot* BusyWorld::AnySnapshot(Random& random,
                                            const std::function<bool(const Snapshot&)>& fits) {
  std::vector<Snapshot*> all;
  for (auto& [name, snapshot] : snapshots_) {
    if (!snapshot.leaving && fits(snapshot)) all.push_back(&snapshot);
  }
  return all.empty() ? nullptr : all[random.Below(all.size())];
}

csi::v1::CreateVolumeRequest BusyWorld::VolumeRequest(const std::string& name,
                                                      std::uint64_t size_bytes) {
  csi::v1::CreateVolumeRequest request;
  request.set_name(name);
  request.mutable_capacity_range()->set_required_bytes(static_cast<std::int64_t>(size_bytes));
  *request.add_volume_capabilities() = Mounted();
  return request;
}

csi::v1::CreateSnapshotRequest BusyWorld::SnapshotRequest(const Snapshot& snapshot) {
  csi::v1::CreateSnapshotRequest request;
  request.set_name(snapshot.name);
  request.set_source_volume_id(snapshot.volume_handle);
  auto& parameters = *request.mutable_parameters();
  if (!snapshot.repositories.empty()) {
    parameters["repositories"] = tags::JoinList(snapshot.repositories);
  }
  parameters["csi.storage.k8s.io/volumesnapshot/name"] = "vs-" + snapshot.name;
  parameters["csi.storage.k8s.io/volumesnapshot/namespace"] = "shop";
  parameters["csi.storage.k8s.io/volumesnapshotcontent/name"] = "content-" + snapshot.name;
  return request;
}

void BusyWorld::Pause(Random& random, Duration most) {
  EXPECT_TRUE(
      runtime_.SleepFor(Duration(random.Below(static_cast<std::uint64_t>(most.count())))).ok());
}

}  // namespace thinsnap::driver
