// A node in memory with repositories in memory, and the calls that tests make of it.
#pragma once

#include <atomic>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>

#include "base/core/file.h"
#include "csi/pool/handle.h"
#include "snapshotter/repo/repository.h"
#include "snapshotter/store/chaos_store.h"
#include "snapshotter/store/memory_store.h"
#include "tests/contract/pool/leased_device.h"
#include "tests/sanity/node_under_test.h"

namespace thinsnap::driver {

// A repository in a store that can be cut off.
struct TestRepository {
  explicit TestRepository(NodeWorld& world)
      : memory(world.clock), store(memory, world.random, {}) {}
  store::MemoryObjectStore memory;
  store::ChaosObjectStore store;
  std::string id;
  std::unique_ptr<repo::Repository> opened;
  std::atomic<bool> packs_unreadable = false;
};

// The store of a TestRepository as the driver sees it.
class BorrowedStore final : public store::ObjectStore {
 public:
  explicit BorrowedStore(TestRepository& repository)
      : repository_(repository), inner_(repository.store) {}
  Result<store::PutResult> Put(const std::string& key, ByteSpan body,
                               const store::PutCondition& condition) override {
    return inner_.Put(key, body, condition);
  }
  Result<store::Object> Get(const std::string& key,
                            std::optional<store::ByteRange> range) override {
    if (repository_.packs_unreadable && key.starts_with("packs/")) {
      return Error(Code::kUnavailable, "packs are out of reach");
    }
    return inner_.Get(key, range);
  }
  Result<store::ObjectInfo> Head(const std::string& key) override { return inner_.Head(key); }
  Result<store::Page> List(const std::string& prefix, const std::string& after) override {
    return inner_.List(prefix, after);
  }
  Status Delete(const std::string& key) override { return inner_.Delete(key); }
  std::string Describe() const override { return inner_.Describe(); }

 private:
  TestRepository& repository_;
  store::ObjectStore& inner_;
};

class DriverFixture : public testing::Test {
 protected:
  static constexpr char kPassphrase[] = "correct horse battery staple";

  DriverFixture() : world_(MakeSimWorld()) {
    world_->options.repositories_folder = world_->folder.path() + "/repositories";
    EXPECT_TRUE(MakeFolders(world_->options.repositories_folder).ok());
    world_->options.open_store =
        [this](const store::Location& location) -> Result<std::unique_ptr<store::ObjectStore>> {
      const auto found = stores_.find(location.url);
      if (found == stores_.end()) return Error(Code::kUnavailable, "no such store");
      return std::unique_ptr<store::ObjectStore>(std::make_unique<BorrowedStore>(*found->second));
    };
  }

  // Makes one and tells the driver of it. Keys given here replace those of its file.
  TestRepository& AddRepository(const std::map<std::string, std::string>& keys = {}) {
    const std::string url = "s3://bucket/" + std::to_string(stores_.size());
    auto made = std::make_unique<TestRepository>(*world_);
    auto opened = repo::InitRepository(
        made->store, world_->runtime, world_->random,
        {.passphrase = Secret(kPassphrase), .kdf = {.memory_kib = 64, .passes = 1, .lanes = 1}});
    EXPECT_TRUE(opened.ok());
    made->id = (*opened)->id().str();
    made->opened = std::move(*opened);
    std::map<std::string, std::string> all = {
        {"id", made->id},       {"suite", "sealed"},         {"url", url},
        {"namespaces", "shop"}, {"passphrase", kPassphrase}, {"state", "ready"}};
    for (const auto& [key, value] : keys) all[key] = value;
    WriteRepositoryFile(all);
    stores_[url] = std::move(made);
    return *stores_[url];
  }
  void WriteRepositoryFile(const std::map<std::string, std::string>& keys) {
    std::string text;
    for (const auto& [key, value] : keys) text += key + ": \"" + value + "\"\n";
    EXPECT_TRUE(
        WriteFileAtomic(world_->options.repositories_folder + "/" + keys.at("id") + ".yaml", text)
            .ok());
  }

  void StartNode() { node_ = std::make_unique<NodeUnderTest>(*world_); }
  void StopNode() { node_.reset(); }
  proto::CsiService& csi() { return node_->client(); }

