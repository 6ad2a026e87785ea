// ChildProcess: a program that this process starts and outlives. Unlike CommandRunner it runs for
// long, is watched through a pidfd, and dies with its owner: by the destructor, and by the kernel
// where `dies_with_parent` is set.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

#include "base/core/clock.h"
#include "base/core/file.h"
#include "base/core/result.h"
#include "base/core/runtime.h"

namespace thinsnap::containers {

struct ChildOptions {
  std::vector<std::string> argv;           // argv[0] is looked up on PATH
  std::map<std::string, std::string> env;  // in addition to the caller's
  std::string folder;                      // working folder; empty: the caller's
  int stdin_fd = -1;                       // -1: /dev/null
  int stdout_fd = -1;                      // -1: the caller's
  int stderr_fd = -1;                      // -1: the caller's
  // SIGKILL when the thread that called StartChild ends: call it from a task that lives as long as
  // the child should.
  bool dies_with_parent = false;
  bool own_node = false;     // process 1 of a new PID namespace, in a new mount namespace
  bool own_session = false;  // setsid; stdin, if a terminal, becomes its controlling one
};

class ChildProcess {
 public:
  ChildProcess() = default;
  ~ChildProcess();  // kills and reaps what still runs
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  bool running() const { return pid_ > 0; }
  void Signal(int signal) const;
  // Waits until it ends and reaps it: its exit code, or 128 + signal. kDeadlineExceeded. `stop_fd`,
  // if given, is a descriptor that becomes readable to end the wait with kCancelled.
  Result<int> Wait(Duration timeout, int stop_fd = -1);

 private:
  friend Result<ChildProcess> StartChild(const ChildOptions& options);
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

Result<ChildProcess> StartChild(const ChildOptions& options);

// A descriptor that becomes readable when the group is stopped: for poll loops.
class StopFd {
 public:
  explicit StopFd(TaskGroup& group);
  int fd() const { return fd_->get(); }

 private:
  std::shared_ptr<UniqueFd> fd_;
  TaskGroup::StopToken token_;
};

// Both ends close on exec.
struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> MakePipe();

struct SupervisedOptions {
  std::string name;
  ChildOptions child;
  std::string log_file;  // its stdout and stderr, appended; empty: the caller's
  Duration stop_grace = std::chrono::seconds(5);
  // Hears what the log says of a program that did not start or ended by itself: the first time of a
  // row, until it has run for 20 s again. From the task.
  std::function<void(const std::string& what)> on_trouble = {};
  // True at the stop: SIGKILL at once.
  std::shared_ptr<std::atomic<bool>> no_mercy;
};

// Runs the program until the group is stopped: started again when it ends, after 0.1 s doubling to
// 10 s, from the beginning when it ran for 20 s. At the stop: SIGTERM, the grace, SIGKILL. To be
// called from a task of the group.
void Supervise(Runtime& runtime, TaskGroup& group, const SupervisedOptions& options);

}  // namespace thinsnap::containers
