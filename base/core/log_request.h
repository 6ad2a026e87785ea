// LogRequest: what is logged while a request is served names it.
#pragma once

#include <string>

namespace thinsnap {

// While it lives, what its thread logs ends in " (request <id>)". `id` must be safe to show. Where
// tasks share a thread, they share this too: for servers, whose calls have threads of their own.
class LogRequest {
 public:
  explicit LogRequest(std::string id);
  ~LogRequest();
  LogRequest(const LogRequest&) = delete;
  LogRequest& operator=(const LogRequest&) = delete;

 private:
  std::string outer_;
};

}  // namespace thinsnap
