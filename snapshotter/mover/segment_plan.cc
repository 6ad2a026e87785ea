#include "snapshotter/mover/segment_plan.h"

#include <algorithm>

namespace thinsnap::mover {

Status SegmentPlan::Add(const block::Extent& extent) {
  if (extent.offset < previous_end_ || extent.end() < extent.offset) {
    return Error(Code::kInternal,
                 "the ranges of the volume do not ascend: " + std::to_string(extent.offset) +
                     " after " + std::to_string(previous_end_));
  }
  previous_end_ = extent.end();
  const std::uint64_t end = std::min(extent.end(), size_bytes_);
  if (extent.offset >= end) return {};
  const std::uint64_t last = (end - 1) / repo::kBlockBytes;
  for (std::uint64_t block = extent.offset / repo::kBlockBytes; block <= last;) {
    const std::uint64_t segment = block / kSegmentBlocks * kSegmentBlocks;
    if (wanted_ != 0 && segment != first_block_) TRY(Finish());
    first_block_ = segment;
    const std::uint64_t stop = std::min(last, segment + kSegmentBlocks - 1);
    for (; block <= stop; ++block) {
      wanted_ = static_cast<std::uint16_t>(wanted_ | (1U << (block - segment)));
    }
  }
  return {};
}

Status SegmentPlan::Finish() {
  if (wanted_ == 0) return {};
  const std::uint16_t wanted = wanted_;
  wanted_ = 0;
  return emit_(first_block_, wanted);
}

}  // namespace thinsnap::mover
