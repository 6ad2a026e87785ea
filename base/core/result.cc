#include "base/core/result.h"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace thinsnap {

std::string_view CodeName(Code code) {
  static constexpr std::array<std::string_view, 16> kNames = {
      "CANCELLED",      "INVALID_ARGUMENT",  "DEADLINE_EXCEEDED",  "NOT_FOUND",
      "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",        "OUT_OF_RANGE",      "UNIMPLEMENTED",      "INTERNAL",
      "UNAVAILABLE",    "DATA_LOSS",         "UNAUTHENTICATED",    "UNKNOWN_OUTCOME"};
  return kNames[static_cast<std::size_t>(code)];
}

std::string Error::ToString() const { return std::string(CodeName(code_)) + ": " + message_; }

void AssertFailed(const char* file, int line, const char* expression) {
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace thinsnap
