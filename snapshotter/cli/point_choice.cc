#include "snapshotter/cli/point_choice.h"

#include <algorithm>
#include <utility>

#include "base/data/json.h"
#include "snapshotter/repo/point.h"

namespace thinsnap::cli {

Result<repo::PointInfo> PickPoint(const std::vector<repo::PointInfo>& points,
                                  const std::string& wanted) {
  if (points.empty()) return Error(Code::kNotFound, "the repository holds no point");
  if (wanted.empty()) {
    return Error(Code::kInvalidArgument,
                 "the point's name is empty; a name, a unique prefix or \"latest\" is accepted");
  }
  if (wanted == "latest") {
    return *std::max_element(points.begin(), points.end(), [](const auto& a, const auto& b) {
      return std::tie(a.cut, a.snapshot) < std::tie(b.cut, b.snapshot);
    });
  }
  std::vector<const repo::PointInfo*> fitting;
  for (const repo::PointInfo& point : points) {
    if (point.name.str() == wanted) return point;
    if (point.name.str().starts_with(wanted) || point.snapshot.starts_with(wanted)) {
      fitting.push_back(&point);
    }
  }
  if (fitting.size() == 1) return *fitting.front();
  if (fitting.empty()) {
    return Error(Code::kNotFound,
                 "no point is called \"" + wanted + "\"; `thinsnap list` shows those there are");
  }
  std::string names;
  for (std::size_t i = 0; i < std::min<std::size_t>(fitting.size(), 5); ++i) {
    names += "\n  " + fitting[i]->name.str();
  }
  return Error(Code::kInvalidArgument, "\"" + wanted + "\" is the beginning of " +
                                           std::to_string(fitting.size()) + " points:" + names +
                                           (fitting.size() > 5 ? "\n  ..." : ""));
}

Result<repo::PointInfo> ChoosePoint(Context& context, repo::Repository& repository,
                                    const PointCommand& command) {
  const auto damaged = [&](const repo::PointName& name, const Error& error) {
    context.console.Warn("warning: " + name.str() + " is passed over: " + error.message());
  };
  const auto points = TRY(repository.ListPoints(command.series, damaged));
  return PickPoint(points, command.point);
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
