#include "csi/reflink/cut_folders.h"

#include <filesystem>
#include <system_error>

#include "base/core/file.h"
#include "base/data/json.h"
#include "csi/pool/record.h"
#include "csi/reflink/image_file.h"

namespace thinsnap::reflink {

// Named after its first member: another cut has others.
std::string CutFolders::Making(const std::vector<pool::SnapshotInfo>& members) const {
  return folder_ + "/tmp/" + members.front().id.str();
}

Status CutFolders::Copy(const std::vector<pool::SnapshotInfo>& members,
                        const pool::SnapshotInfo& member, const std::string& data) {
  const std::string folder = Making(members) + "/" + member.id.str();
  TRY(MakeFolders(folder, 0700, kNoRoom));
  TRY(MakeClone(data, folder + "/data", member.size_bytes));
  Step("snapshot:clone");
  return {};
}

Status CutFolders::Place(const std::vector<pool::SnapshotInfo>& members) {
  const std::string making = Making(members);
  for (const pool::SnapshotInfo& member : members) {
    const std::string folder = making + "/" + member.id.str();
    TRY(WriteFileAtomic(folder + "/meta.json", ToJson(pool::ToRecord(member)), 0600, kNoRoom));
    Step("snapshot:meta");
  }
  if (members.size() == 1) {
    const std::string name = members.front().id.str();
    TRY(RenameDurably(making + "/" + name, folder_ + "/snapshots/" + name));
    RemoveTree(making).IgnoreError();  // empty; gone at the next start at the latest
    Step("snapshot:done");
    return {};
  }
  TRY(FsyncFolder(making));
  const std::string group = folder_ + "/groups/" + members.front().id.str();
  TRY(RenameDurably(making, group));
  Step("group:committed");
  return FinishGroup(group);
}

Status CutFolders::Remove(const std::vector<pool::SnapshotInfo>& members) {
  return RemoveTree(Making(members));
}

Status CutFolders::FinishGroup(const std::string& group) {
  std::error_code failure;
  for (const auto& member : std::filesystem::directory_iterator(group, failure)) {
    TRY(RenameDurably(member.path(), folder_ + "/snapshots/" + member.path().filename().string()));
    Step("group:member");
  }
  if (failure) return ErrnoError(failure.value(), "list " + group);
  return RemoveTree(group);
}

Status CutFolders::FinishGroups() {
  std::error_code failure;
  for (const auto& group : std::filesystem::directory_iterator(folder_ + "/groups", failure)) {
    TRY(FinishGroup(group.path()));
  }
  if (failure) return ErrnoError(failure.value(), "list " + folder_ + "/groups");
  return {};
}

}  // namespace thinsnap::reflink
