// The tags that the driver keeps with volumes and snapshots: all of its memory. Keys of csi/mount
// are in csi/mount/volume_mounts.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "csi/pool/thin_pool.h"

namespace thinsnap::tags {

// Of volumes.
inline constexpr char kSize[] = "size";  // bytes as once requested, before rounding (snapshots too)
inline constexpr char kSource[] = "source";  // the handle that it was made from
inline constexpr char kImporting[] =
    "importing";  // the handle that is being imported; gone when all is there
inline constexpr char kImportBytes[] = "import-bytes";  // that the import writes in all
inline constexpr char kMode[] = "mode";                 // Filesystem or Block (snapshots too)
inline constexpr char kClaim[] = "pvc";                 // <namespace>/<name> (snapshots too)
inline constexpr char kWantsFs[] = "wants-fs";          // the filesystem that was asked for, if any
inline constexpr char kUserPrefix[] = "tag.";           // what a VolumeAttributesClass sets

// Of snapshots.
inline constexpr char kFsType[] = "fs";  // of the volume at the cut
inline constexpr char kRepositories[] =
    "repositories";  // ids, comma-separated; the first is in the handle
inline constexpr char kLocalCopies[] = "local-copies";  // how many exported ones keep their device
inline constexpr char kVolumeSnapshot[] = "vs";         // <namespace>/<name>
inline constexpr char kContent[] = "content";
inline constexpr char kHidden[] = "hidden";      // deleted, but the base of the next increment
inline constexpr char kInternal[] = "internal";  // between volume and clone; nobody's snapshot
// point.<repository id>: the name of the restore point, once it is committed.
inline constexpr char kPointPrefix[] = "point.";

// The value, or "".
std::string Get(const pool::Tags& tags, const std::string& key);
bool Has(const pool::Tags& tags, const std::string& key);
// A size; `otherwise` where there is none, or what somebody wrote by hand is none.
std::uint64_t GetBytes(const pool::Tags& tags, const std::string& key, std::uint64_t otherwise);
std::vector<std::string> SplitList(const std::string& list);
std::string JoinList(const std::vector<std::string>& items);

// The repositories that the snapshot is to be exported to, and which of them have it.
std::vector<std::string> RepositoriesOf(const pool::SnapshotInfo& snapshot);
std::string PointIn(const pool::SnapshotInfo& snapshot, const std::string& repository);
bool IsExported(const pool::SnapshotInfo& snapshot);  // to all of them; true if there are none

}  // namespace thinsnap::tags
