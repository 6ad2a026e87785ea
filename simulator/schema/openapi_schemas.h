// SchemaWriter: schemas as OpenAPI writes them. The types of built-in kinds are named and written
// once each; those of custom kinds stand in place.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <string>

#include "base/data/json.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::schema {

// Version 2 knows less: no nullable, no alternatives, no type that may be two.
enum class OpenApiVersion : std::uint8_t { kV2, kV3 };

class SchemaWriter {
 public:
  explicit SchemaWriter(OpenApiVersion version) : version_(version) {}

  // Writes the kind's schema with the group, version and kind that it is found by, and answers the
  // name that it has got.
  std::string AddKind(const schema::Kind& kind, const schema::KindVersion& version);
  // A reference to a schema of that name.
  Json Reference(const std::string& name) const;
  // All schemas by name, with those that they refer to. Ends the writer.
  JsonObject Take();

 private:
  Json Refer(const schema::Schema& schema);
  Json Write(const schema::Schema& schema);
  void WriteType(const schema::Schema& schema, JsonObject& out);
  void WriteArray(const schema::Schema& schema, JsonObject& out);
  JsonObject WriteProperties(const schema::Schema& schema);

  const OpenApiVersion version_;
  JsonObject schemas_;
  std::set<std::string> seen_;
  std::deque<const schema::Schema*> open_;
};

}  // namespace thinsnap::schema
