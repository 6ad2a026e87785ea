#include "simulator/schema/crd.h"

#include <algorithm>

#include "simulator/schema/custom.h"

namespace thinsnap::schema {
namespace {

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  return text;
}

std::vector<std::string> Strings(const Json& from, std::string_view path) {
  std::vector<std::string> all;
  for (const Json& each : ArrayAt(from, path)) {
    if (each.is_string()) all.emplace_back(each.get_string());
  }
  return all;
}

std::string WithoutDot(const std::string& path) {
  return path.starts_with('.') ? path.substr(1) : path;
}

// A default must be what it stands for. What is nested in it may have defaults of its own.
void CheckDefault(const Json& schema, const std::string& path, FieldErrors& errors) {
  const Json* value = Find(schema, "default");
  const auto tree = SchemaFromOpenApi(schema);
  if (value == nullptr || !tree.ok()) return;  // a schema that cannot be is told of as such
  Json filled = *value;
  DefaultBySchema(*(*tree)->root, filled);
  for (FieldError& error : ValidateBySchema(*(*tree)->root, filled, nullptr)) {
    if (error.field == "<nil>" && error.message.starts_with("Invalid value: null")) continue;
    error.field = path + ".default" + (error.field == "<nil>" || error.field.empty() ? "" : ".") +
                  (error.field == "<nil>" ? "" : error.field);
    errors.push_back(std::move(error));
  }
}

// A type on every node: that is what structural means.
void CheckStructural(const Json& schema, const std::string& path, const char* where,
                     FieldErrors& errors) {
  static const std::vector<std::string> kTypes = {"array",  "boolean", "integer",
                                                  "number", "object",  "string"};
  const std::string type = StringAt(schema, "type");
  if (!type.empty() && std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end())
    errors.push_back(FieldError::Unsupported(path + ".type", Json(type), kTypes));
  if (BoolAt(schema, "uniqueItems")) {
    errors.push_back(FieldError::Forbidden(
        path + ".uniqueItems",
        "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"));
  }
  CheckDefault(schema, path, errors);
  const bool typed = !type.empty() || BoolAt(schema, "x-kubernetes-int-or-string") ||
                     BoolAt(schema, "x-kubernetes-preserve-unknown-fields");
  if (!typed) errors.push_back(FieldError::Required(path + ".type", where));
  if (Find(schema, "$ref") != nullptr)
    errors.push_back(FieldError::Forbidden(path + ".$ref", "$ref is not supported"));
  if (const JsonObject* properties = FindObject(schema, "properties")) {
    for (const auto& [name, value] : *properties) {
      CheckStructural(value, path + ".properties[" + std::string(name) + "]",
                      "must not be empty for specified object fields", errors);
    }
  }
  if (const Json* items = Find(schema, "items"); items != nullptr && items->is_object()) {
    CheckStructural(*items, path + ".items", "must not be empty for specified array items", errors);
  }
  if (const Json* additional = Find(schema, "additionalProperties");
      additional != nullptr && additional->is_object()) {
    CheckStructural(*additional, path + ".additionalProperties",
                    "must not be empty for specified object fields", errors);
  }
  if (type == "array" && Find(schema, "items") == nullptr) {
    errors.push_back(FieldError::Required(path + ".items", "must be specified"));
  }
  if (StringAt(schema, "x-kubernetes-list-type") == "map" &&
      ArrayAt(schema, "x-kubernetes-list-map-keys").empty()) {
    errors.push_back(FieldError::Required(path + ".x-kubernetes-list-map-keys",
                                          "must not be empty if x-kubernetes-list-type is map"));
  }
}

void CheckVersions(const Json& crd, FieldErrors& errors) {
  const JsonArray& versions = ArrayAt(crd, "spec.versions");
  if (versions.empty())
    errors.push_back(FieldError::Required(
        "spec.versions", "must have exactly one version marked as storage version"));
  int stored = 0;
  for (std::size_t i = 0; i < versions.size(); ++i) {
    const std::string at = "spec.versions[" + std::to_string(i) + "]";
    if (StringAt(versions[i], "name").empty()) errors.push_back(FieldError::Required(at + ".name"));
    if (BoolAt(versions[i], "storage")) ++stored;
    const Json* schema = Find(versions[i], "schema.openAPIV3Schema");
    // One version's schema is reported where older definitions had it.
    const std::string schema_at =
        versions.size() == 1 ? "spec.validation.openAPIV3Schema" : at + ".schema.openAPIV3Schema";
    if (schema == nullptr) {
      errors.push_back(
          FieldError::Required(at + ".schema.openAPIV3Schema", "schemas are required"));
      continue;
    }
    const std::size_t before = errors.size();
    CheckStructural(*schema, schema_at, "must not be empty at the root", errors);
    if (errors.size() > before) continue;
    if (StringAt(*schema, "type") != "object") {
      errors.push_back(FieldError::Invalid(schema_at + ".type", Json(StringAt(*schema, "type")),
                                           "must be object at the root"));
    }
    const auto parsed = SchemaFromOpenApi(*schema);
    if (!parsed.ok())
      errors.push_back(FieldError::Invalid(schema_at, Json(""), parsed.error().message()));
  }
  if (!versions.empty() && stored != 1) {
    errors.push_back(
        FieldError::Invalid("spec.versions", Json(versions),
                            "must have exactly one version marked as storage version"));
  }
}

KindVersion ReadVersion(const Json& from, const Schema* schema) {
  KindVersion version;
  version.version = StringAt(from, "name");
  version.schema = schema;
  version.columns.push_back(
      {"Name", "string", "name", "Name must be unique within a namespace.", "", 0});
  const JsonArray& columns = ArrayAt(from, "additionalPrinterColumns");
  for (const Json& column : columns) {
    version.columns.push_back({StringAt(column, "name"), StringAt(column, "type"),
                               StringAt(column, "format"), StringAt(column, "description"),
                               StringAt(column, "jsonPath"),
                               static_cast<int>(IntAt(column, "priority"))});
  }
  if (columns.empty()) {
    version.columns.push_back(
        {"Age", "date", "", "When the object was created.", ".metadata.creationTimestamp", 0});
  }
  for (const Json& field : ArrayAt(from, "selectableFields")) {
    version.selectable_fields.push_back(WithoutDot(StringAt(field, "jsonPath")));
  }
  if (BoolAt(from, "deprecated")) {
    version.deprecation_warning =
        StringAt(from, "deprecationWarning", version.version + " is deprecated");
  }
  return version;
}

}  // namespace

