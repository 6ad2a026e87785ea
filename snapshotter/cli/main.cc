// thinsnap: backs up block devices and images to an object store and restores them. Reads options,
// opens the store, runs one verb, and turns SIGINT and SIGTERM into a stop that the next run
// resumes from.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <optional>
#include <pthread.h>
#include <signal.h>
#include <string>
#include <unistd.h>

#include "base/core/file.h"
#include "base/core/log.h"
#include "base/core/memory.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "snapshotter/cli/commands.h"
#include "snapshotter/cli/passphrase.h"
#include "snapshotter/repo/repository_file.h"
#include "snapshotter/store/location.h"

namespace {

namespace cli = thinsnap::cli;
namespace repo = thinsnap::repo;
namespace store = thinsnap::store;
using thinsnap::Code;
using thinsnap::Error;
using thinsnap::Result;
using thinsnap::Status;

struct Options {
  std::string repository;
  std::string region;
  std::string endpoint;
  std::string ca_file;
  bool insecure_tls = false;
  std::string passphrase_file;
  bool json = false;
  bool plain = false;
  std::string series;
  cli::BackupCommand backup;
  cli::PointCommand point;
  cli::RestoreCommand restore;
  cli::VerifyCommand verify;
};

constexpr const char* kFooter =
    "URL: s3://bucket/prefix, s3+http://host:port/bucket/prefix, s3+https://..., file:///folder or "
    "a plain path.\n"
    "Passphrase: --passphrase-file, THINSNAP_PASSPHRASE, or a prompt. Credentials: the AWS_* "
    "variables or ~/.aws.\n"
    "Exit code: 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 damage found, 6 store not "
    "reached,\n130 interrupted (the next backup goes on from there).";

std::optional<std::string> Environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

Result<std::unique_ptr<store::ObjectStore>> OpenStore(const Options& options,
                                                      thinsnap::Runtime& runtime,
                                                      thinsnap::Random& random) {
  store::Location location;
  location.url = options.repository;
  if (location.url.find("://") == std::string::npos) {
    location.url = std::filesystem::absolute(location.url).lexically_normal();
  }
  location.insecure_tls = options.insecure_tls;
  TRY(store::FillFromAwsEnvironment(Environment, location));
  if (!options.region.empty()) location.region = options.region;
  if (!options.endpoint.empty()) location.endpoint = options.endpoint;
  if (!options.ca_file.empty()) {
    location.ca_pem = TRY(thinsnap::ReadFile(options.ca_file, thinsnap::kMiB).In("--ca-file"));
  }
  return store::OpenStore(runtime, random, location);
}

Status Run(const Options& options, const std::string& verb, thinsnap::Runtime& runtime,
           thinsnap::Random& random, cli::Console& console, const cli::PassphraseSources& sources) {
  const auto opened = TRY(OpenStore(options, runtime, random));
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  cli::Context context{*opened, runtime, random, console, host.data()};
  if (verb == "init") {
    cli::InitCommand init;
    if (!options.plain) {
      init.passphrase = TRY(cli::FindPassphrase(sources, true, true));
      if (!init.passphrase) {
        return Error(
            Code::kInvalidArgument,
            "a passphrase is needed: THINSNAP_PASSPHRASE, --passphrase-file or a terminal; "
            "or --plain for a repository that anyone with access to the store can read");
      }
    }
    return cli::RunInit(context, init);
  }
  const repo::RepositoryHeader header = TRY(repo::ReadRepositoryHeader(*opened));
  const bool sealed = header.suite == repo::Suite::kSealed;
  repo::OpenOptions open;
  open.passphrase = TRY(cli::FindPassphrase(sources, sealed, false));
  if (sealed && !open.passphrase) {
    return Error(Code::kUnauthenticated,
                 opened->Describe() +
                     " is a sealed repository and no passphrase was given: THINSNAP_PASSPHRASE, "
                     "--passphrase-file and a terminal are accepted");
  }
  const auto repository = TRY(repo::OpenRepository(*opened, runtime, random, open));
  if (verb == "backup") return cli::RunBackup(context, *repository, options.backup);
  if (verb == "list") return cli::RunList(context, *repository, {options.series});
  if (verb == "show") return cli::RunShow(context, *repository, options.point);
  if (verb == "restore") return cli::RunRestore(context, *repository, options.restore);
  if (verb == "forget") return cli::RunForget(context, *repository, options.point);
  return cli::RunVerify(context, *repository, options.verify);
}

// Waits for the end of the work; a first signal stops it, a second one ends the process.
void AwaitEnd(thinsnap::TaskGroup& group, const sigset_t& signals) {
  bool stopping = false;
  for (;;) {
    int signal = 0;
    if (::sigwait(&signals, &signal) != 0) continue;
    if (signal == SIGUSR2) return;
    if (stopping) ::_exit(130);
    stopping = true;
    group.Stop();
  }
}

cli::Console MakeConsole(thinsnap::Clock& clock, bool json) {
  cli::Console console(
      clock, [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); },
      [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); });
  console.json = json;
  return console;
}

