#include "simulator/s3/object_file.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace thinsnap::s3 {
namespace {

// The trailer: lines "name value" with both URL-escaped, then the length of all that and the magic
// number.
constexpr std::string_view kMagic = "tsS3obj1";
constexpr std::size_t kTailBytes = 16;
constexpr std::uint64_t kMaxTrailer = kMiB;

std::string FormatTrailer(const ObjectMeta& meta) {
  std::string text;
  const auto add = [&](std::string_view name, std::string_view value) {
    text += net::UrlEscape(name) + " " + net::UrlEscape(value) + "\n";
  };
  add("key", meta.key);
  add("etag", meta.etag);
  add("size", std::to_string(meta.size));
  add("modified", FormatRfc3339Micro(meta.modified));
  for (const auto& [name, value] : meta.headers.items()) add("header:" + name, value);
  Bytes tail;
  AppendLe<std::uint64_t>(tail, text.size());
  text += AsText(tail);
  text += kMagic;
  return text;
}

Result<ObjectMeta> ParseTrailer(std::string_view text) {
  ObjectMeta meta;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const std::size_t space = line.find(' ');
    if (end == text.npos || space == line.npos) return Error(Code::kDataLoss, "malformed trailer");
    text.remove_prefix(end + 1);
    const std::string name = TRY(net::UrlUnescape(line.substr(0, space)));
    const std::string value = TRY(net::UrlUnescape(line.substr(space + 1)));
    if (name == "key") {
      meta.key = value;
    } else if (name == "etag") {
      meta.etag = value;
    } else if (name == "size") {
      meta.size = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "modified") {
      meta.modified = TRY(ParseRfc3339(value));
    } else if (name.starts_with("header:")) {
      meta.headers.Add(name.substr(7), value);
    }
  }
  return meta;
}

}  // namespace

Result<std::unique_ptr<DraftFile>> DraftFile::Make(const std::string& path) {
  auto draft = std::make_unique<DraftFile>();
  draft->fd_.Reset(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!draft->fd_) return ErrnoError(errno, "create " + path);
  draft->path_ = path;
  return draft;
}

DraftFile::~DraftFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Status DraftFile::Write(ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError(errno, "write " + path_);
    size_ += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status DraftFile::CopyFrom(int fd, std::uint64_t offset, std::uint64_t length, Checksum* checksum) {
  Bytes buffer(std::min<std::uint64_t>(length, kMiB));
  while (length > 0) {
    const ssize_t got = ::pread(fd, buffer.data(), std::min<std::uint64_t>(buffer.size(), length),
                                static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read for " + path_);
    if (got == 0) return Error(Code::kDataLoss, "a stored file is too short");
    const ByteSpan piece = ByteSpan(buffer).first(static_cast<std::size_t>(got));
    if (checksum != nullptr) checksum->Add(piece);
    TRY(Write(piece));
    offset += static_cast<std::uint64_t>(got);
    length -= static_cast<std::uint64_t>(got);
  }
  return {};
}

Status DraftFile::Seal(ObjectMeta& meta) {
  meta.size = size_;
  const std::string trailer = FormatTrailer(meta);
  TRY(Write(AsBytes(trailer)));
  if (::fsync(fd_.get()) != 0) return ErrnoError(errno, "fsync " + path_);
  fd_.Reset();
  return {};
}

Status DraftFile::Place(const std::string& path) {
  if (::rename(path_.c_str(), path.c_str()) != 0) return ErrnoError(errno, "rename to " + path);
  path_.clear();
  return {};
}

Result<ObjectMeta> ReadObjectMeta(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat stat;
  if (!fd || ::fstat(fd.get(), &stat) != 0) return ErrnoError(errno, "open " + path);
  const auto file_size = static_cast<std::uint64_t>(stat.st_size);
  std::string tail(kTailBytes, '\0');
  if (file_size < kTailBytes ||
      ::pread(fd.get(), tail.data(), kTailBytes, static_cast<off_t>(file_size - kTailBytes)) !=
          static_cast<ssize_t>(kTailBytes) ||
      tail.substr(8) != kMagic) {
    return Error(Code::kDataLoss, path + " has no trailer");
  }
  const auto length = LoadLe<std::uint64_t>(AsBytes(tail).data());
  if (length > kMaxTrailer || length > file_size - kTailBytes)
    return Error(Code::kDataLoss, path + ": bad trailer");
  std::string text(length, '\0');
  if (::pread(fd.get(), text.data(), length, static_cast<off_t>(file_size - kTailBytes - length)) !=
      static_cast<ssize_t>(length)) {
    return Error(Code::kDataLoss, path + ": bad trailer");
  }
  ObjectMeta meta = TRY(ParseTrailer(text).In(path));
  if (meta.size != file_size - kTailBytes - length)
    return Error(Code::kDataLoss, path + ": size differs");
  return meta;
}

}  // namespace thinsnap::s3
