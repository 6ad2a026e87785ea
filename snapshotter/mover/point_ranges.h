// What a restore point holds, and in what it differs from another of its series, by their maps
// alone: no data is read, and parts that both share are not even looked at.
#pragma once

#include <cstdint>
#include <memory>

#include "base/block/extent_spool.h"
#include "base/core/result.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::mover {

struct PointRanges {
  std::uint64_t size_bytes = 0;  // of the volume, at the younger point
  // Whole blocks of 64 KiB but for the volume's end; from from_offset on.
  std::unique_ptr<block::ExtentStream> ranges;
};

// Collected before they return. kNotFound, kDataLoss, and what the store answers.
Result<PointRanges> StoredRanges(repo::Repository& repository, Runtime& runtime,
                                 const repo::PointName& point, std::uint64_t from_offset);
Result<PointRanges> ChangedRanges(repo::Repository& repository, Runtime& runtime,
                                  const repo::PointName& base, const repo::PointName& target,
                                  std::uint64_t from_offset);

}  // namespace thinsnap::mover
