#include "simulator/schema/openapi_schemas.h"

#include <string_view>
#include <utility>

namespace thinsnap::schema {

using schema::Format;
using schema::Kind;
using schema::KindVersion;
using schema::Property;
using schema::Schema;

namespace {

constexpr const char* kKindExtension = "x-kubernetes-group-version-kind";

// "core.v1.Pod" is published as "io.k8s.api.core.v1.Pod".
std::string PublishedName(const std::string& message) {
  const std::string_view package = std::string_view(message).substr(0, message.find('.'));
  if (package == "meta") return "io.k8s.apimachinery.pkg.apis." + message;
  if (package == "apiextensions") return "io.k8s.apiextensions-apiserver.pkg.apis." + message;
  return "io.k8s.api." + message;
}

// Widget of example.com/v1 is published as "com.example.v1.Widget".
std::string CustomName(const std::string& group, const std::string& version,
                       const std::string& kind) {
  std::string reversed;
  std::string_view rest = group;
  while (!rest.empty()) {
    const auto dot = rest.rfind('.');
    if (!reversed.empty()) reversed += '.';
    reversed += dot == std::string_view::npos ? rest : rest.substr(dot + 1);
    rest = dot == std::string_view::npos ? std::string_view() : rest.substr(0, dot);
  }
  return reversed + "." + version + "." + kind;
}

const char* TypeName(Schema::Type type) {
  switch (type) {
    case Schema::Type::kAny:
      return "";
    case Schema::Type::kObject:
      return "object";
    case Schema::Type::kArray:
      return "array";
    case Schema::Type::kString:
      return "string";
    case Schema::Type::kInteger:
      return "integer";
    case Schema::Type::kNumber:
      return "number";
    case Schema::Type::kBoolean:
      return "boolean";
  }
  return "";
}

std::string FormatName(const Schema& schema) {
  switch (schema.format) {
    case Format::kInt32:
      return "int32";
    case Format::kInt64:
      return "int64";
    case Format::kFloat:
      return "float";
    case Format::kDouble:
      return "double";
    case Format::kTime:
    case Format::kMicroTime:
      return "date-time";
    case Format::kBytes:
      return "byte";
    case Format::kRaw:
      return "";
    default:
      return schema.format_name;
  }
}

const char* ListTypeName(schema::ListType type) {
  if (type == schema::ListType::kMap) return "map";
  return type == schema::ListType::kSet ? "set" : "atomic";
}

void WriteConstraints(const schema::Constraints& constraints, JsonObject& out) {
  if (!constraints.one_of.empty())
    out["enum"] = JsonArray(constraints.one_of.begin(), constraints.one_of.end());
  const auto number = [&](const char* name, const auto& value) {
    if (value) out[name] = *value;
  };
  number("minimum", constraints.minimum);
  number("maximum", constraints.maximum);
  number("multipleOf", constraints.multiple_of);
  number("minLength", constraints.min_length);
  number("maxLength", constraints.max_length);
  number("minItems", constraints.min_items);
  number("maxItems", constraints.max_items);
  number("minProperties", constraints.min_properties);
  number("maxProperties", constraints.max_properties);
  if (constraints.exclusive_minimum) out["exclusiveMinimum"] = true;
  if (constraints.exclusive_maximum) out["exclusiveMaximum"] = true;
  if (constraints.unique_items) out["uniqueItems"] = true;
  if (!constraints.pattern.empty()) out["pattern"] = constraints.pattern;
}

void WritePatchHints(const Property& property, JsonObject& out) {
  if (!property.patch_merge_key.empty())
    out["x-kubernetes-patch-merge-key"] = property.patch_merge_key;
  if (property.patch_merge) {
    out["x-kubernetes-patch-strategy"] = property.patch_retain_keys ? "merge,retainKeys" : "merge";
  } else if (property.patch_retain_keys) {
    out["x-kubernetes-patch-strategy"] = "retainKeys";
  }
}

}  // namespace

Json SchemaWriter::Reference(const std::string& name) const {
  const char* where = version_ == OpenApiVersion::kV2 ? "#/definitions/" : "#/components/schemas/";
  return {{"$ref", where + name}};
}

Json SchemaWriter::Refer(const Schema& schema) {
  if (schema.message.empty() || schema.type != Schema::Type::kObject || schema.properties.empty()) {
    return Write(schema);
  }
  const std::string name = PublishedName(schema.message);
  if (seen_.insert(name).second) open_.push_back(&schema);
  return Reference(name);
}

JsonObject SchemaWriter::Take() {
  while (!open_.empty()) {
    const Schema* schema = open_.front();
    open_.pop_front();
    const std::string name = PublishedName(schema->message);
    if (!schemas_.contains(name)) schemas_[name] = Write(*schema);
  }
  return std::move(schemas_);
}

std::string SchemaWriter::AddKind(const Kind& kind, const KindVersion& version) {
  const bool custom = version.schema->message.empty();
  const std::string name = custom ? CustomName(kind.group, version.version, kind.kind)
                                  : PublishedName(version.schema->message);
  if (!schemas_.contains(name)) {
    Json schema = Write(*version.schema);
    JsonObject properties = {{"apiVersion", {{"type", "string"}}}, {"kind", {{"type", "string"}}}};
    if (custom) properties["metadata"] = Refer(*schema::ObjectMetaSchema());
    if (Json* own = schema.as_object().if_contains("properties")) {
      for (auto& member : own->as_object()) {
        if (!properties.contains(member.key()))
          properties[member.key()] = std::move(member.value());
      }
    }
    schema.as_object()["properties"] = std::move(properties);
    schema.as_object()[kKindExtension] = JsonArray();
    schemas_[name] = std::move(schema);
  }
  // Two versions may have one type.
  schemas_[name].as_object()[kKindExtension].as_array().push_back(
      {{"group", kind.group}, {"kind", kind.kind}, {"version", version.version}});
  return name;
}

// In place, however it is named.
Json SchemaWriter::Write(const Schema& schema) {
  JsonObject out;
  if (!schema.description.empty()) out["description"] = schema.description;
  if (version_ == OpenApiVersion::kV2 && !schema.is_builtin() &&
      (schema.nullable || schema.preserve_unknown_fields || schema.int_or_string)) {
    // What old clients would check too strictly is left open.
    return out;
  }
  WriteType(schema, out);
  if (!schema.required.empty())
    out["required"] = JsonArray(schema.required.begin(), schema.required.end());
  if (schema.default_value) out["default"] = *schema.default_value;
  if (schema.nullable) out["nullable"] = true;
  if (schema.preserve_unknown_fields) out["x-kubernetes-preserve-unknown-fields"] = true;
  if (schema.embedded_resource) out["x-kubernetes-embedded-resource"] = true;
  if (schema.map_atomic) out["x-kubernetes-map-type"] = "atomic";
  if (schema.constraints) WriteConstraints(*schema.constraints, out);
  return out;
}

void SchemaWriter::WriteType(const Schema& schema, JsonObject& out) {
  if (schema.int_or_string || schema.format == Format::kIntOrString) {
    if (!schema.is_builtin() && schema.int_or_string) {
      out["x-kubernetes-int-or-string"] = true;
      return;
    }
    if (version_ == OpenApiVersion::kV2) {
      out["type"] = "string";
    } else {
      out["oneOf"] = {{{"type", "integer"}}, {{"type", "string"}}};
    }
    out["format"] = "int-or-string";
    return;
  }
  const std::string type = schema.format == Format::kRaw ? "object" : TypeName(schema.type);
  if (!type.empty()) out["type"] = type;
  if (const std::string format = FormatName(schema); !format.empty()) out["format"] = format;
  if (schema.type == Schema::Type::kArray) WriteArray(schema, out);
  if (schema.additional) out["additionalProperties"] = Refer(*schema.additional);
  if (!schema.properties.empty()) out["properties"] = WriteProperties(schema);
}

void SchemaWriter::WriteArray(const Schema& schema, JsonObject& out) {
  out["items"] = schema.items ? Refer(*schema.items) : Json(JsonObject());
  if (schema.list_type_given || schema.list_type != schema::ListType::kAtomic)
    out["x-kubernetes-list-type"] = ListTypeName(schema.list_type);
  if (!schema.list_map_keys.empty()) {
    out["x-kubernetes-list-map-keys"] =
        JsonArray(schema.list_map_keys.begin(), schema.list_map_keys.end());
  }
}

JsonObject SchemaWriter::WriteProperties(const Schema& schema) {
  JsonObject out;
  for (const Property& property : schema.properties) {
    if (property.inlined) {
      for (auto& member : WriteProperties(*property.schema))
        out[member.key()] = std::move(member.value());
      continue;
    }
    Json written = Refer(*property.schema);
    WritePatchHints(property, written.as_object());
    out[property.name] = std::move(written);
  }
  return out;
}

}  // namespace thinsnap::schema
