// The server under faults, and what its client makes of them.
#include "simulator/s3/s3_server.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <stdlib.h>

#include "base/net/http_client.h"
#include "snapshotter/store/location.h"
#include "snapshotter/store/s3_store.h"

namespace thinsnap::s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class S3ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / "thinsnap-s3-server-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    S3Options options;
    options.data_folder = folder_;
    options.buckets = {"bucket"};
    auto server = StartS3Server(runtime_, random_, std::move(options));
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = std::move(server).value();
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string Endpoint() { return "http://127.0.0.1:" + std::to_string(server_->port()); }

  // Without retries.
  std::unique_ptr<store::S3ObjectStore> Bare(const std::string& bucket, const std::string& id,
                                             const Secret& secret,
                                             const std::string& region = "us-east-1") {
    store::S3Bucket where;
    where.endpoint = Endpoint();
    where.bucket = bucket;
    where.region = region;
    return std::make_unique<store::S3ObjectStore>(clock_, net::MakeHttpClient({}), where,
                                                  store::Credentials{id, secret, Secret()});
  }
  std::unique_ptr<store::S3ObjectStore> Bare() {
    return Bare("bucket", server_->access_key_id(), server_->secret_access_key());
  }

  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_{clock_};
  std::string folder_;
  std::unique_ptr<S3Server> server_;
};

TEST_F(S3ServerTest, MakesNoBucketThatItWouldNotServe) {
  S3Options options;
  options.data_folder = folder_ + "/other";
  options.buckets = {"b"};
  EXPECT_TRUE(StartS3Server(runtime_, random_, std::move(options)).Is(Code::kInvalidArgument));
}

TEST_F(S3ServerTest, ExplainsWhatIsWrong) {
  const auto nowhere =
      Bare("no-such-bucket", server_->access_key_id(), server_->secret_access_key())->List("");
  ASSERT_TRUE(nowhere.Is(Code::kFailedPrecondition));
  EXPECT_THAT(nowhere.error().message(),
              HasSubstr("\"no-such-bucket\" does not exist at " + Endpoint()));
  const auto stranger = Bare("bucket", "somebody", Secret("hunter2"))->List("");
  ASSERT_TRUE(stranger.Is(Code::kUnauthenticated));
  EXPECT_THAT(stranger.error().message(), HasSubstr("access key id is unknown"));
  const auto wrong =
      Bare("bucket", server_->access_key_id(), Secret("hunter2"))->Put("key", AsBytes("x"));
  ASSERT_TRUE(wrong.Is(Code::kUnauthenticated));
  EXPECT_THAT(wrong.error().message(), HasSubstr("secret access key does not belong"));
  EXPECT_THAT(wrong.error().message(), Not(HasSubstr("hunter2")));
  const auto elsewhere =
      Bare("bucket", server_->access_key_id(), server_->secret_access_key(), "eu-west-1")->List("");
  ASSERT_TRUE(elsewhere.Is(Code::kInvalidArgument));
  EXPECT_THAT(elsewhere.error().message(), HasSubstr("not in region eu-west-1 but in us-east-1"));
}

TEST_F(S3ServerTest, TellsAClockThatIsWrong) {
  class LateClock final : public Clock {
   public:
    WallTime Now() override { return SystemClock().Now() - std::chrono::hours(1); }
    MonoTime MonoNow() override { return SystemClock().MonoNow(); }
  } late;
  store::S3Bucket where;
  where.endpoint = Endpoint();
  where.bucket = "bucket";
  where.region = "us-east-1";
  store::S3ObjectStore store(late, net::MakeHttpClient({}), where,
                             {server_->access_key_id(), server_->secret_access_key(), Secret()});
  const auto listed = store.List("");
  ASSERT_TRUE(listed.Is(Code::kFailedPrecondition));
  EXPECT_THAT(listed.error().message(), HasSubstr("15 minutes apart"));
}

TEST_F(S3ServerTest, FailsAsItIsTold) {
  const auto store = Bare();
  server_->SetChaos({.seed = 1, .fail = 1000});
  EXPECT_TRUE(store->Put("key", AsBytes("x")).Is(Code::kUnavailable));
  EXPECT_TRUE(store->List("").Is(Code::kUnavailable));
  server_->SetChaos({.seed = 1, .drop = 1000});
  EXPECT_TRUE(store->Put("key", AsBytes("x"), {.if_absent = true}).Is(Code::kUnknownOutcome));
  EXPECT_TRUE(store->Get("key").Is(Code::kUnavailable));
  server_->SetChaos({});
  EXPECT_TRUE(store->Head("key").Is(Code::kNotFound));
  server_->SetChaos({.seed = 1, .lose_answer = 1000});
  EXPECT_TRUE(store->Put("key", AsBytes("x"), {.if_absent = true}).Is(Code::kUnknownOutcome));
  server_->SetChaos({});
  EXPECT_TRUE(store->Head("key").ok());
}

TEST_F(S3ServerTest, IsReachedThroughFaults) {
  store::Location location;
  location.url = "s3+" + Endpoint() + "/bucket/x";
  location.credentials = {server_->access_key_id(), server_->secret_access_key(), Secret()};
  const auto store = store::OpenStore(runtime_, random_, location);
  ASSERT_TRUE(store.ok());
  server_->SetChaos({.seed = 3, .fail = 100, .drop = 100, .lose_answer = 100});
  for (int i = 0; i < 20; ++i) {
    const std::string key = "key" + std::to_string(i);
    const auto put = (*store)->Put(key, AsBytes(key));
    ASSERT_TRUE(put.ok()) << put.error().ToString();
    const auto got = (*store)->Get(key);
    ASSERT_TRUE(got.ok()) << got.error().ToString();
    EXPECT_EQ(AsText(got->bytes), key);
  }
  EXPECT_EQ((*store)->List("")->objects.size(), 20U);
}

TEST_F(S3ServerTest, AnswersWhatItDoesNotKnow) {
  const auto http = net::MakeHttpClient({});
  net::HttpRequest request;
  request.url = Endpoint() + "/bucket?acl";
  const auto unsigned_answer = http->Do(request);
  ASSERT_TRUE(unsigned_answer.ok());
  EXPECT_EQ(unsigned_answer->status, 403);
  EXPECT_THAT(unsigned_answer->body, HasSubstr("<Code>AccessDenied</Code>"));
}

}  // namespace
}  // namespace thinsnap::s3
