#include "base/core/log.h"

#include <atomic>
#include <string>
#include <unistd.h>

#include "base/core/clock.h"

namespace thinsnap {
namespace {
std::atomic<LogLevel> smallest_level{LogLevel::kInfo};
}  // namespace

void SetLogLevel(LogLevel level) { smallest_level = level; }

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
  line += '\n';
  // One write, so that lines of several processes do not mix. A log that cannot be written is not
  // worth failing for.
  const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  static_cast<void>(written);
}

}  // namespace thinsnap
