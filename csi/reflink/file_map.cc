#include "csi/reflink/file_map.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vector>

#include "base/core/file.h"

namespace thinsnap::reflink {
namespace {

constexpr std::size_t kExtentsAtOnce = 512;

void CutFront(MappedExtent& extent, std::uint64_t length) {
  extent.offset += length;
  extent.physical += length;
  extent.length -= length;
}

}  // namespace

FileMapReader::FileMapReader(int fd) : fd_(nullptr, [fd](void*) { close(fd); }), raw_fd_(fd) {}

Result<FileMapReader> FileMapReader::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoError(errno, "open " + path);
  return FileMapReader(fd);
}

Status FileMapReader::Fill() {
  std::vector<std::uint64_t> memory(
      (sizeof(fiemap) + kExtentsAtOnce * sizeof(fiemap_extent)) / sizeof(std::uint64_t) + 1);
  auto* map = reinterpret_cast<fiemap*>(memory.data());
  map->fm_start = position_;
  map->fm_length = FIEMAP_MAX_OFFSET - position_;
  map->fm_flags = FIEMAP_FLAG_SYNC;
  map->fm_extent_count = kExtentsAtOnce;
  if (ioctl(raw_fd_, FS_IOC_FIEMAP, map) != 0) return ErrnoError(errno, "FIEMAP");
  buffer_.clear();
  next_ = 0;
  if (map->fm_mapped_extents == 0) last_ = true;
  for (std::size_t i = 0; i < map->fm_mapped_extents; ++i) {
    const fiemap_extent& extent = map->fm_extents[i];
    position_ = extent.fe_logical + extent.fe_length;
    if ((extent.fe_flags & FIEMAP_EXTENT_LAST) != 0) last_ = true;
    if ((extent.fe_flags & FIEMAP_EXTENT_UNWRITTEN) != 0) continue;
    if ((extent.fe_flags & (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC)) != 0) {
      return Error(Code::kFailedPrecondition, "an extent has no place on disk yet");
    }
    buffer_.push_back({extent.fe_logical, extent.fe_length, extent.fe_physical,
                       (extent.fe_flags & FIEMAP_EXTENT_SHARED) != 0});
  }
  return {};
}

Result<MappedExtent> FileMapReader::Next() {
  while (next_ == buffer_.size()) {
    if (last_) return MappedExtent();
    TRY(Fill());
  }
  return buffer_[next_++];
}

Result<std::uint64_t> CountExclusive(FileMapReader file) {
  std::uint64_t bytes = 0;
  for (;;) {
    const MappedExtent extent = TRY(file.Next());
    if (extent.length == 0) return bytes;
    if (!extent.shared) bytes += extent.length;
  }
}

Status CollectWritten(FileMapReader file, block::ExtentSpool& into) {
  for (;;) {
    const MappedExtent extent = TRY(file.Next());
    if (extent.length == 0) return {};
    TRY(into.Add({extent.offset, extent.length}));
  }
}

Status CollectDifferent(FileMapReader base, FileMapReader target, block::ExtentSpool& into) {
  MappedExtent before = TRY(base.Next());
  MappedExtent after = TRY(target.Next());
  // A merge of two ascending lists: what only one has differs, what both have differs unless it
  // lies in the same place.
  while (before.length != 0 || after.length != 0) {
    if (after.length == 0 || (before.length != 0 && before.offset < after.offset)) {
      const std::uint64_t end = after.length == 0
                                    ? before.offset + before.length
                                    : std::min(before.offset + before.length, after.offset);
      TRY(into.Add({before.offset, end - before.offset}));
      CutFront(before, end - before.offset);
    } else if (before.length == 0 || after.offset < before.offset) {
      const std::uint64_t end = before.length == 0
                                    ? after.offset + after.length
                                    : std::min(after.offset + after.length, before.offset);
      TRY(into.Add({after.offset, end - after.offset}));
      CutFront(after, end - after.offset);
    } else {
      const std::uint64_t length = std::min(before.length, after.length);
      if (before.physical != after.physical) TRY(into.Add({after.offset, length}));
      CutFront(before, length);
      CutFront(after, length);
    }
    if (before.length == 0) before = TRY(base.Next());
    if (after.length == 0) after = TRY(target.Next());
  }
  return {};
}

}  // namespace thinsnap::reflink
