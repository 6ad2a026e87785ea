#include "tests/system/command_fixture.h"

#include <fcntl.h>
#include <filesystem>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"

namespace thinsnap::cli {

CommandFixture::CommandFixture() {
  folder_ = (std::filesystem::temp_directory_path() / "thinsnap-command-XXXXXX").string();
  EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
  repository_ = In("repository");
  environment_ = {{"THINSNAP_PASSPHRASE", "a passphrase"}, {"HOME", folder_}};
}

CommandFixture::~CommandFixture() {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

std::string CommandFixture::MakeImage(const std::string& name, std::size_t size_bytes) {
  SeededRandom random(size_bytes);
  Bytes bytes(size_bytes);
  random.Fill(bytes);
  EXPECT_TRUE(WriteFileAtomic(In(name), AsText(bytes)).ok());
  return In(name);
}

bool CommandFixture::SameBytes(const std::string& a, const std::string& b) {
  const auto one = ReadFile(a, kGiB);
  const auto other = ReadFile(b, kGiB);
  return one.ok() && other.ok() && *one == *other;
}

std::string CommandFixture::OutputOf(pid_t pid, const char* which) const {
  return In("." + std::to_string(pid) + "." + which);
}

pid_t CommandFixture::Start(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {std::string(THINSNAP_BINARY_DIR) + "/bin/thinsnap",
                                  "--repository", repository_};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : all) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> settings;
  for (const auto& [name, value] : environment_) settings.push_back(name + "=" + value);
  std::vector<char*> envp;
  for (std::string& setting : settings) envp.push_back(setting.data());
  envp.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const std::string out = OutputOf(::getpid(), "out");
  const std::string err = OutputOf(::getpid(), "err");
  ::close(0);
  ::open("/dev/null", O_RDONLY);
  ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), 1);
  ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), 2);
  if (::chdir(folder_.c_str()) == 0) ::execve(argv[0], argv.data(), envp.data());
  ::_exit(127);
}

bool CommandFixture::Ended(pid_t pid) {
  siginfo_t info = {};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid;
}

Outcome CommandFixture::Await(pid_t pid) {
  Outcome outcome;
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) return outcome;
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  for (const auto& [which, text] : {std::pair("out", &outcome.out), {"err", &outcome.err}}) {
    const std::string path = OutputOf(pid, which);
    if (auto content = ReadFile(path); content.ok()) *text = std::move(content).value();
    ::unlink(path.c_str());
  }
  return outcome;
}

Json CommandFixture::RunJson(std::vector<std::string> arguments, int code) {
  arguments.emplace_back("--json");
  const Outcome outcome = Run(arguments);
  EXPECT_EQ(outcome.code, code) << arguments[0] << ": " << outcome.out << outcome.err;
  EXPECT_EQ(outcome.err, "") << arguments[0];
  auto document = ParseJson(outcome.out);
  EXPECT_TRUE(document.ok()) << outcome.out;
  return document.ok() ? std::move(document).value() : Json(JsonObject());
}

void CommandFixture::ExpectOk(const std::vector<std::string>& arguments) {
  const Outcome outcome = Run(arguments);
  EXPECT_EQ(outcome.code, 0) << arguments[0] << ": " << outcome.err;
}

void CommandFixture::ExpectSays(const std::vector<std::string>& arguments, int code,
                                const std::string& words) {
  const Outcome outcome = Run(arguments);
  const std::string verb = arguments.empty() ? "" : arguments[0];
  EXPECT_EQ(outcome.code, code) << verb << ": " << outcome.err;
  EXPECT_NE(outcome.err.find(words), std::string::npos) << verb << ": " << outcome.err;
  EXPECT_EQ(outcome.err.find("a passphrase\""), std::string::npos) << "a secret was said";
}

std::vector<std::string> CommandFixture::Points() {
  std::vector<std::string> names;
  const Json list = RunJson({"list"});
  for (const Json& point : ArrayAt(list, "points")) {
    names.push_back(StringAt(point, "point"));
  }
  return names;
}

}  // namespace thinsnap::cli
