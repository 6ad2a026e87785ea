// Schemas of the built-in kinds, from wire.txt: one pass over its text, messages refer to each
// other by pointer.

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include "simulator/schema/schema.h"
#include "simulator/schema/wire.h"

namespace thinsnap::schema {
namespace {

std::string_view NextWord(std::string_view& line) {
  const auto end = std::min(line.find(' '), line.size());
  const auto word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

// "core.v1.ConfigMap" is Go's v1.ConfigMap.
std::string GoName(std::string_view message) {
  const auto last = message.rfind('.');
  const auto before = message.rfind('.', last - 1);
  return std::string(message.substr(before == std::string_view::npos ? 0 : before + 1));
}

class WireSchemas {
 public:
  WireSchemas() {
    AddScalars();
    // Text leads: "@message" lines give the nodes first, so that fields can point at any of them.
    std::string_view message;
    for (auto rest = kWireTable; !rest.empty();) {
      auto line = NextLine(rest);
      if (!line.starts_with('@')) continue;
      line.remove_prefix(1);
      message = NextWord(line);
      Schema* node = tree_.NewNode();
      node->type = Schema::Type::kObject;
      node->message = message;
      node->type_name = GoName(message);
      node->map_atomic = line == "atomic";
      if (line == "array") node->type = Schema::Type::kArray;
      messages_.emplace(message, node);
    }
    Schema* current = nullptr;
    for (auto rest = kWireTable; !rest.empty();) {
      auto line = NextLine(rest);
      if (line.empty() || line.starts_with('#')) continue;
      if (line.starts_with('@')) {
        line.remove_prefix(1);
        message = NextWord(line);
        current = NodeOf(message);
      } else {
        AddField(*current, message.substr(0, message.rfind('.')), line);
      }
    }
    for (auto& [name, node] : messages_) Inline(*node);
    for (auto& [name, node] : messages_) Finish(*node);
  }

  const Schema* Find(std::string_view message) const {
    for (const std::string_view prefix :
         {"k8s.io.apimachinery.pkg.apis.", "k8s.io.apimachinery.pkg.api.",
          "k8s.io.apimachinery.pkg.util.", "k8s.io.apimachinery.pkg.", "k8s.io.api."}) {
      if (message.starts_with(prefix)) {
        message.remove_prefix(prefix.size());
        break;
      }
    }
    const auto found = messages_.find(message);
    return found == messages_.end() ? nullptr : found->second;
  }

 private:
  Schema* NodeOf(std::string_view message) const {
    const auto found = messages_.find(message);
    ASSERT(found != messages_.end());
    return found->second;
  }

  static std::string_view NextLine(std::string_view& text) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
  }

  void AddScalar(std::string_view name, Schema::Type type, Format format,
                 std::string_view openapi_format, std::string_view go_name) {
    Schema* node = tree_.NewNode();
    node->type = type;
    node->format = format;
    node->format_name = openapi_format;
    node->type_name = go_name;
    node->int_or_string = format == Format::kIntOrString;
    node->preserve_unknown_fields = format == Format::kRaw;
    messages_.emplace(name, node);
  }

  void AddScalars() {
    using Type = Schema::Type;
    AddScalar("string", Type::kString, Format::kNone, "", "string");
    AddScalar("int32", Type::kInteger, Format::kInt32, "int32", "int32");
    AddScalar("int64", Type::kInteger, Format::kInt64, "int64", "int64");
    AddScalar("bool", Type::kBoolean, Format::kNone, "", "bool");
    AddScalar("double", Type::kNumber, Format::kDouble, "double", "float64");
    AddScalar("bytes", Type::kString, Format::kBytes, "byte", "[]uint8");
    AddScalar("meta.v1.Time", Type::kString, Format::kTime, "date-time", "v1.Time");
    AddScalar("meta.v1.MicroTime", Type::kString, Format::kMicroTime, "date-time", "v1.MicroTime");
    AddScalar("meta.v1.Duration", Type::kString, Format::kDuration, "", "v1.Duration");
    AddScalar("resource.Quantity", Type::kString, Format::kQuantity, "", "resource.Quantity");
    AddScalar("intstr.IntOrString", Type::kAny, Format::kIntOrString, "int-or-string",
              "intstr.IntOrString");
    AddScalar("runtime.RawExtension", Type::kAny, Format::kRaw, "", "runtime.RawExtension");
    AddScalar("meta.v1.FieldsV1", Type::kAny, Format::kRaw, "", "v1.FieldsV1");
  }

  // Nodes of arrays and maps are shared where they are alike.
  const Schema* Container(const Schema* element, bool map, std::string_view list_type) {
    auto& node = containers_[{element, map ? "map" : std::string(list_type)}];
    if (node) return node;
    node = tree_.NewNode();
    if (map) {
      node->type = Schema::Type::kObject;
      node->additional = element;
      node->type_name = "map[string]" + element->type_name;
      node->map_atomic = list_type == "atomic";
      return node;
    }
    node->type = Schema::Type::kArray;
    node->items = element;
    node->type_name = "[]" + element->type_name;
    node->list_type_given = !list_type.empty();
    if (list_type == "set") node->list_type = ListType::kSet;
    if (list_type.starts_with("map:")) {
      node->list_type = ListType::kMap;
      for (auto keys = list_type.substr(4); !keys.empty();) {
        const auto end = std::min(keys.find(','), keys.size());
        node->list_map_keys.emplace_back(keys.substr(0, end));
        keys.remove_prefix(std::min(end + 1, keys.size()));
      }
    }
    return node;
  }

  void AddField(Schema& message, std::string_view package, std::string_view line) {
    Property property;
    property.name = NextWord(line);
    const auto number = NextWord(line);
    std::from_chars(number.data(), number.data() + number.size(), property.wire_number);
    const auto type_name = NextWord(line);
    const auto flags = NextWord(line);
    std::string_view list_type;
    bool atomic_map = false;
    while (!line.empty()) {
      const auto extra = NextWord(line);
      if (extra.starts_with("merge=")) {
        property.patch_merge = true;
        property.patch_merge_key = extra.substr(6);
      } else if (extra == "retain") {
        property.patch_retain_keys = true;
      } else if (extra.starts_with("list=")) {
        list_type = extra.substr(5);
      } else if (extra == "atomic") {
        atomic_map = true;
      }
    }
    const auto has = [flags](char flag) { return flags.find(flag) != std::string_view::npos; };
    auto type = messages_.find(type_name);
    if (type == messages_.end())
      type = messages_.find(std::string(package) + "." + std::string(type_name));
    ASSERT(type != messages_.end());
    property.schema = type->second;
    if (message.type == Schema::Type::kArray) {
      message.items = property.schema;
      return;
    }
    if (has('r') || has('m'))
      property.schema = Container(type->second, has('m'), atomic_map ? "atomic" : list_type);
    property.omit_empty = !has('a');
    property.pointer = has('p');
    property.value = has('v');
    property.inlined = has('i');
    if (property.inlined) property.name.clear();
    message.properties.push_back(std::move(property));
  }

  // Members of inlined messages show in their parents.
  void Inline(Schema& node) {
    for (std::size_t i = 0; i < node.properties.size(); ++i) {
      if (!node.properties[i].inlined || node.properties[i].schema->properties.empty()) continue;
      Schema* inner = const_cast<Schema*>(node.properties[i].schema);
      Inline(*inner);
      for (const Property& member : inner->properties) {
        const bool there =
            std::any_of(node.properties.begin(), node.properties.end(),
                        [&member](const Property& own) { return own.name == member.name; });
        if (member.inlined || there) continue;
        Property copy = member;
        copy.wire_number = 0;
        node.properties.push_back(std::move(copy));
      }
    }
  }

  void Finish(Schema& node) {
    if (node.type != Schema::Type::kObject || node.message.empty()) return;
    const bool is_template =
        node.message.ends_with("TemplateSpec") || node.message.ends_with("Template");
    const bool object = std::any_of(
        node.properties.begin(), node.properties.end(),
        [](const Property& property) { return property.name == "metadata" && property.value; });
    if ((object && (!is_template || node.message == "core.v1.PodTemplate")) ||
        node.message.ends_with("Options")) {
      for (const auto* name : {"apiVersion", "kind"}) {
        Property property;
        property.name = name;
        property.schema = NodeOf("string");
        node.properties.push_back(std::move(property));
      }
    }
    std::sort(node.properties.begin(), node.properties.end(),
              [](const Property& a, const Property& b) { return a.name < b.name; });
  }

  SchemaTree tree_;
  std::map<std::string, Schema*, std::less<>> messages_;
  std::map<std::pair<const Schema*, std::string>, Schema*> containers_;
};

}  // namespace

const Schema* BuiltinSchema(std::string_view message) {
  static const auto* const schemas = new WireSchemas;
  return schemas->Find(message);
}

const Schema* ObjectMetaSchema() {
  static const Schema* const schema = BuiltinSchema("meta.v1.ObjectMeta");
  return schema;
}

}  // namespace thinsnap::schema
