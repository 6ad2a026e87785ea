// Reading points from the store: one, those of a series, and the pack table of one.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/pack_table.h"
#include "snapshotter/repo/point.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::repo {

// What a listing says, before anything is opened.
struct ListedPoint {
  PointName name;
  PointNameParts parts;
  bool looks_void = false;  // by its size: a hint
  WallTime modified;
};

// kNotFound, kDataLoss; a void is an answer.
Result<PointObject> ReadPointObject(store::ObjectStore& store, const Keyring& keyring,
                                    const PointName& name);
// kNotFound also for a void.
Result<Point> ReadPoint(store::ObjectStore& store, const Keyring& keyring, const PointName& name);
// Keys under points/ (series empty: all), ascending; what is no point's name is passed over.
Result<std::vector<ListedPoint>> ListPointKeys(store::ObjectStore& store,
                                               const std::string& series);
// Checks that it adds up to the root's stored blocks.
Result<PackTable> ReadPackTable(store::ObjectStore& store, const Keyring& keyring,
                                const Point& point);

}  // namespace thinsnap::repo
