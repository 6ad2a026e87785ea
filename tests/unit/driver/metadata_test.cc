// Which blocks of a snapshot hold data, and which changed: from the pool, and where the pool has
// given the device up, from the repository; the same either way.
#include <gmock/gmock.h>

#include "tests/unit/driver/fixture.h"

namespace thinsnap::driver {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// 64 KiB blocks.
using Blocks = std::vector<std::int64_t>;

class MetadataTest : public DriverFixture {
 protected:
  static constexpr std::int64_t kBlock = 64 * kKiB;

  template <typename Response>
  auto Collect(Blocks& blocks, std::int64_t& size, int& messages, int most = 0) {
    return [&blocks, &size, &messages, most](const Response& message) -> Status {
      ++messages;
      EXPECT_EQ(message.block_metadata_type(), csi::v1::VARIABLE_LENGTH);
      size = message.volume_capacity_bytes();
      EXPECT_TRUE(most == 0 || message.block_metadata_size() <= most);
      for (const auto& range : message.block_metadata()) {
        EXPECT_GT(range.size_bytes(), 0);
        EXPECT_LE(range.byte_offset() + range.size_bytes(), size);
        for (std::int64_t at = range.byte_offset() / kBlock;
             at * kBlock < range.byte_offset() + range.size_bytes(); ++at) {
          if (blocks.empty() || blocks.back() < at) blocks.push_back(at);
        }
      }
      return {};
    };
  }
  Result<Blocks> Allocated(const std::string& snapshot, std::int64_t from = 0, int most = 0) {
    csi::v1::GetMetadataAllocatedRequest request;
    request.set_snapshot_id(snapshot);
    request.set_starting_offset(from);
    request.set_max_results(most);
    Blocks blocks;
    std::int64_t size = 0;
    int messages = 0;
    TRY(csi().GetMetadataAllocated(
        {}, request, Collect<csi::v1::GetMetadataAllocatedResponse>(blocks, size, messages, most)));
    EXPECT_EQ(size, static_cast<std::int64_t>(8 * kMiB));
    EXPECT_GE(messages, 1);
    return blocks;
  }
  Result<Blocks> Delta(const std::string& base, const std::string& target, std::int64_t from = 0,
                       int most = 0) {
    csi::v1::GetMetadataDeltaRequest request;
    request.set_base_snapshot_id(base);
    request.set_target_snapshot_id(target);
    request.set_starting_offset(from);
    request.set_max_results(most);
    Blocks blocks;
    std::int64_t size = 0;
    int messages = 0;
    TRY(csi().GetMetadataDelta(
        {}, request, Collect<csi::v1::GetMetadataDeltaResponse>(blocks, size, messages, most)));
    EXPECT_EQ(size, static_cast<std::int64_t>(8 * kMiB));
    EXPECT_GE(messages, 1);
    return blocks;
  }
  std::string Cut(const std::string& name, const std::string& volume, const std::string& where) {
    return SnapshotUntilReady(SnapshotRequest(name, volume, where)).snapshot_id();
  }
  void GiveUpDevice(const std::string& handle) {
    ASSERT_TRUE(world_->pool->DropDevice(pool::SnapshotHandle::Parse(handle)->snapshot).ok());
  }
};

TEST_F(MetadataTest, ThePoolAndTheRepositorySayTheSame) {
  const std::string where = AddRepository().id;
  StartNode();
  const std::string volume = CreateVolume("v");
  for (const std::int64_t block : {0, 1, 2, 7, 127}) {
    Write(volume, static_cast<std::uint64_t>(block * kBlock) + 100, "one");
  }
  const std::string base = Cut("base", volume, where);
  Write(volume, kBlock + 5, "two");
  Write(volume, 50 * kBlock, "two");
  auto device = pool::OpenVolume(*world_->pool, VolumeOf(volume));
  ASSERT_TRUE((*device)->Discard(7 * kBlock, kBlock).ok());
  const std::string target = Cut("target", volume, where);

  const auto check = [&](const char* who) {
    EXPECT_THAT(*Allocated(base), ElementsAre(0, 1, 2, 7, 127)) << who;
    EXPECT_THAT(*Allocated(base, 0, 1), ElementsAre(0, 1, 2, 7, 127)) << who;
    EXPECT_THAT(*Allocated(base, 2 * kBlock + 1), ElementsAre(2, 7, 127)) << who;
    EXPECT_THAT(*Delta(base, target), ElementsAre(1, 7, 50)) << who;
    EXPECT_THAT(*Delta(base, target, 0, 2), ElementsAre(1, 7, 50)) << who;
    EXPECT_THAT(*Delta(base, target, 8 * kBlock), ElementsAre(50)) << who;
    EXPECT_THAT(*Delta(base, target, 128 * kBlock), ElementsAre()) << who;
  };
  check("pool");
  GiveUpDevice(base);
  check("repository");
  GiveUpDevice(target);
  check("repository alone");
}

TEST_F(MetadataTest, WhatWasDeletedIsStillABase) {
  const std::string where = AddRepository().id;
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "one");
  const std::string base = Cut("base", volume, where);
  Write(volume, 3 * kBlock, "two");
  const std::string target = Cut("target", volume, where);
  csi::v1::DeleteSnapshotRequest remove;
  remove.set_snapshot_id(base);
  ASSERT_TRUE(csi().DeleteSnapshot({}, remove).ok());
  EXPECT_THAT(*Delta(base, target), ElementsAre(3));
}

