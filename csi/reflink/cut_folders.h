// CutFolders: how snapshots get to their places on disk. They are made in tmp/<cut>/; one alone is
// renamed to its place, a group as a whole to groups/<cut>, which is the moment from which it
// exists, and from there member by member. What a crash leaves in groups/ is brought to its end.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "csi/pool/thin_pool.h"

namespace thinsnap::reflink {

// Not thread-safe for one cut. `folder` is the pool's.
class CutFolders {
 public:
  CutFolders(std::string folder, std::function<void(const char* step)> on_step)
      : folder_(std::move(folder)), on_step_(std::move(on_step)) {}

  // Clones the volume's file; whatever stands in it at that moment. Durable.
  Status Copy(const std::vector<pool::SnapshotInfo>& members, const pool::SnapshotInfo& member,
              const std::string& data);
  // Writes the records and gives the members their places.
  Status Place(const std::vector<pool::SnapshotInfo>& members);
  // Before Place only.
  Status Remove(const std::vector<pool::SnapshotInfo>& members);
  // Groups that a crash left on their way.
  Status FinishGroups();

 private:
  std::string Making(const std::vector<pool::SnapshotInfo>& members) const;
  Status FinishGroup(const std::string& group);
  void Step(const char* step) const {
    if (on_step_) on_step_(step);
  }

  const std::string folder_;
  const std::function<void(const char* step)> on_step_;
};

}  // namespace thinsnap::reflink