FieldErrors ValidateCrd(const Json& crd) {
  FieldErrors errors;
  const std::string group = StringAt(crd, "spec.group"),
                    plural = StringAt(crd, "spec.names.plural");
  const std::string name = StringAt(crd, "metadata.name");
  if (group.empty()) errors.push_back(FieldError::Required("spec.group"));
  if (plural.empty()) errors.push_back(FieldError::Required("spec.names.plural"));
  if (StringAt(crd, "spec.names.kind").empty())
    errors.push_back(FieldError::Required("spec.names.kind"));
  if (!group.empty() && !plural.empty() && name != plural + "." + group) {
    errors.push_back(FieldError::Invalid("metadata.name", Json(name),
                                         "must be spec.names.plural+\".\"+spec.group"));
  }
  const std::string scope = StringAt(crd, "spec.scope");
  if (scope != "Namespaced" && scope != "Cluster") {
    errors.push_back(scope.empty() ? FieldError::Required("spec.scope")
                                   : FieldError::Unsupported("spec.scope", Json(scope),
                                                             {"Cluster", "Namespaced"}));
  }
  CheckVersions(crd, errors);
  return errors;
}

FieldErrors ValidateCrdUpdate(const Json& crd, const Json& old) {
  FieldErrors errors = ValidateCrd(crd);
  const bool established = IsEstablished(old);
  for (const char* path : {"spec.group", "spec.names.plural", "spec.scope", "spec.names.kind"}) {
    const std::string now = StringAt(crd, path);
    const bool always =
        std::string_view(path) == "spec.group" || std::string_view(path) == "spec.names.plural";
    if ((always || established) && now != StringAt(old, path)) {
      errors.push_back(FieldError::Invalid(path, Json(now), "field is immutable"));
    }
  }
  return errors;
}

void DefaultCrd(Json& crd) {
  const std::string kind = StringAt(crd, "spec.names.kind");
  if (StringAt(crd, "spec.names.singular").empty() && !kind.empty())
    Set(crd, "spec.names.singular", Json(Lower(kind)));
  if (StringAt(crd, "spec.names.listKind").empty() && !kind.empty())
    Set(crd, "spec.names.listKind", Json(kind + "List"));
  if (StringAt(crd, "spec.conversion.strategy").empty())
    Set(crd, "spec.conversion.strategy", Json("None"));
}

