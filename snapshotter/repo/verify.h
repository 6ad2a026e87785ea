// Verification of what is stored: every pack's stripes and tail (no key needed for that), its
// trailer, every point and its pack table, sessions and tombstones, and that nothing that is named
// is missing. Reading the blocks themselves is the mover's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::repo {

struct Problem {
  std::string object;  // its key
  std::string what;
};

struct VerifyReport {
  std::uint64_t points = 0;
  std::uint64_t packs = 0;
  std::uint64_t pack_bytes = 0;
  std::uint64_t unnamed_packs =
      0;  // named by no point: of interrupted exports, or waiting for collection
  std::vector<PointName> sound_points;  // whose own object and table are as they should be
  std::vector<Problem> problems;
};

using VerifyProgress = std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)>;

// An error only where the store does not answer; damage is in the report. Memory: one pack, and
// some 100 bytes for each.
Result<VerifyReport> VerifyStructure(Repository& repository,
                                     const VerifyProgress& progress = nullptr);

}  // namespace thinsnap::repo
