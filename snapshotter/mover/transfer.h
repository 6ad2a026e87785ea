// Export and import of block volumes: the two verbs that driver, operator and command share. Memory
// stays under 128 MiB each, whatever the size of volume and repository.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/block/block_device.h"
#include "base/block/extent_spool.h"
#include "base/core/result.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::mover {

struct Progress {
  std::uint64_t total_bytes = 0;  // 0 while unknown
  std::uint64_t done_bytes = 0;
  std::uint64_t changed_bytes = 0;
  std::uint64_t uploaded_bytes = 0;
};
// Called from worker tasks, at most a few times a second and once at the end; must not block.
using ProgressCallback = std::function<void(const Progress&)>;

struct ExportRequest {
  std::string series;
  std::string snapshot;  // ULID, greater than the series' previous one
  WallTime cut;
  std::string device_identity;  // see pool::SnapshotInfo
  block::BlockDevice* source = nullptr;
  // The base: the point made from a snapshot that is still here, by that snapshot's device
  // identity. Absent, or not found in the repository: the newest point of the series serves by
  // fingerprints after a full read.
  std::optional<repo::PointName> base;
  std::string base_device_identity;
  using Ranges = std::function<Result<std::unique_ptr<block::ExtentStream>>()>;
  // What a full read has to read. Absent: what the source itself says (an image file).
  Ranges allocated;
  // What differs from the base's snapshot. Absent or failing with kFailedPrecondition: everything
  // allocated is read and fingerprints decide.
  Ranges changed;
  // Shares nothing with what is stored: for those who no longer trust it.
  bool anew = false;
  Json attributes;
  ProgressCallback progress;
  std::size_t inline_table_bytes = repo::kInlineTableBytes;  // less in tests only
};

// Commits a point. A point of the same snapshot that is already committed is success and answered.
// Transient store errors were retried by the store's decorator; what arrives here ends the export
// (its session stays, and the next call resumes from it). kCancelled, kDataLoss,
// kFailedPrecondition, kUnavailable.
Result<repo::PointInfo> ExportBlocks(repo::Repository& repository, Runtime& runtime, Random& random,
                                     const ExportRequest& request);

// The snapshot ULID of an export of the series that was interrupted and that nobody carries on: its
// writer said so, or has not renewed its session for six minutes. An export under that ULID
// resumes it; kNotFound if there is none.
Result<std::string> FindInterruptedExport(repo::Repository& repository, const std::string& series);

// A ULID for the next snapshot of a series: of now, and greater than `previous` (empty: none)
// whatever the clock says.
std::string NextSnapshotId(WallTime now, Random& random, const std::string& previous);

struct ImportRequest {
  repo::PointName point;
  block::BlockDevice* target = nullptr;  // at least the point's size
  bool target_is_blank = false;          // reads as zeros: holes need not be discarded
  ProgressCallback progress;
};

// Every block is checked against tag and fingerprint before it is written. Durable (flushed) when
// it returns. kDataLoss names pack and record; kNotFound; kCancelled.
Status ImportBlocks(repo::Repository& repository, Runtime& runtime, const ImportRequest& request);

}  // namespace thinsnap::mover
