#include "simulator/s3/s3_storage.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <stdlib.h>
#include <unistd.h>

namespace thinsnap::s3 {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

class S3StorageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / "thinsnap-s3-storage-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    Open();
    ASSERT_TRUE(storage_->CreateBucket("bucket").ok());
  }
  void TearDown() override {
    storage_.reset();
    fs::remove_all(folder_);
  }

  void Open() {
    storage_.reset();
    auto opened = S3Storage::Open(random_, clock_, folder_);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    storage_ = std::move(opened).value();
  }

  std::string Put(const std::string& key, const std::string& body,
                  const WriteCondition& condition = {}) {
    auto draft = storage_->NewDraft();
    EXPECT_TRUE(draft.ok() && (*draft)->Write(AsBytes(body)).ok());
    ObjectMeta meta;
    meta.key = key;
    meta.etag = "etag of " + body;
    meta.headers.Set("x-amz-meta-a", "b\n c");
    const auto put = storage_->Put("bucket", **draft, meta, condition);
    return put.ok() ? "ok" : put.error().code;
  }

  std::vector<std::string> List(const std::string& prefix, const std::string& delimiter,
                                const std::string& after = "", std::size_t max = 1000) {
    std::vector<std::string> names;
    auto page = storage_->List("bucket", prefix, delimiter, after, max);
    for (const auto& entry : page->entries) names.push_back(entry.name);
    if (page->more) names.push_back("...");
    return names;
  }

  SystemClock clock_;
  SystemRandom random_;
  std::string folder_;
  std::unique_ptr<S3Storage> storage_;
};

TEST_F(S3StorageTest, RemembersAcrossRestarts) {
  EXPECT_EQ(Put("a/b c", "hello"), "ok");
  EXPECT_EQ(Put(std::string(1024, 'k'), ""), "ok");
  Open();
  auto found = storage_->Find("bucket", "a/b c");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->etag, "etag of hello");
  EXPECT_EQ(found->size, 5U);
  EXPECT_EQ(found->headers.Get("x-amz-meta-a"), "b\n c");
  EXPECT_TRUE(storage_->Find("bucket", std::string(1024, 'k')).ok());
  EXPECT_TRUE(storage_->Delete("bucket", "a/b c").ok());
  Open();
  EXPECT_FALSE(storage_->Find("bucket", "a/b c").ok());
}

TEST_F(S3StorageTest, KeepsToConditions) {
  EXPECT_EQ(Put("key", "1", {.if_absent = true, .if_match = ""}), "ok");
  EXPECT_EQ(Put("key", "2", {.if_absent = true, .if_match = ""}), "PreconditionFailed");
  EXPECT_EQ(Put("key", "3", {.if_absent = false, .if_match = "etag of 2"}), "PreconditionFailed");
  EXPECT_EQ(Put("key", "4", {.if_absent = false, .if_match = "etag of 1"}), "ok");
  EXPECT_EQ(Put("none", "5", {.if_absent = false, .if_match = "etag of 1"}), "NoSuchKey");
  EXPECT_TRUE(fs::is_empty(folder_ + "/drafts"));
}

TEST_F(S3StorageTest, ForgetsDraftsOfAKilledServer) {
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/drafts/half", "of an object").ok());
  EXPECT_FALSE(fs::is_empty(folder_ + "/drafts"));
  Open();
  EXPECT_TRUE(fs::is_empty(folder_ + "/drafts"));
}

TEST_F(S3StorageTest, RefusesASecondServer) {
  EXPECT_TRUE(S3Storage::Open(random_, clock_, folder_).Is(Code::kFailedPrecondition));
}

TEST_F(S3StorageTest, NoticesDamage) {
  EXPECT_EQ(Put("key", "0123456789"), "ok");
  for (const auto& entry : fs::recursive_directory_iterator(folder_ + "/buckets/bucket/objects")) {
    if (entry.is_regular_file()) fs::resize_file(entry.path(), entry.file_size() - 1);
  }
  storage_.reset();
  EXPECT_TRUE(S3Storage::Open(random_, clock_, folder_).Is(Code::kDataLoss));
}

TEST_F(S3StorageTest, WhatCannotBeRemovedIsStillThere) {
  EXPECT_EQ(Put("key", "0123456789"), "ok");
  for (const auto& entry : fs::recursive_directory_iterator(folder_ + "/buckets/bucket/objects")) {
    if (!entry.is_regular_file()) continue;
    fs::remove(entry.path());
    fs::create_directory(entry.path());  // which unlink(2) refuses
    break;
  }
  EXPECT_FALSE(storage_->Delete("bucket", "key", "").ok());
  EXPECT_TRUE(storage_->Find("bucket", "key").ok());
}

TEST_F(S3StorageTest, ListsWithDelimiters) {
  for (const char* key : {"a", "b/1", "b/2", "b/c/3", "c", "d/"}) EXPECT_EQ(Put(key, ""), "ok");
  EXPECT_THAT(List("", "/"), ElementsAre("a", "b/", "c", "d/"));
  EXPECT_THAT(List("", ""), ElementsAre("a", "b/1", "b/2", "b/c/3", "c", "d/"));
  EXPECT_THAT(List("b/", "/"), ElementsAre("b/1", "b/2", "b/c/"));
  EXPECT_THAT(List("", "/", "", 2), ElementsAre("a", "b/", "..."));
  EXPECT_THAT(List("", "/", "b/"), ElementsAre("c", "d/"));
  EXPECT_THAT(List("", "/", "b/1"), ElementsAre("c", "d/"));
  EXPECT_THAT(List("", "", "b/1"), ElementsAre("b/2", "b/c/3", "c", "d/"));
  EXPECT_THAT(List("", "/", "a"), ElementsAre("b/", "c", "d/"));
  EXPECT_THAT(List("", "", "", 6), ElementsAre("a", "b/1", "b/2", "b/c/3", "c", "d/"));
}

TEST_F(S3StorageTest, CompletesUploadsAcrossRestarts) {
  ObjectMeta meta;
  meta.key = "big";
  auto id = storage_->CreateUpload("bucket", meta);
  ASSERT_TRUE(id.ok());
  const std::string part(5 * kMiB, 'p');
  std::vector<std::pair<int, std::string>> parts;
  for (int number : {1, 7}) {
    auto draft = storage_->NewDraft();
    ASSERT_TRUE((*draft)->Write(AsBytes(part)).ok());
    ObjectMeta of_part;
    of_part.key = "big";
    of_part.etag = "0123456789abcdef0123456789abcdef";
    ASSERT_TRUE(storage_->PutPart("bucket", "big", *id, number, **draft, of_part).ok());
    parts.emplace_back(number, of_part.etag);
  }
  Open();
  EXPECT_EQ(storage_->FindUpload("bucket", "big", *id)->parts.size(), 2U);
  EXPECT_EQ(storage_->DeleteBucket("bucket").error().code, "BucketNotEmpty");
  auto wrong = storage_->CompleteUpload("bucket", "other", *id, parts, {});
  EXPECT_EQ(wrong.error().code, "NoSuchUpload");
  auto done = storage_->CompleteUpload("bucket", "big", *id, parts, {});
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(done->size, 2 * part.size());
  EXPECT_TRUE(done->etag.ends_with("-2"));
  EXPECT_EQ(storage_->FindUpload("bucket", "big", *id).error().code, "NoSuchUpload");
  EXPECT_TRUE(fs::is_empty(folder_ + "/buckets/bucket/uploads"));
}

}  // namespace
}  // namespace thinsnap::s3
