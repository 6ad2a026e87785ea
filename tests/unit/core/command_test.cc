#include "base/core/command.h"

#include <gtest/gtest.h>

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

TEST(CommandTest, RunCheckedTellsTheLastLine) {
  PosixCommandRunner runner;
  const auto output = RunChecked(
      runner, {.argv = {"sh", "-c", "echo one >&2; echo two >&2; exit 1"}, .env = {}, .input = {}});
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().message(), "sh exited with 1: two");
}

}  // namespace
}  // namespace thinsnap
