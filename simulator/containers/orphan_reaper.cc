#include "simulator/containers/orphan_reaper.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <utility>
#include <vector>

namespace thinsnap::containers {
namespace {

constexpr int kCallsUntilNobodys = 10;

// The process's numbers, from our PID namespace inwards; empty unless it is dead and not reaped.
std::vector<pid_t> NumbersOfDead(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::vector<pid_t> numbers;
  bool dead = false;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("State:")) dead = line.find('Z') != std::string::npos;
    if (!line.starts_with("NSpid:")) continue;
    std::istringstream words(line.substr(6));
    for (pid_t number = 0; words >> number;) numbers.push_back(number);
  }
  return dead ? numbers : std::vector<pid_t>();
}

bool AnyChildIsDead() {
  siginfo_t info = {};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && info.si_pid != 0;
}

}  // namespace

void OrphanReaper::Reap(const std::set<pid_t>& owned) {
  std::map<pid_t, int> dead;
  if (AnyChildIsDead()) {
    std::error_code error;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
      std::ifstream children(task.path() / "children");
      for (pid_t pid = 0; children >> pid;) {
        if (owned.contains(pid)) continue;
        const std::vector<pid_t> numbers = NumbersOfDead(pid);
        const bool deeper = numbers.size() > 1;
        if (numbers.empty() || (deeper && numbers.back() == 1)) continue;
        const auto seen = dead_.find(pid);
        const int times = seen == dead_.end() ? 1 : seen->second + 1;
        if (deeper || times >= kCallsUntilNobodys) {
          int status = 0;
          waitpid(pid, &status, WNOHANG | __WALL);
        } else {
          dead[pid] = times;
        }
      }
    }
  }
  dead_ = std::move(dead);
}

}  // namespace thinsnap::containers
