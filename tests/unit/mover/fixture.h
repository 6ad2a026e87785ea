// What the mover's tests share: a volume in memory that knows what changed, and a repository in
// memory.
#pragma once

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/block/block_device.h"
#include "base/core/id.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "snapshotter/mover/transfer.h"
#include "snapshotter/repo/repository.h"
#include "snapshotter/store/memory_store.h"
#include "tests/unit/mover/fault_store.h"

namespace thinsnap::mover {

#define ASSERT_OK(expression)                                      \
  do {                                                             \
    const auto& assert_ok_ = (expression);                         \
    ASSERT_TRUE(assert_ok_.ok()) << assert_ok_.error().ToString(); \
  } while (false)

// Counts what is read and keeps the blocks (64 KiB) that were written since the last Cut().
class MemoryDevice final : public block::BlockDevice {
 public:
  explicit MemoryDevice(std::uint64_t size, std::uint8_t fill = 0) : bytes_(size, fill) {}
  explicit MemoryDevice(Bytes bytes) : bytes_(std::move(bytes)) {}

  std::uint64_t size_bytes() const override { return bytes_.size(); }
  Status ReadAt(std::uint64_t offset, MutableByteSpan into) override {
    if (offset + into.size() > bytes_.size()) return Error(Code::kOutOfRange, "beyond the end");
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return {};
  }
  Status WriteAt(std::uint64_t offset, ByteSpan bytes) override {
    if (offset + bytes.size() > bytes_.size()) return Error(Code::kOutOfRange, "beyond the end");
    std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
    for (std::uint64_t at = offset; at < offset + bytes.size(); at += 64 * kKiB) Mark(at);
    if (!bytes.empty()) Mark(offset + bytes.size() - 1);
    return {};
  }
  Status Discard(std::uint64_t offset, std::uint64_t length) override {
    return WriteAt(offset, Bytes(length, 0));
  }
  Status Flush() override {
    ++flushes;
    return {};
  }
  Status Allocated(const block::ExtentVisitor& visit) override {
    if (bytes_.empty()) return {};
    return visit({0, bytes_.size()});
  }

  Status Changed(const block::ExtentVisitor& visit) const {
    for (const std::uint64_t block : changed_) TRY(visit({block * 64 * kKiB, 64 * kKiB}));
    return {};
  }
  void Cut() { changed_.clear(); }
  void Resize(std::uint64_t size) { bytes_.resize(size); }
  const Bytes& bytes() const { return bytes_; }
  int flushes = 0;

 private:
  void Mark(std::uint64_t offset) {
    std::lock_guard lock(mutex_);
    changed_.insert(offset / (64 * kKiB));
  }

  std::mutex mutex_;
  Bytes bytes_;
  std::set<std::uint64_t> changed_;
};

// Half of it compresses.
inline Bytes SomeBytes(Random& random, std::size_t size) {
  Bytes bytes(size);
  random.Fill(bytes);
  for (std::size_t i = 0; i < size; i += 2) bytes[i] = static_cast<std::uint8_t>(i >> 12);
  return bytes;
}

class MoverTest : public ::testing::Test {
 protected:
  MoverTest() { Init(repo::Suite::kSealed); }

  void Init(repo::Suite suite) {
    repo::InitOptions options;
    options.kdf = {64, 1, 1};
    if (suite == repo::Suite::kSealed) options.passphrase = Secret("correct horse");
    repository_.reset();
    store_ = std::make_unique<store::MemoryObjectStore>(clock_);
    faults_ = std::make_unique<FaultStore>(*store_);
    auto made = repo::InitRepository(*faults_, runtime_, random_, options);
    ASSERT_OK(made);
    repository_ = std::move(made).value();
  }

  // The volume's next snapshot, by ranges when `base` is given.
  ExportRequest Request(MemoryDevice& device, const repo::PointInfo* base = nullptr) {
    ExportRequest request;
    request.series = "pool.volume";
    last_snapshot_ = NextSnapshotId(clock_.Now(), random_, last_snapshot_);
    request.snapshot = last_snapshot_;
    request.cut = clock_.Now();
    request.device_identity = "device-" + request.snapshot;
    request.source = &device;
    request.attributes = Json(JsonObject{{"pvc", "data"}});
    if (base != nullptr) {
      request.base = base->name;
      request.base_device_identity = base->device_identity;
      request.changed = [&device] {
        return block::CollectExtents(
            [&device](const block::ExtentVisitor& visit) { return device.Changed(visit); });
      };
    }
    return request;
  }

  Result<repo::PointInfo> Export(const ExportRequest& request) {
    return ExportBlocks(*repository_, runtime_, random_, request);
  }

  Result<Bytes> Restore(const repo::PointInfo& point, std::uint8_t dirt = 0xee) {
    MemoryDevice target(point.size_bytes, dirt);
    ImportRequest request;
    request.point = point.name;
    request.target = &target;
    TRY(ImportBlocks(*repository_, runtime_, request));
    return target.bytes();
  }

  void ExpectRestores(const repo::PointInfo& point, const Bytes& expected) {
    const auto restored = Restore(point);
    ASSERT_OK(restored);
    EXPECT_TRUE(*restored == expected) << point.name.str();
  }

  std::vector<std::string> Keys(const std::string& prefix) {
    std::vector<std::string> keys;
    EXPECT_TRUE(store::ListAll(*store_, prefix, [&](const auto& info) {
                  keys.push_back(info.key);
                  return Status();
                }).ok());
    return keys;
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SeededRandom random_{42};
  std::unique_ptr<store::MemoryObjectStore> store_;
  std::unique_ptr<FaultStore> faults_;  // what the repository sees
  std::unique_ptr<repo::Repository> repository_;
  std::string last_snapshot_;
};

}  // namespace thinsnap::mover
