// The thinsnap command from end to end: every form of URL, what it says when something is wrong,
// and what is left when it is interrupted or killed.
#include <fcntl.h>
#include <filesystem>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/core/file.h"
#include "simulator/s3/s3_server.h"
#include "tests/system/command_fixture.h"

namespace thinsnap::cli {
namespace {

namespace fs = std::filesystem;

class CommandTest : public CommandFixture {
 protected:
  void StartS3(s3::S3Chaos chaos = {}) {
    s3::S3Options options;
    options.data_folder = In("s3");
    options.access_key_id = "id";
    options.secret_access_key = Secret("a secret key");
    options.buckets = {"bucket"};
    options.chaos = chaos;
    auto server = s3::StartS3Server(runtime_, random_, std::move(options));
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = std::move(server).value();
    environment_["AWS_ACCESS_KEY_ID"] = "id";
    environment_["AWS_SECRET_ACCESS_KEY"] = "a secret key";
    repository_ = "s3+http://" + Host() + "/bucket/some/prefix";
  }
  std::string Host() const { return "127.0.0.1:" + std::to_string(server_->port()); }

  // Files under the folder, at any depth, whose path holds `part`.
  static std::size_t CountFiles(const std::string& folder, const std::string& part,
                                std::uint64_t at_least_bytes = 0) {
    std::size_t count = 0;
    std::error_code error;
    for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
         it.increment(error)) {
      std::error_code gone;
      const bool wanted = it->is_regular_file(gone) && it->file_size(gone) >= at_least_bytes;
      if (wanted && !gone && it->path().string().find(part) != std::string::npos) ++count;
    }
    return count;
  }
  // Full packs in the bucket, whose objects lie under the hashes of their names.
  std::size_t CountPacksInBucket() const { return CountFiles(In("s3"), "/objects/", 8 * kMiB); }

