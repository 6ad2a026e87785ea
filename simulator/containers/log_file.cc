#include "simulator/containers/log_file.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace thinsnap::containers {
namespace {

// As much on disk as a kubelet keeps by default (five files of 10 MiB), in two.
constexpr std::uint64_t kRotateAt = 25 * kMiB;
constexpr std::size_t kLongestLine = 16 * kKiB;
constexpr std::size_t kBatchBytes = 64 * kKiB;

std::string RotatedPath(const std::string& path) { return path + ".1"; }

struct LogLine {
  std::string_view time, text;
  bool whole = true;
};

// False for what is no line of this format.
bool ParseLine(std::string_view line, LogLine* out) {
  const std::size_t time_end = line.find(' ');
  if (time_end == std::string_view::npos) return false;
  const std::size_t stream_end = line.find(' ', time_end + 1);
  if (stream_end == std::string_view::npos) return false;
  const std::size_t tag_end = line.find(' ', stream_end + 1);
  if (tag_end == std::string_view::npos) return false;
  out->time = line.substr(0, time_end);
  out->whole = line.substr(stream_end + 1, tag_end - stream_end - 1) == "F";
  out->text = line.substr(tag_end + 1);
  return true;
}

// Lines of one file from an offset on; remembers where it is, so that it can go on when the file
// has grown.
class LineReader {
 public:
  Status Open(const std::string& path) {
    fd_.Reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_ && errno != ENOENT) return ErrnoError(errno, "open " + path);
    return {};
  }
  bool is_open() const { return static_cast<bool>(fd_); }
  ino_t Inode() const {
    struct stat info = {};
    return fd_ && fstat(fd_.get(), &info) == 0 ? info.st_ino : 0;
  }

  // Calls `visit` with each whole line up to the present end.
  Status Drain(const std::function<Status(std::string_view)>& visit) {
    if (!fd_) return {};
    std::vector<char> buffer(64 * kKiB);
    for (;;) {
      const ssize_t n = read(fd_.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoError(errno, "read a log");
      if (n == 0) return {};
      partial_.append(buffer.data(), static_cast<std::size_t>(n));
      std::size_t begin = 0;
      for (std::size_t end = 0; (end = partial_.find('\n', begin)) != std::string::npos;
           begin = end + 1) {
        TRY(visit(std::string_view(partial_).substr(begin, end - begin)));
      }
      partial_.erase(0, begin);
    }
  }

 private:
  UniqueFd fd_;
  std::string partial_;
};

// Turns lines into what the reader asked for.
class LineFilter {
 public:
  LineFilter(const LogReadOptions& options, const std::function<Status(std::string_view)>& sink)
      : options_(options),
        sink_(sink),
        since_(options.since ? FormatRfc3339Nano(*options.since) : "") {}

  bool Wanted(const LogLine& line) const { return since_.empty() || line.time >= since_; }

  Status operator()(std::string_view raw) {
    LogLine line;
    if (!ParseLine(raw, &line) || !Wanted(line)) return {};
    if (skip_ > 0) {
      --skip_;
      return {};
    }
    std::string text;
    if (options_.timestamps && at_line_start_) text = std::string(line.time) + " ";
    text += line.text;
    if (line.whole) text += '\n';
    at_line_start_ = line.whole;
    if (options_.limit_bytes) {
      const auto left = static_cast<std::size_t>(*options_.limit_bytes) - sent_;
      if (text.size() > left) text.resize(left);
    }
    sent_ += text.size();
    batch_ += text;
    if (batch_.size() >= kBatchBytes) return Flush();
    return {};
  }

  Status Flush() {
    if (batch_.empty()) return {};
    const std::string batch = std::exchange(batch_, {});
    return sink_(batch);
  }

  bool full() const {
    return options_.limit_bytes && sent_ >= static_cast<std::size_t>(*options_.limit_bytes);
  }
  void set_skip(std::int64_t lines) { skip_ = lines; }

 private:
  const LogReadOptions& options_;
  const std::function<Status(std::string_view)>& sink_;
  const std::string since_;
  std::int64_t skip_ = 0;
  std::size_t sent_ = 0;
  std::string batch_;
  bool at_line_start_ = true;
};

}  // namespace

