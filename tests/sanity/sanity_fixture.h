// Every case of csi-sanity in our own words, on a node in memory and on a real one. A case is named
// after what it demands; the numbers are those of the list of cases.
#pragma once

#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include "base/core/bytes.h"
#include "tests/sanity/node_under_test.h"

namespace thinsnap::driver {

using Mode = csi::v1::VolumeCapability::AccessMode;

#undef ASSERT_OK
#define ASSERT_OK(expression)                                      \
  do {                                                             \
    const auto& assert_ok_ = (expression);                         \
    ASSERT_TRUE(assert_ok_.ok()) << assert_ok_.error().ToString(); \
  } while (false)
#define EXPECT_CODE(expression, wanted)                                           \
  do {                                                                            \
    const auto& expect_code_ = (expression);                                      \
    EXPECT_TRUE(expect_code_.Is(wanted))                                          \
        << (expect_code_.ok() ? "answered OK" : expect_code_.error().ToString()); \
    EXPECT_TRUE(expect_code_.ok() || !expect_code_.error().message().empty());    \
  } while (false)

inline csi::v1::VolumeCapability MountCapability(Mode::Mode mode = Mode::SINGLE_NODE_WRITER,
                                                 const std::string& fs_type = "") {
  csi::v1::VolumeCapability capability;
  capability.mutable_mount()->set_fs_type(fs_type);
  capability.mutable_access_mode()->set_mode(mode);
  return capability;
}

inline csi::v1::VolumeCapability BlockCapability() {
  csi::v1::VolumeCapability capability;
  capability.mutable_block();
  capability.mutable_access_mode()->set_mode(Mode::SINGLE_NODE_WRITER);
  return capability;
}

// The parameter names the world: "Sim" or "Reflink".
class SanityTest : public testing::TestWithParam<std::string> {
 protected:
  static constexpr std::int64_t kSize = static_cast<std::int64_t>(kGiB);

  void SetUp() override {
    if (GetParam() == "Sim") {
      world_ = MakeSimWorld();
    } else {
      auto world = MakeReflinkWorld();
      if (!world.ok()) GTEST_SKIP() << "no real node here: " << world.error().message();
      world_ = std::move(*world);
    }
    StartNode();
    staging_ = world_->folder.path() + "/staging";
    target_ = world_->folder.path() + "/mount/target";
    std::filesystem::create_directories(staging_);
    std::filesystem::create_directories(world_->folder.path() + "/mount");
  }
  void TearDown() override {
    if (!node_) return;
    // As csi-sanity does: also what was never published, and twice.
    for (const std::string& volume : volumes_) {
      EXPECT_TRUE(Unpublish(volume, target_).ok()) << volume;
      EXPECT_TRUE(Unstage(volume).ok()) << volume;
      EXPECT_TRUE(Delete(volume).ok()) << volume;
      EXPECT_TRUE(Delete(volume).ok()) << volume;
    }
    for (const std::string& snapshot : snapshots_) {
      EXPECT_TRUE(DeleteSnapshot(snapshot).ok()) << snapshot;
      EXPECT_TRUE(DeleteSnapshot(snapshot).ok()) << snapshot;
    }
  }

  void StartNode() { node_ = std::make_unique<NodeUnderTest>(*world_); }
  void StopNode() { node_.reset(); }
  proto::CsiService& csi() { return node_->client(); }
  bool real() const { return GetParam() == "Reflink"; }

