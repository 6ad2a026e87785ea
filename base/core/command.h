// CommandRunner: programs of the host (mkfs, runc, losetup) behind a seam. Never a shell.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"

namespace thinsnap {

struct Command {
  std::vector<std::string> argv;                // argv[0] is looked up on PATH
  std::map<std::string, std::string> env;       // in addition to the caller's environment
  std::string input;                            // standard input
  Duration timeout = std::chrono::seconds(60);  // then SIGKILL to its process group
};

struct CommandOutput {
  int exit_code = 0;  // 128 + signal if a signal ended it
  std::string out;    // at most 1 MiB is kept of each
  std::string err;
};

// Thread-safe. Cancelled and timed-out programs are killed with their process group.
class CommandRunner {
 public:
  virtual ~CommandRunner() = default;
  // kNotFound when there is no such program, kDeadlineExceeded, kCancelled. An exit code is not an
  // error.
  virtual Result<CommandOutput> Run(const Command& command) = 0;
};

class PosixCommandRunner final : public CommandRunner {
 public:
  Result<CommandOutput> Run(const Command& command) override;
};

// Runs it and turns a non-zero exit into kInternal with the last line of stderr.
Result<CommandOutput> RunChecked(CommandRunner& runner, const Command& command);

}  // namespace thinsnap
