#include "simulator/schema/builtin_codec.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/clock.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::schema {
namespace {

std::string_view KindName(const Json& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::bool_:
      return "bool";
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
    case boost::json::kind::double_:
      return "number";
    case boost::json::kind::string:
      return "string";
    case boost::json::kind::array:
      return "array";
    case boost::json::kind::object:
      return "object";
  }
  return "";
}

bool IsEmpty(const Json& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return true;
    case boost::json::kind::bool_:
      return !value.get_bool();
    case boost::json::kind::int64:
      return value.get_int64() == 0;
    case boost::json::kind::uint64:
      return value.get_uint64() == 0;
    case boost::json::kind::double_:
      return value.get_double() == 0;
    case boost::json::kind::string:
      return value.get_string().empty();
    case boost::json::kind::array:
      return value.get_array().empty();
    case boost::json::kind::object:
      return value.get_object().empty();
  }
  return false;
}

// What Go writes for a member that is always written and was not given; null for "nothing".
Json ZeroOf(const Schema& schema) {
  switch (schema.type) {
    case Schema::Type::kString:
      if (schema.format == Format::kTime || schema.format == Format::kMicroTime) return nullptr;
      return schema.format == Format::kQuantity ? Json("0") : Json("");
    case Schema::Type::kInteger:
      return 0;
    case Schema::Type::kBoolean:
      return false;
    default:
      return nullptr;
  }
}

class Converter {
 public:
  Converter(std::string root, std::vector<std::string>* unknown)
      : root_(std::move(root)), unknown_(unknown) {}

  // The value must not be null.
  Result<Json> Convert(const Schema& schema, Json value, const std::string& path) {
    switch (schema.format) {
      case Format::kRaw:
        return value;
      case Format::kIntOrString:
        return IntOrString(std::move(value), path);
      case Format::kQuantity:
        return ToQuantity(value);
      case Format::kTime:
      case Format::kMicroTime:
        return ToTime(schema, value, path);
      case Format::kBytes:
        return ToBytes(value, path);
      default:
        break;
    }
    switch (schema.type) {
      case Schema::Type::kAny:
        return value;
      case Schema::Type::kString:
        if (!value.is_string()) return Mismatch(value, path, schema);
        return value;
      case Schema::Type::kBoolean:
        if (!value.is_bool()) return Mismatch(value, path, schema);
        return value;
      case Schema::Type::kNumber:
        if (!value.is_number()) return Mismatch(value, path, schema);
        return value;
      case Schema::Type::kInteger:
        return ToInteger(schema, std::move(value), path);
      case Schema::Type::kArray:
        return ToArray(schema, std::move(value), path);
      case Schema::Type::kObject:
        return ToObject(schema, std::move(value), path);
    }
    return value;
  }

 private:
  Error Mismatch(const Json& value, const std::string& path, const Schema& schema) const {
    return Error(Code::kInvalidArgument, "json: cannot unmarshal " + std::string(KindName(value)) +
                                             " into Go struct field " + root_ + "." + path +
                                             " of type " + schema.type_name);
  }

  Result<Json> IntOrString(Json value, const std::string& path) {
    if (value.is_string() || value.is_int64()) return value;
    return Error(Code::kInvalidArgument, "json: cannot unmarshal " + std::string(KindName(value)) +
                                             " into Go struct field " + root_ + "." + path +
                                             " of type intstr.IntOrString");
  }

  static Result<Json> ToQuantity(const Json& value) {
    const std::string text = value.is_string() ? std::string(value.get_string()) : ToJson(value);
    const Quantity quantity = TRY(Quantity::Parse(text));
    return Json(std::string_view(quantity.ToString()));
  }

  Result<Json> ToTime(const Schema& schema, const Json& value, const std::string& path) {
    if (!value.is_string()) return Mismatch(value, path, schema);
    if (value.get_string().empty()) return Json();
    const auto time = ParseRfc3339(std::string_view(value.get_string()));
    if (!time.ok()) {
      return Error(Code::kInvalidArgument, "parsing time \"" + std::string(value.get_string()) +
                                               "\" of " + path +
                                               ": RFC 3339 is expected, as 2026-01-02T03:04:05Z");
    }
    const std::string text =
        schema.format == Format::kTime ? FormatRfc3339(*time) : FormatRfc3339Micro(*time);
    return Json(std::string_view(text));
  }

  Result<Json> ToBytes(const Json& value, const std::string& path) {
    if (!value.is_string()) {
      return Error(Code::kInvalidArgument,
                   "json: cannot unmarshal " + std::string(KindName(value)) +
                       " into Go struct field " + root_ + "." + path + " of type []uint8");
    }
    const std::string_view text = value.get_string();
    const auto bytes = Base64Decode(text);
    if (!bytes.ok()) return Error(Code::kInvalidArgument, path + ": illegal base64 data");
    return Json(std::string_view(Base64Encode(*bytes)));
  }

