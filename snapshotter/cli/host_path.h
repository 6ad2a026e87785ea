// What a path on this host is and who uses it: asked before it is read as a volume or overwritten.
#pragma once

#include <cstdint>
#include <string>

#include "base/core/result.h"

namespace thinsnap::cli {

enum class PathKind { kMissing, kFile, kBlockDevice };

struct HostPath {
  std::string canonical;
  PathKind kind = PathKind::kMissing;
  std::uint64_t size_bytes = 0;
  std::int64_t written_ns = 0;  // a file's last change of content
  std::string user;  // who uses it: "mounted at /mnt", "backs /dev/loop3"; empty: nobody seen
  // Why no other file can take this one's place: "immutable (chattr -i ...)"; empty: it can.
  std::string fixed;
};

// kInvalidArgument for a folder or anything else that holds no blocks; kNotFound where the folder
// of a missing path is missing too, and for a link to nothing.
Result<HostPath> LookAt(const std::string& path);

}  // namespace thinsnap::cli
