// SegmentPlan: turns a stream of byte ranges into segments, in ascending order, each once.
#pragma once

#include <cstdint>
#include <functional>

#include "base/block/block_device.h"
#include "base/core/result.h"
#include "snapshotter/mover/segment.h"

namespace thinsnap::mover {

class SegmentPlan {
 public:
  // `emit` gets the segment's first block and which of its blocks are wanted.
  using Emit = std::function<Status(std::uint64_t first_block, std::uint16_t wanted)>;
  SegmentPlan(std::uint64_t size_bytes, Emit emit)
      : size_bytes_(size_bytes), emit_(std::move(emit)) {}

  // Ascending and non-overlapping, as ExtentStream promises; kInternal if not. Cut at the volume's
  // end.
  Status Add(const block::Extent& extent);
  Status Finish();

 private:
  const std::uint64_t size_bytes_;
  const Emit emit_;
  std::uint64_t previous_end_ = 0;
  std::uint64_t first_block_ = 0;  // of the segment under way
  std::uint16_t wanted_ = 0;
};

}  // namespace thinsnap::mover