  Result<Json> ToInteger(const Schema& schema, Json value, const std::string& path) {
    std::optional<std::int64_t> number;
    if (value.is_int64()) number = value.get_int64();
    if (value.is_double()) {
      const double real = value.get_double();
      if (real >= -9e15 && real <= 9e15 &&
          real == static_cast<double>(static_cast<std::int64_t>(real))) {
        number = static_cast<std::int64_t>(real);
      }
    }
    if (!number ||
        (schema.format == Format::kInt32 && (*number < std::numeric_limits<std::int32_t>::min() ||
                                             *number > std::numeric_limits<std::int32_t>::max()))) {
      if (!value.is_number()) return Mismatch(value, path, schema);
      return Error(Code::kInvalidArgument, "json: cannot unmarshal number " + ToJson(value) +
                                               " into Go struct field " + root_ + "." + path +
                                               " of type " + schema.type_name);
    }
    return Json(*number);
  }

  Result<Json> ToArray(const Schema& schema, Json value, const std::string& path) {
    if (!value.is_array()) return Mismatch(value, path, schema);
    auto& items = value.get_array();
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (items[i].is_null()) {
        items[i] = schema.items->type == Schema::Type::kObject ? Json(JsonObject())
                                                               : ZeroOf(*schema.items);
        if (items[i].is_null()) continue;
      }
      items[i] =
          TRY(Convert(*schema.items, std::move(items[i]), path + "[" + std::to_string(i) + "]"));
    }
    return value;
  }

  Result<Json> ToObject(const Schema& schema, Json value, const std::string& path) {
    if (!value.is_object()) return Mismatch(value, path, schema);
    if (schema.additional != nullptr) return ToMap(schema, std::move(value), path);
    JsonObject out;
    out.reserve(value.get_object().size());
    for (auto& member : value.get_object()) {
      const std::string_view name = member.key();
      const Property* property = schema.FindProperty(name);
      std::string where = path.empty() ? std::string(name) : path + "." + std::string(name);
      if (property == nullptr || property->name.empty()) {
        if (unknown_ != nullptr) unknown_->push_back(std::move(where));
        continue;
      }
      if (member.value().is_null()) continue;
      Json converted = TRY(Convert(*property->schema, std::move(member.value()), where));
      const bool container =
          property->schema->type == Schema::Type::kArray || property->schema->additional != nullptr;
      const bool given_pointer = property->pointer && !container;
      const bool structure = converted.is_object() && property->schema->additional == nullptr;
      if (converted.is_null()) continue;
      if (property->omit_empty && !given_pointer && !structure && IsEmpty(converted) &&
          property->schema->format != Format::kIntOrString &&
          property->schema->format != Format::kRaw) {
        continue;
      }
      out[name] = std::move(converted);
    }
    for (const Property& property : schema.properties) {
      if (property.name.empty() || out.contains(property.name)) continue;
      if (property.value && property.schema->type == Schema::Type::kObject) {
        out[property.name] = TRY(Convert(*property.schema, JsonObject(), ""));
      } else if (!property.omit_empty && !property.pointer) {
        Json zero = ZeroOf(*property.schema);
        if (!zero.is_null()) out[property.name] = std::move(zero);
      } else if (property.value && property.schema->format == Format::kTime) {
        out[property.name] = nullptr;
      }
    }
    return Json(std::move(out));
  }

  Result<Json> ToMap(const Schema& schema, Json value, const std::string& path) {
    JsonObject out;
    for (auto& member : value.get_object()) {
      if (member.value().is_null()) {
        Json zero = ZeroOf(*schema.additional);
        out[member.key()] = zero.is_null() ? Json(JsonObject()) : std::move(zero);
        continue;
      }
      // Go names the field of the map, not the key.
      const std::string where = schema.additional->type == Schema::Type::kObject
                                    ? path + "." + std::string(member.key())
                                    : path;
      out[member.key()] = TRY(Convert(*schema.additional, std::move(member.value()), where));
    }
    return Json(std::move(out));
  }

  const std::string root_;
  std::vector<std::string>* unknown_;
};

}  // namespace

Result<Json> ConvertBuiltin(const Schema& schema, Json value, std::vector<std::string>* unknown) {
  const auto dot = schema.type_name.rfind('.');
  Converter converter(
      dot == std::string::npos ? schema.type_name : schema.type_name.substr(dot + 1), unknown);
  return converter.Convert(schema, std::move(value), "");
}

}  // namespace thinsnap::schema
