// Other people's S3 clients against our server: boto3, the aws command, restic. Each is skipped
// where it is missing.
#include <filesystem>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/core/command.h"
#include "base/core/file.h"
#include "simulator/s3/s3_server.h"
#include "tests/python.h"

namespace thinsnap::s3 {
namespace {

class S3ClientsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / "thinsnap-s3-clients-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    Start();
  }
  void TearDown() override {
    server_.reset();
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }

  void Start() {
    S3Options options;
    options.data_folder = folder_ + "/data";
    options.access_key_id = "TESTKEY";
    options.secret_access_key = Secret("a test's secret/+=");
    auto server = StartS3Server(runtime_, random_, std::move(options));
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = std::move(server).value();
  }

  std::string Endpoint() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }

  Result<CommandOutput> Run(std::vector<std::string> argv) {
    Command command;
    command.argv = std::move(argv);
    command.env = {{"AWS_ACCESS_KEY_ID", "TESTKEY"},
                   {"AWS_SECRET_ACCESS_KEY", "a test's secret/+="},
                   {"AWS_DEFAULT_REGION", "us-east-1"},
                   {"AWS_EC2_METADATA_DISABLED", "true"},
                   {"AWS_CONFIG_FILE", folder_ + "/none"},
                   {"AWS_SHARED_CREDENTIALS_FILE", folder_ + "/none"},
                   {"RESTIC_PASSWORD", "test"},
                   {"RESTIC_CACHE_DIR", folder_ + "/cache"}};
    command.timeout = std::chrono::seconds(100);
    return commands_.Run(command);
  }

  void ExpectWorks(std::vector<std::string> argv) {
    const std::string name = argv[0] + " " + argv[1];
    const auto output = Run(std::move(argv));
    ASSERT_TRUE(output.ok()) << output.error().ToString();
    EXPECT_EQ(output->exit_code, 0) << name << "\n" << output->out << output->err;
  }

  bool Works(std::vector<std::string> argv) {
    const auto output = Run(std::move(argv));
    return output.ok() && output->exit_code == 0;
  }

  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_{clock_};
  PosixCommandRunner commands_;
  std::string folder_;
  std::unique_ptr<S3Server> server_;
};

TEST_F(S3ClientsTest, Boto3) {
  if (!Works({kPython, "-c", "import boto3"})) GTEST_SKIP() << "python3 with boto3 is missing";
  ExpectWorks({kPython, std::string(THINSNAP_SOURCE_DIR) + "/tests/system/boto3_client.py",
               Endpoint(), "bucket"});
}

TEST_F(S3ClientsTest, AwsCommand) {
  if (!Works({"aws", "--version"})) GTEST_SKIP() << "the aws command is missing";
  const auto aws = [&](std::vector<std::string> more) {
    std::vector<std::string> argv = {"aws", "--endpoint-url", Endpoint(), "s3"};
    argv.insert(argv.end(), more.begin(), more.end());
    ExpectWorks(std::move(argv));
  };
  const std::string body(20'000'000, 'x');
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/from/big", body, 0644, kMissing).Is(Code::kNotFound));
  ASSERT_TRUE(MakeFolders(folder_ + "/from/sub").ok());
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/from/big", body).ok());
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/from/sub/small file", "small").ok());
  aws({"mb", "s3://bucket"});
  aws({"sync", folder_ + "/from", "s3://bucket/copy"});
  aws({"cp", "s3://bucket/copy/big", "s3://bucket/moved"});
  aws({"sync", "s3://bucket/copy", folder_ + "/to"});
  EXPECT_TRUE(*ReadFile(folder_ + "/to/big") == body);
  EXPECT_EQ(*ReadFile(folder_ + "/to/sub/small file"), "small");
  aws({"rm", "--recursive", "s3://bucket"});
  aws({"rb", "s3://bucket"});
}

TEST_F(S3ClientsTest, Restic) {
  if (!Works({"restic", "version"})) GTEST_SKIP() << "restic is missing";
  const std::string repository = "s3:" + Endpoint() + "/restic-bucket/repository";
  ASSERT_TRUE(MakeFolders(folder_ + "/from").ok());
  std::string body;
  for (std::uint64_t i = 0; i < 3'000'000; ++i) body += std::to_string(i * 7919);
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/from/file", body).ok());
  ExpectWorks({"restic", "-q", "-r", repository, "init"});
  ExpectWorks({"restic", "-q", "-r", repository, "backup", folder_ + "/from"});
  // What was acknowledged is there after a restart.
  server_.reset();
  Start();
  const std::string again = "s3:" + Endpoint() + "/restic-bucket/repository";
  ExpectWorks({"restic", "-q", "-r", again, "check", "--read-data"});
  ExpectWorks({"restic", "-q", "-r", again, "restore", "latest", "--target", folder_ + "/to"});
  EXPECT_TRUE(*ReadFile(folder_ + "/to" + folder_ + "/from/file", 256 * kMiB) == body);
  ExpectWorks({"restic", "-q", "-r", again, "forget", "latest", "--prune"});
}

}  // namespace
}  // namespace thinsnap::s3
