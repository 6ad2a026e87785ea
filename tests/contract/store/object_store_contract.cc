#include "tests/contract/store/object_store_contract.h"

#include <atomic>
#include <gmock/gmock.h>
#include <memory>
#include <string>
#include <vector>

namespace thinsnap::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> KeysOf(const Page& page) {
  std::vector<std::string> keys;
  for (const ObjectInfo& info : page.objects) keys.push_back(info.key);
  return keys;
}

Code CodeOf(const Status& status) { return status.ok() ? Code::kInternal : status.error().code(); }
template <typename T>
Code CodeOf(const Result<T>& result) {
  return result.ok() ? Code::kInternal : result.error().code();
}
template <typename T>
std::string Why(const Result<T>& result) {
  return result.ok() ? "" : result.error().ToString();
}

}  // namespace

void ObjectStoreContract::SetUp() {
  opened_ = GetParam().open();
  if (opened_.store == nullptr) GTEST_SKIP() << opened_.why_not;
}

void ObjectStoreContract::Put(const std::string& key, const std::string& body) {
  const auto put = store().Put(key, AsBytes(body));
  ASSERT_TRUE(put.ok()) << Why(put);
}

std::vector<std::string> ObjectStoreContract::KeysAt(const std::string& prefix,
                                                     const std::string& after) {
  const auto page = store().List(prefix, after);
  EXPECT_TRUE(page.ok()) << Why(page);
  return page.ok() ? KeysOf(*page) : std::vector<std::string>();
}

TEST_P(ObjectStoreContract, GivesBackWhatWasPut) {
  const std::string body = std::string("zero \0 and more", 15);
  const auto put = store().Put("a/b c/\xC3\xA4+&=%?#", AsBytes(body));
  ASSERT_TRUE(put.ok()) << Why(put);
  const auto got = store().Get("a/b c/\xC3\xA4+&=%?#");
  ASSERT_TRUE(got.ok()) << Why(got);
  EXPECT_EQ(AsText(got->bytes), body);
  EXPECT_EQ(got->info.size, body.size());
  EXPECT_EQ(got->info.etag, put->etag);
  EXPECT_FALSE(put->etag.empty());
  EXPECT_GT(UnixSeconds(put->date), 0);
  EXPECT_GT(UnixSeconds(got->date), 0);
}

TEST_P(ObjectStoreContract, KeepsEmptyObjects) {
  Put("empty", "");
  const auto got = store().Get("empty");
  ASSERT_TRUE(got.ok()) << Why(got);
  EXPECT_THAT(got->bytes, IsEmpty());
  const auto head = store().Head("empty");
  ASSERT_TRUE(head.ok()) << Why(head);
  EXPECT_EQ(head->size, 0U);
}

TEST_P(ObjectStoreContract, ReplacesWhole) {
  Put("key", "a longer first version");
  Put("key", "second");
  const auto got = store().Get("key");
  ASSERT_TRUE(got.ok()) << Why(got);
  EXPECT_EQ(AsText(got->bytes), "second");
}

TEST_P(ObjectStoreContract, SaysNotFound) {
  EXPECT_EQ(CodeOf(store().Get("nothing/here")), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().Get("nothing/here", ByteRange{0, 5})), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().Head("nothing/here")), Code::kNotFound);
}

TEST_P(ObjectStoreContract, ReadsRanges) {
  Put("key", "0123456789");
  const auto middle = store().Get("key", ByteRange{3, 4});
  ASSERT_TRUE(middle.ok()) << Why(middle);
  EXPECT_EQ(AsText(middle->bytes), "3456");
  EXPECT_EQ(middle->info.size, 10U);
  const auto tail = store().Get("key", ByteRange{8, 100});
  ASSERT_TRUE(tail.ok()) << Why(tail);
  EXPECT_EQ(AsText(tail->bytes), "89");
  EXPECT_EQ(CodeOf(store().Get("key", ByteRange{10, 1})), Code::kOutOfRange);
  EXPECT_EQ(CodeOf(store().Get("key", ByteRange{100, 1})), Code::kOutOfRange);
  const auto none = store().Get("key", ByteRange{3, 0});
  ASSERT_TRUE(none.ok()) << Why(none);
  EXPECT_THAT(none->bytes, IsEmpty());
}

