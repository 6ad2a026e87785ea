#include "snapshotter/store/directory_store.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "snapshotter/store/directory_walk.h"
#include "snapshotter/store/key.h"

namespace thinsnap::store {
namespace {

constexpr std::size_t kPageSize = 1000;
constexpr std::size_t kLocks = 64;
constexpr int kAttempts = 100;
// As other stores say it.
constexpr unsigned kStoreKinds = kForbidden | kNoRoom;

ObjectInfo InfoOf(const std::string& key, const struct stat& stat) {
  // Every put is a new inode with a random nanosecond, so that no two versions share an etag.
  return ObjectInfo{.key = key,
                    .size = static_cast<std::uint64_t>(stat.st_size),
                    .etag = std::to_string(stat.st_ino) + "-" +
                            std::to_string(stat.st_mtim.tv_sec) + "-" +
                            std::to_string(stat.st_mtim.tv_nsec),
                    .modified = FromUnixSeconds(stat.st_mtim.tv_sec)};
}

Status WriteAll(int fd, ByteSpan bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError(errno, "write " + path, kStoreKinds);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Error NoSuchObject(const ObjectStore& store, const std::string& key) {
  return Error(Code::kNotFound, store.Describe() + ": no object \"" + key + "\"");
}

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

DirectoryObjectStore::Temporary::~Temporary() {
  if (!path.empty()) ::unlink(path.c_str());
}

Result<std::unique_ptr<ObjectStore>> DirectoryObjectStore::Open(Clock& clock, Random& random,
                                                                const std::string& folder) {
  std::string clean = folder;
  while (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  if (!clean.starts_with('/') || clean == "/") {
    return Error(Code::kInvalidArgument,
                 "folder \"" + folder +
                     "\" of the store: an absolute path below / is expected, as in /srv/backups");
  }
  auto store = std::make_unique<DirectoryObjectStore>(clock, random, clean);
  TRY(store->CheckFolder().In("open " + store->Describe()));
  store->RemoveLeftovers();
  return std::unique_ptr<ObjectStore>(std::move(store));
}

Status DirectoryObjectStore::CheckFolder() const {
  struct stat stat;
  if (::stat(folder_.c_str(), &stat) != 0) {
    if (errno == ENOENT) return {};
    return ErrnoError(errno, folder_, kStoreKinds);
  }
  if (S_ISDIR(stat.st_mode)) return {};
  return Error(Code::kInvalidArgument, folder_ + " is not a folder; a folder is accepted");
}

void DirectoryObjectStore::RemoveLeftovers() {
  const std::string own = folder_ + "/" + kOwnFolder;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(own, error)) {
    const std::string path = entry.path();
    if (!entry.path().filename().string().starts_with("put-")) continue;
    // A living writer holds the lock; the lock of a killed one is free.
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(path.c_str());
  }
}

Status DirectoryObjectStore::MakeOwnFolder() {
  const std::string parent = FolderOf(folder_);
  const bool fresh = ::access(folder_.c_str(), F_OK) != 0;
  TRY(MakeFolders(folder_ + "/" + kOwnFolder, 0755, kStoreKinds));
  if (fresh) TRY(FsyncFolder(parent.empty() ? "/" : parent));
  return {};
}

WallTime DirectoryObjectStore::Date() const {
  return std::chrono::floor<std::chrono::seconds>(clock_.Now());
}

Result<std::string> DirectoryObjectStore::PathOf(const std::string& key) const {
  TRY(CheckKey(key));
  if (key == kOwnFolder || key.starts_with(std::string(kOwnFolder) + "/")) {
    return Error(Code::kInvalidArgument, "object key \"" + key + "\": the first part " +
                                             kOwnFolder + " is the store's own");
  }
  for (std::size_t start = 0; start <= key.size();) {
    const std::size_t end = std::min(key.find('/', start), key.size());
    if (end - start > 255) {
      return Error(Code::kInvalidArgument,
                   "object key \"" + key.substr(0, 80) +
                       "...\" has a part of more than 255 bytes, which no file name can hold");
    }
    start = end + 1;
  }
  return folder_ + "/" + key;
}

Result<std::unique_ptr<DirectoryObjectStore::Temporary>> DirectoryObjectStore::MakeTemporary() {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto temporary = std::make_unique<Temporary>();
    std::string path = folder_ + "/" + kOwnFolder + "/put-" + random_.NameSuffix(16);
    temporary->fd.Reset(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!temporary->fd) {
      if (errno == EEXIST) continue;
      if (errno == ENOENT) {
        TRY(MakeOwnFolder());
        continue;
      }
      return ErrnoError(errno, "create " + path, kStoreKinds);
    }
    temporary->path = std::move(path);
    if (::flock(temporary->fd.get(), LOCK_EX) != 0)
      return ErrnoError(errno, "lock " + temporary->path, kStoreKinds);
    // A cleaner may have been faster than the lock.
    struct stat stat;
    if (::fstat(temporary->fd.get(), &stat) == 0 && stat.st_nlink > 0) return temporary;
    temporary->path.clear();
  }
  return Error(Code::kInternal, Describe() + ": no temporary file could be made");
}

Result<UniqueFd> DirectoryObjectStore::LockKey(const std::string& key, bool exclusive) {
  const std::string path =
      folder_ + "/" + kOwnFolder + "/lock-" + std::to_string(KeyStripe(key, kLocks));
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd && errno == ENOENT) {
    TRY(MakeOwnFolder());
    fd.Reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  }
  if (!fd) return ErrnoError(errno, "open " + path, kStoreKinds);
  while (::flock(fd.get(), exclusive ? LOCK_EX : LOCK_SH) != 0) {
    if (errno != EINTR) return ErrnoError(errno, "lock " + path, kStoreKinds);
  }
  return fd;
}

Result<UniqueFd> DirectoryObjectStore::OpenObject(const std::string& key, ObjectInfo& info) {
  const std::string path = TRY(PathOf(key));
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return NoSuchObject(*this, key);
    return ErrnoError(errno, "open " + path, kStoreKinds);
  }
  struct stat stat;
  if (::fstat(fd.get(), &stat) != 0) return ErrnoError(errno, "stat " + path, kStoreKinds);
  if (!S_ISREG(stat.st_mode)) return NoSuchObject(*this, key);
  info = InfoOf(key, stat);
  return fd;
}

