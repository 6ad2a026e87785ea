// ExportRun: one session of an export, from its first PUT to the commit or to what it leaves
// behind. The order of its requests is the protocol of docs/format.md; each rule in it removes a
// way to lose data.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "snapshotter/mover/export_pipeline.h"
#include "snapshotter/mover/transfer.h"
#include "snapshotter/repo/map_reader.h"
#include "snapshotter/repo/pack_table.h"
#include "snapshotter/repo/point_store.h"
#include "snapshotter/repo/session.h"

namespace thinsnap::mover {

// Runs once.
class ExportRun {
 public:
  // listed: the keys of the series.
  ExportRun(repo::Repository& repository, Runtime& runtime, Random& random,
            const ExportRequest& request, int attempt,
            const std::vector<repo::ListedPoint>& listed);

  // The committed point; absent if the session was revoked and the next attempt is due.
  Result<std::optional<repo::PointInfo>> Run();

 private:
  struct Base {
    repo::Point point;
    repo::PackTable table;
    std::unique_ptr<repo::MapReader> map;
  };

  Status OpenSession();
  Status ChooseBase();
  Result<std::optional<Base>> LoadBase(const repo::PointName& name);
  void ChooseMode();
  Result<PipelineOutput> Move();
  Result<PipelineOutput> Pass();
  Result<std::unique_ptr<block::ExtentStream>> Ranges() const;
  Result<bool> UnchangedIsUnchanged(const PipelineOutput& output);
  void FallBack(repo::ExportMode mode, const std::string& reason, bool alarm);
  Result<std::optional<repo::PointInfo>> Commit(PipelineOutput output);
  repo::Point Describe(PipelineOutput output) const;
  Bytes SealPoint(repo::Point& point);
  void LeaveSession();
  void CleanSessions();

  repo::Repository& repository_;
  store::ObjectStore& store_;
  const repo::Keyring& keyring_;
  Runtime& runtime_;
  Random& random_;
  const ExportRequest& request_;
  const std::vector<repo::ListedPoint>& listed_;
  const repo::PointName name_;
  const int attempt_;

  std::vector<repo::FoundSession> found_;
  std::optional<repo::SessionKeeper> keeper_;
  std::set<repo::PackId> tombstoned_;
  std::optional<Base> base_;
  repo::ExportMode mode_ = repo::ExportMode::kFull;
  std::string reason_;
  std::string alarm_;
  std::uint64_t sent_by_failed_passes_ = 0;
};

}  // namespace thinsnap::mover
