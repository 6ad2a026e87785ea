// Point: the object that commits an export, sealed under its own name. It holds the root of the map
// and the table of packs that the map names, so that it restores alone. A void at the same key says
// that there is no point: the session was revoked, or the point forgotten.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "snapshotter/repo/format.h"
#include "snapshotter/repo/map_reader.h"
#include "snapshotter/repo/pack_table.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::repo {

// An encoded pack table in map packs, cut into pieces: the whole one first, then differences to be
// applied in order.
using TableRun = std::vector<RecordPlace>;
inline constexpr std::size_t kMaxTableRuns = 16;

struct Point {
  PointInfo info;
  MapRoot root;
  // The pack table: in the point while small, else as pieces in map packs.
  Bytes inline_table;
  std::vector<TableRun> table_runs;
  std::string session;  // the writer's
  std::vector<std::string>
      seen;           // "<id>.<attempt>" of the series' other points when this one was written
  std::string alarm;  // what the writer found wrong, for people; empty: nothing
};

struct Void {
  std::string reason;  // "forgotten" or "revoked"
  std::string session;
};

using PointObject = std::variant<Point, Void>;

inline constexpr std::size_t kAttributesMaxBytes = 32 * kKiB;

std::string PointKey(const PointName& name);
// "points/<series>/": everything of a series, and nothing of another.
std::string SeriesPrefix(const std::string& series);
PointName MakePointName(const std::string& series, const std::string& snapshot, int attempt);
// kInvalidArgument says which form is accepted.
struct PointNameParts {
  std::string series;
  std::string snapshot;
  int attempt = 0;
};
Result<PointNameParts> ParsePointName(std::string_view name);
// 1 to 200 letters, digits, '.', '_' and '-', not starting with '.'.
Status CheckSeries(std::string_view series);

// What is sealed into the object at PointKey(info.name).
Result<Bytes> EncodePoint(const Point& point);
Bytes EncodeVoid(const Void& value);
// kDataLoss; `name` is the one asked for, and a point that says another is refused.
Result<PointObject> ParsePoint(const PointName& name, ByteSpan payload);

std::string_view ModeName(ExportMode mode);

}  // namespace thinsnap::repo
