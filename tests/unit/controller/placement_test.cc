#include "csi/controller/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/core/bytes.h"

namespace thinsnap::controller {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

driver::PoolRecord Pool(const std::string& id, std::uint64_t free_gib) {
  driver::PoolRecord pool;
  pool.id = pool::PoolId(id);
  pool.node = "node-" + id;
  pool.size_bytes = 100 * kGiB;
  pool.free_bytes = free_gib * kGiB;
  pool.healthy = true;
  return pool;
}

std::vector<std::string> Order(const std::vector<driver::PoolRecord>& pools,
                               const PlacementWish& wish) {
  std::vector<std::string> order;
  const auto planned = PlanPlacement(pools, wish);
  if (!planned.ok()) return {std::string(CodeName(planned.error().code()))};
  for (const driver::PoolRecord& pool : *planned) order.push_back(pool.id.str());
  return order;
}

TEST(PlacementTest, MostFreeSpaceFirst) {
  EXPECT_THAT(Order({Pool("a", 10), Pool("b", 30), Pool("c", 20)}, {}), ElementsAre("b", "c", "a"));
}

TEST(PlacementTest, NamespaceStaysTogether) {
  PlacementWish wish;
  wish.ns = "shop";
  driver::PoolRecord crowded = Pool("a", 10);
  crowded.volumes_by_namespace["shop"] = 2;
  EXPECT_THAT(Order({crowded, Pool("b", 30)}, wish), ElementsAre("a", "b"));
}

TEST(PlacementTest, PreferredNodesComeBeforeThatAndTheSourceBeforeAll) {
  PlacementWish wish;
  wish.preferred = {"node-c", "node-a"};
  EXPECT_THAT(Order({Pool("a", 10), Pool("b", 30), Pool("c", 5)}, wish),
              ElementsAre("c", "a", "b"));
  wish.source = pool::PoolId("b");
  EXPECT_THAT(Order({Pool("a", 10), Pool("b", 30), Pool("c", 5)}, wish),
              ElementsAre("b", "c", "a"));
}

TEST(PlacementTest, TooSmallSickOrElsewhereIsLeftOut) {
  PlacementWish wish;
  wish.size_bytes = 50 * kGiB;
  wish.nodes = {"node-a", "node-b", "node-c"};
  wish.nodes.emplace_back("node-e");
  driver::PoolRecord small = Pool("b", 30), sick = Pool("c", 30), silent = Pool("e", 90);
  small.size_bytes = 40 * kGiB;
  sick.healthy = false;
  silent.silent = true;
  EXPECT_THAT(Order({Pool("a", 10), small, sick, Pool("d", 90), silent}, wish), ElementsAre("a"));
}

TEST(PlacementTest, RefusalHasEachPoolsFigures) {
  PlacementWish wish;
  wish.size_bytes = kTiB;
  const auto planned = PlanPlacement({Pool("a", 10), Pool("b", 30)}, wish);
  ASSERT_TRUE(planned.Is(Code::kResourceExhausted));
  EXPECT_THAT(planned.error().message(), HasSubstr("10.0 GiB free of 100.0 GiB"));
  EXPECT_THAT(planned.error().message(), HasSubstr("30.0 GiB free"));
}

}  // namespace
}  // namespace thinsnap::controller
