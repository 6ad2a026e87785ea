#include "snapshotter/cli/point_choice.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/data/json.h"
#include "snapshotter/repo/point.h"
#include "snapshotter/repo/point_store.h"

namespace thinsnap::cli {

namespace {

Result<std::vector<repo::ListedPoint>> ListNames(repo::Repository& repository,
                                                 const PointCommand& command) {
  if (!command.series.empty()) TRY(repo::CheckSeries(command.series));
  return repo::ListPointKeys(repository.store(), command.series);
}

Error NoPoint(const PointCommand& command) {
  return Error(Code::kNotFound, command.series.empty()
                                    ? "the repository holds no point"
                                    : "series " + command.series + " has no point");
}

Error Unclear(const std::string& wanted, const std::vector<repo::PointName>& fitting) {
  std::string names;
  for (std::size_t i = 0; i < std::min<std::size_t>(fitting.size(), 5); ++i) {
    names += "\n  " + fitting[i].str();
  }
  return Error(Code::kInvalidArgument, "\"" + wanted + "\" is the beginning of " +
                                           std::to_string(fitting.size()) + " points:" + names +
                                           (fitting.size() > 5 ? "\n  ..." : ""));
}

// The newest point of each series is its last key that is no void.
Result<repo::PointInfo> ChooseLatest(Context& context, repo::Repository& repository,
                                     const PointCommand& command) {
  const auto listed = TRY(ListNames(repository, command));
  std::optional<repo::PointInfo> newest;
  std::optional<repo::PointName> damaged;
  std::string damaged_snapshot;
  std::string what;
  std::string settled;  // the series whose newest point is known
  for (auto it = listed.rbegin(); it != listed.rend(); ++it) {
    if (it->parts.series == settled) continue;
    auto point = repository.GetPoint(it->name);
    if (point.Is(Code::kNotFound)) continue;
    if (point.Is(Code::kDataLoss)) {
      context.console.Warn("warning: " + it->name.str() +
                           " is damaged: " + point.error().message());
      if (it->parts.snapshot > damaged_snapshot) {
        damaged = it->name;
        damaged_snapshot = it->parts.snapshot;
        what = point.error().message();
      }
      continue;
    }
    if (!point.ok()) return std::move(point).error();
    settled = it->parts.series;
    if (!newest ||
        std::tie(newest->cut, newest->snapshot) < std::tie(point->cut, point->snapshot)) {
      newest = std::move(point).value();
    }
  }
  if (damaged && (!newest || damaged_snapshot > newest->snapshot)) {
    return Error(Code::kDataLoss, "the latest point " + damaged->str() + " is damaged (" + what +
                                      "); name an earlier one, `thinsnap list` shows them");
  }
  if (!newest) return NoPoint(command);
  return std::move(*newest);
}

}  // namespace

Result<repo::PointName> ChooseName(repo::Repository& repository, const PointCommand& command) {
  const std::string& wanted = command.point;
  if (wanted.empty()) {
    return Error(Code::kInvalidArgument,
                 "the point's name is empty; a name, a unique prefix or \"latest\" is accepted");
  }
  const auto listed = TRY(ListNames(repository, command));
  if (listed.empty()) return NoPoint(command);
  std::vector<repo::PointName> fitting;
  std::optional<Error> gone;
  for (const repo::ListedPoint& point : listed) {
    const bool is_it = point.name.str() == wanted;
    if (!is_it && !point.name.str().starts_with(wanted) &&
        !point.parts.snapshot.starts_with(wanted)) {
      continue;
    }
    if (point.looks_void) {
      auto found = repository.GetPoint(point.name);
      if (found.Is(Code::kNotFound)) {
        gone = std::move(found).error();
        continue;
      }
    }
    if (is_it) return point.name;
    fitting.push_back(point.name);
  }
  if (fitting.size() == 1) return fitting.front();
  if (!fitting.empty()) return Unclear(wanted, fitting);
  if (gone) return *gone;
  return Error(Code::kNotFound,
               "no point is called \"" + wanted + "\"; `thinsnap list` shows those there are");
}

Result<repo::PointInfo> ChoosePoint(Context& context, repo::Repository& repository,
                                    const PointCommand& command) {
  if (command.point == "latest") return ChooseLatest(context, repository, command);
  return repository.GetPoint(TRY(ChooseName(repository, command)));
}

Json PointToJson(const repo::PointInfo& point) {
  JsonObject json;
  json["point"] = point.name.str();
  json["series"] = point.series;
  json["snapshot"] = point.snapshot;
  json["attempt"] = point.attempt;
  json["cut"] = FormatRfc3339(point.cut);
  json["committed"] = FormatRfc3339(point.committed);
  json["sizeBytes"] = point.size_bytes;
  json["dataBytes"] = point.data_bytes;
  json["readBytes"] = point.read_bytes;
  json["changedBytes"] = point.changed_bytes;
  json["storedBytes"] = point.stored_bytes;
  json["uploadedBytes"] = point.uploaded_bytes;
  json["mode"] = repo::ModeName(point.mode);
  json["modeReason"] = point.mode_reason;
  json["base"] = point.base.str();
  json["attributes"] = point.attributes;
  return json;
}

std::string SourceOf(const repo::PointInfo& point) {
  const std::string claim = StringAt(point.attributes, "pvc.name");
  if (!claim.empty()) {
    return "claim " + StringAt(point.attributes, "pvc.namespace", "?") + "/" + claim;
  }
  const std::string path = StringAt(point.attributes, "path");
  if (path.empty()) return point.series;
  return StringAt(point.attributes, "host", "?") + ":" + path;
}

}  // namespace thinsnap::cli
