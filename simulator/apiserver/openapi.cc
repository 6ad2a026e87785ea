#include "simulator/apiserver/openapi.h"

#include <deque>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "base/core/bytes.h"

namespace thinsnap::apiserver {

using objects::Format;
using objects::Kind;
using objects::KindVersion;
using objects::Property;
using objects::Schema;

namespace {

constexpr std::string_view kV2Type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

std::string HashOf(std::string_view text) {
  // FNV-1a: the same on every machine and in every run, so that clients may cache across restarts.
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  Bytes bytes;
  AppendLe(bytes, hash);
  return HexEncode(bytes);
}

// "core.v1.Pod" is published as "io.k8s.api.core.v1.Pod".
std::string PublishedName(const std::string& message) {
  const std::string_view package = std::string_view(message).substr(0, message.find('.'));
  if (package == "meta") return "io.k8s.apimachinery.pkg.apis." + message;
  if (package == "apiextensions") return "io.k8s.apiextensions-apiserver.pkg.apis." + message;
  return "io.k8s.api." + message;
}

std::string GroupVersionPath(const std::string& group, const std::string& version) {
  return group.empty() ? "api/" + version : "apis/" + group + "/" + version;
}

// Builds components.schemas: named types of built-in kinds once each, custom schemas in place.
class SchemaWriter {
 public:
  // The schema, or a reference to it.
  Json Refer(const Schema& schema) {
    if (schema.message.empty() || schema.type != Schema::Type::kObject ||
        schema.properties.empty()) {
      return Write(schema);
    }
    const std::string name = PublishedName(schema.message);
    if (seen_.insert(name).second) open_.push_back(&schema);
    return {{"$ref", "#/components/schemas/" + name}};
  }

  JsonObject TakeComponents() {
    while (!open_.empty()) {
      const Schema* schema = open_.front();
      open_.pop_front();
      Put(PublishedName(schema->message), Write(*schema));
    }
    return std::move(components_);
  }

  void Put(const std::string& name, Json schema) { components_[name] = std::move(schema); }
  Json* Find(const std::string& name) { return components_.if_contains(name); }

