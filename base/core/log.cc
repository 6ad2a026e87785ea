#include "base/core/log.h"

#include <atomic>
#include <string>
#include <unistd.h>
#include <utility>

#include "base/core/clock.h"
#include "base/core/log_request.h"

namespace thinsnap {
namespace {
std::atomic<LogLevel> smallest_level{LogLevel::kInfo};

std::string& RequestOfThread() {
  static thread_local std::string id;
  return id;
}
}  // namespace

void SetLogLevel(LogLevel level) { smallest_level = level; }

LogRequest::LogRequest(std::string id) : outer_(std::exchange(RequestOfThread(), std::move(id))) {}
LogRequest::~LogRequest() { RequestOfThread() = std::move(outer_); }

void Log(LogLevel level, std::string_view component, std::string_view message) {
  if (level < smallest_level) return;
  static constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
  SystemClock clock;
  std::string line = FormatRfc3339Micro(clock.Now());
  line += ' ';
  line += kNames[static_cast<int>(level)];
  line += ' ';
  line += component;
  line += ": ";
  for (const char c : message) line += c == '\n' || c == '\r' ? ' ' : c;
  if (const std::string& request = RequestOfThread(); !request.empty()) {
    line += " (request " + request + ")";
  }
  line += '\n';
  // One write, so that lines of several processes do not mix. A log that cannot be written is not
  // worth failing for.
  const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  static_cast<void>(written);
}

}  // namespace thinsnap