Result<int> DirectoryObjectStore::PlaceNew(const std::string& key, const std::string& temporary,
                                           const std::string& path) {
  if (::link(temporary.c_str(), path.c_str()) == 0) return 0;
  const auto cannot = [] {
    return errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL;
  };
  if (!cannot()) return errno;
  // exFAT, sshfs and some CIFS servers have no hard links.
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0)
    return 0;
  if (!cannot()) return errno;
  const UniqueFd alone = TRY(LockKey(key, true));
  struct stat stat;
  if (::lstat(path.c_str(), &stat) == 0) return EEXIST;
  if (errno != ENOENT) return errno;
  return ::rename(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
}

Status DirectoryObjectStore::Place(const std::string& key, const std::string& temporary,
                                   const std::string& path, bool if_absent) {
  // A folder may be pruned between its making and its use: then again.
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (auto made = MakeFolders(FolderOf(path), 0755, kStoreKinds | kMissing); !made.ok()) {
      if (made.Is(Code::kNotFound)) continue;
      return made;
    }
    int failure = 0;
    if (if_absent) {
      failure = TRY(PlaceNew(key, temporary, path));
    } else if (::rename(temporary.c_str(), path.c_str()) != 0) {
      failure = errno;
    }
    if (failure == 0) return {};
    if (failure == ENOENT) continue;
    if (failure == EEXIST && if_absent) {
      struct stat stat;
      if (::lstat(path.c_str(), &stat) == 0 && S_ISDIR(stat.st_mode)) failure = EISDIR;
    }
    if (failure == EEXIST) return Error(Code::kFailedPrecondition, "object exists already");
    if (failure == EISDIR || failure == ENOTDIR) {
      return Error(Code::kInvalidArgument,
                   "the key is a folder of other objects, or goes on after another object's key");
    }
    return ErrnoError(failure, "place " + path, kStoreKinds);
  }
  return Error(Code::kAborted, "folder " + FolderOf(path) + " keeps vanishing");
}

Status DirectoryObjectStore::SyncFolders(const std::string& path) {
  for (std::string folder = FolderOf(path); folder.size() >= folder_.size();
       folder = FolderOf(folder)) {
    TRY(FsyncFolder(folder));
  }
  return {};
}

