#include "tests/unit/driver/witness.h"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <utility>

#include "base/core/random.h"
#include "snapshotter/mover/transfer.h"
#include "tests/contract/pool/leased_device.h"

namespace thinsnap::driver {
namespace {

constexpr int kSizeBits = 20;  // of a version, for how many of its bytes are random

Bytes ContentOf(Version version) {
  Bytes bytes(kBlock);
  const std::size_t random_bytes = version & ((Version{1} << kSizeBits) - 1);
  SeededRandom random(version);
  random.Fill(MutableByteSpan(bytes).first(std::max<std::size_t>(random_bytes, sizeof version)));
  return bytes;
}

Status Differs(std::uint64_t block, const std::string& found, const Blocks& blocks) {
  return Error(Code::kDataLoss,
               "block " + std::to_string(block) + " " + found + "; it should hold " +
                   (blocks.contains(block) ? "version " + std::to_string(blocks.at(block))
                                           : std::string("zeros")));
}

Status CheckBlock(std::uint64_t block, ByteSpan bytes, const Blocks& blocks) {
  const auto known = blocks.find(block);
  if (known == blocks.end()) {
    if (std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; })) {
      return {};
    }
    return Differs(block, "holds something", blocks);
  }
  const Bytes expected = ContentOf(known->second);
  if (std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end())) return {};
  return Differs(block, "holds something else", blocks);
}

// A blank device to restore to, that keeps nothing and compares.
class ComparingDevice final : public block::BlockDevice {
 public:
  ComparingDevice(std::uint64_t size_bytes, const Blocks& blocks)
      : size_bytes_(size_bytes), blocks_(blocks) {}
  std::uint64_t size_bytes() const override { return size_bytes_; }
  Status ReadAt(std::uint64_t, MutableByteSpan) override {
    return Error(Code::kUnimplemented, "nothing is kept here");
  }
  Status WriteAt(std::uint64_t offset, ByteSpan bytes) override {
    if (offset % kBlock != 0) return Error(Code::kUnimplemented, "whole blocks only");
    while (!bytes.empty()) {
      const std::uint64_t block = offset / kBlock;
      const ByteSpan one = bytes.first(std::min<std::size_t>(bytes.size(), kBlock));
      TRY(CheckBlock(block, one, blocks_));
      written_.insert(block);
      bytes = bytes.subspan(one.size());
      offset += one.size();
    }
    return {};
  }
  Status Discard(std::uint64_t, std::uint64_t) override { return {}; }
  Status Flush() override { return {}; }
  Status Allocated(const block::ExtentVisitor&) override { return {}; }

  Status CheckWhole() const {
    for (const auto& [block, version] : blocks_) {
      if (!written_.contains(block)) return Differs(block, "is a hole", blocks_);
    }
    return {};
  }

 private:
  const std::uint64_t size_bytes_;
  const Blocks& blocks_;
  std::set<std::uint64_t> written_;
};

}  // namespace

void Witness::Know(const pool::VolumeId& volume, std::shared_ptr<const Blocks> blocks) {
  volumes_[volume] = std::move(blocks);
}

void Witness::Write(const pool::VolumeId& volume, std::uint64_t block, std::size_t random_bytes) {
  const Version version = (++last_version_ << kSizeBits) | random_bytes;
  const auto device = pool::OpenVolume(pool_, volume);
  ASSERT_TRUE(device.ok()) << device.error().ToString();
  const Status written = (*device)->WriteAt(block * kBlock, ContentOf(version));
  ASSERT_TRUE(written.ok()) << "a pod wrote: " << written.error().ToString();
  auto blocks = std::make_shared<Blocks>(*volumes_.at(volume));
  blocks->insert_or_assign(block, version);
  volumes_[volume] = std::move(blocks);
}

void Witness::Discard(const pool::VolumeId& volume, std::uint64_t block) {
  const auto device = pool::OpenVolume(pool_, volume);
  ASSERT_TRUE(device.ok()) << device.error().ToString();
  ASSERT_TRUE((*device)->Discard(block * kBlock, kBlock).ok());
  auto blocks = std::make_shared<Blocks>(*volumes_.at(volume));
  blocks->erase(block);
  volumes_[volume] = std::move(blocks);
}

void Witness::Before(std::string_view verb) {
  if (cutting_) FindNewCuts();
  if (verb != "Snapshot") return;
  at_last_cut_ = volumes_;
  cutting_ = true;
}

void Witness::FindNewCuts() {
  cutting_ = false;
  for (const pool::SnapshotInfo& snapshot : *pool_.ListSnapshots()) {
    if (cuts_.contains(snapshot.id)) continue;
    const auto held = at_last_cut_.find(snapshot.volume);
    cuts_[snapshot.id] = held == at_last_cut_.end() ? nullptr : held->second;
  }
}

std::shared_ptr<const Blocks> Witness::AtCut(const pool::SnapshotId& snapshot) {
  if (cutting_) FindNewCuts();
  const auto found = cuts_.find(snapshot);
  return found == cuts_.end() ? nullptr : found->second;
}

Status Witness::CheckDevice(block::BlockDevice& device, const Blocks& blocks) {
  Bytes bytes(kBlock);
  std::set<std::uint64_t> checked;
  const Status compared = device.Allocated([&](const block::Extent& extent) -> Status {
    for (std::uint64_t block = extent.offset / kBlock; block * kBlock < extent.end(); ++block) {
      TRY(device.ReadAt(block * kBlock, bytes));
      TRY(CheckBlock(block, bytes, blocks));
      checked.insert(block);
    }
    return {};
  });
  TRY(compared);
  for (const auto& [block, version] : blocks) {
    if (!checked.contains(block)) return Differs(block, "is a hole", blocks);
  }
  return {};
}

Status Witness::CheckVolume(const pool::VolumeId& volume) {
  const auto device = TRY(pool::OpenVolume(pool_, volume));
  return CheckDevice(*device, *volumes_.at(volume)).In("volume " + volume.str());
}

Status Witness::CheckPoint(repo::Repository& repository, Runtime& runtime,
                           const repo::PointInfo& point, const Blocks& blocks) {
  ComparingDevice device(point.size_bytes, blocks);
  mover::ImportRequest request;
  request.point = point.name;
  request.target = &device;
  request.target_is_blank = true;
  TRY(mover::ImportBlocks(repository, runtime, request).In("point " + point.name.str()));
  return device.CheckWhole().In("point " + point.name.str());
}

}  // namespace thinsnap::driver
