// FileBlockDevice: block devices by O_DIRECT, so that nothing stale is read and the page cache
// stays the applications'; regular files through the page cache, where an image mostly is already.
// What direct I/O cannot do (an odd tail, unaligned memory) goes through a second, buffered
// descriptor.
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/block/aligned_buffer.h"
#include "base/block/block_device.h"
#include "base/core/file.h"

namespace thinsnap::block {
namespace {

constexpr std::size_t kZeroChunk = 64 * kKiB;

class FileBlockDevice final : public BlockDevice {
 public:
  FileBlockDevice(std::string path, UniqueFd buffered, UniqueFd direct, bool is_device,
                  std::uint64_t size)
      : path_(std::move(path)),
        buffered_(std::move(buffered)),
        direct_(std::move(direct)),
        is_device_(is_device),
        size_(size) {}

  std::uint64_t size_bytes() const override { return size_; }

  Status ReadAt(std::uint64_t offset, MutableByteSpan into) override {
    TRY(CheckRange(offset, into.size(), "read"));
    while (!into.empty()) {
      const ssize_t got = ::pread(Descriptor(offset, into.data(), into.size()), into.data(),
                                  into.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError(errno, "read " + path_);
      if (got == 0) {
        return Error(Code::kOutOfRange, path_ + " became shorter while it was read");
      }
      into = into.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
    return {};
  }

  Status WriteAt(std::uint64_t offset, ByteSpan bytes) override {
    TRY(CheckRange(offset, bytes.size(), "write"));
    while (!bytes.empty()) {
      const ssize_t put = ::pwrite(Descriptor(offset, bytes.data(), bytes.size()), bytes.data(),
                                   bytes.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return ErrnoError(errno, "write " + path_, kNoRoom);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
      offset += static_cast<std::uint64_t>(put);
    }
    return {};
  }

  Status Discard(std::uint64_t offset, std::uint64_t length) override {
    TRY(CheckRange(offset, length, "discard"));
    if (length == 0) return {};
    // Punching a hole promises zeros, on files and (where the device can) on block devices.
    if (::fallocate(buffered_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(offset), static_cast<off_t>(length)) == 0) {
      return {};
    }
    if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENODEV && errno != ENOSYS) {
      return ErrnoError(errno, "discard in " + path_, kNoRoom);
    }
    // A thin device would give space to each zero that is written: what reads as zeros is left.
    AlignedBuffer buffer(kZeroChunk);
    while (length > 0) {
      const auto part = buffer.span().first(
          static_cast<std::size_t>(std::min<std::uint64_t>(length, kZeroChunk)));
      TRY(ReadAt(offset, part));
      if (std::any_of(part.begin(), part.end(), [](auto byte) { return byte != 0; })) {
        std::memset(part.data(), 0, part.size());
        TRY(WriteAt(offset, part));
      }
      offset += part.size();
      length -= part.size();
    }
    return {};
  }

  Status Flush() override {
    if (::fsync(buffered_.get()) != 0) return ErrnoError(errno, "flush " + path_, kNoRoom);
    return {};
  }

  Status Allocated(const ExtentVisitor& visit) override {
    std::uint64_t at = 0;
    while (at < size_) {
      const off_t data = is_device_ ? static_cast<off_t>(at)
                                    : ::lseek(buffered_.get(), static_cast<off_t>(at), SEEK_DATA);
      if (data < 0 && errno == ENXIO) return {};
      if (data < 0) return visit({at, size_ - at});  // unknown to this filesystem
      const off_t hole =
          is_device_ ? static_cast<off_t>(size_) : ::lseek(buffered_.get(), data, SEEK_HOLE);
      if (hole < 0) return visit({at, size_ - at});
      const std::uint64_t start = static_cast<std::uint64_t>(data);
      const std::uint64_t end = std::min(static_cast<std::uint64_t>(hole), size_);
      if (start >= end) return {};
      TRY(visit({start, end - start}));
      at = end;
    }
    return {};
  }

 private:
  Status CheckRange(std::uint64_t offset, std::uint64_t length, const char* verb) const {
    if (offset <= size_ && length <= size_ - offset) return {};
    return Error(Code::kOutOfRange, std::string(verb) + " of " + std::to_string(length) +
                                        " bytes at " + std::to_string(offset) + " of " + path_ +
                                        ", which has " + std::to_string(size_));
  }

  int Descriptor(std::uint64_t offset, const void* memory, std::size_t length) const {
    constexpr std::size_t kMask = AlignedBuffer::kAlignment - 1;
    const bool aligned = (offset & kMask) == 0 && (length & kMask) == 0 &&
                         (reinterpret_cast<std::uintptr_t>(memory) & kMask) == 0;
    return aligned && direct_ ? direct_.get() : buffered_.get();
  }

  const std::string path_;
  UniqueFd buffered_;
  UniqueFd direct_;
  const bool is_device_;
  const std::uint64_t size_;
};

}  // namespace

Result<std::unique_ptr<BlockDevice>> OpenFileDevice(const std::string& path, OpenMode mode,
                                                    std::uint64_t create_bytes) {
  const int access = (mode == OpenMode::kReadOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC;
  UniqueFd buffered(::open(path.c_str(), create_bytes > 0 ? access | O_CREAT : access, 0600));
  if (!buffered) return ErrnoError(errno, "open " + path, kMissing | kForbidden);
  struct stat info = {};
  if (::fstat(buffered.get(), &info) != 0) return ErrnoError(errno, "look at " + path);
  std::uint64_t size = 0;
  UniqueFd direct;
  if (S_ISBLK(info.st_mode)) {
    if (::ioctl(buffered.get(), BLKGETSIZE64, &size) != 0) {
      return ErrnoError(errno, "size of " + path);
    }
    direct.Reset(::open(path.c_str(), access | O_DIRECT));
  } else if (S_ISREG(info.st_mode)) {
    size = static_cast<std::uint64_t>(info.st_size);
    if (size < create_bytes) {
      if (::ftruncate(buffered.get(), static_cast<off_t>(create_bytes)) != 0) {
        return ErrnoError(errno, "grow " + path, kNoRoom);
      }
      size = create_bytes;
    }
  } else {
    return Error(Code::kInvalidArgument, path + " is " +
                                             (S_ISDIR(info.st_mode) ? "a folder" : "no file") +
                                             "; a block device or an image file is accepted");
  }
  if (size < create_bytes) {
    return Error(Code::kFailedPrecondition, path + " has " + std::to_string(size) +
                                                " bytes; at least " + std::to_string(create_bytes) +
                                                " are needed");
  }
  return std::unique_ptr<BlockDevice>(std::make_unique<FileBlockDevice>(
      path, std::move(buffered), std::move(direct), S_ISBLK(info.st_mode), size));
}

}  // namespace thinsnap::block
