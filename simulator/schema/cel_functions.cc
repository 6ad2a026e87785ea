// Operators and functions of CEL that have no part in control flow.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <re2/re2.h>

#include "base/core/clock.h"
#include "simulator/schema/cel_node.h"

namespace thinsnap::schema::cel {
namespace {

Error NoOverload(std::string_view what) {
  return Error(Code::kInvalidArgument, "no matching overload for '" + std::string(what) + "'");
}

bool IsInteger(const Json& value) { return value.is_int64() || value.is_uint64(); }
bool IsNumber(const Json& value) { return IsInteger(value) || value.is_double(); }
double AsDouble(const Json& value) { return value.to_number<double>(); }
std::string_view Text(const Json& value) {
  return {value.get_string().data(), value.get_string().size()};
}

// Code points, not bytes.
std::int64_t Length(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

Result<Json> Arithmetic(char op, const Json& left, const Json& right) {
  if (IsInteger(left) && IsInteger(right)) {
    const auto a = left.to_number<std::int64_t>();
    const auto b = right.to_number<std::int64_t>();
    std::int64_t result = 0;
    bool overflow = false;
    if ((op == '/' || op == '%') && b == 0)
      return Error(Code::kInvalidArgument, "division by zero");
    switch (op) {
      case '+':
        overflow = __builtin_add_overflow(a, b, &result);
        break;
      case '-':
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
      case '*':
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
      case '/':
        overflow = b == -1 && a == INT64_MIN;
        if (!overflow) result = a / b;
        break;
      default:
        result = b == -1 ? 0 : a % b;
        break;
    }
    if (overflow) return Error(Code::kInvalidArgument, "integer overflow");
    return Json(result);
  }
  if (left.is_double() && right.is_double() && op != '%') {
    const double a = left.get_double();
    const double b = right.get_double();
    return Json(op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b);
  }
  if (op == '+' && left.is_string() && right.is_string()) {
    return Json(std::string(Text(left)) + std::string(Text(right)));
  }
  if (op == '+' && left.is_array() && right.is_array()) {
    JsonArray both = left.get_array();
    for (const Json& element : right.get_array()) both.push_back(element);
    return Json(std::move(both));
  }
  return NoOverload(std::string("_") + op + "_");
}

// Negative, zero or positive.
Result<int> Compare(const Json& left, const Json& right) {
  if (IsInteger(left) && IsInteger(right)) {
    if (left.is_uint64() != right.is_uint64()) return left.is_uint64() ? 1 : -1;
    if (left.is_uint64()) {
      return left.get_uint64() < right.get_uint64()   ? -1
             : left.get_uint64() > right.get_uint64() ? 1
                                                      : 0;
    }
    return left.get_int64() < right.get_int64() ? -1 : left.get_int64() > right.get_int64() ? 1 : 0;
  }
  if (IsNumber(left) && IsNumber(right)) {
    return AsDouble(left) < AsDouble(right) ? -1 : AsDouble(left) > AsDouble(right) ? 1 : 0;
  }
  if (left.is_string() && right.is_string()) return Text(left).compare(Text(right));
  if (left.is_bool() && right.is_bool())
    return static_cast<int>(left.get_bool()) - static_cast<int>(right.get_bool());
  return NoOverload("_<_");
}

Result<Json> Contains(const Json& needle, const Json& hay) {
  if (hay.is_array()) {
    const JsonArray& all = hay.get_array();
    return Json(std::any_of(all.begin(), all.end(),
                            [&](const Json& element) { return EqualCel(element, needle); }));
  }
  if (hay.is_object()) return Json(needle.is_string() && hay.get_object().contains(Text(needle)));
  return NoOverload("@in");
}

Result<Json> Size(const Json& value) {
  if (value.is_string()) return Json(Length(Text(value)));
  if (value.is_array()) return Json(static_cast<std::int64_t>(value.get_array().size()));
  if (value.is_object()) return Json(static_cast<std::int64_t>(value.get_object().size()));
  return NoOverload("size");
}

Result<Json> ToInt(const Json& value) {
  if (IsInteger(value)) return value;
  if (value.is_double()) return Json(static_cast<std::int64_t>(value.get_double()));
  if (value.is_string()) {
    std::int64_t number = 0;
    const std::string_view text = Text(value);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size()) return Json(number);
    return Error(Code::kInvalidArgument, "cannot convert \"" + std::string(text) + "\" to int");
  }
  return NoOverload("int");
}

Result<Json> StringFunction(std::string_view name, const std::vector<Json>& arguments) {
  const std::string_view text = Text(arguments[0]);
  const bool with_text = arguments.size() == 2 && arguments[1].is_string();
  if (with_text && name == "startsWith") return Json(text.starts_with(Text(arguments[1])));
  if (with_text && name == "endsWith") return Json(text.ends_with(Text(arguments[1])));
  if (with_text && name == "contains")
    return Json(text.find(Text(arguments[1])) != std::string_view::npos);
  if (with_text && name == "indexOf") {
    const auto at = text.find(Text(arguments[1]));
    return Json(at == std::string_view::npos ? std::int64_t{-1} : Length(text.substr(0, at)));
  }
  if (with_text && name == "matches") {
    const re2::RE2 pattern(std::string(Text(arguments[1])), re2::RE2::Quiet);
    if (!pattern.ok())
      return Error(Code::kInvalidArgument, "not a regular expression: " + pattern.error());
    return Json(re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), pattern));
  }
  if (with_text && name == "split") {
    JsonArray parts;
    const std::string_view separator = Text(arguments[1]);
    std::string_view rest = text;
    for (;;) {
      const auto at =
          separator.empty() ? std::min<std::size_t>(1, rest.size()) : rest.find(separator);
      if (at == std::string_view::npos || (separator.empty() && rest.size() <= 1)) break;
      parts.push_back(Json(rest.substr(0, at)));
      rest.remove_prefix(at + separator.size());
    }
    parts.push_back(Json(rest));
    return Json(std::move(parts));
  }
  if (arguments.size() == 1 && (name == "lowerAscii" || name == "upperAscii")) {
    std::string changed(text);
    for (char& c : changed) {
      if (name == "lowerAscii" && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      if (name == "upperAscii" && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return Json(changed);
  }
  if (arguments.size() == 1 && name == "trim") {
    const auto first = text.find_first_not_of(" \t\r\n");
    const auto last = text.find_last_not_of(" \t\r\n");
    return Json(first == std::string_view::npos ? std::string_view()
                                                : text.substr(first, last - first + 1));
  }
  if (name == "replace" && arguments.size() == 3 && arguments[1].is_string() &&
      arguments[2].is_string()) {
    std::string changed(text);
    const std::string from(Text(arguments[1])), to(Text(arguments[2]));
    for (auto at = changed.find(from); !from.empty() && at != std::string::npos;
         at = changed.find(from, at + to.size())) {
      changed.replace(at, from.size(), to);
    }
    return Json(changed);
  }
  if (name == "substring" && arguments.size() >= 2 && IsInteger(arguments[1])) {
    const auto size = static_cast<std::int64_t>(text.size());
    const auto from = arguments[1].to_number<std::int64_t>();
    const auto to = arguments.size() == 3 && IsInteger(arguments[2])
                        ? arguments[2].to_number<std::int64_t>()
                        : size;
    if (from < 0 || to > size || from > to)
      return Error(Code::kInvalidArgument, "index out of range");
    return Json(text.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from)));
  }
  return NoOverload(name);
}

Result<Json> ListFunction(std::string_view name, const std::vector<Json>& arguments) {
  const JsonArray& list = arguments[0].get_array();
  if (name == "join") {
    std::string text;
    for (const Json& element : list) {
      if (!element.is_string()) return NoOverload(name);
      if (&element != &list[0] && arguments.size() == 2 && arguments[1].is_string())
        text += Text(arguments[1]);
      text += Text(element);
    }
    return Json(text);
  }
  if (name == "isSorted") {
    for (std::size_t i = 1; i < list.size(); ++i) {
      if (TRY(Compare(list[i - 1], list[i])) > 0) return Json(false);
    }
    return Json(true);
  }
  if (name == "sum") {
    Json total = std::int64_t{0};
    for (const Json& element : list)
      total = total == Json(0) ? element : TRY(Arithmetic('+', total, element));
    return total;
  }
  if (name == "min" || name == "max") {
    if (list.empty())
      return Error(Code::kInvalidArgument, std::string(name) + " called on an empty list");
    const Json* best = &list[0];
    for (const Json& element : list) {
      const int order = TRY(Compare(element, *best));
      if ((name == "min" && order < 0) || (name == "max" && order > 0)) best = &element;
    }
    return *best;
  }
  if (name == "indexOf" && arguments.size() == 2) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (EqualCel(list[i], arguments[1])) return Json(static_cast<std::int64_t>(i));
    }
    return Json(std::int64_t{-1});
  }
  return NoOverload(name);
}

}  // namespace

