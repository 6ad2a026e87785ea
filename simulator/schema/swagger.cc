#include "simulator/schema/swagger.h"

#include <cstdint>
#include <cstring>
#include <string_view>

namespace thinsnap::schema {
namespace {

// One message. Zero values are left out, as proto3 does.
class Message {
 public:
  void Text(int field, std::string_view text) {
    if (text.empty()) return;
    Tag(field, 2);
    Varint(text.size());
    bytes_ += text;
  }
  void Number(int field, std::uint64_t value) {
    if (value == 0) return;
    Tag(field, 0);
    Varint(value);
  }
  void Double(int field, double value) {
    if (value == 0) return;
    Tag(field, 1);
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    for (int shift = 0; shift < 64; shift += 8) bytes_ += static_cast<char>((bits >> shift) & 0xff);
  }
  // Even if it is empty: a message that is there says something.
  void Sub(int field, const Message& message) {
    Tag(field, 2);
    Varint(message.bytes_.size());
    bytes_ += message.bytes_;
  }
  std::string Take() { return std::move(bytes_); }

  // From members of a JSON object, where they are there.
  void TextOf(int field, const Json& from, std::string_view name) {
    Text(field, StringAt(from, name));
  }
  void FlagOf(int field, const Json& from, std::string_view name) {
    Number(field, BoolAt(from, name) ? 1 : 0);
  }
  void NumberOf(int field, const Json& from, const char* name) {
    const Json* value = from.as_object().if_contains(name);
    if (value && value->is_number()) Number(field, value->to_number<std::uint64_t>());
  }
  void DoubleOf(int field, const Json& from, const char* name) {
    const Json* value = from.as_object().if_contains(name);
    if (value && value->is_number()) Double(field, value->to_number<double>());
  }
  void TextsOf(int field, const Json& from, std::string_view name) {
    for (const Json& text : ArrayAt(from, name)) Text(field, text.as_string());
  }

 private:
  void Tag(int field, unsigned wire) { Varint((static_cast<std::uint64_t>(field) << 3) | wire); }
  void Varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7f) | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// Values of any shape travel as YAML text, of which JSON is a part.
Message AnyOf(const Json& value) {
  Message any;
  any.Text(2, ToJson(value));
  return any;
}

template <typename Value>
Message Named(std::string_view name, const Value& value) {
  Message named;
  named.Text(1, name);
  named.Sub(2, value);
  return named;
}

void Extensions(int field, const Json& from, Message& to) {
  for (const auto& member : from.as_object()) {
    if (std::string_view(member.key()).starts_with("x-"))
      to.Sub(field, Named(member.key(), AnyOf(member.value())));
  }
}

Message SchemaOf(const Json& from) {
  Message schema;
  schema.TextOf(1, from, "$ref");
  schema.TextOf(2, from, "format");
  schema.TextOf(4, from, "description");
  if (const Json* value = from.as_object().if_contains("default")) schema.Sub(5, AnyOf(*value));
  schema.DoubleOf(6, from, "multipleOf");
  schema.DoubleOf(7, from, "maximum");
  schema.FlagOf(8, from, "exclusiveMaximum");
  schema.DoubleOf(9, from, "minimum");
  schema.FlagOf(10, from, "exclusiveMinimum");
  schema.NumberOf(11, from, "maxLength");
  schema.NumberOf(12, from, "minLength");
  schema.TextOf(13, from, "pattern");
  schema.NumberOf(14, from, "maxItems");
  schema.NumberOf(15, from, "minItems");
  schema.FlagOf(16, from, "uniqueItems");
  schema.NumberOf(17, from, "maxProperties");
  schema.NumberOf(18, from, "minProperties");
  schema.TextsOf(19, from, "required");
  for (const Json& value : ArrayAt(from, "enum")) schema.Sub(20, AnyOf(value));
  if (const Json* values = from.as_object().if_contains("additionalProperties")) {
    Message item;
    item.Sub(1, SchemaOf(*values));
    schema.Sub(21, item);
  }
  if (const std::string type = StringAt(from, "type"); !type.empty()) {
    Message item;
    item.Text(1, type);
    schema.Sub(22, item);
  }
  if (const Json* items = from.as_object().if_contains("items")) {
    Message item;
    item.Sub(1, SchemaOf(*items));
    schema.Sub(23, item);
  }
  if (const Json* properties = from.as_object().if_contains("properties")) {
    Message all;
    for (const auto& member : properties->as_object())
      all.Sub(1, Named(member.key(), SchemaOf(member.value())));
    schema.Sub(25, all);
  }
  Extensions(31, from, schema);
  return schema;
}

Message ParameterOf(const Json& from) {
  Message parameter, item;
  const std::string in = StringAt(from, "in");
  if (in == "body") {
    Message body;
    body.TextOf(2, from, "name");
    body.Text(3, in);
    body.FlagOf(4, from, "required");
    body.Sub(5, SchemaOf(ValueAt(from, "schema")));
    parameter.Sub(1, body);
  } else {
    const bool query = in == "query";
    Message plain, one_of;
    plain.FlagOf(1, from, "required");
    plain.Text(2, in);
    plain.TextOf(4, from, "name");
    plain.TextOf(query ? 6 : 5, from, "type");
    if (query) plain.FlagOf(20, from, "uniqueItems");
    one_of.Sub(query ? 3 : 4, plain);
    parameter.Sub(2, one_of);
  }
  item.Sub(1, parameter);
  return item;
}

Message OperationOf(const Json& from) {
  Message operation, responses;
  operation.TextsOf(6, from, "produces");
  operation.TextsOf(7, from, "consumes");
  for (const Json& parameter : ArrayAt(from, "parameters"))
    operation.Sub(8, ParameterOf(parameter));
  for (const auto& member : ObjectAt(from, "responses")) {
    Message response, value;
    response.TextOf(1, member.value(), "description");
    if (const Json* schema = Find(member.value(), "schema")) {
      Message item;
      item.Sub(1, SchemaOf(*schema));
      response.Sub(2, item);
    }
    value.Sub(1, response);
    responses.Sub(1, Named(member.key(), value));
  }
  operation.Sub(9, responses);
  Extensions(13, from, operation);
  return operation;
}

Message PathOf(const Json& from) {
  Message path;
  for (const auto& [name, field] : {std::pair<const char*, int>{"get", 2},
                                    {"put", 3},
                                    {"post", 4},
                                    {"delete", 5},
                                    {"patch", 8}}) {
    if (const Json* operation = from.as_object().if_contains(name))
      path.Sub(field, OperationOf(*operation));
  }
  for (const Json& parameter : ArrayAt(from, "parameters")) path.Sub(9, ParameterOf(parameter));
  return path;
}

}  // namespace

std::string EncodeSwagger(const Json& from) {
  Message document, info, paths, definitions;
  document.TextOf(1, from, "swagger");
  info.TextOf(1, from, "info.title");
  info.TextOf(2, from, "info.version");
  document.Sub(2, info);
  for (const auto& member : ObjectAt(from, "paths"))
    paths.Sub(2, Named(member.key(), PathOf(member.value())));
  document.Sub(8, paths);
  for (const auto& member : ObjectAt(from, "definitions"))
    definitions.Sub(1, Named(member.key(), SchemaOf(member.value())));
  document.Sub(9, definitions);
  return document.Take();
}

}  // namespace thinsnap::schema