// Help and version are no errors; everything else is one of usage.
int AnswerUsage(const CLI::App& app, const CLI::ParseError& error, bool json) {
  if (error.get_exit_code() == 0 || !json) return app.exit(error) == 0 ? 0 : 2;
  thinsnap::SystemClock clock;
  MakeConsole(clock, true).Finish("", Error(Code::kInvalidArgument, error.what()), 2, "");
  return std::fflush(stdout) == 0 ? 2 : 1;
}

void AddVerbs(CLI::App& app, Options& options) {
  auto* init = app.add_subcommand("init", "make a repository");
  init->add_flag("--plain", options.plain, "without a passphrase: checked, but readable by anyone");
  auto* backup = app.add_subcommand("backup", "back up a block device or an image file");
  backup->add_option("path", options.backup.path, "the device or image")->required();
  backup->add_option("--series", options.backup.series, "name of its line of points");
  backup->add_flag("--full", options.backup.anew,
                   "store everything again and share nothing with earlier points (after damage)");
  auto* list = app.add_subcommand("list", "list the restore points");
  list->add_option("--series", options.series, "only of this series");
  auto* show = app.add_subcommand("show", "show one restore point");
  show->add_option("point", options.point.point, "name, unique prefix, or latest")->required();
  show->add_option("--series", options.point.series, "only of this series");
  auto* restore = app.add_subcommand("restore", "write a restore point to a device or a file");
  restore->add_option("point", options.restore.from.point, "name, unique prefix, or latest")
      ->required();
  restore->add_option("--series", options.restore.from.series, "only of this series");
  restore->add_option("--target", options.restore.target, "device or file to write")->required();
  restore->add_flag("--force", options.restore.force, "overwrite a file that is not empty");
  auto* forget = app.add_subcommand("forget", "forget one restore point");
  forget->add_option("point", options.point.point, "name or unique prefix")->required();
  forget->add_option("--series", options.point.series, "only of this series");
  auto* verify = app.add_subcommand("verify", "check what is stored");
  verify->add_flag("--data", options.verify.data, "open every block and compare its fingerprint");
}

}  // namespace

int main(int argc, char** argv) try {
  thinsnap::HardenProcess();
  thinsnap::ShareHeaps();
  thinsnap::ReturnLargeBuffers();
  Options options;
  CLI::App app("thinsnap backs up block devices and images to object storage.", "thinsnap");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", THINSNAP_VERSION);
  app.add_option("-r,--repository", options.repository, "where the repository is (URL below)")
      ->required();
  app.add_option("--region", options.region, "region of the bucket");
  app.add_option("--endpoint", options.endpoint, "https://host:port of an S3 that is not AWS");
  app.add_option("--ca-file", options.ca_file,
                 "PEM of the authority that signed the store's certificate");
  app.add_flag("--insecure-tls", options.insecure_tls, "do not check the store's certificate");
  app.add_option("--passphrase-file", options.passphrase_file,
                 "file whose first line is the passphrase");
  app.add_flag("--json", options.json,
               "the result, or the error, as one JSON document on standard output");
  AddVerbs(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return AnswerUsage(app, error,
                       std::find(argv, argv + argc, std::string("--json")) != argv + argc);
  }
  const std::string verb = app.get_subcommands().front()->get_name();

  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR2}) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  thinsnap::SystemClock clock;
  thinsnap::SystemRandom random;
  thinsnap::ThreadRuntime runtime(clock);
  thinsnap::SetLogLevel(thinsnap::LogLevel::kWarning);
  cli::Console console = MakeConsole(clock, options.json);
  console.terminal = ::isatty(STDERR_FILENO) == 1;
  const cli::PassphraseSources sources{Environment("THINSNAP_PASSPHRASE"), options.passphrase_file,
                                       ::isatty(STDIN_FILENO) == 1};

  Status status;
  {
    const pthread_t self = ::pthread_self();
    thinsnap::TaskGroup group(runtime);
    group.Spawn("command", [&] {
      status = Run(options, verb, runtime, random, console, sources);
      ::pthread_kill(self, SIGUSR2);
    });
    AwaitEnd(group, signals);
    group.Join();
  }
  const char* hint = "";
  if (status.Is(Code::kCancelled) && verb == "backup") {
    hint = "What was uploaded stays; the next backup of the same source goes on from there.";
  }
  int code = cli::ExitCode(status);
  console.Finish(verb, status, code, hint);
  // A document that did not arrive (a full disk, a closed pipe) is no success.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fputs("thinsnap: standard output cannot be written\n", stderr);
    if (code == 0) code = 1;
  }
  return code;
} catch (const std::exception& error) {
  // What a library throws past its wrapper: no memory, no thread.
  std::fprintf(stderr, "thinsnap: %s\n", error.what());
  return 1;
}
