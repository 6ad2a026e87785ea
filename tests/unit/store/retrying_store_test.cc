#include "snapshotter/store/retrying_store.h"

#include <deque>
#include <gtest/gtest.h>

#include "snapshotter/store/chaos_store.h"
#include "snapshotter/store/memory_store.h"

namespace thinsnap::store {
namespace {

// Fails with the codes it is given, in order; works afterwards.
class ScriptedStore final : public ObjectStore {
 public:
  ScriptedStore(ObjectStore& inner, std::deque<Code>& script, int& requests)
      : inner_(inner), script_(script), requests_(requests) {}

  Result<PutResult> Put(const std::string& key, ByteSpan body,
                        const PutCondition& condition) override {
    TRY(Next());
    return inner_.Put(key, body, condition);
  }
  Result<Object> Get(const std::string& key, std::optional<ByteRange> range) override {
    TRY(Next());
    return inner_.Get(key, range);
  }
  Result<ObjectInfo> Head(const std::string& key) override {
    TRY(Next());
    return inner_.Head(key);
  }
  Result<Page> List(const std::string& prefix, const std::string& after) override {
    TRY(Next());
    return inner_.List(prefix, after);
  }
  Status Delete(const std::string& key) override {
    TRY(Next());
    return inner_.Delete(key);
  }
  std::string Describe() const override { return inner_.Describe(); }

 private:
  Status Next() {
    ++requests_;
    if (script_.empty()) return {};
    const Code code = script_.front();
    script_.pop_front();
    return Error(code, "scripted");
  }

  ObjectStore& inner_;
  std::deque<Code>& script_;
  int& requests_;
};

class RetryingStoreTest : public ::testing::Test {
 protected:
  SystemClock clock_;
  SeededRandom random_{1};
  ThreadRuntime runtime_{clock_};
  MemoryObjectStore memory_{clock_};
  std::deque<Code> script_;
  int requests_ = 0;
  RetryingObjectStore store_{runtime_, random_,
                             std::make_unique<ScriptedStore>(memory_, script_, requests_),
                             RetryOptions{.attempts = 4,
                                          .first_wait = std::chrono::microseconds(10),
                                          .longest_wait = std::chrono::microseconds(50)}};
};

TEST_F(RetryingStoreTest, RepeatsWhatDidNotHappen) {
  script_ = {Code::kUnavailable, Code::kDeadlineExceeded, Code::kAborted};
  EXPECT_TRUE(store_.Put("key", AsBytes("x"), {.if_absent = true}).ok());
  EXPECT_EQ(requests_, 4);
  script_ = {Code::kUnavailable};
  EXPECT_TRUE(store_.Get("key").ok());
  script_ = {Code::kUnavailable};
  EXPECT_TRUE(store_.Head("key").ok());
  script_ = {Code::kUnavailable};
  EXPECT_TRUE(store_.List("").ok());
  script_ = {Code::kUnavailable};
  EXPECT_TRUE(store_.Delete("key").ok());
}

TEST_F(RetryingStoreTest, RepeatsUnknownOutcomesOfHarmlessWrites) {
  script_ = {Code::kUnknownOutcome};
  EXPECT_TRUE(store_.Put("key", AsBytes("x")).ok());
  script_ = {Code::kUnknownOutcome};
  EXPECT_TRUE(store_.Delete("key").ok());
  EXPECT_EQ(requests_, 4);
}

TEST_F(RetryingStoreTest, NeverRepeatsAConditionalWriteOfUnknownOutcome) {
  script_ = {Code::kUnknownOutcome};
  EXPECT_TRUE(store_.Put("key", AsBytes("x"), {.if_absent = true}).Is(Code::kUnknownOutcome));
  script_ = {Code::kUnknownOutcome};
  EXPECT_TRUE(store_.Put("key", AsBytes("x"), {.if_match = "tag"}).Is(Code::kUnknownOutcome));
  EXPECT_EQ(requests_, 2);
}

TEST_F(RetryingStoreTest, PassesAnswersOn) {
  for (const Code code : {Code::kNotFound, Code::kFailedPrecondition, Code::kPermissionDenied,
                          Code::kInvalidArgument, Code::kCancelled, Code::kUnauthenticated}) {
    script_ = {code};
    requests_ = 0;
    EXPECT_TRUE(store_.Get("key").Is(code));
    EXPECT_EQ(requests_, 1);
  }
}

TEST_F(RetryingStoreTest, GivesUpAndSaysWhatIsKnown) {
  script_ = {Code::kUnavailable, Code::kUnavailable, Code::kUnavailable, Code::kUnavailable};
  EXPECT_TRUE(store_.Get("key").Is(Code::kUnavailable));
  EXPECT_EQ(requests_, 4);
  // The first one may have been done, so the last answer is not the whole truth.
  script_ = {Code::kUnknownOutcome, Code::kUnavailable, Code::kUnavailable, Code::kUnavailable};
  EXPECT_TRUE(store_.Put("key", AsBytes("x")).Is(Code::kUnknownOutcome));
}

TEST_F(RetryingStoreTest, StopsWithItsGroup) {
  RetryingObjectStore slow(runtime_, random_,
                           std::make_unique<ScriptedStore>(memory_, script_, requests_),
                           RetryOptions{.attempts = 3,
                                        .first_wait = std::chrono::hours(1),
                                        .longest_wait = std::chrono::hours(1)});
  script_ = {Code::kUnavailable};
  Code code = Code::kInternal;
  TaskGroup group(runtime_);
  group.Spawn("get", [&] {
    const auto got = slow.Get("key");
    if (!got.ok()) code = got.error().code();
  });
  group.Stop();
  group.Join();
  // Stopped before it began, or within its wait.
  EXPECT_TRUE(code == Code::kCancelled || requests_ == 0);
}

TEST(ChaosStoreTest, LosesAnswersOfWhatWasDone) {
  SystemClock clock;
  SeededRandom random(5);
  MemoryObjectStore memory(clock);
  ChaosObjectStore chaos(memory, random, {.fail_before = 0, .lose_answer = 1000});
  EXPECT_TRUE(chaos.Put("key", AsBytes("x"), {.if_absent = true}).Is(Code::kUnknownOutcome));
  EXPECT_TRUE(memory.Head("key").ok());
  chaos.SetOptions({.fail_before = 1000, .lose_answer = 0});
  EXPECT_TRUE(chaos.Delete("key").Is(Code::kUnavailable));
  EXPECT_TRUE(memory.Head("key").ok());
  EXPECT_EQ(chaos.Log().size(), 1U);
}

TEST(ChaosStoreTest, CutsAfterSoManyRequests) {
  SystemClock clock;
  SeededRandom random(5);
  MemoryObjectStore memory(clock);
  ChaosObjectStore chaos(memory, random, {});
  chaos.CutAfter(2);
  EXPECT_TRUE(chaos.Put("a", {}).ok());
  EXPECT_TRUE(chaos.Put("b", {}).ok());
  EXPECT_TRUE(chaos.Put("c", {}).Is(Code::kUnavailable));
  EXPECT_TRUE(chaos.Head("a").Is(Code::kUnavailable));
  EXPECT_FALSE(memory.Head("c").ok());
}

}  // namespace
}  // namespace thinsnap::store