TEST_P(ObjectStoreContract, PutsOnlyIfAbsent) {
  const auto first = store().Put("key", AsBytes("first"), {.if_absent = true});
  ASSERT_TRUE(first.ok()) << Why(first);
  EXPECT_EQ(CodeOf(store().Put("key", AsBytes("second"), {.if_absent = true})),
            Code::kFailedPrecondition);
  const auto got = store().Get("key");
  ASSERT_TRUE(got.ok()) << Why(got);
  EXPECT_EQ(AsText(got->bytes), "first");
}

TEST_P(ObjectStoreContract, PutsOnlyIfMatching) {
  const auto first = store().Put("key", AsBytes("first"));
  ASSERT_TRUE(first.ok()) << Why(first);
  const auto second = store().Put("key", AsBytes("second"), {.if_match = first->etag});
  ASSERT_TRUE(second.ok()) << Why(second);
  EXPECT_NE(second->etag, first->etag);
  EXPECT_EQ(CodeOf(store().Put("key", AsBytes("third"), {.if_match = first->etag})),
            Code::kFailedPrecondition);
  const auto got = store().Get("key");
  ASSERT_TRUE(got.ok()) << Why(got);
  EXPECT_EQ(AsText(got->bytes), "second");
  EXPECT_EQ(got->info.etag, second->etag);
}

TEST_P(ObjectStoreContract, MatchesNothingThatIsGone) {
  const auto first = store().Put("key", AsBytes("first"));
  ASSERT_TRUE(first.ok()) << Why(first);
  ASSERT_TRUE(store().Delete("key").ok());
  const auto put = store().Put("key", AsBytes("second"), {.if_match = first->etag});
  EXPECT_EQ(CodeOf(put), Code::kFailedPrecondition) << Why(put);
  EXPECT_EQ(CodeOf(store().Head("key")), Code::kNotFound);
}

TEST_P(ObjectStoreContract, LetsOneOfManyWriteIfAbsent) {
  std::atomic<int> winners = 0;
  std::atomic<int> losers = 0;
  {
    ThreadRuntime runtime(clock());
    TaskGroup group(runtime);
    for (int i = 0; i < 8; ++i) {
      group.Spawn("writer", [&, i] {
        const auto put =
            store().Put("race", AsBytes("writer " + std::to_string(i)), {.if_absent = true});
        if (put.ok()) ++winners;
        if (put.Is(Code::kFailedPrecondition)) ++losers;
      });
    }
    group.Join();
  }
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(losers, 7);
}

TEST_P(ObjectStoreContract, CountsExactlyWithIfMatch) {
  Put("counter", "0");
  {
    ThreadRuntime runtime(clock());
    TaskGroup group(runtime);
    for (int i = 0; i < 4; ++i) {
      group.Spawn("writer", [&] {
        for (int done = 0; done < 5;) {
          const auto now = store().Get("counter");
          if (!now.ok()) return;
          const std::string next = std::to_string(std::stoi(std::string(AsText(now->bytes))) + 1);
          const auto put = store().Put("counter", AsBytes(next), {.if_match = now->info.etag});
          if (put.ok()) ++done;
          if (!put.ok() && !put.Is(Code::kFailedPrecondition) && !put.Is(Code::kAborted)) return;
        }
      });
    }
    group.Join();
  }
  const auto got = store().Get("counter");
  ASSERT_TRUE(got.ok()) << Why(got);
  EXPECT_EQ(AsText(got->bytes), "20");
}

TEST_P(ObjectStoreContract, DeletesAndToleratesMissing) {
  Put("folder/key", "x");
  ASSERT_TRUE(store().Delete("folder/key").ok());
  EXPECT_EQ(CodeOf(store().Head("folder/key")), Code::kNotFound);
  EXPECT_TRUE(store().Delete("folder/key").ok());
  const auto page = store().List("");
  ASSERT_TRUE(page.ok()) << Why(page);
  EXPECT_THAT(KeysOf(*page), IsEmpty());
}

TEST_P(ObjectStoreContract, ListsInByteOrder) {
  for (const char* key : {"b", "a/z", "a/b/c", "a-b", "a0", "A", "\xC3\xA4", "a/b.d", "z&<>\"'"})
    Put(key, "1");
  const auto page = store().List("");
  ASSERT_TRUE(page.ok()) << Why(page);
  EXPECT_FALSE(page->more);
  EXPECT_GT(UnixSeconds(page->date), 0);
  EXPECT_THAT(KeysOf(*page),
              ElementsAre("A", "a-b", "a/b.d", "a/b/c", "a/z", "a0", "b", "z&<>\"'", "\xC3\xA4"));
}