  static csi::v1::CreateVolumeRequest VolumeRequest(const std::string& name,
                                                    std::int64_t size = kSize) {
    csi::v1::CreateVolumeRequest request;
    request.set_name(name);
    request.mutable_capacity_range()->set_required_bytes(size);
    *request.add_volume_capabilities() = MountCapability();
    return request;
  }
  Result<csi::v1::CreateVolumeResponse> Create(const csi::v1::CreateVolumeRequest& request) {
    auto created = csi().CreateVolume({}, request);
    if (created.ok()) volumes_.push_back(created->volume().volume_id());
    return created;
  }
  std::string Volume(const std::string& name, std::int64_t size = kSize) {
    const auto created = Create(VolumeRequest(name, size));
    EXPECT_TRUE(created.ok()) << (created.ok() ? "" : created.error().ToString());
    return created.ok() ? created->volume().volume_id() : "";
  }
  std::string BlockVolume(const std::string& name) {
    auto request = VolumeRequest(name);
    *request.mutable_volume_capabilities(0) = BlockCapability();
    const auto created = Create(request);
    EXPECT_TRUE(created.ok());
    return created.ok() ? created->volume().volume_id() : "";
  }
  Result<csi::v1::DeleteVolumeResponse> Delete(const std::string& volume) {
    csi::v1::DeleteVolumeRequest request;
    request.set_volume_id(volume);
    return csi().DeleteVolume({}, request);
  }
  Result<csi::v1::CreateSnapshotResponse> Snapshot(const std::string& name,
                                                   const std::string& volume) {
    csi::v1::CreateSnapshotRequest request;
    request.set_name(name);
    request.set_source_volume_id(volume);
    auto created = csi().CreateSnapshot({}, request);
    if (created.ok()) snapshots_.push_back(created->snapshot().snapshot_id());
    return created;
  }
  Result<csi::v1::DeleteSnapshotResponse> DeleteSnapshot(const std::string& snapshot) {
    csi::v1::DeleteSnapshotRequest request;
    request.set_snapshot_id(snapshot);
    return csi().DeleteSnapshot({}, request);
  }
  Result<csi::v1::NodeStageVolumeResponse> Stage(
      const std::string& volume, const csi::v1::VolumeCapability& capability = MountCapability()) {
    csi::v1::NodeStageVolumeRequest request;
    request.set_volume_id(volume);
    request.set_staging_target_path(staging_);
    *request.mutable_volume_capability() = capability;
    return csi().NodeStageVolume({}, request);
  }
  Result<csi::v1::NodeUnstageVolumeResponse> Unstage(const std::string& volume) {
    csi::v1::NodeUnstageVolumeRequest request;
    request.set_volume_id(volume);
    request.set_staging_target_path(staging_);
    return csi().NodeUnstageVolume({}, request);
  }
  Result<csi::v1::NodePublishVolumeResponse> Publish(
      const std::string& volume, const std::string& target,
      const csi::v1::VolumeCapability& capability = MountCapability(), bool read_only = false) {
    csi::v1::NodePublishVolumeRequest request;
    request.set_volume_id(volume);
    request.set_staging_target_path(staging_);
    request.set_target_path(target);
    request.set_readonly(read_only);
    *request.mutable_volume_capability() = capability;
    return csi().NodePublishVolume({}, request);
  }
  Result<csi::v1::NodeUnpublishVolumeResponse> Unpublish(const std::string& volume,
                                                         const std::string& target) {
    csi::v1::NodeUnpublishVolumeRequest request;
    request.set_volume_id(volume);
    request.set_target_path(target);
    return csi().NodeUnpublishVolume({}, request);
  }
  Result<csi::v1::NodeGetVolumeStatsResponse> Stats(const std::string& volume,
                                                    const std::string& path) {
    csi::v1::NodeGetVolumeStatsRequest request;
    request.set_volume_id(volume);
    request.set_volume_path(path);
    return csi().NodeGetVolumeStats({}, request);
  }
  Result<csi::v1::NodeExpandVolumeResponse> NodeExpand(const std::string& volume,
                                                       const std::string& path) {
    csi::v1::NodeExpandVolumeRequest request;
    request.set_volume_id(volume);
    request.set_volume_path(path);
    return csi().NodeExpandVolume({}, request);
  }
  Result<csi::v1::ControllerExpandVolumeResponse> Expand(const std::string& volume,
                                                         std::int64_t size) {
    csi::v1::ControllerExpandVolumeRequest request;
    request.set_volume_id(volume);
    request.mutable_capacity_range()->set_required_bytes(size);
    return csi().ControllerExpandVolume({}, request);
  }
  int CountVolumes() {
    const auto listed = csi().ListVolumes({}, {});
    EXPECT_TRUE(listed.ok());
    return listed.ok() ? listed->entries_size() : -1;
  }

  std::unique_ptr<NodeWorld> world_;
  std::unique_ptr<NodeUnderTest> node_;
  std::string staging_, target_;
  std::vector<std::string> volumes_, snapshots_;
};

inline std::string WorldName(const testing::TestParamInfo<std::string>& info) { return info.param; }

#define THINSNAP_SANITY_WORLDS(suite) \
  INSTANTIATE_TEST_SUITE_P(Worlds, suite, testing::Values("Sim", "Reflink"), WorldName)

}  // namespace thinsnap::driver
