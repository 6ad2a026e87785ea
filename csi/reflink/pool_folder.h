// Where a pool of reflinked files lies: in a folder that a user gives a node. On XFS with reflinks
// the folder itself serves; anywhere else a filesystem of the pool's own does, in an image there.
// What an earlier life mounted is used as it is: pods have volumes of it open.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/core/bytes.h"
#include "base/core/command.h"
#include "base/core/result.h"
#include "csi/reflink/reflink_thin_pool.h"

namespace thinsnap::reflink {

struct PoolFolderOptions {
  std::string folder;                    // there already
  std::uint64_t size_bytes = 32 * kGiB;  // of an image that is made
  // An image takes its whole size from the disk when it is made. Sparse: the disk below may run
  // full under volumes that were promised room.
  bool preallocate = true;
};

// The pool is FOLDER/pool; the image, where one is needed, FOLDER/pool.xfs. Idempotent; a crash
// leaves what the next call finishes. kNotFound without the folder, kResourceExhausted with the
// figures when the disk has no room for the image.
Result<ReflinkPoolOptions> PreparePoolFolder(CommandRunner& runner,
                                             const PoolFolderOptions& options);

// The second half of it: an image, made where it is missing, mounted at `mount_point`.
struct PoolImageOptions {
  std::string path;
  std::uint64_t size_bytes;
  bool preallocate;
};
Status MountPoolImage(CommandRunner& runner, const PoolImageOptions& image,
                      const std::string& mount_point);

// "512Mi", "32Gi", "1Ti", or bytes; 512Mi to 64Ti are accepted.
Result<std::uint64_t> ParsePoolSize(std::string_view text);

}  // namespace thinsnap::reflink
