#include "tests/system/up_fixture.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <poll.h>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/file.h"
#include "base/data/json.h"
#include "base/kube/client_config.h"
#include "base/kube/http_kube_client.h"
#include "base/kube/object.h"
#include "simulator/containers/remove_tree.h"

namespace thinsnap::system_test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kPatience = minutes(2);

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool OnPath(const std::string& program) {
  for (const char* folder :
       {"/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
    if (access((folder + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace

std::string UpTest::Program(const std::string& name) {
  return std::string(THINSNAP_BINARY_DIR) + "/bin/" + name;
}

void UpTest::SetUp() {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  for (const char* program : {"runc", "mkfs.xfs", "mkfs.ext4"}) {
    if (!OnPath(program)) GTEST_SKIP() << "needs " << program;
  }
  if (access("/dev/loop-control", R_OK | W_OK) != 0) GTEST_SKIP() << "needs loop devices";
  char name[] = "/var/tmp/thinsnap-system-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  folder_ = name;
}

void UpTest::TearDown() {
  if (folder_.empty()) return;
  if (up_.running()) {
    up_.Signal(SIGTERM);
    if (!up_.Wait(seconds(20)).ok()) {
      ADD_FAILURE() << "up did not end within 20 s of SIGTERM";
      up_.Signal(SIGKILL);
    }
  }
  if (HasFailure()) {
    PrintLogs();
    std::cout << "the test's folder is " << folder_ << "\n";
    return;
  }
  containers::RemoveTree(folder_);
}

void UpTest::PrintLogs() const {
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(data() + "/logs", code)) {
    const std::string text = ReadAll(entry.path());
    constexpr std::size_t kTail = 4000;
    std::cout << "== " << entry.path().filename().string() << "\n"
              << (text.size() > kTail ? text.substr(text.size() - kTail) : text);
  }
}

void UpTest::StartUp(int nodes, const std::vector<std::string>& more_arguments,
                     const std::vector<std::string>& launcher) {
  ASSERT_FALSE(up_.running());
  Result<containers::Pipe> out = containers::MakePipe();
  ASSERT_TRUE(out.ok());
  const UniqueFd err(
      open((folder_ + "/up.err").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  containers::ChildOptions options;
  options.argv = {Program("thinsnap-sim"), "up",        "--nodes",
                  std::to_string(nodes),   "--data",    data(),
                  "--kubeconfig",          kubeconfig()};
  options.argv.insert(options.argv.end(), more_arguments.begin(), more_arguments.end());
  options.argv.insert(options.argv.begin(), launcher.begin(), launcher.end());
  options.stdout_fd = out->write.get();
  options.stderr_fd = err.get();
  options.dies_with_parent = true;
  options.own_session = true;
  Result<containers::ChildProcess> child = containers::StartChild(options);
  ASSERT_TRUE(child.ok()) << child.error().ToString();
  up_ = std::move(*child);
  out->write.Reset();
  struct pollfd ready = {out->read.get(), POLLIN, 0};
  char line[512] = {};
  ASSERT_GT(poll(&ready, 1, static_cast<int>(std::chrono::ceil<milliseconds>(kPatience).count())),
            0)
      << "no ready line";
  ASSERT_GT(read(out->read.get(), line, sizeof line - 1), 0)
      << "up ended at once: " << ReadAll(folder_ + "/up.err") << ReadAll(data() + "/logs/up.log");
  ASSERT_NE(std::string(line).find("is ready"), std::string::npos) << line;
  Result<kube::ClientConfig> config = kube::LoadClientConfig(kubeconfig());
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  client_ = kube::MakeHttpKubeClient(std::move(*config), "system-test");
}

int UpTest::StopUp() {
  kill(-up_.pid(), SIGINT);
  return AwaitUp();
}

int UpTest::AwaitUp() {
  const Result<int> code = up_.Wait(seconds(20));
  EXPECT_TRUE(code.ok()) << "up did not end within 20 s";
  return code.ok() ? *code : -1;
}

std::string UpTest::Said() const { return ReadAll(folder_ + "/up.err"); }

void UpTest::KillUp() {
  up_.Signal(SIGKILL);
  ASSERT_TRUE(up_.Wait(seconds(20)).ok());
}

CommandOutput UpTest::Run(std::vector<std::string> argv, const std::string& input) {
  Command command;
  command.argv = std::move(argv);
  command.env = {{"KUBECONFIG", kubeconfig()}};
  command.input = input;
  command.timeout = kPatience;
  Result<CommandOutput> output = runner_.Run(command);
  EXPECT_TRUE(output.ok()) << command.argv.front() << ": " << output.error().ToString();
  return output.ok() ? std::move(*output) : CommandOutput{.exit_code = -1, .out = "", .err = ""};
}

CommandOutput UpTest::Kubectl(std::vector<std::string> arguments, const std::string& input) {
  arguments.insert(arguments.begin(), "kubectl");
  return Run(std::move(arguments), input);
}

void UpTest::Apply(const std::string& yaml) {
  const CommandOutput applied = Kubectl({"apply", "-f", "-"}, yaml);
  ASSERT_EQ(applied.exit_code, 0) << applied.err;
}

bool UpTest::WaitFor(const kube::ResourceType& type, const kube::ObjectKey& key,
                     const std::function<bool(const Json* object)>& check) {
  const MonoTime deadline = clock_.MonoNow() + kPatience;
  std::string last = "never seen";
  while (clock_.MonoNow() < deadline) {
    const Result<kube::ObjectList> list =
        client_->List(type, key.ns,
                      {.label_selector = "",
                       .field_selector = "metadata.name=" + key.name,
                       .resource_version = ""});
    if (!list.ok()) {
      last = list.error().ToString();
      if (!runtime_.SleepFor(milliseconds(100)).ok()) return false;
      continue;
    }
    const Json* object = list->items.empty() ? nullptr : &list->items.front();
    last = object != nullptr ? ToPrettyJson(*object) : "absent";
    if (check(object)) return true;
    bool done = false;
    kube::WatchOptions options;
    options.field_selector = "metadata.name=" + key.name;
    options.resource_version = list->resource_version;
    options.timeout_seconds =
        static_cast<int>(std::chrono::ceil<seconds>(deadline - clock_.MonoNow()).count());
    // How it ends does not matter: the list is read again.
    client_
        ->Watch(type, key.ns, options,
                [&](kube::WatchEvent event) -> Status {
                  if (event.type == kube::WatchEvent::Type::kBookmark) return {};
                  const bool gone = event.type == kube::WatchEvent::Type::kDeleted;
                  last = gone ? "absent" : ToPrettyJson(event.object);
                  done = check(gone ? nullptr : &event.object);
                  return done ? Status(Error(Code::kCancelled, "seen")) : Status();
                })
        .IgnoreError();
    if (done) return true;
  }
  ADD_FAILURE() << type.kind << " " << key.ToString() << " is not as expected: " << last;
  return false;
}

bool UpTest::WaitForPodPhase(const std::string& name, const std::string& phase,
                             const std::string& ns) {
  return WaitFor(kube::types::kPod, {ns, name}, [&](const Json* pod) {
    return pod != nullptr && StringAt(*pod, "status.phase") == phase;
  });
}

bool UpTest::WaitForGone(const kube::ResourceType& type, const kube::ObjectKey& key) {
  return WaitFor(type, key, [](const Json* object) { return object == nullptr; });
}

std::string UpTest::Logs(const std::string& pod, const std::string& ns) {
  const CommandOutput logs = Kubectl({"logs", "-n", ns, pod});
  EXPECT_EQ(logs.exit_code, 0) << logs.err;
  return logs.out;
}

std::vector<pid_t> UpTest::Processes(const std::string& with) const {
  std::vector<pid_t> found;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator("/proc", code)) {
    const std::string name = entry.path().filename().string();
    const pid_t pid = static_cast<pid_t>(std::atoi(name.c_str()));
    if (pid <= 1 || pid == getpid()) continue;
    const std::string command = ReadAll(entry.path() / "cmdline");
    std::error_code ignored;
    const std::string cwd = fs::read_symlink(entry.path() / "cwd", ignored).string();
    const bool ours = command.find(folder_) != std::string::npos || cwd.starts_with(folder_);
    if (ours && command.find(with) != std::string::npos) found.push_back(pid);
  }
  return found;
}

void UpTest::ExpectNothingLeft() {
  const Result<std::string> state = ReadFile(data() + "/world.json");
  const std::string id = state.ok() ? StringAt(ParseJson(*state).ValueOr(Json()), "id") : "none";
  std::string left;
  // The kernel takes a moment to undo a namespace.
  const MonoTime deadline = clock_.MonoNow() + seconds(30);
  do {
    left.clear();
    for (const pid_t pid : Processes()) left += "process " + std::to_string(pid) + "\n";
    if (ReadAll("/proc/self/mountinfo").find(folder_) != std::string::npos) left += "a mount\n";
    std::error_code code;
    for (const auto& entry : fs::directory_iterator("/sys/block", code)) {
      if (ReadAll(entry.path() / "loop/backing_file").find(folder_) != std::string::npos) {
        left += entry.path().filename().string() + "\n";
      }
    }
    for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup", code)) {
      if (fs::exists(entry.path() / ("thinsnap-" + id), code))
        left += "a control group in " + entry.path().string() + "\n";
    }
    if (fs::exists("/sys/fs/cgroup/thinsnap-" + id, code)) left += "a control group\n";
    if (left.empty()) return;
  } while (clock_.MonoNow() < deadline && runtime_.SleepFor(milliseconds(50)).ok());
  ADD_FAILURE() << "left behind:\n" << left;
}

}  // namespace thinsnap::system_test
