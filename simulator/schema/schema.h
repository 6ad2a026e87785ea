// Schema: the one model of types, for built-in kinds (from the wire table) and for custom resources
// (from the structural OpenAPI schema of their definition). Immutable once built; nodes are owned
// by their SchemaTree.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/data/json.h"

namespace re2 {
class RE2;
}

namespace thinsnap::schema {

namespace cel {
class Program;
}

class Schema;

// A member of an object.
struct Property {
  std::string name;
  const Schema* schema = nullptr;
  // Built-in kinds only.
  int wire_number = 0;
  bool omit_empty = true;  // else written even if empty, as Go's encoder does
  bool pointer = false;    // a zero value that was given is kept
  bool value = false;      // a struct by value: {} (a time: null) is written when it is absent
  // On the wire a message of its own, in JSON its members are the parent's. Its members are listed
  // in the parent too, with wire_number 0; this entry has no name.
  bool inlined = false;
  std::string patch_merge_key;
  bool patch_merge = false, patch_retain_keys = false;  // patchStrategy
};

enum class Format : std::uint8_t {
  kNone,
  kInt32,
  kInt64,
  kFloat,
  kDouble,
  kQuantity,
  kTime,
  kMicroTime,
  kBytes,
  kDuration,
  kIntOrString,  // int or string; Schema::int_or_string
  kRaw,          // any JSON value (RawExtension, FieldsV1)
  kOther,        // named in Schema::format_name
};

enum class ListType : std::uint8_t { kAtomic, kSet, kMap };

// An x-kubernetes-validations entry.
struct ValidationRule {
  std::string rule, message, message_expression, reason, field_path;
  bool optional_old_self = false;
  std::shared_ptr<const cel::Program> program, message_program;
};

// What a value must satisfy beyond its type; custom resources only.
struct Constraints {
  std::vector<Json> one_of;  // enum
  std::optional<double> minimum, maximum, multiple_of;
  bool exclusive_minimum = false, exclusive_maximum = false;
  std::optional<std::int64_t> min_length, max_length, min_items, max_items, min_properties,
      max_properties;
  bool unique_items = false;
  std::string pattern;
  std::shared_ptr<const re2::RE2> regex;
  std::vector<const Schema*> all_of, any_of, one_of_schemas;
  const Schema* none_of = nullptr;  // not
  std::vector<ValidationRule> rules;
};

class Schema {
 public:
  enum class Type : std::uint8_t { kAny, kObject, kArray, kString, kInteger, kNumber, kBoolean };

  Type type = Type::kAny;
  Format format = Format::kNone;
  std::string format_name;  // as written: "date-time", "int32"
  std::string type_name;  // Go's name for error texts: "ConfigMap", "string", "int32"; message name
                          // of built-ins
  std::string message;  // full wire message name: "k8s.io.api.core.v1.ConfigMap"; empty for custom
                        // resources
  std::string description;
  bool nullable = false;
  bool int_or_string = false;
  bool preserve_unknown_fields = false;
  bool embedded_resource = false;

  std::vector<Property> properties;  // sorted by name
  std::vector<std::string> required;
  const Schema* additional = nullptr;  // values of a map; null if there are none
  const Schema* items = nullptr;       // elements of an array
  ListType list_type = ListType::kAtomic;
  bool list_type_given = false;
  std::vector<std::string> list_map_keys;
  bool map_atomic = false;  // x-kubernetes-map-type: atomic

  std::optional<Json> default_value;
  std::unique_ptr<Constraints> constraints;

  // Null when there is no such property.
  const Property* FindProperty(std::string_view name) const;
  bool is_builtin() const { return !message.empty(); }
};

// Owns the nodes of one tree.
class SchemaTree {
 public:
  Schema* NewNode() { return &nodes_.emplace_back(); }
  const Schema* root = nullptr;

 private:
  std::deque<Schema> nodes_;
};

// The type of a wire message, "k8s.io.api.core.v1.ConfigMap"; null if unknown. Built at the first
// call, never freed.
const Schema* BuiltinSchema(std::string_view message);
// ObjectMeta, which embedded and custom resources share.
const Schema* ObjectMetaSchema();

}  // namespace thinsnap::schema
