#include <memory>
#include <utility>

#include "base/data/json.h"
#include "snapshotter/cli/commands.h"
#include "snapshotter/cli/host_path.h"
#include "snapshotter/cli/point_choice.h"
#include "snapshotter/cli/target_file.h"
#include "snapshotter/mover/transfer.h"

namespace thinsnap::cli {
namespace {

Status CheckTarget(const RestoreCommand& command, const HostPath& target,
                   const repo::PointInfo& point) {
  if (!target.user.empty()) {
    return Error(Code::kFailedPrecondition,
                 command.target + " is " + target.user + "; a target that nobody uses is accepted");
  }
  if (!target.fixed.empty()) {
    return Error(Code::kFailedPrecondition,
                 command.target + " is " + target.fixed +
                     ", so no other file can take its place; restore beside it");
  }
  if (target.kind == PathKind::kBlockDevice && target.size_bytes < point.size_bytes) {
    return Error(Code::kFailedPrecondition,
                 command.target + " has " + std::to_string(target.size_bytes) +
                     " bytes; the point needs " + std::to_string(point.size_bytes));
  }
  if (target.kind == PathKind::kFile && target.size_bytes > 0 && !command.force) {
    return Error(Code::kFailedPrecondition,
                 command.target + " exists and is not empty; --force overwrites it");
  }
  return {};
}

}  // namespace

Status RunRestore(Context& context, repo::Repository& repository, const RestoreCommand& command) {
  const HostPath target = TRY(LookAt(command.target));
  const repo::PointInfo point = TRY(ChoosePoint(context, repository, command.from));
  TRY(CheckTarget(command, target, point));
  std::unique_ptr<TargetFile> file;
  if (target.kind != PathKind::kBlockDevice) {
    file = TRY(TargetFile::Make(target.canonical, point.size_bytes).In(command.target));
  }
  const auto device = TRY(block::OpenFileDevice(file ? file->working_path() : target.canonical,
                                                block::OpenMode::kReadWrite));
  mover::ImportRequest request;
  request.point = point.name;
  request.target = device.get();
  request.target_is_blank = file != nullptr;
  request.progress = [&](const mover::Progress& progress) {
    context.console.Progress("restore", progress.done_bytes, progress.total_bytes);
  };
  const MonoTime started = context.runtime.clock().MonoNow();
  Status restored = mover::ImportBlocks(repository, context.runtime, request);
  context.console.EndProgress();
  if (!restored.ok()) {
    if (file == nullptr) {
      context.console.Warn("warning: " + command.target +
                           " holds a part of the point only; restore it again before it is used");
    }
    return restored;
  }
  if (file) TRY(file->Finish().In(command.target));
  const double seconds =
      std::chrono::duration<double>(context.runtime.clock().MonoNow() - started).count();
  context.console.Say("restored " + point.name.str() + " to " + command.target + ": " +
                      FormatSize(point.data_bytes) + " of data in " +
                      FormatDuration(std::chrono::milliseconds(static_cast<int>(seconds * 1000))));
  context.console.Result(JsonObject{{"restored", point.name.str()},
                                    {"target", command.target},
                                    {"sizeBytes", point.size_bytes},
                                    {"dataBytes", point.data_bytes},
                                    {"seconds", seconds}});
  return {};
}

}  // namespace thinsnap::cli
