// CommandRunner: programs of the host (mkfs, runc, losetup) behind a seam. Never a shell.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <sys/types.h>
#include <vector>

#include "base/core/clock.h"
#include "base/core/guarded.h"
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

// Thread-safe. Cancelled and timed-out programs are killed with their process group. They get none
// of this process's files.
class CommandRunner {
 public:
  virtual ~CommandRunner() = default;
  // kNotFound when there is no such program, kDeadlineExceeded, kCancelled. An exit code is not an
  // error.
  virtual Result<CommandOutput> Run(const Command& command) = 0;
};

class PosixCommandRunner final : public CommandRunner {
 public:
  // How a child is collected; as waitpid(2).
  using Wait = std::function<pid_t(pid_t, int*, int)>;
  explicit PosixCommandRunner(Wait wait);
  PosixCommandRunner();
  ~PosixCommandRunner() override;

  // A program that is killed and yet does not end, since the kernel waits for a disk, is left
  // behind and collected by a later call.
  Result<CommandOutput> Run(const Command& command) override;

 private:
  void KillGroup(pid_t pid);
  void CollectLeftBehind();

  const Wait wait_;
  std::mutex mutex_;
  std::vector<pid_t> left_behind_ GUARDED_BY(mutex_);
};

// Runs it and turns a non-zero exit into kInternal with the last line of stderr.
Result<CommandOutput> RunChecked(CommandRunner& runner, const Command& command);

}  // namespace thinsnap
