// SimThinPool: a thin pool in memory for tests and the simulator. It does what a pool of the field
// does, runs full like one, and fails where it is told to.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::pool {

// What happens to a verb of the pool.
enum class PoolFault {
  kNone,
  kFailBefore,  // kUnavailable, nothing done
  kLoseAnswer,  // done, but the caller gets kUnavailable
};

struct SimThinPoolOptions {
  std::uint64_t capacity_bytes = 64 * kGiB;  // of chunks really written
  // Asked before each verb ("Create", "Snapshot", ..., "ReadAt", "WriteAt", "Flush").
  std::function<PoolFault(std::string_view verb)> fault;
  // Changes what GetStatus answers: a pool in trouble.
  std::function<void(PoolStatus& status)> spoil_status = {};
  // Asked when a device is opened: those of these volumes and their snapshots fail at each byte.
  std::function<bool(const VolumeId& volume)> broken = {};
};

// The durable half: a pool opened again on the same image finds everything that was acknowledged.
struct SimPoolImage;
std::shared_ptr<SimPoolImage> NewSimPoolImage(Random& random, std::uint64_t capacity_bytes);

std::unique_ptr<ThinPool> OpenSimThinPool(std::shared_ptr<SimPoolImage> image, Clock& clock,
                                          Random& random, SimThinPoolOptions options = {});

}  // namespace thinsnap::pool
