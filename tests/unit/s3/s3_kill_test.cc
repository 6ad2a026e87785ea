// A server that is killed at any moment: what it acknowledged is there, and nothing by halves.
#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/core/file.h"
#include "base/net/http_client.h"
#include "simulator/s3/s3_server.h"
#include "snapshotter/store/s3_store.h"

namespace thinsnap::s3 {
namespace {

struct ServerProcess {
  pid_t pid = -1;
  int port = 0;
};

ServerProcess StartProcess(const std::string& folder) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  ServerProcess process;
  process.pid = ::fork();
  if (process.pid == 0) {
    SystemClock clock;
    SystemRandom random;
    ThreadRuntime runtime(clock);
    S3Options options;
    options.data_folder = folder;
    options.buckets = {"bucket"};
    options.access_key_id = "id";
    options.secret_access_key = Secret("secret");
    const auto server = StartS3Server(runtime, random, std::move(options));
    const int port = server.ok() ? (*server)->port() : -1;
    if (::write(ends[1], &port, sizeof port) != sizeof port) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(ends[1]);
  EXPECT_EQ(::read(ends[0], &process.port, sizeof process.port),
            static_cast<ssize_t>(sizeof process.port));
  ::close(ends[0]);
  return process;
}

void Kill(const ServerProcess& process) {
  ::kill(process.pid, SIGKILL);
  int status = 0;
  ::waitpid(process.pid, &status, 0);
}

store::S3ObjectStore Connect(Clock& clock, int port) {
  store::S3Bucket where;
  where.endpoint = "http://127.0.0.1:" + std::to_string(port);
  where.bucket = "bucket";
  where.region = "us-east-1";
  return store::S3ObjectStore(clock, net::MakeHttpClient({}), where,
                              {"id", Secret("secret"), Secret()});
}

TEST(S3KillTest, KeepsWhatItAcknowledged) {
  std::string folder =
      (std::filesystem::temp_directory_path() / "thinsnap-s3-kill-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  SystemClock clock;
  SeededRandom random(17);
  // The number of the version that was acknowledged last, and of the one that may have been written
  // besides.
  std::map<std::string, std::pair<int, int>> versions;
  const auto body = [](int version) {
    return std::string(200'000, static_cast<char>('a' + version % 26));
  };
  for (int round = 0; round < 6; ++round) {
    const ServerProcess process = StartProcess(folder);
    ASSERT_GT(process.port, 0);
    auto store = Connect(clock, process.port);
    for (auto& [key, version] : versions) {
      const auto got = store.Get(key);
      if (!got.ok()) {
        EXPECT_TRUE(got.Is(Code::kNotFound)) << got.error().ToString();
        EXPECT_EQ(version.first, 0) << key << " is lost";
        continue;
      }
      const std::string found(AsText(got->bytes));
      if (found == body(version.second)) {
        version.first = version.second;
      } else {
        EXPECT_TRUE(found == body(version.first)) << key << " is damaged";
        version.second = version.first;
      }
    }
    const std::uint64_t writes = random.Below(12);
    for (std::uint64_t i = 0; i < writes; ++i) {
      const std::string key = "key" + std::to_string(random.Below(5));
      auto& version = versions[key];
      version.second = version.first + 1;
      ASSERT_TRUE(store.Put(key, AsBytes(body(version.second))).ok());
      version.first = version.second;
    }
    // One more is under way when the server dies.
    ThreadRuntime runtime(clock);
    TaskGroup group(runtime);
    auto& last = versions["key0"];
    last.second = last.first + 1;
    bool acknowledged = false;
    group.Spawn("put", [&] { acknowledged = store.Put("key0", AsBytes(body(last.second))).ok(); });
    for (std::uint64_t pause = random.Below(3000); pause > 0; --pause) ::sched_yield();
    Kill(process);
    group.Join();
    if (acknowledged) last.first = last.second;
  }
  EXPECT_GE(versions.size(), 3U);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace thinsnap::s3
