#include <filesystem>
#include <system_error>
#include <utility>

#include "base/data/json.h"
#include "snapshotter/cli/commands.h"
#include "snapshotter/cli/host_path.h"
#include "snapshotter/cli/point_choice.h"
#include "snapshotter/mover/transfer.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/point_store.h"

namespace thinsnap::cli {
namespace {

Result<std::string> ChooseSnapshot(Context& context, repo::Repository& repository,
                                   const std::string& series) {
  auto interrupted = mover::FindInterruptedExport(repository, series);
  if (interrupted.ok()) {
    context.console.Say("going on with a backup that was interrupted");
    return interrupted;
  }
  if (!interrupted.Is(Code::kNotFound)) return interrupted;
  std::string newest;
  for (const auto& listed : TRY(repo::ListPointKeys(repository.store(), series))) {
    newest = listed.parts.snapshot;
  }
  return mover::NextSnapshotId(context.runtime.clock().Now(), context.random, newest);
}

}  // namespace

Status RunBackup(Context& context, repo::Repository& repository, const BackupCommand& command) {
  auto looked = LookAt(command.path);
  if (std::error_code unseen; !looked.ok() && std::filesystem::is_directory(command.path, unseen)) {
    return Error(Code::kInvalidArgument,
                 looked.error().message() + " (copying folders file by file is not there yet)");
  }
  const HostPath path = TRY(std::move(looked));
  if (path.kind == PathKind::kMissing) {
    return Error(Code::kNotFound, command.path + ": there is no such file or device");
  }
  if (path.kind == PathKind::kBlockDevice && !path.user.empty()) {
    context.console.Warn("warning: " + command.path + " is " + path.user +
                         "; what is written meanwhile may be half in the copy. A snapshot has no "
                         "such trouble.");
  }
  const auto device = TRY(block::OpenFileDevice(path.canonical, block::OpenMode::kReadOnly));

  mover::ExportRequest request;
  request.series = !command.series.empty()
                       ? command.series
                       : repository.keyring()
                             .KeyedName("command series", context.host + "\n" + path.canonical)
                             .substr(0, 24);
  request.snapshot = TRY(ChooseSnapshot(context, repository, request.series));
  request.cut = context.runtime.clock().Now();
  request.source = device.get();
  request.anew = command.anew;
  request.attributes = JsonObject{{"host", context.host}, {"path", path.canonical}};
  request.progress = [&](const mover::Progress& progress) {
    context.console.Progress("backup", progress.done_bytes, progress.total_bytes);
  };
  const MonoTime started = context.runtime.clock().MonoNow();
  auto exported = mover::ExportBlocks(repository, context.runtime, context.random, request);
  context.console.EndProgress();
  const repo::PointInfo point = TRY(std::move(exported));
  const auto afterwards = LookAt(path.canonical);
  if (path.kind == PathKind::kFile && afterwards.ok() &&
      (afterwards->written_ns != path.written_ns || afterwards->size_bytes != path.size_bytes)) {
    context.console.Warn("warning: " + command.path +
                         " was written to while it was read; what was written meanwhile may be "
                         "half in the copy");
  }
  const double seconds =
      std::chrono::duration<double>(context.runtime.clock().MonoNow() - started).count();

  context.console.Say("point " + point.name.str());
  context.console.Say("read " + FormatSize(point.read_bytes) + ", changed " +
                      FormatSize(point.changed_bytes) + ", uploaded " +
                      FormatSize(point.uploaded_bytes) + " in " +
                      FormatDuration(std::chrono::milliseconds(static_cast<int>(seconds * 1000))));
  Json result = PointToJson(point);
  result.as_object()["seconds"] = seconds;
  context.console.Result(result);
  return {};
}

}  // namespace thinsnap::cli