Result<KindRef> KindFromCrd(const Json& crd) {
  auto kind = std::make_shared<Kind>();
  kind->group = StringAt(crd, "spec.group");
  kind->resource = StringAt(crd, "spec.names.plural");
  kind->kind = StringAt(crd, "spec.names.kind");
  kind->list_kind = StringAt(crd, "spec.names.listKind", kind->kind + "List");
  kind->singular = StringAt(crd, "spec.names.singular", Lower(kind->kind));
  kind->short_names = Strings(crd, "spec.names.shortNames");
  kind->categories = Strings(crd, "spec.names.categories");
  kind->verbs = {"delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"};
  kind->namespaced = StringAt(crd, "spec.scope") == "Namespaced";
  kind->custom = true;
  kind->has_generation = true;
  kind->rv_required_on_update = true;
  kind->storage_resource = kind->group_resource();
  // All versions' schemas in one tree, which the kind owns.
  struct Trees {
    std::vector<std::shared_ptr<const SchemaTree>> all;
  };
  auto trees = std::make_shared<Trees>();
  for (const Json& each : ArrayAt(crd, "spec.versions")) {
    if (BoolAt(each, "storage")) kind->storage_version = StringAt(each, "name");
    if (!BoolAt(each, "served")) continue;
    const Json* schema = Find(each, "schema.openAPIV3Schema");
    if (schema == nullptr) return Error(Code::kInvalidArgument, "a version has no schema");
    auto tree = TRY(SchemaFromOpenApi(*schema));
    KindVersion version = ReadVersion(each, tree->root);
    if (Find(each, "subresources.status") != nullptr) {
      kind->has_status = true;
      version.subresources.push_back({"status", kind->kind, "", "", {"get", "patch", "update"}});
    }
    if (Find(each, "subresources.scale") != nullptr) {
      version.scale_spec_path = WithoutDot(StringAt(each, "subresources.scale.specReplicasPath"));
      version.scale_status_path =
          WithoutDot(StringAt(each, "subresources.scale.statusReplicasPath"));
      version.scale_selector_path =
          WithoutDot(StringAt(each, "subresources.scale.labelSelectorPath"));
      version.subresources.push_back(
          {"scale", "Scale", "autoscaling", "v1", {"get", "patch", "update"}});
    }
    trees->all.push_back(std::move(tree));
    kind->versions.push_back(std::move(version));
  }
  if (!trees->all.empty()) {
    kind->schema_tree = std::shared_ptr<const SchemaTree>(trees, trees->all.front().get());
  }
  return KindRef(std::move(kind));
}

bool IsEstablished(const Json& crd) {
  for (const Json& condition : ArrayAt(crd, "status.conditions")) {
    if (StringAt(condition, "type") == "Established")
      return StringAt(condition, "status") == "True";
  }
  return false;
}

bool EstablishCrd(const KindTable& kinds, Json& crd, WallTime now) {
  const Json before = crd;
  const std::string group = StringAt(crd, "spec.group"),
                    plural = StringAt(crd, "spec.names.plural");
  const std::string kind_name = StringAt(crd, "spec.names.kind");
  std::string conflict;
  for (const KindRef& other : kinds.All()) {
    if (other->group == group && other->resource != plural && other->kind == kind_name) {
      conflict = "\"" + kind_name + "\" is already in use by " + other->resource;
    }
  }
  const auto condition = [&](const char* type, bool status, const char* reason,
                             const std::string& message) {
    JsonObject entry = {{"type", type},
                        {"status", status ? "True" : "False"},
                        {"reason", reason},
                        {"message", message}};
    JsonArray kept;
    std::string since = FormatRfc3339(now);
    for (const Json& each : ArrayAt(crd, "status.conditions")) {
      if (StringAt(each, "type") != type) {
        kept.push_back(each);
      } else if (StringAt(each, "status") == (status ? "True" : "False")) {
        since = StringAt(each, "lastTransitionTime", since);
      }
    }
    entry["lastTransitionTime"] = since;
    kept.push_back(std::move(entry));
    Set(crd, "status.conditions", Json(std::move(kept)));
  };
  if (conflict.empty()) {
    if (const Json* names = Find(crd, "spec.names")) {
      const Json copy = *names;
      Set(crd, "status.acceptedNames", copy);
    }
    condition("NamesAccepted", true, "NoConflicts", "no conflicts found");
    condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted");
  } else {
    condition("NamesAccepted", false, "KindConflict", conflict);
    condition("Established", false, "NotAccepted", "not all names are accepted");
  }
  JsonArray stored = ArrayAt(crd, "status.storedVersions");
  for (const Json& version : ArrayAt(crd, "spec.versions")) {
    const Json name(StringAt(version, "name"));
    if (BoolAt(version, "storage") && std::find(stored.begin(), stored.end(), name) == stored.end())
      stored.push_back(name);
  }
  Set(crd, "status.storedVersions", Json(std::move(stored)));
  return before != crd;
}

}  // namespace thinsnap::schema