  // In place, however it is named.
  Json Write(const Schema& schema) {
    JsonObject out;
    if (!schema.description.empty()) out["description"] = schema.description;
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

 private:
  void WriteType(const Schema& schema, JsonObject& out) {
    if (schema.int_or_string || schema.format == Format::kIntOrString) {
      if (schema.is_builtin() || !schema.int_or_string) {
        out["oneOf"] = {{{"type", "integer"}}, {{"type", "string"}}};
        out["format"] = "int-or-string";
      } else {
        out["x-kubernetes-int-or-string"] = true;
      }
      return;
    }
    switch (schema.type) {
      case Schema::Type::kAny:
        break;
      case Schema::Type::kObject:
        out["type"] = "object";
        break;
      case Schema::Type::kArray:
        out["type"] = "array";
        break;
      case Schema::Type::kString:
        out["type"] = "string";
        break;
      case Schema::Type::kInteger:
        out["type"] = "integer";
        break;
      case Schema::Type::kNumber:
        out["type"] = "number";
        break;
      case Schema::Type::kBoolean:
        out["type"] = "boolean";
        break;
    }
    switch (schema.format) {
      case Format::kInt32:
        out["format"] = "int32";
        break;
      case Format::kInt64:
        out["format"] = "int64";
        break;
      case Format::kFloat:
        out["format"] = "float";
        break;
      case Format::kDouble:
        out["format"] = "double";
        break;
      case Format::kTime:
      case Format::kMicroTime:
        out["format"] = "date-time";
        break;
      case Format::kBytes:
        out["format"] = "byte";
        break;
      case Format::kRaw:
        out["type"] = "object";
        break;
      default:
        if (!schema.format_name.empty()) out["format"] = schema.format_name;
        break;
    }
    if (schema.type == Schema::Type::kArray) {
      if (schema.items) out["items"] = Refer(*schema.items);
      if (schema.list_type_given || schema.list_type != objects::ListType::kAtomic) {
        out["x-kubernetes-list-type"] = schema.list_type == objects::ListType::kMap   ? "map"
                                        : schema.list_type == objects::ListType::kSet ? "set"
                                                                                      : "atomic";
      }
      if (!schema.list_map_keys.empty()) {
        out["x-kubernetes-list-map-keys"] =
            JsonArray(schema.list_map_keys.begin(), schema.list_map_keys.end());
      }
    }
    if (schema.additional) out["additionalProperties"] = Refer(*schema.additional);
    if (!schema.properties.empty()) out["properties"] = WriteProperties(schema);
  }

  JsonObject WriteProperties(const Schema& schema) {
    JsonObject out;
    for (const Property& property : schema.properties) {
      if (property.inlined) {
        for (auto& member : WriteProperties(*property.schema))
          out[member.key()] = std::move(member.value());
        continue;
      }
      Json written = Refer(*property.schema);
      if (!property.patch_merge_key.empty()) {
        written.as_object()["x-kubernetes-patch-merge-key"] = property.patch_merge_key;
      }
      if (property.patch_merge) {
        written.as_object()["x-kubernetes-patch-strategy"] =
            property.patch_retain_keys ? "merge,retainKeys" : "merge";
      } else if (property.patch_retain_keys) {
        written.as_object()["x-kubernetes-patch-strategy"] = "retainKeys";
      }
      out[property.name] = std::move(written);
    }
    return out;
  }

  void WriteConstraints(const objects::Constraints& constraints, JsonObject& out) {
    if (!constraints.one_of.empty())
      out["enum"] = JsonArray(constraints.one_of.begin(), constraints.one_of.end());
    auto number = [&](const char* name, const auto& value) {
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

  JsonObject components_;
  std::set<std::string> seen_;
  std::deque<const Schema*> open_;
};

Json Parameter(const char* name, const char* type) {
  return {{"name", name}, {"in", "query"}, {"schema", {{"type", type}, {"uniqueItems", true}}}};
}

Json Operation(const char* action, const Json& kind_name, const std::string& schema_name,
               bool writes) {
  JsonArray parameters;
  parameters.push_back(Parameter("pretty", "string"));
  if (writes) {
    parameters.push_back(Parameter("dryRun", "string"));
    parameters.push_back(Parameter("fieldManager", "string"));
    parameters.push_back(Parameter("fieldValidation", "string"));
  }
  Json operation = {{"parameters", std::move(parameters)},
                    {"responses",
                     {{"200",
                       {{"description", "OK"},
                        {"content",
                         {{"application/json",
                           {{"schema", {{"$ref", "#/components/schemas/" + schema_name}}}}}}}}}}},
                    {"x-kubernetes-action", action},
                    {"x-kubernetes-group-version-kind", kind_name}};
  return operation;
}

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

bool HasVerb(const Kind& kind, std::string_view verb) {
  for (const std::string& known : kind.verbs) {
    if (known == verb) return true;
  }
  return false;
}

void WriteKind(const Kind& kind, const KindVersion& version, SchemaWriter& schemas,
               JsonObject& paths) {
  if (!version.schema) return;
  const Json kind_name = {{"group", kind.group}, {"kind", kind.kind}, {"version", version.version}};
  std::string schema_name;
  if (version.schema->message.empty()) {
    schema_name = CustomName(kind.group, version.version, kind.kind);
    Json schema = schemas.Write(*version.schema);
    JsonObject properties;
    properties["apiVersion"] = {{"type", "string"}};
    properties["kind"] = {{"type", "string"}};
    properties["metadata"] = schemas.Refer(*objects::ObjectMetaSchema());
    if (Json* own = schema.as_object().if_contains("properties")) {
      for (auto& member : own->as_object()) {
        if (!properties.contains(member.key()))
          properties[member.key()] = std::move(member.value());
      }
    }
    schema.as_object()["properties"] = std::move(properties);
    schema.as_object()["x-kubernetes-group-version-kind"] = JsonArray{kind_name};
    schemas.Put(schema_name, std::move(schema));
  } else {
    schema_name = PublishedName(version.schema->message);
    schemas.Refer(*version.schema);
    Json schema = schemas.Write(*version.schema);
    if (Json* properties = schema.as_object().if_contains("properties")) {
      JsonObject& members = properties->as_object();
      if (!members.contains("apiVersion")) members["apiVersion"] = {{"type", "string"}};
      if (!members.contains("kind")) members["kind"] = {{"type", "string"}};
    }
    schema.as_object()["x-kubernetes-group-version-kind"] = JsonArray{kind_name};
    schemas.Put(schema_name + "#root", std::move(schema));
  }
  const std::string root = "/" + GroupVersionPath(kind.group, version.version);
  const std::string collection =
      root + (kind.namespaced ? "/namespaces/{namespace}/" : "/") + kind.resource;
  JsonObject on_collection, on_object;
  if (HasVerb(kind, "list"))
    on_collection["get"] = Operation("list", kind_name, schema_name, false);
  if (HasVerb(kind, "create"))
    on_collection["post"] = Operation("post", kind_name, schema_name, true);
  if (HasVerb(kind, "get")) on_object["get"] = Operation("get", kind_name, schema_name, false);
  if (HasVerb(kind, "update")) on_object["put"] = Operation("put", kind_name, schema_name, true);
  if (HasVerb(kind, "patch")) on_object["patch"] = Operation("patch", kind_name, schema_name, true);
  if (HasVerb(kind, "delete"))
    on_object["delete"] = Operation("delete", kind_name, schema_name, true);
  if (!on_collection.empty()) paths[collection] = std::move(on_collection);
  if (!on_object.empty()) paths[collection + "/{name}"] = std::move(on_object);
}

}  // namespace

std::optional<OpenApi::Document> OpenApi::Of(const std::string& group, const std::string& version) {
  const std::string key = GroupVersionPath(group, version);
  if (const auto found = documents_.find(key); found != documents_.end()) return found->second;
  SchemaWriter schemas;
  JsonObject paths;
  bool any = false;
  for (const auto& kind : kinds_.All()) {
    const KindVersion* served = kind->group == group ? kind->FindVersion(version) : nullptr;
    if (!served) continue;
    WriteKind(*kind, *served, schemas, paths);
    any = true;
  }
  if (!any) return std::nullopt;
  JsonObject components = schemas.TakeComponents();
  // Kinds replace the plain types of the same name.
  std::vector<std::string> roots;
  for (const auto& member : components) {
    if (std::string_view(member.key()).ends_with("#root")) roots.emplace_back(member.key());
  }
  for (const std::string& name : roots) {
    Json schema = std::move(components[name]);
    components.erase(name);
    components[name.substr(0, name.size() - 5)] = std::move(schema);
  }
  const Json document = {{"openapi", "3.0.0"},
                         {"info", {{"title", "Kubernetes"}, {"version", "v1.33.0"}}},
                         {"paths", std::move(paths)},
                         {"components", {{"schemas", std::move(components)}}}};
  Document made{std::make_shared<const std::string>(ToJson(document)), ""};
  made.hash = HashOf(*made.body);
  documents_[key] = made;
  return made;
}

Json OpenApi::Index() {
  JsonObject paths;
  for (const auto& group : kinds_.Groups()) {
    for (const std::string& version : group.versions) {
      const std::string key = GroupVersionPath(group.name, version);
      bool custom = false;
      for (const auto& kind : kinds_.All())
        custom = custom || (kind->group == group.name && kind->custom);
      // Built-in groups change with the program only; documents of custom ones are small.
      std::string hash = HashOf(key + THINSNAP_VERSION);
      if (custom) {
        if (const auto document = Of(group.name, version)) hash = document->hash;
      }
      paths[key] = {{"serverRelativeURL", "/openapi/v3/" + key + "?hash=" + hash}};
    }
  }
  return {{"paths", std::move(paths)}};
}

std::optional<net::ServerResponse> OpenApi::Answer(const net::ServerRequest& request) {
  if (request.path == "/openapi/v2") {
    return net::ServerResponse::Text(200, "", std::string(kV2Type));
  }
  constexpr std::string_view kV3 = "/openapi/v3";
  if (!request.path.starts_with(kV3)) return std::nullopt;
  std::string rest = request.path.substr(kV3.size());
  while (rest.ends_with('/')) rest.pop_back();

  std::lock_guard lock(mutex_);
  if (const auto generation = kinds_.generation(); generation != generation_) {
    generation_ = generation;
    documents_.clear();
  }
  if (rest.empty()) return net::ServerResponse::Text(200, ToJson(Index()), "application/json");
  std::string group, version;
  if (rest.starts_with("/api/")) {
    version = rest.substr(5);
  } else if (rest.starts_with("/apis/")) {
    const auto slash = rest.find('/', 6);
    if (slash == std::string::npos) return std::nullopt;
    group = rest.substr(6, slash - 6);
    version = rest.substr(slash + 1);
  } else {
    return std::nullopt;
  }
  const auto document = Of(group, version);
  if (!document) return std::nullopt;
  auto response = net::ServerResponse::Text(200, "", "application/json");
  response.body = document->body;
  response.headers.Add("ETag", "\"" + document->hash + "\"");
  if (request.headers.Get("If-None-Match") == "\"" + document->hash + "\"") {
    response.status = 304;
    response.body = nullptr;
  }
  return response;
}

}  // namespace thinsnap::apiserver
