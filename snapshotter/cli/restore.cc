#include <unistd.h>
#include <utility>

#include "base/data/json.h"
#include "snapshotter/cli/commands.h"
#include "snapshotter/cli/host_path.h"
#include "snapshotter/cli/point_choice.h"
#include "snapshotter/mover/transfer.h"

namespace thinsnap::cli {
namespace {

Status CheckTarget(const RestoreCommand& command, const HostPath& target,
                   const repo::PointInfo& point) {
  if (!target.user.empty()) {
    return Error(Code::kFailedPrecondition,
                 command.target + " is " + target.user + "; a target that nobody uses is accepted");
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
  const bool is_file = target.kind != PathKind::kBlockDevice;
  if (target.kind == PathKind::kFile && target.size_bytes > 0 &&
      ::truncate(target.canonical.c_str(), 0) != 0) {
    return Error(Code::kPermissionDenied, command.target + " cannot be overwritten");
  }
  // A volume of no bytes is an empty file; the device of one byte is cut back.
  const std::uint64_t size = is_file ? std::max<std::uint64_t>(point.size_bytes, 1) : 0;
  auto device = TRY(mover::OpenFileDevice(target.canonical, mover::OpenMode::kReadWrite, size));
  if (is_file && point.size_bytes == 0 && ::truncate(target.canonical.c_str(), 0) != 0) {
    return Error(Code::kInternal, command.target + " cannot be emptied");
  }

  mover::ImportRequest request;
  request.point = point.name;
  request.target = device.get();
  request.target_is_blank = is_file;
  request.progress = [&](const mover::Progress& progress) {
    context.console.Progress("restore", progress.done_bytes, progress.total_bytes);
  };
  const MonoTime started = context.runtime.clock().MonoNow();
  const Status restored = mover::ImportBlocks(repository, context.runtime, request);
  context.console.EndProgress();
  if (!restored.ok()) {
    // Half an image under the name of a whole one helps nobody.
    if (target.kind == PathKind::kMissing) ::unlink(target.canonical.c_str());
    return restored;
  }
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
