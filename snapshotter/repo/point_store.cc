#include "snapshotter/repo/point_store.h"

#include <utility>

#include "snapshotter/repo/map_reader.h"
#include "snapshotter/repo/small_object.h"

namespace thinsnap::repo {

Result<PointObject> ReadPointObject(store::ObjectStore& store, const Keyring& keyring,
                                    const PointName& name) {
  const std::string key = PointKey(name);
  const store::Object object = TRY(GetSmallObject(store, key, kPointMaxBytes));
  const Bytes payload = TRY(keyring.OpenObject(key, object.bytes));
  PointObject found = TRY(ParsePoint(name, payload));
  if (Point* point = std::get_if<Point>(&found)) point->info.committed = object.info.modified;
  return found;
}

Result<Point> ReadPoint(store::ObjectStore& store, const Keyring& keyring, const PointName& name) {
  PointObject object = TRY(ReadPointObject(store, keyring, name));
  if (Point* point = std::get_if<Point>(&object)) return std::move(*point);
  return Error(Code::kNotFound,
               "point " + name.str() + " is no more: " + std::get<Void>(object).reason);
}

Result<std::vector<ListedPoint>> ListPointKeys(store::ObjectStore& store,
                                               const std::string& series) {
  std::vector<ListedPoint> points;
  const std::string prefix = series.empty() ? "points/" : SeriesPrefix(series);
  TRY(store::ListAll(store, prefix, [&](const store::ObjectInfo& info) -> Status {
    const std::string name = info.key.substr(std::string_view("points/").size());
    auto parts = ParsePointName(name);
    if (!parts.ok()) return {};
    points.push_back(
        {PointName(name), std::move(parts).value(), info.size < kManifestMinBytes, info.modified});
    return {};
  }));
  return points;
}

Result<PackTable> ReadPackTable(store::ObjectStore& store, const Keyring& keyring,
                                const Point& point) {
  const std::string where = "point " + point.info.name.str();
  PackTable table;
  if (point.table_runs.empty()) table = TRY(PackTable::Parse(point.inline_table).In(where));
  for (const TableRun& run : point.table_runs) {
    Bytes encoded;
    for (const RecordPlace& place : run) {
      Append(encoded, TRY(ReadTablePiece(store, keyring, place)));
    }
    TRY(table.Apply(encoded).In(where));
  }
  if (table.UsedBlocks() != point.root.stored_blocks()) {
    return Error(Code::kDataLoss, "point " + point.info.name.str() +
                                      ": its pack table does not add up to the blocks of its map");
  }
  return table;
}

}  // namespace thinsnap::repo