  std::unique_ptr<s3::S3Server> server_;
};

TEST_F(CommandTest, EveryFormOfUrlNamesARepository) {
  const std::string image = MakeImage("image", 3 * kMiB + 5);
  StartS3();
  environment_["AWS_ENDPOINT_URL"] = "http://" + Host();
  for (const std::string& url :
       {std::string("relative/path"), In("plain"), "file://" + In("a%20url"),
        "s3+http://" + Host() + "/bucket/prefix", std::string("s3://bucket/other/prefix"),
        std::string("s3://bucket")}) {
    SCOPED_TRACE(url);
    repository_ = url;
    ExpectOk({"init"});
    ExpectOk({"backup", image});
    ExpectOk({"restore", "latest", "--target", In("copy")});
    EXPECT_TRUE(SameBytes(image, In("copy")));
    fs::remove(In("copy"));
    ExpectOk({"verify", "--data"});
    const auto points = Points();
    ASSERT_EQ(points.size(), 1U);
    ExpectOk({"show", points[0].substr(0, 8)});
    ExpectOk({"forget", points[0]});
    ExpectSays({"forget", points[0]}, 3, "forgotten");
    ExpectSays({"restore", "latest", "--target", In("copy")}, 3, "holds no point");
    EXPECT_FALSE(fs::exists(In("copy")));
  }
}

TEST_F(CommandTest, WhatIsWrongIsSaid) {
  const std::string image = MakeImage("image", kMiB);
  ExpectSays({"list"}, 3, "there is no repo.json");
  EXPECT_FALSE(fs::exists(repository_)) << "a look left a trace";
  ExpectOk({"init"});
  ExpectSays({"init"}, 1, "holds a repository already");
  ExpectSays({"restore", "latest", "--target", In("x")}, 3, "holds no point");
  ExpectOk({"backup", image});
  ExpectSays({"backup", In("missing")}, 3, "no such file or device");
  ExpectSays({"backup", folder_}, 2, "is a folder");
  ExpectSays({"backup", "/dev/null"}, 2, "neither a block device nor a file");
  ExpectSays({"backup", image, "--series", "a/b"}, 2, "series");
  ExpectSays({"show", "zzz"}, 3, "thinsnap list");
  ExpectSays({"show"}, 2, "point");
  ExpectSays({"list", "more"}, 2, "more");
  ExpectSays({"frob"}, 2, "");
  ExpectSays({"forget", "latest"}, 2, "another one each time");
  ExpectSays({"restore", "latest", "--target", image}, 1, "--force overwrites it");
  ExpectSays({"restore", "latest", "--target", folder_}, 2, "is a folder");
  ExpectSays({"restore", "latest", "--target", In("no/folder")}, 3, "there is no folder");
  environment_["THINSNAP_PASSPHRASE"] = "another";
  ExpectSays({"list"}, 4, "the passphrase does not open");
  environment_.erase("THINSNAP_PASSPHRASE");
  ExpectSays({"list"}, 4, "no passphrase was given");
  ASSERT_TRUE(WriteFileAtomic(In("passphrase"), "a passphrase\n").ok());
  ExpectOk({"list", "--passphrase-file", In("passphrase")});
  ExpectSays({"list", "--passphrase-file", In("none")}, 3, "--passphrase-file");
  repository_ = "ftp://host/x";
  ExpectSays({"list"}, 2, "accepted are s3://");
  repository_ = image;
  ExpectSays({"list"}, 2, "is not a folder");
  repository_ = In("new");
  ExpectSays({"init"}, 2, "--plain");
  ExpectOk({"init", "--plain"});
  environment_["THINSNAP_PASSPHRASE"] = "a passphrase";
  ExpectSays({"list"}, 1, "is a plain repository");
}

// In capitals, too, as in other programs; nothing listens at that port.
TEST_F(CommandTest, TheProxyOfTheEnvironmentIsAsked) {
  environment_["AWS_ACCESS_KEY_ID"] = "id";
  environment_["AWS_SECRET_ACCESS_KEY"] = "secret";
  environment_["HTTP_PROXY"] = "http://127.0.0.1:1";
  repository_ = "s3+http://store.example.invalid/bucket";
  ExpectSays({"list"}, 6, "127.0.0.1 port 1");
  environment_["NO_PROXY"] = "example.invalid";
  ExpectSays({"list"}, 6, "Could not resolve host");
}

TEST_F(CommandTest, WhatIsWrongWithABucketIsSaid) {
  StartS3();
  repository_ = "s3+http://" + Host() + "/no-such-bucket/x";
  ExpectSays({"init"}, 1, "bucket \"no-such-bucket\" does not exist");
  repository_ = "s3+http://" + Host() + "/bucket/x";
  ExpectSays({"list"}, 3, "there is no repo.json");
  environment_["AWS_SECRET_ACCESS_KEY"] = "wrong";
  ExpectSays({"list"}, 4, "secret access key does not belong");
  environment_["AWS_ACCESS_KEY_ID"] = "nobody";
  ExpectSays({"list"}, 4, "access key id is unknown");
  environment_.erase("AWS_ACCESS_KEY_ID");
  ExpectSays({"list"}, 2, "AWS_ACCESS_KEY_ID is missing");
  environment_.erase("AWS_SECRET_ACCESS_KEY");
  ExpectSays({"list"}, 4, "access key id and a secret access key are needed");
}

TEST_F(CommandTest, ProgramsGetOneDocument) {
  const std::string image = MakeImage("image", kMiB);
  EXPECT_EQ(StringAt(RunJson({"list"}, 3), "error.code"), "NOT_FOUND");
  EXPECT_EQ(StringAt(RunJson({"init"}), "suite"), "sealed");
  const Json backup = RunJson({"backup", image});
  EXPECT_EQ(IntAt(backup, "sizeBytes"), 1048576);
  const std::string point = StringAt(backup, "point");
  EXPECT_EQ(StringAt(RunJson({"show", "latest"}), "point"), point);
  EXPECT_EQ(StringAt(RunJson({"restore", "latest", "--target", In("copy")}), "restored"), point);
  EXPECT_EQ(ArrayAt(RunJson({"verify"}), "problems").size(), 0U);
  EXPECT_EQ(IntAt(RunJson({"show", "no"}, 3), "error.exitCode"), 3);
  EXPECT_EQ(StringAt(RunJson({"restore", "latest"}, 2), "error.code"), "INVALID_ARGUMENT");
  EXPECT_EQ(StringAt(RunJson({"forget", point}), "forgotten"), point);
  const Outcome lost = Run({"list", "--json", "--repository", "/nowhere"});
  EXPECT_EQ(lost.code, 2);
}

// What a person sees at a terminal: prompts without echo, and a bar.
class TerminalTest : public CommandTest {
 protected:
  TerminalTest() { environment_.erase("THINSNAP_PASSPHRASE"); }

