#include "snapshotter/store/location.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <map>
#include <stdlib.h>

#include "base/core/file.h"
#include "base/net/http_server.h"
#include "snapshotter/store/metering_store.h"

namespace thinsnap::store {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class LocationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / "thinsnap-location-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<std::unique_ptr<ObjectStore>> Open(const std::string& url,
                                            const std::string& endpoint = "") {
    Location location;
    location.url = url;
    location.endpoint = endpoint;
    location.credentials.access_key_id = "id";
    location.credentials.secret_access_key = Secret("secret");
    return OpenStore(runtime_, random_, location);
  }
  std::string Refusal(const std::string& url, const std::string& endpoint = "") {
    const auto store = Open(url, endpoint);
    EXPECT_FALSE(store.ok()) << url;
    if (store.ok()) return "";
    EXPECT_EQ(store.error().code(), Code::kInvalidArgument) << url;
    return store.error().message();
  }

  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_{clock_};
  std::string folder_;
};

TEST_F(LocationTest, OpensWhatItAccepts) {
  EXPECT_EQ((*Open("s3://bucket"))->Describe(), "s3://bucket/");
  EXPECT_EQ((*Open("s3://bucket/a/b/"))->Describe(), "s3://bucket/a/b/");
  EXPECT_EQ((*Open("s3://bucket/a%20b", "https://host:9000"))->Describe(), "s3://bucket/a b/");
  EXPECT_EQ((*Open("s3+http://host:9000/bucket/x"))->Describe(), "s3://bucket/x/");
  EXPECT_EQ((*Open("s3+https://host/bucket"))->Describe(), "s3://bucket/");
  EXPECT_EQ((*Open("file://" + folder_ + "/a"))->Describe(), "file://" + folder_ + "/a");
  EXPECT_EQ((*Open(folder_ + "/b/"))->Describe(), "file://" + folder_ + "/b");
}

TEST_F(LocationTest, SaysWhatIsWrong) {
  EXPECT_THAT(Refusal(""), HasSubstr("empty"));
  EXPECT_THAT(Refusal("ftp://x/y"), HasSubstr("s3://bucket/prefix"));
  EXPECT_THAT(Refusal("memory:x"), HasSubstr("no known kind"));
  EXPECT_THAT(Refusal("relative/path"), HasSubstr("a path that starts with /"));
  EXPECT_THAT(Refusal("file://host/path"), HasSubstr("three slashes"));
  EXPECT_THAT(Refusal("s3://"), HasSubstr("host is missing"));
  EXPECT_THAT(Refusal("s3://UPPER/x"), HasSubstr("UPPER"));
  EXPECT_THAT(Refusal("s3://bu/x"), HasSubstr("3 to 63"));
  EXPECT_THAT(Refusal("s3://bucket//x"), HasSubstr("empty part"));
  EXPECT_THAT(Refusal("s3://bucket/a/../b"), HasSubstr("\"..\""));
  EXPECT_THAT(Refusal("s3+http://host:9000/"), HasSubstr("bucket is missing"));
  EXPECT_THAT(Refusal("s3+http://host:99999/bucket"), HasSubstr("port"));
  EXPECT_THAT(Refusal("s3+http://host/bucket", "https://other"), HasSubstr("another one"));
  EXPECT_THAT(Refusal("s3://bucket", "host:9000"), HasSubstr("https://host[:port]"));
  EXPECT_THAT(Refusal("/"), HasSubstr("below /"));
}

TEST_F(LocationTest, KeepsSecretsOutOfMessages) {
  EXPECT_THAT(Refusal("s3+http://id:hunter2@host/bucket"), Not(HasSubstr("hunter2")));
  EXPECT_THAT(Refusal("s3://bucket/x?secret=hunter2"), Not(HasSubstr("hunter2")));
  EXPECT_THAT(Refusal("s3://bucket", "https://id:hunter2@host"), Not(HasSubstr("hunter2")));
}

TEST_F(LocationTest, WantsCredentialsForS3) {
  Location location;
  location.url = "s3://bucket";
  const auto store = OpenStore(runtime_, random_, location);
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.error().code(), Code::kUnauthenticated);
}

