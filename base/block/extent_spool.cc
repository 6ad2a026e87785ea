// A range is two varints: its distance from the end of the one before, and its length.
#include "base/block/extent_spool.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <utility>

namespace thinsnap::block {
namespace {

constexpr std::size_t kMemory = 64 * kKiB;
constexpr std::size_t kMostVarint = 10;

void AppendVarint(Bytes& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to.push_back(static_cast<std::uint8_t>(value | 0x80));
  to.push_back(static_cast<std::uint8_t>(value));
}

Result<UniqueFd> OpenNameless() {
  int error = 0;
  for (const char* folder : {"/var/tmp", "/tmp"}) {
    UniqueFd fd(open(folder, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600));
    if (fd) return fd;
    error = errno;
  }
  return ErrnoError(error, "make a nameless file in /var/tmp or /tmp for the ranges of a volume");
}

class SpooledStream final : public ExtentStream {
 public:
  SpooledStream(Bytes bytes, UniqueFd file, std::uint64_t file_bytes)
      : file_(std::move(file)), file_bytes_(file_bytes), bytes_(std::move(bytes)) {}

  Result<std::optional<Extent>> Next() override {
    TRY(Fill());
    if (next_ == bytes_.size()) return std::optional<Extent>();
    const std::uint64_t offset = end_ + Varint();
    const std::uint64_t length = Varint();
    end_ = offset + length;
    return std::optional(Extent{offset, length});
  }

 private:
  // A whole range is at hand afterwards, if there is one.
  Status Fill() {
    if (bytes_.size() - next_ >= 2 * kMostVarint || file_at_ == file_bytes_) return {};
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(next_));
    next_ = 0;
    std::size_t have = bytes_.size();
    bytes_.resize(
        have + static_cast<std::size_t>(std::min<std::uint64_t>(kMemory, file_bytes_ - file_at_)));
    while (have < bytes_.size()) {
      const ssize_t got = pread(file_.get(), bytes_.data() + have, bytes_.size() - have,
                                static_cast<off_t>(file_at_));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError(errno, "read the ranges of a volume");
      if (got == 0) return Error(Code::kDataLoss, "the ranges of a volume became shorter");
      have += static_cast<std::size_t>(got);
      file_at_ += static_cast<std::uint64_t>(got);
    }
    return {};
  }

  std::uint64_t Varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      ASSERT(next_ < bytes_.size() && shift < 64);
      const std::uint8_t byte = bytes_[next_++];
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if ((byte & 0x80U) == 0) return value;
    }
  }

  const UniqueFd file_;
  const std::uint64_t file_bytes_;
  std::uint64_t file_at_ = 0;
  Bytes bytes_;
  std::size_t next_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace

Status ExtentSpool::Add(const Extent& extent) {
  if (extent.offset < added_end_ || extent.end() < extent.offset) {
    return Error(Code::kInternal,
                 "the ranges of the volume do not ascend: " + std::to_string(extent.length) +
                     " bytes at " + std::to_string(extent.offset) + " after " +
                     std::to_string(added_end_));
  }
  added_end_ = extent.end();
  const std::uint64_t offset = std::max(extent.offset, from_offset_);
  if (offset >= extent.end()) return {};
  const std::uint64_t length = extent.end() - offset;
  if (open_.length != 0 && open_.end() == offset) {
    open_.length += length;
    return {};
  }
  TRY(Write());
  open_ = {offset, length};
  return {};
}

Status ExtentSpool::Write() {
  if (open_.length == 0) return {};
  AppendVarint(buffer_, open_.offset - written_end_);
  AppendVarint(buffer_, open_.length);
  written_end_ = open_.end();
  if (buffer_.size() + 2 * kMostVarint > kMemory) return Spill();
  return {};
}

Status ExtentSpool::Spill() {
  if (!file_) file_ = TRY(OpenNameless());
  ByteSpan rest = buffer_;
  while (!rest.empty()) {
    const ssize_t put =
        pwrite(file_.get(), rest.data(), rest.size(), static_cast<off_t>(file_bytes_));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return ErrnoError(errno, "write the ranges of a volume");
    rest = rest.subspan(static_cast<std::size_t>(put));
    file_bytes_ += static_cast<std::uint64_t>(put);
  }
  buffer_.clear();
  return {};
}

Result<std::unique_ptr<ExtentStream>> ExtentSpool::Finish() && {
  TRY(Write());
  if (file_) TRY(Spill());
  return std::unique_ptr<ExtentStream>(
      std::make_unique<SpooledStream>(std::move(buffer_), std::move(file_), file_bytes_));
}

Result<std::unique_ptr<ExtentStream>> CollectExtents(
    const std::function<Status(const ExtentVisitor&)>& walk, std::uint64_t from_offset) {
  ExtentSpool spool(from_offset);
  TRY(walk([&spool](const Extent& extent) { return spool.Add(extent); }));
  return std::move(spool).Finish();
}

}  // namespace thinsnap::block