  // Each answer is typed when its prompt has appeared.
  Outcome Type(const std::vector<std::string>& arguments,
               const std::vector<std::pair<std::string, std::string>>& answers) {
    int terminal = -1;
    const std::string program = std::string(THINSNAP_BINARY_DIR) + "/bin/thinsnap";
    const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, nullptr);
    if (pid == 0) {
      std::vector<const char*> argv = {program.c_str(), "-r", repository_.c_str()};
      for (const std::string& argument : arguments) argv.push_back(argument.c_str());
      argv.push_back(nullptr);
      const char* const envp[] = {nullptr};
      ::execve(argv[0], const_cast<char* const*>(argv.data()), const_cast<char* const*>(envp));
      ::_exit(127);
    }
    Outcome outcome;
    std::size_t answered = 0;
    std::size_t from = 0;
    for (char buffer[4096];;) {
      const ssize_t got = ::read(terminal, buffer, sizeof buffer);
      if (got <= 0) break;
      outcome.out.append(buffer, static_cast<std::size_t>(got));
      if (answered == answers.size()) continue;
      const auto prompt = outcome.out.find(answers[answered].first, from);
      if (prompt == std::string::npos) continue;
      termios settings = {};
      EXPECT_EQ(::tcgetattr(terminal, &settings), 0);
      EXPECT_EQ(settings.c_lflag & ECHO, 0U) << "the passphrase would be shown";
      from = prompt + answers[answered].first.size();
      const std::string& answer = answers[answered++].second;
      EXPECT_EQ(::write(terminal, answer.data(), answer.size()),
                static_cast<ssize_t>(answer.size()));
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    ::close(terminal);
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    EXPECT_EQ(outcome.out.find("open sesame"), std::string::npos) << outcome.out;
    return outcome;
  }
};

TEST_F(TerminalTest, AsksForThePassphraseWithoutEcho) {
  EXPECT_EQ(Type({"init"}, {{"passphrase: ", "open sesame\n"}, {"again: ", "open barley\n"}}).code,
            2);
  EXPECT_EQ(Type({"init"}, {{"passphrase: ", "open sesame\n"}, {"again: ", "open sesame\n"}}).code,
            0);
  EXPECT_EQ(Type({"list"}, {{"passphrase: ", "wrong\n"}}).code, 4);
  const std::string image = MakeImage("image", kMiB);
  const Outcome backup = Type({"backup", image}, {{"passphrase: ", "open sesame\n"}});
  EXPECT_EQ(backup.code, 0) << backup.out;
  EXPECT_NE(backup.out.find("100 %"), std::string::npos) << backup.out;
  const Outcome json = Type({"list", "--json"}, {{"passphrase: ", "open sesame\n"}});
  EXPECT_EQ(json.code, 0);
  EXPECT_EQ(json.out.find("%"), std::string::npos) << json.out;
}

TEST_F(TerminalTest, AStopAtThePromptEndsItAndShowsInputAgain) {
  EXPECT_EQ(Type({"init"}, {{"passphrase: ", "\x03"}}).code, 130);
  EXPECT_EQ(Type({"init"}, {{"passphrase: ", "\x04"}}).code, 130);
  EXPECT_FALSE(fs::exists(repository_));
}

TEST_F(CommandTest, AnInterruptedBackupGoesOn) {
  StartS3({.latency = std::chrono::milliseconds(150)});
  const std::string image = MakeImage("image", 112 * kMiB);
  ExpectOk({"init"});
  const pid_t pid = Start({"backup", image});
  ASSERT_TRUE(WaitWhileRunning(pid, [&] { return CountPacksInBucket() >= 3; }));
  ::kill(pid, SIGINT);
  const Outcome stopped = Await(pid);
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_NE(stopped.err.find("goes on from there"), std::string::npos) << stopped.err;
  EXPECT_TRUE(Points().empty());
  server_->SetChaos({});
  ExpectSays({"restore", "latest", "--target", In("copy")}, 3, "holds no point");
  const Outcome second = Run({"backup", image});
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_NE(second.out.find("going on with a backup that was interrupted"), std::string::npos);
  // Two are under way at once: of three, one was acknowledged.
  const Json point = RunJson({"show", "latest"});
  EXPECT_LT(IntAt(point, "uploadedBytes"), 100 * static_cast<std::int64_t>(kMiB));
  ExpectOk({"restore", "latest", "--target", In("copy")});
  EXPECT_TRUE(SameBytes(image, In("copy")));
  ExpectOk({"verify", "--data"});
}

TEST_F(CommandTest, AKilledBackupLeavesNothingHalf) {
  const std::string image = MakeImage("image", 80 * kMiB);
  ExpectOk({"init"});
  ExpectOk({"backup", MakeImage("first", 2 * kMiB), "--series", "s"});
  SeededRandom random(4);
  for (std::size_t round = 0; round < 5; ++round) {
    const std::size_t packs = CountFiles(repository_, "packs/data");
    const pid_t pid = Start({"backup", image, "--series", "s"});
    // Before the first pack, or after some.
    EXPECT_TRUE(WaitWhileRunning(pid, [&] {
      return CountFiles(repository_, "sessions/") > round &&
             CountFiles(repository_, "packs/data") >= packs + round % 3;
    }));
    ::kill(pid, SIGKILL);
    EXPECT_EQ(Await(pid).code, 128 + SIGKILL);
    EXPECT_EQ(Points().size(), 1U);
    ExpectOk({"verify"});
  }
  ExpectOk({"backup", image, "--series", "s"});
  EXPECT_EQ(Points().size(), 2U);
  ExpectOk({"restore", "latest", "--target", In("copy")});
  EXPECT_TRUE(SameBytes(image, In("copy")));
  ExpectOk({"verify", "--data"});
}

TEST_F(CommandTest, ARestoreThatEndsEarlyLeavesNoTarget) {
  StartS3();
  const std::string image = MakeImage("image", 80 * kMiB);
  ExpectOk({"init"});
  ExpectOk({"backup", image});
  server_->SetChaos({.latency = std::chrono::milliseconds(150)});
  const std::string target = In("copy");
  const std::string half = In(".copy.thinsnap-restore");
  for (const int signal : {SIGKILL, SIGINT, SIGTERM}) {
    fs::remove(half);
    const pid_t pid = Start({"restore", "latest", "--target", target});
    ASSERT_TRUE(WaitWhileRunning(pid, [&] { return fs::exists(half); }));
    ::kill(pid, signal);
    EXPECT_EQ(Await(pid).code, signal == SIGKILL ? 128 + SIGKILL : 130);
    EXPECT_FALSE(fs::exists(target));
    EXPECT_EQ(fs::exists(half), signal == SIGKILL);
  }
  server_->SetChaos({});
  ASSERT_TRUE(WriteFileAtomic(half, "of a killed one").ok());
  ExpectOk({"restore", "latest", "--target", target});
  EXPECT_TRUE(SameBytes(image, target));
  EXPECT_FALSE(fs::exists(half));
}

TEST_F(CommandTest, ASourceThatShrinksOrIsWrittenToIsNoticed) {
  StartS3({.latency = std::chrono::milliseconds(100)});
  ExpectOk({"init"});
  const std::string image = MakeImage("image", 128 * kMiB);
  const pid_t shrinking = Start({"backup", image});
  ASSERT_TRUE(WaitWhileRunning(shrinking, [&] { return CountPacksInBucket() >= 1; }));
  ASSERT_EQ(::truncate(image.c_str(), static_cast<off_t>(kMiB)), 0);
  const Outcome shrunk = Await(shrinking);
  EXPECT_EQ(shrunk.code, 1) << shrunk.err;
  EXPECT_NE(shrunk.err.find("became shorter while it was read"), std::string::npos) << shrunk.err;
  EXPECT_TRUE(Points().empty());
  MakeImage("image", 64 * kMiB);
  const std::size_t packs = CountPacksInBucket();
  const pid_t written = Start({"backup", image});
  ASSERT_TRUE(WaitWhileRunning(written, [&] { return CountPacksInBucket() >= packs + 1; }));
  const UniqueFd fd(::open(image.c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(::pwrite(fd.get(), "x", 1, 5), 1);
  const Outcome warned = Await(written);
  EXPECT_EQ(warned.code, 0) << warned.err;
  EXPECT_NE(warned.err.find("was written to while it was read"), std::string::npos) << warned.err;
}

}  // namespace
}  // namespace thinsnap::cli
