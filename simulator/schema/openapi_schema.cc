// From a structural OpenAPI v3 schema (of a definition) to a Schema.
#include <algorithm>
#include <re2/re2.h>

#include "simulator/schema/cel.h"
#include "simulator/schema/crd.h"

namespace thinsnap::schema {
namespace {

std::optional<double> NumberAt(const Json& from, std::string_view name) {
  const Json* value = Find(from, name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->to_number<double>();
}

std::optional<std::int64_t> CountAt(const Json& from, std::string_view name) {
  const Json* value = Find(from, name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->to_number<std::int64_t>();
}

Schema::Type TypeFrom(const std::string& name) {
  if (name == "object") return Schema::Type::kObject;
  if (name == "array") return Schema::Type::kArray;
  if (name == "string") return Schema::Type::kString;
  if (name == "integer") return Schema::Type::kInteger;
  if (name == "number") return Schema::Type::kNumber;
  if (name == "boolean") return Schema::Type::kBoolean;
  return Schema::Type::kAny;
}

class Reader {
 public:
  explicit Reader(SchemaTree& tree) : tree_(tree) {}

  Result<Schema*> Read(const Json& from, bool root) {
    if (++depth_ > 64)
      return Error(Code::kInvalidArgument, "the schema is nested deeper than 64 levels");
    Schema* node = tree_.NewNode();
    node->type = TypeFrom(StringAt(from, "type"));
    node->type_name = StringAt(from, "type");
    node->format_name = StringAt(from, "format");
    node->description = StringAt(from, "description");
    node->nullable = BoolAt(from, "nullable");
    node->int_or_string = BoolAt(from, "x-kubernetes-int-or-string");
    if (node->int_or_string) node->format = Format::kIntOrString;
    node->preserve_unknown_fields = BoolAt(from, "x-kubernetes-preserve-unknown-fields");
    node->embedded_resource = BoolAt(from, "x-kubernetes-embedded-resource");
    if (const Json* value = Find(from, "default")) node->default_value = *value;
    for (const Json& name : ArrayAt(from, "required")) {
      if (name.is_string()) node->required.emplace_back(name.get_string());
    }
    TRY(ReadMembers(from, *node, root));
    ReadListType(from, *node);
    TRY(ReadConstraints(from, *node));
    --depth_;
    return node;
  }

 private:
  void AddEnvelope(Schema& node) {
    for (const char* name : {"apiVersion", "kind"}) {
      if (node.FindProperty(name) != nullptr) continue;
      Schema* text = tree_.NewNode();
      text->type = Schema::Type::kString;
      text->type_name = "string";
      Property property;
      property.name = name;
      property.schema = text;
      node.properties.push_back(std::move(property));
      Sort(node);
    }
    std::erase_if(node.properties, [](const Property& each) { return each.name == "metadata"; });
    Property metadata;
    metadata.name = "metadata";
    metadata.schema = ObjectMetaSchema();
    node.properties.push_back(std::move(metadata));
    Sort(node);
  }

  static void Sort(Schema& node) {
    std::sort(node.properties.begin(), node.properties.end(),
              [](const Property& a, const Property& b) { return a.name < b.name; });
  }

  Status ReadMembers(const Json& from, Schema& node, bool root) {
    if (const JsonObject* properties = FindObject(from, "properties")) {
      for (const auto& [name, value] : *properties) {
        Property property;
        property.name = std::string(name);
        property.schema = TRY(Read(value, false).In("properties." + property.name));
        node.properties.push_back(std::move(property));
      }
      Sort(node);
    }
    if (root || node.embedded_resource) AddEnvelope(node);
    if (const Json* items = Find(from, "items"); items != nullptr && items->is_object()) {
      node.items = TRY(Read(*items, false).In("items"));
    }
    if (const Json* additional = Find(from, "additionalProperties")) {
      if (additional->is_object()) {
        node.additional = TRY(Read(*additional, false).In("additionalProperties"));
      } else if (additional->is_bool() && additional->get_bool()) {
        node.preserve_unknown_fields = true;
      }
    }
    return {};
  }

  static void ReadListType(const Json& from, Schema& node) {
    const std::string list_type = StringAt(from, "x-kubernetes-list-type");
    node.list_type_given = !list_type.empty();
    if (list_type == "set") node.list_type = ListType::kSet;
    if (list_type == "map") node.list_type = ListType::kMap;
    for (const Json& key : ArrayAt(from, "x-kubernetes-list-map-keys")) {
      if (key.is_string()) node.list_map_keys.emplace_back(key.get_string());
    }
    node.map_atomic = StringAt(from, "x-kubernetes-map-type") == "atomic";
  }

  Result<std::vector<const Schema*>> ReadAll(const Json& from, std::string_view name) {
    std::vector<const Schema*> all;
    for (const Json& each : ArrayAt(from, name)) all.push_back(TRY(Read(each, false).In(name)));
    return all;
  }

  Status ReadConstraints(const Json& from, Schema& node) {
    auto limits = std::make_unique<Constraints>();
    for (const Json& each : ArrayAt(from, "enum")) limits->one_of.push_back(each);
    limits->minimum = NumberAt(from, "minimum");
    limits->maximum = NumberAt(from, "maximum");
    limits->multiple_of = NumberAt(from, "multipleOf");
    limits->exclusive_minimum = BoolAt(from, "exclusiveMinimum");
    limits->exclusive_maximum = BoolAt(from, "exclusiveMaximum");
    limits->min_length = CountAt(from, "minLength");
    limits->max_length = CountAt(from, "maxLength");
    limits->min_items = CountAt(from, "minItems");
    limits->max_items = CountAt(from, "maxItems");
    limits->min_properties = CountAt(from, "minProperties");
    limits->max_properties = CountAt(from, "maxProperties");
    limits->unique_items = BoolAt(from, "uniqueItems");
    limits->pattern = StringAt(from, "pattern");
    if (!limits->pattern.empty()) {
      auto regex = std::make_shared<re2::RE2>(limits->pattern, re2::RE2::Quiet);
      if (!regex->ok()) {
        return Error(Code::kInvalidArgument,
                     "pattern \"" + limits->pattern + "\": " + regex->error());
      }
      limits->regex = std::move(regex);
    }
    limits->all_of = TRY(ReadAll(from, "allOf"));
    // With int-or-string, anyOf only says so again.
    if (!node.int_or_string) limits->any_of = TRY(ReadAll(from, "anyOf"));
    limits->one_of_schemas = TRY(ReadAll(from, "oneOf"));
    if (const Json* none = Find(from, "not"); none != nullptr && none->is_object()) {
      limits->none_of = TRY(Read(*none, false).In("not"));
    }
    for (const Json& each : ArrayAt(from, "x-kubernetes-validations"))
      limits->rules.push_back(TRY(ReadRule(each)));
    node.constraints = std::move(limits);
    return {};
  }

  static Result<ValidationRule> ReadRule(const Json& from) {
    ValidationRule rule;
    rule.rule = StringAt(from, "rule");
    rule.message = StringAt(from, "message");
    rule.message_expression = StringAt(from, "messageExpression");
    rule.reason = StringAt(from, "reason");
    rule.field_path = StringAt(from, "fieldPath");
    rule.optional_old_self = BoolAt(from, "optionalOldSelf");
    rule.program = TRY(cel::Program::Compile(rule.rule).In("rule \"" + rule.rule + "\""));
    if (!rule.message_expression.empty()) {
      rule.message_program =
          TRY(cel::Program::Compile(rule.message_expression).In("messageExpression"));
    }
    return rule;
  }

  SchemaTree& tree_;
  int depth_ = 0;
};

}  // namespace

Result<std::shared_ptr<const SchemaTree>> SchemaFromOpenApi(const Json& schema) {
  auto tree = std::make_shared<SchemaTree>();
  tree->root = TRY(Reader(*tree).Read(schema, true));
  return std::shared_ptr<const SchemaTree>(std::move(tree));
}

}  // namespace thinsnap::schema
