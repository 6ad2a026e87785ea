// UpTest: a system test's own `thinsnap-sim up`, on a free port, with its own folder. Skipped by
// name where root, runc or loop devices are missing.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/command.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "simulator/containers/child_process.h"

namespace thinsnap::system_test {

class UpTest : public testing::Test {
 protected:
  void SetUp() override;
  // Ends `up` and removes the folder; after a failure the folder stays and is named.
  void TearDown() override;

  // Starts `up` and waits for its ready line. A launcher is a command that turns into the command
  // given to it.
  void StartUp(int nodes = 1, const std::vector<std::string>& more_arguments = {},
               const std::vector<std::string>& launcher = {});
  // As Ctrl-C on a terminal does: SIGINT to the whole process group. The exit code.
  int StopUp();
  // Until it ends by itself; the exit code.
  int AwaitUp();
  // What it wrote to its standard error.
  std::string Said() const;
  // Power loss; returns when the main process is gone.
  void KillUp();
  bool up_runs() const { return up_.running(); }
  pid_t up_pid() const { return up_.pid(); }

  // Of the running `up`.
  kube::KubeClient& client() { return *client_; }
  const std::string& folder() const { return folder_; }
  std::string data() const { return folder_ + "/data"; }
  std::string kubeconfig() const { return folder_ + "/kubeconfig"; }
  // A program of build/bin.
  static std::string Program(const std::string& name);

  // All documents of the text; kinds of the cluster as kubectl finds them. Needs kubectl.
  void Apply(const std::string& yaml);
  // The exit code and what it printed; skips the test where there is no kubectl.
  CommandOutput Kubectl(std::vector<std::string> arguments, const std::string& input = "");
  CommandOutput Run(std::vector<std::string> argv, const std::string& input = "");

  // Waits on a watch until the object is as asked (null: absent). Adds a failure with the object
  // after two minutes.
  bool WaitFor(const kube::ResourceType& type, const kube::ObjectKey& key,
               const std::function<bool(const Json* object)>& check);
  bool WaitForPodPhase(const std::string& name, const std::string& phase,
                       const std::string& ns = "default");
  bool WaitForGone(const kube::ResourceType& type, const kube::ObjectKey& key);
  // What the container wrote, by kubectl.
  std::string Logs(const std::string& pod, const std::string& ns = "default");
  // Waits until nothing of this test is left on the host: processes, mounts, loop devices, control
  // groups. Adds a failure that names what is.
  void ExpectNothingLeft();
  // Processes whose command line has the test's folder in it, or that run below it.
  std::vector<pid_t> Processes(const std::string& with = "") const;

  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_{clock_};
  PosixCommandRunner runner_;

 private:
  void PrintLogs() const;

  std::string folder_;
  containers::ChildProcess up_;
  std::unique_ptr<kube::KubeClient> client_;
};

}  // namespace thinsnap::system_test