bool EqualCel(const Json& left, const Json& right) {
  if (IsNumber(left) && IsNumber(right)) {
    if (IsInteger(left) && IsInteger(right)) return *Compare(left, right) == 0;
    return AsDouble(left) == AsDouble(right);
  }
  if (left.is_array() && right.is_array()) {
    const JsonArray& a = left.get_array();
    const JsonArray& b = right.get_array();
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), EqualCel);
  }
  if (left.is_object() && right.is_object()) {
    const JsonObject& a = left.get_object();
    const JsonObject& b = right.get_object();
    return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&b](const auto& member) {
             const Json* other = b.if_contains(member.key());
             return other != nullptr && EqualCel(member.value(), *other);
           });
  }
  return left == right;
}

Result<Json> BinaryCel(std::string_view op, const Json& left, const Json& right) {
  if (op == "==") return Json(EqualCel(left, right));
  if (op == "!=") return Json(!EqualCel(left, right));
  if (op == "in") return Contains(left, right);
  if (op == "<") return Json(TRY(Compare(left, right)) < 0);
  if (op == "<=") return Json(TRY(Compare(left, right)) <= 0);
  if (op == ">") return Json(TRY(Compare(left, right)) > 0);
  if (op == ">=") return Json(TRY(Compare(left, right)) >= 0);
  return Arithmetic(op[0], left, right);
}