  static csi::v1::CreateVolumeRequest VolumeRequest(const std::string& name,
                                                    std::uint64_t size_bytes) {
    csi::v1::CreateVolumeRequest request;
    request.set_name(name);
    request.mutable_capacity_range()->set_required_bytes(static_cast<std::int64_t>(size_bytes));
    auto* capability = request.add_volume_capabilities();
    capability->mutable_mount();
    capability->mutable_access_mode()->set_mode(
        csi::v1::VolumeCapability::AccessMode::SINGLE_NODE_WRITER);
    (*request.mutable_parameters())["csi.storage.k8s.io/pvc/name"] = "data";
    (*request.mutable_parameters())["csi.storage.k8s.io/pvc/namespace"] = "shop";
    return request;
  }
  std::string CreateVolume(const std::string& name, std::uint64_t size_bytes = 8 * kMiB) {
    const auto created = csi().CreateVolume({}, VolumeRequest(name, size_bytes));
    EXPECT_TRUE(created.ok()) << (created.ok() ? "" : created.error().ToString());
    return created.ok() ? created->volume().volume_id() : "";
  }
  static csi::v1::CreateVolumeRequest RestoreRequest(const std::string& name,
                                                     const std::string& snapshot,
                                                     std::uint64_t size_bytes = 8 * kMiB) {
    auto request = VolumeRequest(name, size_bytes);
    request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(snapshot);
    return request;
  }

  static csi::v1::CreateSnapshotRequest SnapshotRequest(const std::string& name,
                                                        const std::string& volume,
                                                        const std::string& repositories) {
    csi::v1::CreateSnapshotRequest request;
    request.set_name(name);
    request.set_source_volume_id(volume);
    auto& parameters = *request.mutable_parameters();
    if (!repositories.empty()) parameters["repositories"] = repositories;
    parameters["csi.storage.k8s.io/volumesnapshot/name"] = "vs-" + name;
    parameters["csi.storage.k8s.io/volumesnapshot/namespace"] = "shop";
    parameters["csi.storage.k8s.io/volumesnapshotcontent/name"] = "content-" + name;
    return request;
  }
  // Repeats the call, as a sidecar does, until the snapshot is ready.
  csi::v1::Snapshot SnapshotUntilReady(const csi::v1::CreateSnapshotRequest& request) {
    csi::v1::Snapshot snapshot;
    for (int i = 0; i < kPolls; ++i) {
      const auto made = csi().CreateSnapshot({}, request);
      if (made.ok()) snapshot = made->snapshot();
      if (snapshot.ready_to_use()) return snapshot;
      EXPECT_TRUE(world_->runtime.SleepFor(kPollPause).ok());
    }
    ADD_FAILURE() << "snapshot " << request.name() << " is not ready";
    return snapshot;
  }
  // Repeats the call, as a sidecar does, while it answers ABORTED.
  Result<csi::v1::CreateVolumeResponse> CreateUntilDone(
      const csi::v1::CreateVolumeRequest& request) {
    for (int i = 0;; ++i) {
      auto created = csi().CreateVolume({}, request);
      if (!created.Is(Code::kAborted) || i == kPolls) return created;
      EXPECT_TRUE(world_->runtime.SleepFor(kPollPause).ok());
    }
  }

  pool::VolumeId VolumeOf(const std::string& handle) {
    return pool::VolumeHandle::Parse(handle)->volume;
  }
  void Write(const std::string& volume, std::uint64_t offset, const std::string& text) {
    auto device = pool::OpenVolume(*world_->pool, VolumeOf(volume));
    ASSERT_TRUE(device.ok());
    ASSERT_TRUE((*device)->WriteAt(offset, AsBytes(text)).ok());
    ASSERT_TRUE((*device)->Flush().ok());
  }
  std::string Read(const std::string& volume, std::uint64_t offset, std::size_t length) {
    auto device = pool::OpenVolume(*world_->pool, VolumeOf(volume));
    EXPECT_TRUE(device.ok());
    Bytes bytes(length);
    EXPECT_TRUE((*device)->ReadAt(offset, bytes).ok());
    return std::string(AsText(bytes));
  }

  static constexpr int kPolls = 600;
  static constexpr Duration kPollPause = std::chrono::milliseconds(20);

  std::unique_ptr<NodeWorld> world_;
  std::map<std::string, std::unique_ptr<TestRepository>> stores_;  // by URL
  std::unique_ptr<NodeUnderTest> node_;
};

}  // namespace thinsnap::driver
