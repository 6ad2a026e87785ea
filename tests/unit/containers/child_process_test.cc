#include "simulator/containers/child_process.h"

#include <atomic>
#include <cstdlib>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/core/file.h"
#include "base/core/runtime.h"
#include "simulator/containers/remove_tree.h"

namespace thinsnap::containers {
namespace {

using testing::HasSubstr;

// What Supervise says of a program the first time that something is wrong with it.
std::string FirstTrouble(SupervisedOptions options) {
  SystemClock clock;
  ThreadRuntime runtime(clock);
  TaskGroup group(runtime);
  std::string first;
  options.on_trouble = [&](const std::string& what) {
    if (first.empty()) first = what;
    group.Stop();
  };
  group.Spawn("supervisor", [&] { Supervise(runtime, group, options); });
  group.Join();
  return first;
}

TEST(SuperviseTest, SaysWhyAProgramEnded) {
  char folder[] = "/tmp/supervise-test-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  SupervisedOptions options;
  options.name = "node-7";
  options.child.argv = {"sh", "-c", "echo all is well; echo no disk, no luck >&2; exit 3"};
  options.log_file = std::string(folder) + "/log";
  const std::string trouble = FirstTrouble(options);
  RemoveTree(folder);
  EXPECT_THAT(trouble, HasSubstr("node-7: ended with code 3"));
  EXPECT_THAT(trouble, HasSubstr("its log ends with: no disk, no luck"));
}

TEST(SuperviseTest, SaysItOnceOfAProgramThatGoesOnEnding) {
  char folder[] = "/tmp/supervise-test-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string third = std::string(folder) + "/third";
  ASSERT_EQ(mkfifo(third.c_str(), 0600), 0);
  SystemClock clock;
  ThreadRuntime runtime(clock);
  TaskGroup group(runtime);
  std::atomic<int> told = 0;
  SupervisedOptions options;
  options.name = "node-7";
  options.child.folder = folder;
  options.child.argv = {
      "sh", "-c", "echo >>starts; [ $(wc -l <starts) = 3 ] || exit 3; echo >third; exec sleep 999"};
  options.on_trouble = [&](const std::string&) { ++told; };
  group.Spawn("supervisor", [&] { Supervise(runtime, group, options); });
  // Opens when the third one opens the other end.
  const UniqueFd fd(open(third.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(told, 1);
  group.Stop();
  group.Join();
  RemoveTree(folder);
}

TEST(SuperviseTest, SaysWhyAProgramDidNotStart) {
  SupervisedOptions options;
  options.name = "operator";
  options.child.argv = {"/nowhere/thinsnap-operator"};
  EXPECT_THAT(FirstTrouble(options), HasSubstr("/nowhere/thinsnap-operator: No such file"));
}

}  // namespace
}  // namespace thinsnap::containers
