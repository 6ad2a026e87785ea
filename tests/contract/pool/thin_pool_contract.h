// The contract of ThinPool, as a suite that every pool passes.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "csi/pool/thin_pool.h"

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

// Freezes nothing; counts.
class CountingQuiesce final : public Quiesce {
 public:
  Status Freeze(const VolumeId&) override {
    ++frozen;
    if (fail_freeze) return Error(Code::kUnavailable, "cannot freeze");
    return {};
  }
  Status Thaw(const VolumeId&) override {
    ++thawed;
    return {};
  }
  int frozen = 0;
  int thawed = 0;
  bool fail_freeze = false;
};

}  // namespace thinsnap::pool
