// The files and folders of a reflink pool: each is made whole and durable before it gets its name.
#pragma once

#include <cstdint>
#include <string>

#include "base/core/result.h"

namespace thinsnap::reflink {

// A sparse file of that size, durable. Fails where the path exists.
Status MakeSparse(const std::string& path, std::uint64_t size_bytes);
// A clone that shares every block with source (ioctl_ficlone(2)), durable, grown to size_bytes.
// Fails where the path exists.
Status MakeClone(const std::string& source, const std::string& path, std::uint64_t size_bytes);
// Both parents are durable when it returns.
Status RenameDurably(const std::string& from, const std::string& to);
// A path that does not exist is removed already.
Status RemoveTree(const std::string& path);
// Removes a file and frees its blocks at once (XFS frees those of an unlinked one when it gets to
// it), unless anybody has it open: who reads it reads on, and its last close frees them. No file is
// fine.
Status RemoveFile(const std::string& path);
// What the file holds of its filesystem, shared blocks counted in full; 0 where there is none.
std::uint64_t AllocatedBytes(const std::string& path);
// What a filesystem in a sparse file, of which it uses so many bytes, can still take before the
// disk below is full: that disk's free space, and what the file holds of it already.
Result<std::uint64_t> RoomOfImage(const std::string& path, std::uint64_t used_bytes);

}  // namespace thinsnap::reflink