Result<Json> CallCel(std::string_view name, const std::vector<Json>& arguments, bool method) {
  if (arguments.empty()) return NoOverload(name);
  const Json& first = arguments[0];
  if (name == "size" && arguments.size() == 1) return Size(first);
  if (method) {
    if (first.is_string()) return StringFunction(name, arguments);
    if (first.is_array()) return ListFunction(name, arguments);
    return NoOverload(name);
  }
  if (arguments.size() != 1) {
    if (name == "matches" && first.is_string()) return StringFunction(name, arguments);
    return NoOverload(name);
  }
  if (name == "int") return ToInt(first);
  if (name == "double" && IsNumber(first)) return Json(AsDouble(first));
  if (name == "string") return first.is_string() ? first : Json(ToJson(first));
  if (name == "bool" && first.is_bool()) return first;
  if (name == "dyn") return first;
  if (name == "duration" && first.is_string()) {
    return Json(TRY(ParseDuration(Text(first))).count());
  }
  if (name == "timestamp" && first.is_string()) {
    return Json(TRY(ParseRfc3339(Text(first))).time_since_epoch().count());
  }
  if (name == "type") {
    const char* type = first.is_string()   ? "string"
                       : first.is_bool()   ? "bool"
                       : IsInteger(first)  ? "int"
                       : first.is_double() ? "double"
                       : first.is_array()  ? "list"
                       : first.is_object() ? "map"
                                           : "null_type";
    return Json(type);
  }
  return Error(Code::kUnimplemented, "undeclared reference to '" + std::string(name) + "'");
}

}  // namespace thinsnap::schema::cel
