#include "simulator/objects/table.h"

#include <algorithm>
#include <cmath>

#include "simulator/objects/jsonpath.h"
#include "simulator/objects/table_cells.h"

namespace thinsnap::objects {
namespace {

Json CustomCell(const schema::Column& column, const Json& object, WallTime now) {
  const Result<JsonPath> path = JsonPath::Parse(column.json_path);
  if (!path.ok()) return Json(nullptr);
  const std::vector<const Json*> found = path->Find(object);
  if (found.empty() || found[0]->is_null()) return Json(nullptr);
  const Json& value = *found[0];
  if (column.type == "date") {
    return Json(HumanAge(value.is_string() ? std::string_view(value.get_string()) : "", now));
  }
  if (column.type == "integer" || column.type == "number" || column.type == "boolean") return value;
  if (found.size() == 1 && value.is_string()) return value;
  std::string text;
  for (const Json* each : found) {
    if (!text.empty()) text += ' ';
    text += each->is_string() ? std::string(each->get_string()) : ToJson(*each);
  }
  return Json(text);
}

}  // namespace

Json NewTable(const schema::KindVersion& version, const std::string& resource_version,
              bool with_columns) {
  JsonObject table = {{"kind", "Table"}, {"apiVersion", "meta.k8s.io/v1"}};
  JsonObject metadata;
  if (!resource_version.empty()) metadata["resourceVersion"] = resource_version;
  table["metadata"] = std::move(metadata);
  if (with_columns) {
    JsonArray columns;
    for (const schema::Column& column : version.columns) {
      columns.push_back(JsonObject({{"name", column.name},
                                    {"type", column.type},
                                    {"format", column.format},
                                    {"description", column.description},
                                    {"priority", column.priority}}));
    }
    table["columnDefinitions"] = std::move(columns);
  } else {
    table["columnDefinitions"] = nullptr;
  }
  table["rows"] = JsonArray();
  return table;
}

JsonArray TableCells(const schema::Kind& kind, const schema::KindVersion& version,
                     const Json& object, WallTime now) {
  if (!kind.custom) {
    JsonArray cells = BuiltinCells(kind, object, now);
    while (cells.size() < version.columns.size()) cells.push_back(Json("<none>"));
    return cells;
  }
  JsonArray cells;
  for (const schema::Column& column : version.columns) {
    if (column.json_path.empty()) {
      cells.push_back(Json(StringAt(object, "metadata.name")));
    } else {
      cells.push_back(CustomCell(column, object, now));
    }
  }
  return cells;
}

Json TableRow(const schema::Kind& kind, const schema::KindVersion& version, const Json& object,
              IncludeObject include, WallTime now) {
  JsonObject row = {{"cells", TableCells(kind, version, object, now)}};
  switch (include) {
    case IncludeObject::kNone:
      row["object"] = nullptr;
      break;
    case IncludeObject::kMetadata:
      row["object"] = PartialMetadata(object);
      break;
    case IncludeObject::kObject:
      row["object"] = object;
      break;
  }
  return row;
}

Json PartialMetadata(const Json& object) {
  JsonObject partial = {{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}};
  const Json* metadata = Find(object, "metadata");
  partial["metadata"] = metadata == nullptr ? Json(JsonObject()) : *metadata;
  return partial;
}

std::string HumanAge(std::string_view rfc3339, WallTime now) {
  if (rfc3339.empty()) return "<unknown>";
  const Result<WallTime> then = ParseRfc3339(rfc3339);
  if (!then.ok()) return "<invalid>";
  return HumanDuration(now - *then);
}

// Two units at most, and only as long as the smaller one still says something.
std::string HumanDuration(Duration duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  const auto both = [](std::int64_t large, const char* large_unit, std::int64_t small,
                       const char* small_unit) {
    std::string text = std::to_string(large) + large_unit;
    if (small != 0) text += std::to_string(small) + small_unit;
    return text;
  };
  const std::int64_t minutes = seconds / 60, hours = seconds / 3600, days = hours / 24;
  if (seconds < 120) return std::to_string(seconds) + "s";
  if (minutes < 10) return both(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return std::to_string(minutes) + "m";
  if (hours < 8) return both(hours, "h", minutes % 60, "m");
  if (hours < 48) return std::to_string(hours) + "h";
  if (hours < 192) return both(days, "d", hours % 24, "h");
  constexpr std::int64_t kYear = 365;
  if (days < kYear * 2) return std::to_string(days) + "d";
  if (days < kYear * 8) return both(days / kYear, "y", days % kYear, "d");
  return std::to_string(days / kYear) + "y";
}

}  // namespace thinsnap::objects