// Keys come from files, and files end with a line end.
TEST_F(LocationTest, KeysLoseTheirWhiteSpaceAndNeverReachAHeaderWithAnyInside) {
  std::vector<std::string> seen;
  auto server = net::StartHttpServer(runtime_, {}, [&](const net::ServerRequest& request) {
    seen.emplace_back(request.headers.Get("Authorization"));
    return net::ServerResponse::Text(404, "");
  });
  ASSERT_TRUE(server.ok());
  Location location;
  location.url = "s3+http://127.0.0.1:" + std::to_string((*server)->port()) + "/bucket/x";
  for (const char* id : {"demo\n", "demo\r\n", " demo\t"}) {
    location.credentials.access_key_id = id;
    location.credentials.secret_access_key = Secret("secret\n");
    auto store = OpenStore(runtime_, random_, location);
    ASSERT_TRUE(store.ok()) << store.error().message();
    EXPECT_TRUE((*store)->Head("key").Is(Code::kNotFound));
    ASSERT_FALSE(seen.empty());
    EXPECT_THAT(seen.back(), HasSubstr(" Credential=demo/"));
  }
  const std::size_t asked = seen.size();
  const auto refused = [&](const std::string& id, const std::string& secret,
                           const std::string& token, const std::string& name) {
    location.credentials = {id, Secret(secret), Secret(token)};
    const auto store = OpenStore(runtime_, random_, location);
    ASSERT_FALSE(store.ok()) << name;
    EXPECT_TRUE(store.Is(Code::kInvalidArgument));
    EXPECT_THAT(store.error().message(), HasSubstr(name));
    EXPECT_THAT(store.error().message(), Not(HasSubstr("hidden")));
  };
  refused("demo\nX-Injected: hidden", "secret", "", "AWS_ACCESS_KEY_ID");
  refused("demo", "hid\rden", "", "AWS_SECRET_ACCESS_KEY");
  refused("demo", "secret", "hidden\x01token", "AWS_SESSION_TOKEN");
  EXPECT_EQ(seen.size(), asked);
}

TEST_F(LocationTest, CountsThroughTheMeter) {
  Location location;
  location.url = folder_ + "/metered";
  const auto meter = std::make_shared<StoreMeter>();
  const auto store = OpenStore(runtime_, random_, location, meter);
  ASSERT_TRUE(store.ok()) << store.error().ToString();
  ASSERT_TRUE((*store)->Put("key", AsBytes("12345")).ok());
  ASSERT_TRUE((*store)->Get("key", ByteRange{1, 2}).ok());
  ASSERT_FALSE((*store)->Get("none").ok());
  EXPECT_EQ(meter->Of(StoreVerb::kPut).requests, 1U);
  EXPECT_EQ(meter->Of(StoreVerb::kPut).bytes, 5U);
  EXPECT_EQ(meter->Of(StoreVerb::kGet).requests, 2U);
  EXPECT_EQ(meter->Of(StoreVerb::kGet).bytes, 2U);
  EXPECT_EQ(meter->Total().requests, 3U);
  EXPECT_EQ(meter->Total().errors, 0U);
}

class AwsEnvironmentTest : public LocationTest {
 protected:
  Status Fill(Location& location) {
    return FillFromAwsEnvironment(
        [this](const std::string& name) -> std::optional<std::string> {
          const auto found = environment_.find(name);
          if (found == environment_.end()) return std::nullopt;
          return found->second;
        },
        location);
  }
  void SetUp() override {
    LocationTest::SetUp();
    environment_["HOME"] = folder_;
    ASSERT_TRUE(MakeFolders(folder_ + "/.aws").ok());
    ASSERT_TRUE(
        WriteFileAtomic(folder_ + "/.aws/credentials",
                        "# comment\n[default]\naws_access_key_id = "
                        "from-file\naws_secret_access_key=file-secret\n"
                        "[other]\naws_access_key_id=other\naws_secret_access_key=other-secret\n"
                        "aws_session_token=token\n")
            .ok());
    ASSERT_TRUE(
        WriteFileAtomic(folder_ + "/.aws/config",
                        "[default]\nregion = eu-west-1\ns3 =\n  region = nested\n[profile other]\n"
                        "region=eu-north-1\nendpoint_url=https://files.example:9000/\n")
            .ok());
  }

  std::map<std::string, std::string> environment_;
};

