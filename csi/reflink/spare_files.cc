#include "csi/reflink/spare_files.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/file.h"

namespace thinsnap::reflink {
namespace {

constexpr int kSpares = 4;
// A record is about 1 KiB.
constexpr std::size_t kSpareBytes = 16384;

// The space that a write into the file finds without asking for more; 0 where there is no file.
std::size_t OwnBytes(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 ? static_cast<std::size_t>(info.st_blocks) * 512 : 0;
}

Status PutAt(int fd, std::string_view content, const std::string& path) {
  off_t at = 0;
  while (!content.empty()) {
    const ssize_t put = pwrite(fd, content.data(), content.size(), at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return ErrnoError(errno, "write " + path, kNoRoom);
    content.remove_prefix(static_cast<std::size_t>(put));
    at += put;
  }
  return {};
}

}  // namespace

Status SpareFiles::Fill() {
  complete_ = false;
  TRY(MakeFolders(folder_, 0700, kNoRoom));
  const std::string zeros(kSpareBytes, '\0');
  for (int i = 0; i < kSpares; ++i) {
    if (OwnBytes(Name(i)) >= kSpareBytes) continue;
    const Status made = WriteFileAtomic(Name(i), zeros, 0600, kNoRoom);
    if (made.Is(Code::kResourceExhausted)) return {};
    TRY(made);
  }
  complete_ = true;
  return {};
}

Status SpareFiles::Write(const std::string& path, std::string_view content) {
  Status written = WriteFileAtomic(path, content, 0600, kNoRoom);
  if (written.ok() && !complete_) Fill().IgnoreError();  // the next one tries again
  if (!written.Is(Code::kResourceExhausted)) return written;
  for (int i = 0; i < kSpares; ++i) {
    if (OwnBytes(Name(i)) < content.size() || content.empty()) continue;
    complete_ = false;
    return WriteOver(Name(i), path, content);
  }
  return written;
}

Status SpareFiles::WriteOver(const std::string& spare, const std::string& path,
                             std::string_view content) {
  {
    const UniqueFd fd(open(spare.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return ErrnoError(errno, "open " + spare, kNoRoom);
    TRY(PutAt(fd.get(), content, spare));
    if (ftruncate(fd.get(), static_cast<off_t>(content.size())) != 0)
      return ErrnoError(errno, "size " + spare, kNoRoom);
    if (fsync(fd.get()) != 0) return ErrnoError(errno, "fsync " + spare, kNoRoom);
  }
  if (renameat2(AT_FDCWD, spare.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) != 0) {
    // A file that does not exist yet gets the spare for good.
    if (errno != ENOENT || rename(spare.c_str(), path.c_str()) != 0)
      return ErrnoError(errno, "rename to " + path, kNoRoom);
  }
  TRY(FsyncFolder(std::filesystem::path(path).parent_path()));
  return FsyncFolder(folder_);
}

}  // namespace thinsnap::reflink
