#include <utility>

#include "base/data/json.h"
#include "snapshotter/cli/commands.h"
#include "snapshotter/cli/point_choice.h"

namespace thinsnap::cli {

Status RunList(Context& context, repo::Repository& repository, const ListCommand& command) {
  JsonArray damaged_points;
  const auto damaged = [&](const repo::PointName& name, const Error& error) {
    context.console.Say("DAMAGED " + name.str() + ": " + error.message());
    damaged_points.push_back(JsonObject{{"point", name.str()}, {"problem", error.message()}});
  };
  const auto points = TRY(repository.ListPoints(command.series, damaged));
  const bool sealed = repository.suite() == repo::Suite::kSealed;
  context.console.Say("repository " + repository.id().str() + " in " + context.store.Describe() +
                      (sealed ? ", sealed" : ", plain: readable to whoever can read the store"));
  std::vector<std::vector<std::string>> rows{
      {"POINT", "CUT", "SIZE", "DATA", "UPLOADED", "MODE", "SOURCE"}};
  JsonArray listed;
  for (const repo::PointInfo& point : points) {
    rows.push_back({point.name.str(), FormatRfc3339(point.cut), FormatSize(point.size_bytes),
                    FormatSize(point.data_bytes), FormatSize(point.uploaded_bytes),
                    StringAt(PointToJson(point), "mode"), SourceOf(point)});
    listed.push_back(PointToJson(point));
  }
  if (points.empty() && damaged_points.empty()) {
    context.console.Say("no points");
  } else if (!points.empty()) {
    context.console.Table(rows);
  }
  const std::size_t count = damaged_points.size();
  context.console.Result(JsonObject{{"repository", repository.id().str()},
                                    {"suite", sealed ? "sealed" : "plain"},
                                    {"points", std::move(listed)},
                                    {"damaged", std::move(damaged_points)}});
  if (count == 0) return {};
  return Error(Code::kDataLoss, count == 1 ? std::string("one point is damaged")
                                           : std::to_string(count) + " points are damaged");
}

Status RunShow(Context& context, repo::Repository& repository, const PointCommand& command) {
  const repo::PointInfo point = TRY(ChoosePoint(context, repository, command));
  const Json json = PointToJson(point);
  const auto size = [](std::uint64_t bytes) {
    return FormatSize(bytes) + " (" + std::to_string(bytes) + " bytes)";
  };
  context.console.Table({
      {"point", point.name.str()},
      {"source", SourceOf(point)},
      {"cut", FormatRfc3339(point.cut)},
      {"committed", FormatRfc3339(point.committed)},
      {"size", size(point.size_bytes)},
      {"data", size(point.data_bytes)},
      {"read", size(point.read_bytes)},
      {"changed", size(point.changed_bytes)},
      {"stored", size(point.stored_bytes)},
      {"uploaded", size(point.uploaded_bytes)},
      {"mode",
       StringAt(json, "mode") + (point.mode_reason.empty() ? "" : " (" + point.mode_reason + ")")},
      {"base", point.base.empty() ? "none" : point.base.str()},
      {"device", point.device_identity.empty() ? "not known" : point.device_identity},
      {"attributes", ToJson(point.attributes)},
  });
  context.console.Result(json);
  return {};
}

Status RunForget(Context& context, repo::Repository& repository, const PointCommand& command) {
  if (command.point == "latest") {
    return Error(Code::kInvalidArgument,
                 "forget takes a point's name or a unique prefix; \"latest\" would be another one "
                 "each time");
  }
  const repo::PointName name = TRY(ChooseName(repository, command));
  TRY(repository.Forget(name));
  context.console.Say("forgot " + name.str() + "; its space comes back with the next collection");
  context.console.Result(JsonObject{{"forgotten", name.str()}});
  return {};
}

}  // namespace thinsnap::cli
