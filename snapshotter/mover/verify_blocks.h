// Verification in depth: every block of a point is fetched, opened and compared with its
// fingerprint, as a restore does it, without writing. Records that another point's check has read
// are not read again.
#pragma once

#include <cstdint>
#include <unordered_set>

#include "base/core/result.h"
#include "snapshotter/mover/transfer.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::mover {

// What was read already, by a hash of its place; 24 bytes or so for each record.
using VerifiedRecords = std::unordered_set<std::uint64_t>;

// kDataLoss says what is damaged.
Status VerifyBlocks(repo::Repository& repository, Runtime& runtime, const repo::PointName& point,
                    VerifiedRecords& verified, const ProgressCallback& progress = nullptr);

}  // namespace thinsnap::mover