TEST_P(ObjectStoreContract, ListsByPrefixAndAfter) {
  for (const char* key :
       {"packs/01", "packs/02", "packs/10", "packs-old", "points/a/b", "points/a/c", "points/b"}) {
    Put(key, "12345");
  }
  EXPECT_THAT(KeysAt("packs/"), ElementsAre("packs/01", "packs/02", "packs/10"));
  EXPECT_THAT(KeysAt("packs/0"), ElementsAre("packs/01", "packs/02"));
  EXPECT_THAT(KeysAt("pa"), ElementsAre("packs-old", "packs/01", "packs/02", "packs/10"));
  EXPECT_THAT(KeysAt("packs/", "packs/01"), ElementsAre("packs/02", "packs/10"));
  EXPECT_THAT(KeysAt("packs/", "packs/015"), ElementsAre("packs/02", "packs/10"));
  EXPECT_THAT(KeysAt("packs/", "a"), ElementsAre("packs/01", "packs/02", "packs/10"));
  EXPECT_THAT(KeysAt("packs/", "z"), IsEmpty());
  EXPECT_THAT(KeysAt("", "points/a/b"), ElementsAre("points/a/c", "points/b"));
  EXPECT_THAT(KeysAt("points/a/"), ElementsAre("points/a/b", "points/a/c"));
  EXPECT_THAT(KeysAt("nothing/at/all"), IsEmpty());
  const auto page = store().List("points/b");
  ASSERT_TRUE(page.ok()) << Why(page);
  ASSERT_EQ(page->objects.size(), 1U);
  const auto head = store().Head("points/b");
  ASSERT_TRUE(head.ok()) << Why(head);
  EXPECT_EQ(page->objects[0].size, 5U);
  EXPECT_EQ(page->objects[0].etag, head->etag);
  EXPECT_EQ(page->objects[0].modified, head->modified);
}

TEST_P(ObjectStoreContract, ListsPageByPage) {
  {
    ThreadRuntime runtime(clock());
    TaskGroup group(runtime);
    for (int writer = 0; writer < 4; ++writer) {
      group.Spawn("writer", [&, writer] {
        for (int i = writer; i < 1005; i += 4) {
          const std::string number = std::to_string(10000 + i);
          if (!store().Put("many/" + number.substr(1, 2) + "/" + number, AsBytes("x")).ok()) return;
        }
      });
    }
    group.Join();
  }
  const auto first = store().List("many/");
  ASSERT_TRUE(first.ok()) << Why(first);
  EXPECT_EQ(first->objects.size(), 1000U);
  EXPECT_TRUE(first->more);
  std::string last;
  int seen = 0;
  const auto listed = ListAll(store(), "many/", [&](const ObjectInfo& info) -> Status {
    EXPECT_LT(last, info.key);
    last = info.key;
    ++seen;
    return {};
  });
  ASSERT_TRUE(listed.ok()) << listed.error().ToString();
  EXPECT_EQ(seen, 1005);
}

TEST_P(ObjectStoreContract, RefusesBadKeys) {
  for (const std::string& key :
       {std::string(), std::string("/a"), std::string("a/"), std::string("a//b"), std::string("."),
        std::string("a/../b"), std::string("a/./b"), std::string(1001, 'x'),
        std::string("a\0b", 3)}) {
    EXPECT_EQ(CodeOf(store().Put(key, AsBytes("x"))), Code::kInvalidArgument) << key;
    EXPECT_EQ(CodeOf(store().Get(key)), Code::kInvalidArgument) << key;
    EXPECT_EQ(CodeOf(store().Head(key)), Code::kInvalidArgument) << key;
    EXPECT_EQ(CodeOf(store().Delete(key)), Code::kInvalidArgument) << key;
  }
}

TEST_P(ObjectStoreContract, KeepsLongKeysAndBigObjects) {
  std::string key;
  while (key.size() < 900) key += std::string(99, 'k') + "/";
  key += "end";
  std::string body(5 * kMiB + 17, 'x');
  for (std::size_t i = 0; i < body.size(); i += 4093) body[i] = static_cast<char>(i / 4093);
  Put(key, body);
  const auto got = store().Get(key);
  ASSERT_TRUE(got.ok()) << Why(got);
  EXPECT_TRUE(AsText(got->bytes) == body);
  const auto part = store().Get(key, ByteRange{4 * kMiB, kMiB});
  ASSERT_TRUE(part.ok()) << Why(part);
  EXPECT_TRUE(AsText(part->bytes) == body.substr(4 * kMiB, kMiB));
}

}  // namespace thinsnap::store
