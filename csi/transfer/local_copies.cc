#include "csi/transfer/local_copies.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <string>

#include "csi/pool/tags.h"

namespace thinsnap::transfer {
namespace {

int LocalCopiesOf(const pool::SnapshotInfo& snapshot) {
  const std::string text = tags::Get(snapshot.tags, tags::kLocalCopies);
  int copies = 1;
  std::from_chars(text.data(), text.data() + text.size(), copies);
  return copies;
}

bool IsCopy(const pool::SnapshotInfo& snapshot) {
  return snapshot.has_device && !tags::Has(snapshot.tags, tags::kHidden) &&
         !tags::RepositoriesOf(snapshot).empty() && tags::IsExported(snapshot);
}

// The newest with a device for each repository.
std::set<pool::SnapshotId> Bases(const std::vector<pool::SnapshotInfo>& snapshots) {
  std::set<pool::SnapshotId> bases;
  std::set<std::string> served;
  for (auto it = snapshots.rbegin(); it != snapshots.rend(); ++it) {
    if (!it->has_device) continue;
    for (const std::string& repository : tags::RepositoriesOf(*it)) {
      if (!tags::PointIn(*it, repository).empty() && served.insert(repository).second) {
        bases.insert(it->id);
      }
    }
  }
  return bases;
}

}  // namespace

LocalCopiesPlan PlanLocalCopies(const std::vector<pool::SnapshotInfo>& snapshots,
                                bool volume_exists, bool tight) {
  const auto bases = volume_exists ? Bases(snapshots) : std::set<pool::SnapshotId>();
  LocalCopiesPlan plan;
  int copies = 0, wanted = -1;
  for (auto it = snapshots.rbegin(); it != snapshots.rend(); ++it) {
    if (tags::Has(it->tags, tags::kHidden)) {
      if (tight || !bases.contains(it->id)) plan.remove.push_back(it->id);
      continue;
    }
    if (!IsCopy(*it)) continue;
    // The newest one's class decides for all.
    if (wanted < 0) wanted = tight ? std::min(1, LocalCopiesOf(*it)) : LocalCopiesOf(*it);
    if (copies++ >= wanted && !bases.contains(it->id)) plan.drop.push_back(it->id);
  }
  return plan;
}

bool IsBase(const std::vector<pool::SnapshotInfo>& snapshots, const pool::SnapshotInfo& snapshot) {
  return Bases(snapshots).contains(snapshot.id);
}

const pool::SnapshotInfo* ChooseBase(const std::vector<pool::SnapshotInfo>& snapshots,
                                     const pool::SnapshotInfo& target,
                                     const std::string& repository) {
  const pool::SnapshotInfo* base = nullptr;
  for (const pool::SnapshotInfo& candidate : snapshots) {
    if (candidate.volume == target.volume && candidate.id < target.id && candidate.has_device &&
        !tags::PointIn(candidate, repository).empty()) {
      base = &candidate;
    }
  }
  return base;
}

}  // namespace thinsnap::transfer
