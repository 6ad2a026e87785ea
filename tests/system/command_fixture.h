// The thinsnap command as a process: run to its end, or started and signalled half way.
#pragma once

#include <gtest/gtest.h>
#include <map>
#include <string>
#include <sys/types.h>
#include <vector>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/data/json.h"

namespace thinsnap::cli {

struct Outcome {
  int code = -1;  // 128 + signal if a signal ended it
  std::string out;
  std::string err;
};

class CommandFixture : public ::testing::Test {
 protected:
  CommandFixture();
  ~CommandFixture() override;

  std::string In(const std::string& name) const { return folder_ + "/" + name; }
  // Bytes that do not compress, in a file of the folder; the same for the same name and size.
  std::string MakeImage(const std::string& name, std::size_t size_bytes);
  static bool SameBytes(const std::string& a, const std::string& b);

  // "thinsnap --repository <repository_> arguments...", with `environment` set.
  pid_t Start(const std::vector<std::string>& arguments);
  Outcome Await(pid_t pid);
  Outcome Run(const std::vector<std::string>& arguments) { return Await(Start(arguments)); }
  // Runs with --json and expects the code and one document.
  Json RunJson(std::vector<std::string> arguments, int code = 0);
  void ExpectOk(const std::vector<std::string>& arguments);
  // Runs, and expects the code and that standard error says `words`.
  void ExpectSays(const std::vector<std::string>& arguments, int code, const std::string& words);
  // Names of the points, oldest first.
  std::vector<std::string> Points();
  // Waits until `done` says so; the process must still be there.
  template <typename Condition>
  bool WaitWhileRunning(pid_t pid, const Condition& done);

  std::string folder_;
  std::string repository_;
  std::map<std::string, std::string> environment_;
  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_{clock_};

 private:
  static bool Ended(pid_t pid);
  std::string OutputOf(pid_t pid, const char* which) const;
};

template <typename Condition>
bool CommandFixture::WaitWhileRunning(pid_t pid, const Condition& done) {
  while (!done()) {
    if (Ended(pid)) return false;
    EXPECT_TRUE(runtime_.SleepFor(std::chrono::milliseconds(1)).ok());
  }
  return true;
}

}  // namespace thinsnap::cli
