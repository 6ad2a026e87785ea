// Tables: what `kubectl get` prints, made by the server.
#pragma once

#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::objects {

enum class IncludeObject { kNone, kMetadata, kObject };

// A meta.k8s.io/v1 Table without rows; resource_version goes to its metadata if not empty.
Json NewTable(const schema::KindVersion& version, const std::string& resource_version,
              bool with_columns = true);
// The row of an object: cells and, as asked, the object.
Json TableRow(const schema::Kind& kind, const schema::KindVersion& version, const Json& object,
              IncludeObject include, WallTime now);
JsonArray TableCells(const schema::Kind& kind, const schema::KindVersion& version,
                     const Json& object, WallTime now);

// {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": ...}
Json PartialMetadata(const Json& object);

// "5s", "3m10s", "2h", "4d": the age of a time stamp; "<unknown>" for an empty one, "<invalid>" for
// a future one.
std::string HumanAge(std::string_view rfc3339, WallTime now);
std::string HumanDuration(Duration duration);

}  // namespace thinsnap::objects
