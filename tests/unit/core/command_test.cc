#include "base/core/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <vector>

#include "base/core/file.h"
#include "base/core/runtime.h"

namespace thinsnap {
namespace {

using std::chrono_literals::operator""ms;

TEST(CommandTest, FeedsAndCollects) {
  PosixCommandRunner runner;
  const auto output = runner.Run(
      {.argv = {"sh", "-c", "cat; echo $X >&2; exit 3"}, .env = {{"X", "y"}}, .input = "in"});
  ASSERT_TRUE(output.ok()) << output.error().ToString();
  EXPECT_EQ(output->exit_code, 3);
  EXPECT_EQ(output->out, "in");
  EXPECT_EQ(output->err, "y\n");
}

TEST(CommandTest, LargeInputAndOutputDoNotBlock) {
  PosixCommandRunner runner;
  const std::string input(600'000, 'x');
  EXPECT_EQ(runner.Run({.argv = {"cat"}, .env = {}, .input = input})->out, input);
}

TEST(CommandTest, AMissingProgramIsNotFound) {
  PosixCommandRunner runner;
  EXPECT_TRUE(runner.Run({.argv = {"thinsnap-no-such-program"}, .env = {}, .input = {}})
                  .Is(Code::kNotFound));
}

TEST(CommandTest, KillsAtTheDeadline) {
  PosixCommandRunner runner;
  EXPECT_TRUE(runner.Run({.argv = {"sleep", "1000"}, .env = {}, .input = {}, .timeout = 10ms})
                  .Is(Code::kDeadlineExceeded));
}

TEST(CommandTest, KillsWhenItsTaskIsStopped) {
  SystemClock clock;
  ThreadRuntime runtime(clock);
  Code code = Code::kInternal;
  const auto started = runtime.NewEventCount();
  const auto seen = started->Seen();
  TaskGroup group(runtime);
  group.Spawn("run", [&] {
    started->Notify();
    PosixCommandRunner runner;
    const auto output = runner.Run({.argv = {"sleep", "1000"}, .env = {}, .input = {}});
    if (!output.ok()) code = output.error().code();
  });
  ASSERT_TRUE(started->Wait(seen).ok());
  group.Stop();
  group.Join();
  EXPECT_EQ(code, Code::kCancelled);
}

// In the kernel, say, where a disk does not answer.
TEST(CommandTest, AProgramThatDoesNotDieIsCollectedLater) {
  bool immortal = true;
  std::vector<pid_t> collected;
  PosixCommandRunner runner([&](pid_t pid, int* status, int options) -> pid_t {
    EXPECT_EQ(options, WNOHANG) << "a wait that may never end";
    if (immortal) return 0;
    const pid_t ended = waitpid(pid, status, options);
    if (ended > 0) collected.push_back(ended);
    return ended;
  });
  const Command lingers{
      .argv = {"sh", "-c", "exec >&- 2>&-; sleep 1000"}, .env = {}, .input = {}, .timeout = 10ms};
  for (const Command& command :
       {lingers, Command{.argv = {"sleep", "1000"}, .env = {}, .input = {}, .timeout = 10ms}}) {
    EXPECT_TRUE(runner.Run(command).Is(Code::kDeadlineExceeded));
  }
  immortal = false;
  EXPECT_TRUE(runner.Run({.argv = {"true"}, .env = {}, .input = {}}).ok());
  EXPECT_EQ(collected.size(), 3U);
}

TEST(CommandTest, TheProgramGetsNoOtherFiles) {
  const UniqueFd null(open("/dev/null", O_RDONLY));
  // Without FD_CLOEXEC, and out of the way of what the shell opens itself.
  const UniqueFd foreign(fcntl(null.get(), F_DUPFD, 100));
  ASSERT_TRUE(foreign);
  PosixCommandRunner runner;
  const auto output =
      runner.Run({.argv = {"sh", "-c", "echo /proc/$$/fd/*"}, .env = {}, .input = {}});
  ASSERT_TRUE(output.ok()) << output.error().ToString();
  EXPECT_EQ(output->out.find("/fd/" + std::to_string(foreign.get())), std::string::npos)
      << output->out;
}

TEST(CommandTest, RunCheckedTellsTheLastLine) {
  PosixCommandRunner runner;
  const auto output = RunChecked(
      runner, {.argv = {"sh", "-c", "echo one >&2; echo two >&2; exit 1"}, .env = {}, .input = {}});
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().message(), "sh exited with 1: two");
}

}  // namespace
}  // namespace thinsnap