std::string FormatRfc3339Nano(WallTime time) {
  const std::int64_t nanos = (time - std::chrono::floor<std::chrono::seconds>(time)).count();
  std::string text = FormatRfc3339(time);
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%09lldZ", static_cast<long long>(nanos));
  text.pop_back();
  return text + fraction;
}

Result<std::shared_ptr<LogFile>> LogFile::Open(Runtime& runtime, const std::string& path) {
  std::shared_ptr<LogFile> log(new LogFile(runtime, path));
  log->changed_ = runtime.NewEventCount();
  const std::lock_guard lock(log->mutex_);
  log->fd_.Reset(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!log->fd_) return ErrnoError(errno, "open " + path);
  struct stat info = {};
  if (fstat(log->fd_.get(), &info) == 0) log->size_ = static_cast<std::uint64_t>(info.st_size);
  return log;
}

void LogFile::WriteLine(std::string_view stream, std::string_view tag, std::string_view text) {
  std::string line = FormatRfc3339Nano(runtime_.clock().Now());
  line.append(" ").append(stream).append(" ").append(tag).append(" ").append(text).append("\n");
  if (size_ + line.size() > kRotateAt) {
    rename(path_.c_str(), RotatedPath(path_).c_str());
    fd_.Reset(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    size_ = 0;
  }
  if (!fd_) return;
  // A full disk costs the container's log, not the container.
  const ssize_t n = write(fd_.get(), line.data(), line.size());
  if (n > 0) size_ += static_cast<std::uint64_t>(n);
}

void LogFile::Write(std::string_view stream, std::string_view bytes) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    std::string& pending = stream == "stderr" ? pending_err_ : pending_out_;
    pending.append(bytes);
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = pending.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      std::string_view text = std::string_view(pending).substr(begin, end - begin);
      for (; text.size() > kLongestLine; text.remove_prefix(kLongestLine)) {
        WriteLine(stream, "P", text.substr(0, kLongestLine));
      }
      WriteLine(stream, "F", text);
    }
    pending.erase(0, begin);
    while (pending.size() > kLongestLine) {
      WriteLine(stream, "P", std::string_view(pending).substr(0, kLongestLine));
      pending.erase(0, kLongestLine);
    }
  }
  changed_->Notify();
}

void LogFile::Close() {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    if (!pending_out_.empty()) WriteLine("stdout", "P", pending_out_);
    if (!pending_err_.empty()) WriteLine("stderr", "P", pending_err_);
    closed_ = true;
    fd_.Reset();
  }
  changed_->Notify();
}

bool LogFile::closed() const {
  std::lock_guard lock(mutex_);
  return closed_;
}

Status ReadLog(const std::string& path, const LogReadOptions& options, LogFile* live,
               const std::function<Status(std::string_view)>& sink) {
  LineFilter filter(options, sink);
  if (options.tail_lines) {
    std::int64_t lines = 0;
    for (const std::string& file : {RotatedPath(path), path}) {
      LineReader counter;
      TRY(counter.Open(file));
      TRY(counter.Drain([&](std::string_view raw) -> Status {
        LogLine line;
        if (ParseLine(raw, &line) && filter.Wanted(line)) ++lines;
        return {};
      }));
    }
    filter.set_skip(std::max<std::int64_t>(0, lines - *options.tail_lines));
  }
  const auto visit = [&](std::string_view raw) -> Status {
    if (filter.full()) return {};
    return filter(raw);
  };
  LineReader older;
  TRY(older.Open(RotatedPath(path)));
  TRY(older.Drain(visit));
  LineReader reader;
  TRY(reader.Open(path));
  for (;;) {
    const std::uint64_t seen = live != nullptr ? live->changed().Seen() : 0;
    const bool last = live == nullptr || live->closed();
    TRY(reader.Drain(visit));
    TRY(filter.Flush());
    if (filter.full() || !options.follow) return {};
    if (options.abandoned && options.abandoned()) return {};
    struct stat info = {};
    if (stat(path.c_str(), &info) == 0 && info.st_ino != reader.Inode()) {
      // Rotated, or made since: what the old one still got, then the new one.
      TRY(reader.Drain(visit));
      TRY(reader.Open(path));
      continue;
    }
    if (last) return {};
    TRY(live->changed().Wait(seen));
  }
}

}  // namespace thinsnap::containers
