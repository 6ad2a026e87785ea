// LogFile: what one attempt of a container wrote, in the CRI's line format
// ("2026-11-21T02:57:00.123456789Z stdout F text"), rotated by size. Readers follow it while it
// grows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/clock.h"
#include "base/core/file.h"
#include "base/core/guarded.h"
#include "base/core/result.h"
#include "base/core/runtime.h"

namespace thinsnap::containers {

// Thread-safe.
class LogFile {
 public:
  static Result<std::shared_ptr<LogFile>> Open(Runtime& runtime, const std::string& path);

  // Whole lines are written at once; a line longer than 16 KiB in parts tagged P.
  void Write(std::string_view stream, std::string_view bytes);
  // Writes what has no line feed yet; nothing comes after.
  void Close();
  bool closed() const;
  EventCount& changed() { return *changed_; }
  const std::string& path() const { return path_; }

 private:
  LogFile(Runtime& runtime, std::string path) : runtime_(runtime), path_(std::move(path)) {}
  void WriteLine(std::string_view stream, std::string_view tag, std::string_view text)
      REQUIRES(mutex_);

  Runtime& runtime_;
  const std::string path_;
  std::unique_ptr<EventCount> changed_;
  mutable std::mutex mutex_;
  UniqueFd fd_ GUARDED_BY(mutex_);
  std::uint64_t size_ GUARDED_BY(mutex_) = 0;
  std::string pending_out_ GUARDED_BY(mutex_);
  std::string pending_err_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

// "2026-11-21T02:57:00.123456789Z"
std::string FormatRfc3339Nano(WallTime time);

struct LogReadOptions {
  bool follow = false, timestamps = false;
  std::optional<std::int64_t> tail_lines, limit_bytes;
  std::optional<WallTime> since;
  // Asked when the followed log changes: true ends the reading.
  std::function<bool()> abandoned;
};

// Hands over the texts of the file (and of its rotated predecessor), then, with follow and a `live`
// file, what comes until it is closed. Ends with what `sink` returned, if that is an error. A file
// that is not there is empty.
Status ReadLog(const std::string& path, const LogReadOptions& options, LogFile* live,
               const std::function<Status(std::string_view)>& sink);

}  // namespace thinsnap::containers
