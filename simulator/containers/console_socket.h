// ConsoleSocket: where runc hands over the master of a container's terminal.
#pragma once

#include <string>

#include "base/core/file.h"
#include "base/core/result.h"

namespace thinsnap::containers {

class ConsoleSocket {
 public:
  // The name of the socket in its folder.
  static constexpr const char* kName = "console.sock";

  static Result<ConsoleSocket> Listen(const std::string& folder);
  // After runc has done its work: it has sent by then or never will.
  Result<UniqueFd> Receive() const;

 private:
  UniqueFd listener_;
};

}  // namespace thinsnap::containers
