// ContainerRuntime: containers as the kubelet sees them. The real one is runc; a container's first
// process becomes a child of this process, which must therefore be process 1 of its namespace or a
// subreaper.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "simulator/containers/child_process.h"
#include "simulator/containers/container_io.h"

namespace thinsnap::containers {

struct ContainerLaunch {
  std::string id;
  std::string bundle;  // the folder with config.json
  std::shared_ptr<ContainerIo> io;
};

struct ContainerExit {
  int exit_code = 0;  // 128 + signal if a signal ended it
  WallTime at;
  bool out_of_memory = false;
};

struct ExecStart {
  std::string id;
  std::vector<std::string> command;
  bool tty = false;
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1;  // tty: all three are the terminal
  std::string pid_file;                               // where the program's number is written
};

// Thread-safe.
class ContainerRuntime {
 public:
  virtual ~ContainerRuntime() = default;
  // Runs it. `on_exit` comes once, from another task, after everything it wrote is in `io`. The
  // error of a program that cannot be run is kInvalidArgument with the runtime's own words.
  virtual Status Start(const ContainerLaunch& launch,
                       std::function<void(ContainerExit)> on_exit) = 0;
  // To its first process; missing is fine.
  virtual void Signal(const std::string& id, int signal) = 0;
  // Kills what runs and forgets the container.
  virtual void Remove(const std::string& id) = 0;
  virtual Result<ChildProcess> Exec(const ExecStart& start) = 0;
};

}  // namespace thinsnap::containers
