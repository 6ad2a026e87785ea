// Files: descriptors that close themselves, whole-file reads, and writes that are there entirely or
// not at all.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/result.h"

namespace thinsnap {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// What the caller of a system call reacts to, or lets its own callers react to. A code is a
// promise: the kernel's reasons mean what they say only where somebody has thought of them.
enum ErrnoKind : unsigned {
  kMissing = 1,    // ENOENT: kNotFound
  kForbidden = 2,  // EACCES, EPERM, EROFS: kPermissionDenied
  kNoRoom = 4,     // ENOSPC, EDQUOT: kResourceExhausted
};

// An Error from errno: kInternal, but for the kinds that are asked for.
Error ErrnoError(int error_number, std::string_view what, unsigned kinds = 0);

// kNotFound if there is none; kOutOfRange if it is larger than max_bytes.
Result<std::string> ReadFile(const std::string& path, std::uint64_t max_bytes = 64 * kMiB);
// `kinds` are those of ErrnoError, here and below.
// Durable when it returns: temporary file in the same folder, fsync, rename, fsync of the folder.
Status WriteFileAtomic(const std::string& path, std::string_view content, unsigned mode = 0644,
                       unsigned kinds = 0);
// Makes the folder and those above it. Existing ones are fine; kAlreadyExists for what is no
// folder.
Status MakeFolders(const std::string& path, unsigned mode = 0755, unsigned kinds = 0);
// kNotFound if there is none.
Status FsyncFolder(const std::string& path);

}  // namespace thinsnap