TEST_F(MetadataTest, WhatCannotBeAnsweredIsSaidByCode) {
  const std::string where = AddRepository().id;
  StartNode();
  const std::string volume = CreateVolume("v"), other = CreateVolume("w");
  const std::string first = Cut("first", volume, where), second = Cut("second", volume, where);
  const std::string foreign = Cut("foreign", other, where);
  const std::string local = Cut("local", volume, ""), later = Cut("later", volume, "");
  EXPECT_TRUE(Allocated("").Is(Code::kInvalidArgument));
  EXPECT_TRUE(Delta(first, "").Is(Code::kInvalidArgument));
  EXPECT_TRUE(Delta("", second).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Allocated("nothing").Is(Code::kNotFound));
  EXPECT_TRUE(Allocated(first, 0, -1).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Allocated(first, -1).Is(Code::kOutOfRange));
  EXPECT_TRUE(Allocated(first, 8 * kMiB + 1).Is(Code::kOutOfRange));
  EXPECT_TRUE(Delta(first, second, 8 * kMiB + 1).Is(Code::kOutOfRange));
  EXPECT_TRUE(Delta(first, foreign).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Delta(second, first).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Delta(first, first).Is(Code::kInvalidArgument));
  // Gone from the pool, and in no repository.
  GiveUpDevice(local);
  EXPECT_TRUE(Allocated(local).Is(Code::kNotFound));
  EXPECT_TRUE(Delta(local, later).Is(Code::kNotFound));
  // Gone from the pool, and the other one is in no repository.
  GiveUpDevice(first);
  EXPECT_TRUE(Delta(first, later).Is(Code::kFailedPrecondition));
}

TEST_F(MetadataTest, ARepositoryThatDoesNotAnswerIsNoAnswer) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "one");
  const std::string base = Cut("base", volume, repository.id);
  const std::string target = Cut("target", volume, repository.id);
  GiveUpDevice(base);
  repository.store.Cut(true);
  const auto unknown = Delta(base, target);
  ASSERT_FALSE(unknown.ok());
  EXPECT_FALSE(unknown.Is(Code::kNotFound)) << unknown.error().ToString();
  repository.store.Cut(false);
  EXPECT_THAT(*Delta(base, target), ElementsAre());
}

}  // namespace
}  // namespace thinsnap::driver
