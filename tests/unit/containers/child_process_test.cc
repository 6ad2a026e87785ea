#include "simulator/containers/child_process.h"

#include <cstdlib>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(SuperviseTest, SaysWhyAProgramDidNotStart) {
  SupervisedOptions options;
  options.name = "operator";
  options.child.argv = {"/nowhere/thinsnap-operator"};
  EXPECT_THAT(FirstTrouble(options), HasSubstr("/nowhere/thinsnap-operator: No such file"));
}

}  // namespace
}  // namespace thinsnap::containers
