#include "csi/transfer/memory_budget.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <vector>

#include "tests/virtual_time.h"

namespace thinsnap::transfer {
namespace {

using std::chrono::seconds;

TEST(MemoryBudgetTest, GivesWhatThereIsInTheOrderOfAsking) {
  FiberRuntime runtime(1);
  RunWell(runtime, [&] {
    MemoryBudget memory(runtime, 3 * MemoryBudget::kShareBytes + kMiB);
    EXPECT_EQ(memory.shares(), 3);
    EXPECT_EQ(memory.most_of_a_kind(), 2);
    int held = 0, most = 0;
    std::vector<int> order;
    TaskGroup group(runtime);
    for (int i = 0; i < 20; ++i) {
      group.Spawn("taker", [&, i] {
        ASSERT_TRUE(runtime.SleepFor(std::chrono::milliseconds(i + 1)).ok());
        const auto share = memory.Take();
        ASSERT_TRUE(share.ok());
        order.push_back(i);
        most = std::max(most, ++held);
        ASSERT_TRUE(runtime.SleepFor(seconds(1)).ok());
        --held;
      });
    }
    group.Join();
    EXPECT_EQ(most, 3);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    EXPECT_EQ(order.size(), 20U);
  });
}

TEST(MemoryBudgetTest, WhoStopsWaitingHoldsNobodyUp) {
  FiberRuntime runtime(2);
  RunWell(runtime, [&] {
    MemoryBudget memory(runtime, 0);
    EXPECT_EQ(memory.shares(), 1);
    auto held = memory.Take();
    ASSERT_TRUE(held.ok());
    TaskGroup impatient(runtime), patient(runtime);
    impatient.Spawn("first", [&] { EXPECT_TRUE(memory.Take().Is(Code::kCancelled)); });
    ASSERT_TRUE(runtime.SleepFor(seconds(1)).ok());
    bool got = false;
    patient.Spawn("second", [&] { got = memory.Take().ok(); });
    ASSERT_TRUE(runtime.SleepFor(seconds(1)).ok());
    impatient.Stop();
    impatient.Join();
    EXPECT_FALSE(got);
    held->reset();
    patient.Join();
    EXPECT_TRUE(got);
  });
}

}  // namespace
}  // namespace thinsnap::transfer
