#include "base/core/counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thinsnap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CountersTest, ShowsEachKindInTheTextFormat) {
  Counters counters;
  counters.Describe("calls_total", Counters::Kind::kCounter, "Calls by verb.");
  counters.Describe("free_bytes", Counters::Kind::kGauge, "What is free.");
  counters.Describe("took_seconds", Counters::Kind::kHistogram, "How long.");
  counters.Add("calls_total", {{"verb", "Probe"}, {"code", "OK"}});
  counters.Add("calls_total", {{"verb", "Probe"}, {"code", "OK"}}, 2);
  counters.Set("free_bytes", {}, 1.5e12);
  counters.Observe("took_seconds", {}, std::chrono::milliseconds(30));
  counters.Observe("took_seconds", {}, std::chrono::hours(1));
  const std::string text = counters.Render();
  EXPECT_THAT(text, HasSubstr("# HELP calls_total Calls by verb.\n# TYPE calls_total counter\n"
                              "calls_total{verb=\"Probe\",code=\"OK\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE free_bytes gauge\nfree_bytes 1.5e+12\n"));
  EXPECT_THAT(text, HasSubstr("took_seconds_bucket{le=\"0.01\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("took_seconds_bucket{le=\"0.05\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("took_seconds_bucket{le=\"600\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("took_seconds_bucket{le=\"+Inf\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("took_seconds_sum 3600.03\ntook_seconds_count 2\n"));
}

TEST(CountersTest, ABoundItselfIsInItsBucket) {
  Counters counters;
  counters.Describe("took_seconds", Counters::Kind::kHistogram, "");
  counters.Observe("took_seconds", {}, std::chrono::seconds(1));
  EXPECT_THAT(counters.Render(), HasSubstr("le=\"1\"} 1\n"));
}

TEST(CountersTest, ValuesFromOutsideCannotForgeALine) {
  Counters counters;
  counters.Describe("depth", Counters::Kind::kGauge, "a\nb");
  counters.Set("depth", {{"repository", "x\"} 1\nfree_bytes 0\\"}}, 4);
  EXPECT_EQ(counters.Render(),
            "# HELP depth a\\nb\n# TYPE depth gauge\n"
            "depth{repository=\"x\\\"} 1\\nfree_bytes 0\\\\\"} 4\n");
}

TEST(CountersTest, ValuesFromOutsideCannotBloatTheProcess) {
  Counters counters;
  counters.Describe("seen_total", Counters::Kind::kCounter, "");
  for (std::size_t i = 0; i < 3 * Counters::kMostSeries; ++i) {
    counters.Add("seen_total", {{"namespace", "n" + std::to_string(i)}});
  }
  const std::string text = counters.Render();
  EXPECT_THAT(text, HasSubstr("seen_total{namespace=\"n999\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("n1000")));
  EXPECT_THAT(text, HasSubstr("seen_total{namespace=\"other\"} 2000\n"));
}

TEST(CountersTest, CollectsWhenSomebodyAsks) {
  Counters counters;
  counters.Describe("age_seconds", Counters::Kind::kGauge, "");
  int asked = 0;
  counters.BeforeRender([&](Counters& into) {
    into.Clear("age_seconds");
    into.Set("age_seconds", {{"repository", "r" + std::to_string(asked++)}}, 1);
  });
  EXPECT_THAT(counters.Render(), HasSubstr("r0"));
  const std::string second = counters.Render();
  EXPECT_THAT(second, HasSubstr("r1"));
  EXPECT_THAT(second, Not(HasSubstr("r0")));
}

}  // namespace
}  // namespace thinsnap
