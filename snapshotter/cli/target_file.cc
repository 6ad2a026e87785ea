#include "snapshotter/cli/target_file.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace thinsnap::cli {
namespace {

// The user's own file: each is for the user to mend.
constexpr unsigned kTargetKinds = kMissing | kForbidden | kNoRoom;

std::string FolderOf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string WorkingPath(const std::string& path) {
  const auto name = path.rfind('/') + 1;
  return path.substr(0, name) + "." + path.substr(name) + ".thinsnap-restore";
}

}  // namespace

TargetFile::TargetFile(std::string path)
    : path_(std::move(path)), working_path_(WorkingPath(path_)) {}

TargetFile::~TargetFile() {
  if (ours_) ::unlink(working_path_.c_str());
}

Result<std::unique_ptr<TargetFile>> TargetFile::Make(const std::string& path,
                                                     std::uint64_t size_bytes) {
  std::unique_ptr<TargetFile> file(new TargetFile(path));
  TRY(file->Open(size_bytes));
  return file;
}

Status TargetFile::Open(std::uint64_t size_bytes) {
  struct stat existing = {};
  replaces_ = ::stat(path_.c_str(), &existing) == 0;
  fd_.Reset(::open(working_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd_) return ErrnoError(errno, "create " + working_path_, kTargetKinds);
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error(Code::kFailedPrecondition, "another restore is writing " + working_path_);
  }
  // Its owner may have finished or given up between the open and the lock.
  struct stat mine = {};
  struct stat named = {};
  if (::fstat(fd_.get(), &mine) != 0 || ::stat(working_path_.c_str(), &named) != 0 ||
      mine.st_ino != named.st_ino) {
    return Error(Code::kFailedPrecondition,
                 "another restore was writing " + working_path_ + " until now");
  }
  ours_ = true;
  if (::ftruncate(fd_.get(), 0) != 0 ||
      ::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)) != 0) {
    return ErrnoError(errno,
                      "give " + working_path_ + " its " + std::to_string(size_bytes) + " bytes",
                      kTargetKinds);
  }
  if (replaces_) {
    // Who has no right to give the file away keeps it: then it is simply theirs.
    if (::fchown(fd_.get(), existing.st_uid, existing.st_gid) != 0 && errno != EPERM) {
      return ErrnoError(errno, "set the owner of " + working_path_, kTargetKinds);
    }
    if (::fchmod(fd_.get(), existing.st_mode & 07777U) != 0) {
      return ErrnoError(errno, "set the mode of " + working_path_, kTargetKinds);
    }
  }
  return {};
}

Status TargetFile::Finish() {
  const unsigned flags = replaces_ ? 0 : RENAME_NOREPLACE;
  int failed = ::renameat2(AT_FDCWD, working_path_.c_str(), AT_FDCWD, path_.c_str(), flags);
  // Some file systems know no such condition.
  if (failed != 0 && errno == EINVAL && flags != 0) {
    failed = ::rename(working_path_.c_str(), path_.c_str());
  }
  if (failed != 0)
    return ErrnoError(errno, "rename " + working_path_ + " to " + path_, kTargetKinds);
  ours_ = false;
  return FsyncFolder(FolderOf(path_));
}

}  // namespace thinsnap::cli