TEST_F(AwsEnvironmentTest, PrefersTheEnvironment) {
  environment_["AWS_ACCESS_KEY_ID"] = "from-env";
  environment_["AWS_SECRET_ACCESS_KEY"] = "env-secret";
  environment_["AWS_REGION"] = "ap-south-1";
  environment_["AWS_ENDPOINT_URL"] = "https://any:1";
  environment_["AWS_ENDPOINT_URL_S3"] = "https://s3:1";
  Location location;
  location.url = "s3://bucket";
  ASSERT_TRUE(Fill(location).ok());
  EXPECT_EQ(location.credentials.access_key_id, "from-env");
  EXPECT_TRUE(location.credentials.secret_access_key.Equals("env-secret"));
  EXPECT_EQ(location.region, "ap-south-1");
  EXPECT_EQ(location.endpoint, "https://s3:1");
}

TEST_F(AwsEnvironmentTest, ReadsProfiles) {
  Location location;
  location.url = "s3://bucket";
  ASSERT_TRUE(Fill(location).ok());
  EXPECT_EQ(location.credentials.access_key_id, "from-file");
  EXPECT_EQ(location.region, "eu-west-1");
  environment_["AWS_PROFILE"] = "other";
  Location other;
  other.url = "s3://bucket";
  ASSERT_TRUE(Fill(other).ok());
  EXPECT_EQ(other.credentials.access_key_id, "other");
  EXPECT_TRUE(other.credentials.session_token.Equals("token"));
  EXPECT_EQ(other.region, "eu-north-1");
  EXPECT_EQ(other.endpoint, "https://files.example:9000");
  environment_["AWS_PROFILE"] = "missing";
  Location missing;
  missing.url = "s3://bucket";
  EXPECT_TRUE(Fill(missing).Is(Code::kNotFound));
}

TEST_F(AwsEnvironmentTest, LeavesWhatIsGiven) {
  environment_["AWS_ACCESS_KEY_ID"] = "from-env";
  environment_["AWS_SECRET_ACCESS_KEY"] = "env-secret";
  Location location;
  location.url = "s3+http://host:1/bucket";
  location.credentials.access_key_id = "mine";
  location.credentials.secret_access_key = Secret("my secret");
  environment_["AWS_ENDPOINT_URL"] = "https://any:1";
  ASSERT_TRUE(Fill(location).ok());
  EXPECT_EQ(location.credentials.access_key_id, "mine");
  EXPECT_EQ(location.endpoint, "");
}

TEST_F(AwsEnvironmentTest, RefusesHalfAKey) {
  environment_["AWS_ACCESS_KEY_ID"] = "from-env";
  Location location;
  location.url = "s3://bucket";
  const auto filled = Fill(location);
  ASSERT_TRUE(filled.Is(Code::kInvalidArgument));
  EXPECT_THAT(filled.error().message(), HasSubstr("AWS_SECRET_ACCESS_KEY"));
}

// A service's HOME is often another user's, or none at all.
TEST_F(AwsEnvironmentTest, AFileThatNobodyNamedAndThatCannotBeReadIsLikeNone) {
  for (const std::string& home : {folder_ + "/.aws/config", std::string("/dev/null")}) {
    environment_ = {{"HOME", home}};
    Location location;
    location.url = "s3://bucket";
    const Status without = Fill(location);
    ASSERT_TRUE(without.Is(Code::kUnauthenticated));
    EXPECT_THAT(without.error().message(), HasSubstr(home + "/.aws/credentials"));
    environment_["AWS_ACCESS_KEY_ID"] = "from-env";
    environment_["AWS_SECRET_ACCESS_KEY"] = "env-secret";
    ASSERT_TRUE(Fill(location).ok());
    EXPECT_EQ(location.credentials.access_key_id, "from-env");
    for (const char* name : {"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"}) {
      environment_[name] = home + "/named";
      EXPECT_FALSE(Fill(location).ok()) << name;
      environment_.erase(name);
    }
    environment_["AWS_PROFILE"] = "mine";
    EXPECT_FALSE(Fill(location).ok());
  }
}

TEST_F(AwsEnvironmentTest, NothingOfAwsConcernsAFolder) {
  environment_ = {{"HOME", "/dev/null"},
                  {"AWS_ACCESS_KEY_ID", "half"},
                  {"AWS_CA_BUNDLE", "/nonexistent.pem"},
                  {"AWS_PROFILE", "none"}};
  for (const std::string& url : {"file://" + folder_, folder_}) {
    Location location;
    location.url = url;
    EXPECT_TRUE(Fill(location).ok());
    EXPECT_EQ(location.credentials.access_key_id, "");
  }
}

}  // namespace
}  // namespace thinsnap::store
