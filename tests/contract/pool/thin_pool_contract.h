// The contract of ThinPool, as a suite that every pool passes.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/clock.h"
#include "base/core/random.h"
#include "csi/pool/thin_pool.h"
#include "tests/contract/pool/leased_device.h"

namespace thinsnap::pool {

// A pool under test, with what has to outlive it.
class PoolFixture {
 public:
  virtual ~PoolFixture() = default;
  // Empty when the machine lacks something: why the test is skipped.
  virtual std::string Prepare() = 0;
  // Opened anew each time; everything acknowledged is there again.
  virtual std::unique_ptr<ThinPool> Open() = 0;
};

struct PoolKind {
  std::string name;
  std::function<std::unique_ptr<PoolFixture>(Clock& clock, Random& random)> make;
};

PoolKind SimPoolKind();
PoolKind ReflinkPoolKind();

// Holds nothing; counts, and does what it is told to meanwhile.
class CountingQuiesce final : public Quiesce {
 public:
  Result<std::unique_ptr<Stillness>> Hold(std::span<const VolumeId> volumes, Duration) override {
    if (on_hold) on_hold();
    if (fail_hold) return Error(Code::kUnavailable, "cannot hold");
    held += static_cast<int>(volumes.size());
    return std::unique_ptr<Stillness>(std::make_unique<Held>(*this, volumes.size()));
  }

  int held = 0, let_go = 0;  // volumes
  bool fail_hold = false;
  bool is_void = false;  // says that they did not stand still
  std::function<void()> on_hold, on_thaw;

 private:
  class Held final : public Stillness {
   public:
    Held(CountingQuiesce& owner, std::size_t volumes)
        : owner_(owner), volumes_(static_cast<int>(volumes)) {}
    ~Held() override { Thaw().IgnoreError(); }
    Status Thaw() override {
      if (volumes_ != 0 && owner_.on_thaw) owner_.on_thaw();
      owner_.let_go += std::exchange(volumes_, 0);
      if (owner_.is_void) return Error(Code::kAborted, "the deadline came first");
      return {};
    }

   private:
    CountingQuiesce& owner_;
    int volumes_;
  };
};

inline constexpr std::uint64_t kSize = 64 * kMiB;
inline constexpr std::uint64_t kBlock = 64 * kKiB;

class ThinPoolTest : public testing::TestWithParam<PoolKind> {
 protected:
  void SetUp() override {
    fixture_ = GetParam().make(clock_, random_);
    if (const std::string missing = fixture_->Prepare(); !missing.empty()) {
      GTEST_SKIP() << GetParam().name << ": " << missing;
    }
    pool_ = fixture_->Open();
    ASSERT_NE(pool_, nullptr);
  }

  void Reopen() {
    pool_.reset();
    pool_ = fixture_->Open();
    ASSERT_NE(pool_, nullptr);
  }

  VolumeInfo MakeVolume(const std::string& name, std::uint64_t size = kSize) {
    auto made =
        pool_->Create({.name = name, .size_bytes = size, .source = {}, .tags = {{"owner", name}}});
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    return *made;
  }

  SnapshotInfo Cut(const std::string& name, const VolumeId& volume) {
    auto made = pool_->Snapshot({.name = name, .volume = volume, .tags = {}}, quiesce_);
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    return *made;
  }

  static Bytes Pattern(std::uint64_t length, std::uint8_t value) { return Bytes(length, value); }

  void Write(const VolumeId& volume, std::uint64_t offset, const Bytes& bytes) {
    auto device = OpenVolume(*pool_, volume);
    ASSERT_TRUE(device.ok()) << device.error().ToString();
    ASSERT_TRUE((*device)->WriteAt(offset, bytes).ok());
    ASSERT_TRUE((*device)->Flush().ok());
  }

  static Bytes Read(block::BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
    Bytes bytes(length, 0xee);
    const Status read = device.ReadAt(offset, bytes);
    EXPECT_TRUE(read.ok()) << read.error().ToString();
    return bytes;
  }

  Bytes ReadSnapshot(const SnapshotId& snapshot, std::uint64_t offset, std::uint64_t length) {
    auto device = OpenSnapshot(*pool_, snapshot);
    EXPECT_TRUE(device.ok()) << device.error().ToString();
    return Read(**device, offset, length);
  }

  SystemClock clock_;
  SeededRandom random_{7};
  CountingQuiesce quiesce_;
  std::unique_ptr<PoolFixture> fixture_;
  std::unique_ptr<ThinPool> pool_;
};

}  // namespace thinsnap::pool
