// The verbs of the thinsnap command. Each takes what it works on and answers a Status; main.cc maps
// that to the exit code and prints the error. Nothing here knows where a store is or how options
// are spelt.
#pragma once

#include <optional>
#include <string>

#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "snapshotter/cli/console.h"
#include "snapshotter/repo/repository.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::cli {

struct Context {
  store::ObjectStore& store;
  Runtime& runtime;
  Random& random;
  Console& console;
  std::string host;  // part of a default series' name
};

struct InitCommand {
  std::optional<Secret> passphrase;  // absent: plain
  repo::KdfCost kdf;
};
Status RunInit(Context& context, const InitCommand& command);

struct BackupCommand {
  std::string path;
  std::string series;  // empty: from host and path
  bool anew = false;
};
Status RunBackup(Context& context, repo::Repository& repository, const BackupCommand& command);

struct ListCommand {
  std::string series;  // empty: all
};
Status RunList(Context& context, repo::Repository& repository, const ListCommand& command);

struct PointCommand {
  std::string point;   // full name, unique prefix of it or of its snapshot, or "latest"
  std::string series;  // narrows the choice
};
Status RunShow(Context& context, repo::Repository& repository, const PointCommand& command);
Status RunForget(Context& context, repo::Repository& repository, const PointCommand& command);

struct RestoreCommand {
  PointCommand from;
  std::string target;
  bool force = false;
};
Status RunRestore(Context& context, repo::Repository& repository, const RestoreCommand& command);

struct VerifyCommand {
  bool data = false;  // every block too
};
Status RunVerify(Context& context, repo::Repository& repository, const VerifyCommand& command);

// 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed (passphrase, credentials), 5 damage found,
// 6 not reached, 130 interrupted.
int ExitCode(const Status& status);

}  // namespace thinsnap::cli
