// RuncRuntime: containers by runc. One task reads the output of all of them and sees them end.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/command.h"
#include "base/core/file.h"
#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "simulator/containers/container_runtime.h"
#include "simulator/containers/orphan_reaper.h"

namespace thinsnap::containers {

class RuncRuntime final : public ContainerRuntime {
 public:
  // `state_folder` is runc's own (--root); what is left in it from before is of no use and must be
  // gone.
  RuncRuntime(Runtime& runtime, CommandRunner& runner, std::string state_folder);
  ~RuncRuntime() override;

  // Spawns the task that watches the containers, and reaps what they leave to us.
  Status StartWatching(TaskGroup& group);

  Status Start(const ContainerLaunch& launch, std::function<void(ContainerExit)> on_exit) override;
  void Signal(const std::string& id, int signal) override;
  void Remove(const std::string& id) override;
  Result<ChildProcess> Exec(const ExecStart& start) override;

 private:
  struct Watched;
  // The descriptors of a new container: the runtime's ends and those that runc is given.
  struct Ends;
  static Result<Ends> MakeEnds(const ContainerLaunch& launch);
  Result<std::shared_ptr<Watched>> Create(const ContainerLaunch& launch);

  void WatchLoop(int stop_fd);
  void OnEvent(std::uint64_t key);
  void Attend();
  void RequestAttention(std::uint64_t token);
  Status WatchOutput(Watched& container);
  void Drain(Watched& container, bool error_stream, bool all);
  void Finish(const std::shared_ptr<Watched>& container);

  Runtime& runtime_;
  CommandRunner& runner_;
  const std::string state_folder_;
  UniqueFd epoll_, wake_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Watched>> running_ GUARDED_BY(mutex_);  // by id
  std::map<std::uint64_t, std::weak_ptr<Watched>> by_token_ GUARDED_BY(mutex_);
  std::vector<std::uint64_t> attention_
      GUARDED_BY(mutex_);  // tokens of containers to look at; wake_ tells
  std::uint64_t next_token_ GUARDED_BY(mutex_) = 4;
  OrphanReaper orphans_;  // of the watching task
};

}  // namespace thinsnap::containers
