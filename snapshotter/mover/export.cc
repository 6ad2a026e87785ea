#include <algorithm>
#include <utility>

#include "base/core/id.h"
#include "snapshotter/mover/export_run.h"
#include "snapshotter/mover/transfer.h"
#include "snapshotter/repo/point_store.h"

namespace thinsnap::mover {
namespace {

constexpr int kMaxAttempts = 16;

Status Check(const ExportRequest& request) {
  TRY(repo::CheckSeries(request.series));
  if (!IsUlid(request.snapshot)) {
    return Error(Code::kInvalidArgument,
                 "snapshot \"" + request.snapshot.substr(0, 64) +
                     "\" is not an id: a ULID of 26 characters in lower case is accepted");
  }
  ASSERT(request.source != nullptr);
  if (request.source->size_bytes() > repo::kMaxVolumeBytes) {
    return Error(Code::kInvalidArgument, "the volume is larger than 128 PiB");
  }
  return {};
}

// The number after the largest whose key is used for this snapshot by something other than a
// readable manifest; or the manifest.
struct Standing {
  std::optional<repo::PointInfo> committed;
  int next_attempt = 1;
};

Result<Standing> Look(repo::Repository& repository, const std::vector<repo::ListedPoint>& listed,
                      const std::string& snapshot) {
  Standing standing;
  for (const repo::ListedPoint& point : listed) {
    if (point.parts.snapshot != snapshot) continue;
    standing.next_attempt = std::max(standing.next_attempt, point.parts.attempt + 1);
    auto info = repository.GetPoint(point.name);
    if (info.ok()) {
      standing.committed = std::move(info).value();
    } else if (!info.Is(Code::kNotFound) && !info.Is(Code::kDataLoss)) {
      return std::move(info).error();
    }
  }
  return standing;
}

}  // namespace

Result<repo::PointInfo> ExportBlocks(repo::Repository& repository, Runtime& runtime, Random& random,
                                     const ExportRequest& request) {
  TRY(Check(request));
  for (int round = 0; round < kMaxAttempts; ++round) {
    const auto listed = TRY(repo::ListPointKeys(repository.store(), request.series));
    Standing standing = TRY(Look(repository, listed, request.snapshot));
    if (standing.committed) return std::move(*standing.committed);
    ExportRun run(repository, runtime, random, request, standing.next_attempt, listed);
    auto point = TRY(run.Run().In("export " + request.series));
    if (point) return std::move(*point);
  }
  return Error(Code::kAborted, "export " + request.series + ": its session was revoked " +
                                   std::to_string(kMaxAttempts) + " times");
}

Result<std::string> FindInterruptedExport(repo::Repository& repository, const std::string& series) {
  TRY(repo::CheckSeries(series));
  const auto listed = TRY(repo::ListPointKeys(repository.store(), series));
  const std::string newest = listed.empty() ? "" : listed.back().parts.snapshot;
  for (const repo::FoundSession& found :
       TRY(repo::FindSessions(repository.store(), repository.keyring(), series))) {
    const auto parts = repo::ParsePointName(found.session.point.str());
    if (!parts.ok() || parts->series != series || parts->snapshot <= newest) continue;
    if (found.session.abandoned || found.quiet > repo::kQuiet) return parts->snapshot;
  }
  return Error(Code::kNotFound, "series " + series + " has no interrupted export");
}

std::string NextSnapshotId(WallTime now, Random& random, const std::string& previous) {
  return NewUlid(now, random, previous);
}

}  // namespace thinsnap::mover
