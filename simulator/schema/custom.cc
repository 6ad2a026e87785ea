#include "simulator/schema/custom.h"

#include <algorithm>
#include <cmath>
#include <re2/re2.h>
#include <set>

#include "base/core/clock.h"
#include "simulator/schema/cel.h"

namespace thinsnap::schema {
namespace {

using Type = Schema::Type;

std::string Below(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : path + "." + std::string(name);
}

bool IsEnvelope(std::string_view name) {
  return name == "apiVersion" || name == "kind" || name == "metadata";
}

// ---- pruning

void PruneValue(const Schema& schema, Json& value, const std::string& path, bool envelope,
                std::vector<std::string>* pruned) {
  if (JsonArray* array = value.if_array()) {
    if (schema.items == nullptr) return;
    for (std::size_t i = 0; i < array->size(); ++i) {
      PruneValue(*schema.items, (*array)[i], path + "[" + std::to_string(i) + "]", false, pruned);
    }
    return;
  }
  JsonObject* object = value.if_object();
  if (object == nullptr || schema.type == Type::kArray) return;
  std::vector<std::string> unknown;
  for (auto& member : *object) {
    const std::string_view name(member.key().data(), member.key().size());
    if ((envelope || schema.embedded_resource) && IsEnvelope(name)) continue;
    if (const Property* property = schema.FindProperty(name)) {
      PruneValue(*property->schema, member.value(), Below(path, name), false, pruned);
    } else if (schema.additional != nullptr) {
      PruneValue(*schema.additional, member.value(), Below(path, name), false, pruned);
    } else if (!schema.preserve_unknown_fields && schema.type == Type::kObject) {
      unknown.emplace_back(name);
    }
  }
  for (const std::string& name : unknown) {
    object->erase(name);
    if (pruned != nullptr) pruned->push_back(Below(path, name));
  }
}

// ---- defaulting

void DefaultValue(const Schema& schema, Json& value, bool root) {
  if (JsonArray* array = value.if_array()) {
    if (schema.items == nullptr) return;
    for (Json& element : *array) DefaultValue(*schema.items, element, false);
    return;
  }
  JsonObject* object = value.if_object();
  if (object == nullptr) return;
  for (const Property& property : schema.properties) {
    if (root && IsEnvelope(property.name)) continue;
    Json* member = object->if_contains(property.name);
    if (member != nullptr && member->is_null() && !property.schema->nullable) {
      object->erase(property.name);
      member = nullptr;
    }
    if (member == nullptr && property.schema->default_value.has_value()) {
      (*object)[property.name] = *property.schema->default_value;
      member = object->if_contains(property.name);
    }
    if (member != nullptr) DefaultValue(*property.schema, *member, false);
  }
  if (schema.additional != nullptr) {
    for (auto& member : *object) {
      if (schema.FindProperty(member.key()) == nullptr)
        DefaultValue(*schema.additional, member.value(), false);
    }
  }
}

// ---- validation

std::string_view TypeOf(const Json& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::bool_:
      return "boolean";
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
      return "integer";
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

std::string_view NameOf(Type type) {
  static constexpr std::string_view kNames[] = {"",        "object", "array",  "string",
                                                "integer", "number", "boolean"};
  return kNames[static_cast<std::size_t>(type)];
}

// A whole number in any spelling is an integer.
bool IsWhole(const Json& value) {
  return value.is_int64() || value.is_uint64() ||
         (value.is_double() && std::floor(value.get_double()) == value.get_double());
}

bool HasType(const Schema& schema, const Json& value) {
  if (schema.int_or_string) return IsWhole(value) || value.is_string();
  switch (schema.type) {
    case Type::kAny:
      return true;
    case Type::kObject:
      return value.is_object();
    case Type::kArray:
      return value.is_array();
    case Type::kString:
      return value.is_string();
    case Type::kInteger:
      return IsWhole(value);
    case Type::kNumber:
      return value.is_number();
    case Type::kBoolean:
      return value.is_bool();
  }
  return false;
}

std::string Number(double value) {
  if (std::floor(value) == value && std::fabs(value) < 1e15)
    return std::to_string(static_cast<std::int64_t>(value));
  return ToJson(Json(value));
}

class Validator {
 public:
  FieldErrors errors;
  bool blocked = false;  // errors that keep rules from being checked
  bool has_rules = false;

  void Check(const Schema& schema, const Json& value, const std::string& path, bool root) {
    if (value.is_null() && schema.nullable) return;
    if (!HasType(schema, value)) return WrongType(schema, value, path);
    if (schema.constraints != nullptr) Constrain(*schema.constraints, value, path);
    CheckFormat(schema, value, path);
    if (const JsonObject* object = value.if_object()) CheckObject(schema, *object, path, root);
    if (const JsonArray* array = value.if_array()) CheckArray(schema, *array, path);
  }

 private:
  void Block(FieldError error) {
    blocked = true;
    errors.push_back(std::move(error));
  }

  void WrongType(const Schema& schema, const Json& value, const std::string& path) {
    const std::string found(TypeOf(value));
    if (schema.type == Type::kInteger && value.is_double()) {
      errors.push_back(
          {"FieldValueInvalid", "<nil>",
           "Invalid value: \"\": Checked value must be of type integer (default format) in " +
               path});
    }
    const std::string wanted =
        schema.int_or_string ? "integer,string" : std::string(NameOf(schema.type));
    Block(FieldError::InvalidType(
        path.empty() ? "<nil>" : path, found,
        path + " in body must be of type " + wanted + ": \"" + found + "\""));
  }

  void Constrain(const Constraints& limits, const Json& value, const std::string& path) {
    has_rules |= !limits.rules.empty();
    if (!limits.one_of.empty() &&
        std::find(limits.one_of.begin(), limits.one_of.end(), value) == limits.one_of.end()) {
      std::vector<std::string> supported;
      for (const Json& each : limits.one_of) {
        supported.push_back(each.is_string() ? std::string(each.get_string()) : ToJson(each));
      }
      Block(FieldError::Unsupported(path, value, supported));
    }
    if (value.is_number()) ConstrainNumber(limits, value, path);
    if (value.is_string()) ConstrainString(limits, value, path);
    if (const JsonArray* array = value.if_array()) {
      const auto size = static_cast<std::int64_t>(array->size());
      if (limits.max_items && size > *limits.max_items)
        Block(FieldError::TooMany(path, size, *limits.max_items));
      if (limits.min_items && size < *limits.min_items) {
        errors.push_back(FieldError::Invalid(path, Json(size),
                                             path + " in body should have at least " +
                                                 std::to_string(*limits.min_items) + " items"));
      }
    }
    if (const JsonObject* object = value.if_object()) {
      const auto size = static_cast<std::int64_t>(object->size());
      if (limits.max_properties && size > *limits.max_properties) {
        Block(FieldError::TooMany(path, size, *limits.max_properties));
      }
      if (limits.min_properties && size < *limits.min_properties) {
        errors.push_back(FieldError::Invalid(path, Json(size),
                                             path + " in body should have at least " +
                                                 std::to_string(*limits.min_properties) +
                                                 " properties"));
      }
    }
    CheckCombinations(limits, value, path);
  }

  void ConstrainNumber(const Constraints& limits, const Json& value, const std::string& path) {
    const double number = value.to_number<double>();
    const auto out = [&](const std::string& what) {
      errors.push_back(FieldError::Invalid(path, value, path + " in body should be " + what));
    };
    if (limits.maximum &&
        (number > *limits.maximum || (limits.exclusive_maximum && number == *limits.maximum))) {
      out((limits.exclusive_maximum ? "less than " : "less than or equal to ") +
          Number(*limits.maximum));
    }
    if (limits.minimum &&
        (number < *limits.minimum || (limits.exclusive_minimum && number == *limits.minimum))) {
      out((limits.exclusive_minimum ? "greater than " : "greater than or equal to ") +
          Number(*limits.minimum));
    }
    if (limits.multiple_of && std::fmod(number, *limits.multiple_of) != 0) {
      out("a multiple of " + Number(*limits.multiple_of));
    }
  }

  void ConstrainString(const Constraints& limits, const Json& value, const std::string& path) {
    const std::string text(value.get_string());
    const auto length =
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
    // Only the first of these is told, as the real server does.
    if (limits.max_length && length > *limits.max_length) {
      Block(FieldError::TooLong(path, *limits.max_length));
    } else if (limits.min_length && length < *limits.min_length) {
      errors.push_back(FieldError::Invalid(path, value,
                                           path + " in body should be at least " +
                                               std::to_string(*limits.min_length) + " chars long"));
    } else if (limits.regex != nullptr && !re2::RE2::PartialMatch(text, *limits.regex)) {
      errors.push_back(FieldError::Invalid(
          path, value, path + " in body should match '" + limits.pattern + "'"));
    }
  }

  static bool Fits(const Schema& schema, const Json& value) {
    Validator inner;
    inner.Check(schema, value, "", false);
    return inner.errors.empty();
  }

  void CheckCombinations(const Constraints& limits, const Json& value, const std::string& path) {
    for (const Schema* each : limits.all_of) Check(*each, value, path, false);
    const auto fitting = [&value](const std::vector<const Schema*>& schemas) {
      return std::count_if(schemas.begin(), schemas.end(),
                           [&](const Schema* each) { return Fits(*each, value); });
    };
    if (!limits.any_of.empty() && fitting(limits.any_of) == 0) {
      errors.push_back(FieldError::Invalid(
          path, value, path + " in body must validate at least one schema (anyOf)"));
    }
    if (!limits.one_of_schemas.empty() && fitting(limits.one_of_schemas) != 1) {
      errors.push_back(FieldError::Invalid(
          path, value, path + " in body must validate one and only one schema (oneOf)"));
    }
    if (limits.none_of != nullptr && Fits(*limits.none_of, value)) {
      errors.push_back(
          FieldError::Invalid(path, value, path + " in body must not validate the schema (not)"));
    }
  }

  void CheckFormat(const Schema& schema, const Json& value, const std::string& path) {
    if (!value.is_string() || schema.format_name.empty()) return;
    const std::string text(value.get_string());
    bool good = true;
    if (schema.format_name == "date-time") good = ParseRfc3339(text).ok();
    if (schema.format_name == "duration")
      good = ParseDuration(text.starts_with('-') ? text.substr(1) : text).ok();
    if (!good) {
      Block(FieldError::InvalidType(
          path, text,
          path + " in body must be of type " + schema.format_name + ": \"" + text + "\""));
    }
  }

  void CheckObject(const Schema& schema, const JsonObject& object, const std::string& path,
                   bool root) {
    for (const std::string& name : schema.required) {
      if (!object.contains(name)) Block(FieldError::Required(Below(path, name)));
    }
    if (schema.embedded_resource && !root) {
      for (const char* name : {"apiVersion", "kind"}) {
        const Json* value = object.if_contains(name);
        if (value == nullptr || !value->is_string() || value->get_string().empty())
          Block(FieldError::Required(Below(path, name)));
      }
    }
    for (const auto& [key, value] : object) {
      const std::string_view name(key.data(), key.size());
      if ((root || schema.embedded_resource) && IsEnvelope(name)) continue;
      if (const Property* property = schema.FindProperty(name)) {
        Check(*property->schema, value, Below(path, name), false);
      } else if (schema.additional != nullptr) {
        Check(*schema.additional, value, Below(path, name), false);
      }
    }
  }

  void CheckArray(const Schema& schema, const JsonArray& array, const std::string& path) {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < array.size(); ++i) {
      const std::string at = path + "[" + std::to_string(i) + "]";
      if (schema.items != nullptr) Check(*schema.items, array[i], at, false);
      Json identity;
      if (schema.list_type == ListType::kSet ||
          (schema.constraints != nullptr && schema.constraints->unique_items)) {
        identity = array[i];
      } else if (schema.list_type == ListType::kMap) {
        JsonObject keys;
        for (const std::string& key : schema.list_map_keys) {
          if (const Json* value = Find(array[i], key)) keys[key] = *value;
        }
        identity = std::move(keys);
      } else {
        continue;
      }
      if (!seen.insert(ToJson(identity)).second)
        errors.push_back(FieldError::Duplicate(at, identity));
    }
  }
};

// ---- rules

bool HasRules(const Schema& schema, int depth = 0) {
  if (depth > 32) return false;
  if (schema.constraints != nullptr && !schema.constraints->rules.empty()) return true;
  for (const Property& property : schema.properties) {
    if (!property.schema->is_builtin() && HasRules(*property.schema, depth + 1)) return true;
  }
  return (schema.items != nullptr && HasRules(*schema.items, depth + 1)) ||
         (schema.additional != nullptr && HasRules(*schema.additional, depth + 1));
}

FieldError RuleError(const ValidationRule& rule, const Json& value, const std::string& path,
                     const std::string& message) {
  static constexpr std::pair<std::string_view, std::string_view> kReasons[] = {
      {"FieldValueRequired", "Required value: "},
      {"FieldValueForbidden", "Forbidden: "},
      {"FieldValueDuplicate", "Duplicate value: "}};
  for (const auto& [reason, prefix] : kReasons) {
    if (rule.reason == reason) return {std::string(reason), path, std::string(prefix) + message};
  }
  if (!value.is_structured()) return FieldError::Invalid(path, value, message);
  return {"FieldValueInvalid", path, "Invalid value: " + message};
}

void CheckRules(const Schema& schema, const Json& value, const Json* old, const std::string& path,
                FieldErrors& errors) {
  if (schema.constraints != nullptr) {
    for (const ValidationRule& rule : schema.constraints->rules) {
      if (rule.program == nullptr || (rule.program->uses_old_self() && old == nullptr)) continue;
      const Result<bool> holds = rule.program->Test(value, old);
      const std::string at = rule.field_path.empty() ? path : path + rule.field_path;
      if (!holds.ok()) {
        errors.push_back({"FieldValueInvalid", at.empty() ? "<nil>" : at,
                          "Invalid value: rule \"" + rule.rule + "\": " + holds.error().message()});
        continue;
      }
      if (*holds) continue;
      std::string message = rule.message.empty() ? "failed rule: " + rule.rule : rule.message;
      if (rule.message_program != nullptr) {
        const Result<Json> text = rule.message_program->Evaluate(value, old);
        if (text.ok() && text->is_string()) message = std::string(text->get_string());
      }
      errors.push_back(RuleError(rule, value, at.empty() ? "<nil>" : at, message));
    }
  }
  if (const JsonObject* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      const Property* property = schema.FindProperty(key);
      const Schema* inner = property != nullptr ? property->schema : schema.additional;
      if (inner == nullptr || inner->is_builtin()) continue;
      const Json* before =
          old == nullptr || !old->is_object() ? nullptr : old->get_object().if_contains(key);
      CheckRules(*inner, member, before, Below(path, key), errors);
    }
  }
  if (const JsonArray* array = value.if_array(); array != nullptr && schema.items != nullptr) {
    for (std::size_t i = 0; i < array->size(); ++i) {
      const Json* before = nullptr;
      // Elements of a list that is a map are the same element where their keys are.
      if (schema.list_type == ListType::kMap && old != nullptr && old->is_array()) {
        for (const Json& candidate : old->get_array()) {
          const bool same = std::all_of(schema.list_map_keys.begin(), schema.list_map_keys.end(),
                                        [&](const std::string& key) {
                                          const Json* a = Find((*array)[i], key);
                                          const Json* b = Find(candidate, key);
                                          return a != nullptr && b != nullptr && *a == *b;
                                        });
          if (same) before = &candidate;
        }
      }
      CheckRules(*schema.items, (*array)[i], before, path + "[" + std::to_string(i) + "]", errors);
    }
  }
}

}  // namespace

void Prune(const Schema& schema, Json& object, std::vector<std::string>* pruned) {
  PruneValue(schema, object, "", true, pruned);
}

void DefaultBySchema(const Schema& schema, Json& object) { DefaultValue(schema, object, true); }

FieldErrors ValidateBySchema(const Schema& schema, const Json& object, const Json* old) {
  Validator validator;
  validator.Check(schema, object, "", true);
  if (validator.blocked) {
    if (HasRules(schema)) {
      validator.errors.push_back(FieldError::Invalid(
          "<nil>", Json(nullptr),
          "some validation rules were not checked because the object was invalid; correct the "
          "existing errors to complete validation"));
    }
    return std::move(validator.errors);
  }
  CheckRules(schema, object, old, "", validator.errors);
  return std::move(validator.errors);
}

}  // namespace thinsnap::schema
