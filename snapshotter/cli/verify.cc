#include "snapshotter/repo/verify.h"

#include <utility>

#include "base/data/json.h"
#include "snapshotter/cli/commands.h"
#include "snapshotter/mover/verify_blocks.h"
#include "snapshotter/repo/point.h"

namespace thinsnap::cli {

Status RunVerify(Context& context, repo::Repository& repository, const VerifyCommand& command) {
  repo::VerifyReport report =
      TRY(repo::VerifyStructure(repository, [&](std::uint64_t done, std::uint64_t total) {
        context.console.Progress("verify", done, total);
      }));
  context.console.EndProgress();
  if (command.data) {
    mover::VerifiedRecords verified;
    for (const repo::PointName& name : report.sound_points) {
      const Status read = mover::VerifyBlocks(
          repository, context.runtime, name, verified, [&](const mover::Progress& progress) {
            context.console.Progress("data", progress.done_bytes, progress.total_bytes);
          });
      context.console.EndProgress();
      if (read.Is(Code::kNotFound)) continue;  // forgotten meanwhile
      if (read.Is(Code::kDataLoss)) {
        report.problems.push_back({repo::PointKey(name), read.error().message()});
      } else if (!read.ok()) {
        return read;
      }
    }
  }
  JsonArray problems;
  for (const repo::Problem& problem : report.problems) {
    context.console.Say(problem.object + ": " + problem.what);
    problems.push_back(JsonObject{{"object", problem.object}, {"problem", problem.what}});
  }
  context.console.Say("checked " + std::to_string(report.points) + " points, " +
                      std::to_string(report.packs) + " packs, " + FormatSize(report.pack_bytes) +
                      (command.data ? ", every block" : "") + "; " +
                      std::to_string(report.unnamed_packs) + " packs belong to no point");
  context.console.Result(JsonObject{{"points", report.points},
                                    {"packs", report.packs},
                                    {"packBytes", report.pack_bytes},
                                    {"unnamedPacks", report.unnamed_packs},
                                    {"data", command.data},
                                    {"problems", std::move(problems)}});
  if (report.problems.empty()) return {};
  const std::size_t count = report.problems.size();
  return Error(Code::kDataLoss, count == 1 ? std::string("one problem found")
                                           : std::to_string(count) + " problems found");
}

int ExitCode(const Status& status) {
  if (status.ok()) return 0;
  switch (status.error().code()) {
    case Code::kInvalidArgument:
      return 2;
    case Code::kNotFound:
      return 3;
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
      return 4;
    case Code::kDataLoss:
      return 5;
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kUnknownOutcome:
      return 6;
    case Code::kCancelled:
      return 130;
    default:
      return 1;
  }
}

}  // namespace thinsnap::cli