Result<PutResult> DirectoryObjectStore::Put(const std::string& key, ByteSpan body,
                                            const PutCondition& condition) {
  const std::string context = Describe() + ": put \"" + key + "\"";
  const std::string path = TRY(PathOf(key));
  const auto temporary = TRY(MakeTemporary().In(context));
  TRY(WriteAll(temporary->fd.get(), body, temporary->path).In(context));
  const WallTime date = Date();
  const timespec time{.tv_sec = UnixSeconds(date),
                      .tv_nsec = static_cast<long>(random_.Below(1'000'000'000))};
  const timespec times[2] = {time, time};
  if (::futimens(temporary->fd.get(), times) != 0)
    return ErrnoError(errno, "set the time", kStoreKinds).In(context);
  if (::fsync(temporary->fd.get()) != 0)
    return ErrnoError(errno, "fsync " + temporary->path, kStoreKinds).In(context);
  struct stat stat;
  if (::fstat(temporary->fd.get(), &stat) != 0)
    return ErrnoError(errno, "stat", kStoreKinds).In(context);

  {
    // PlaceNew may need the lock for itself, and it is of no use to it before.
    UniqueFd lock;
    if (!condition.if_absent) lock = TRY(LockKey(key, !condition.if_match.empty()).In(context));
    if (!condition.if_match.empty()) {
      ObjectInfo info;
      const auto present = OpenObject(key, info);
      if (!present.ok() && !present.Is(Code::kNotFound)) return present.error().In(context);
      if (!present.ok() || info.etag != condition.if_match) {
        return Error(Code::kFailedPrecondition, "object has changed").In(context);
      }
    }
    TRY(Place(key, temporary->path, path, condition.if_absent).In(context));
    // An object that is new may have kept this name as its second one.
    if (!condition.if_absent) temporary->path.clear();
  }
  TRY(SyncFolders(path).In(context));
  return PutResult{.etag = InfoOf(key, stat).etag, .date = date};
}

Result<Object> DirectoryObjectStore::Get(const std::string& key, std::optional<ByteRange> range) {
  Object object;
  const UniqueFd fd = TRY(OpenObject(key, object.info).In(Describe()));
  const ByteRange want = range.value_or(ByteRange{0, object.info.size});
  if (range && want.offset >= object.info.size) {
    return Error(Code::kOutOfRange,
                 Describe() + ": range starts beyond the end of \"" + key + "\"");
  }
  object.bytes.resize(std::min(want.length, object.info.size - want.offset));
  for (std::size_t done = 0; done < object.bytes.size();) {
    const ssize_t got = ::pread(fd.get(), object.bytes.data() + done, object.bytes.size() - done,
                                static_cast<off_t>(want.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, Describe() + ": read \"" + key + "\"", kStoreKinds);
    if (got == 0)
      return Error(Code::kDataLoss, Describe() + ": \"" + key + "\" is shorter than its size");
    done += static_cast<std::size_t>(got);
  }
  object.date = Date();
  return object;
}

Result<ObjectInfo> DirectoryObjectStore::Head(const std::string& key) {
  ObjectInfo info;
  TRY(OpenObject(key, info).In(Describe()));
  return info;
}

Result<Page> DirectoryObjectStore::List(const std::string& prefix, const std::string& after) {
  Page page;
  page.date = Date();
  TRY(WalkInOrder(folder_, prefix, after, [&](const std::string& key, const struct stat& stat) {
        if (page.objects.size() == kPageSize) {
          page.more = true;
          return false;
        }
        page.objects.push_back(InfoOf(key, stat));
        return true;
      }).In("list " + Describe()));
  return page;
}

Status DirectoryObjectStore::Delete(const std::string& key) {
  const std::string path = TRY(PathOf(key));
  ObjectInfo info;
  if (OpenObject(key, info).Is(Code::kNotFound)) return {};
  {
    const UniqueFd lock = TRY(LockKey(key, false).In(Describe()));
    const auto present = OpenObject(key, info);
    if (present.Is(Code::kNotFound)) return {};
    if (::unlink(path.c_str()) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return {};
      return ErrnoError(errno, "delete " + path, kStoreKinds);
    }
  }
  std::string folder = FolderOf(path);
  if (auto synced = FsyncFolder(folder); !synced.ok() && !synced.Is(Code::kNotFound)) return synced;
  for (; folder.size() > folder_.size(); folder = FolderOf(folder)) {
    if (::rmdir(folder.c_str()) != 0) break;
  }
  return {};
}

}  // namespace thinsnap::store
