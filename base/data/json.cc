#include "base/data/json.h"

#include <algorithm>

namespace thinsnap {
namespace {

constexpr std::size_t kDeepest = 64;

// Splits off the first step of a path.
std::string_view TakeStep(std::string_view& path) {
  const auto dot = path.find('.');
  const std::string_view step = path.substr(0, dot);
  path.remove_prefix(dot == std::string_view::npos ? path.size() : dot + 1);
  return step;
}

Json& MakeAt(Json& value, std::string_view path) {
  Json* at = &value;
  while (!path.empty()) {
    if (!at->is_object()) *at = JsonObject();
    at = &at->get_object()[TakeStep(path)];
  }
  return *at;
}

void Indent(std::string& out, int depth) {
  out += '\n';
  out.append(static_cast<std::size_t>(depth) * 2, ' ');
}

void PrettyPrint(const Json& value, int depth, std::string& out) {
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : *object) {
      if (!first) out += ',';
      first = false;
      Indent(out, depth + 1);
      out += boost::json::serialize(key);
      out += ": ";
      PrettyPrint(member, depth + 1, out);
    }
    Indent(out, depth);
    out += '}';
  } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
    out += '[';
    bool first = true;
    for (const Json& element : *array) {
      if (!first) out += ',';
      first = false;
      Indent(out, depth + 1);
      PrettyPrint(element, depth + 1, out);
    }
    Indent(out, depth);
    out += ']';
  } else {
    out += boost::json::serialize(value);
  }
}

}  // namespace

Result<Json> ParseJson(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kDeepest;
  boost::json::stream_parser parser({}, options);
  boost::json::error_code failure;
  const std::size_t consumed = parser.write_some(text.data(), text.size(), failure);
  if (!failure && consumed == text.size()) parser.finish(failure);
  if (!failure && consumed == text.size()) return parser.release();
  const std::string_view before = text.substr(0, consumed);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const auto last_break = before.rfind('\n');
  const std::size_t column =
      last_break == std::string_view::npos ? consumed + 1 : consumed - last_break;
  return Error(Code::kInvalidArgument,
               "line " + std::to_string(line) + ", column " + std::to_string(column) + ": " +
                   (failure ? failure.message() : std::string("extra text after the value")));
}

std::string ToJson(const Json& value) { return boost::json::serialize(value); }

std::string ToPrettyJson(const Json& value) {
  std::string out;
  PrettyPrint(value, 0, out);
  out += '\n';
  return out;
}

const Json* Find(const Json& value, std::string_view path) {
  const Json* at = &value;
  while (!path.empty()) {
    const auto* object = at->if_object();
    if (object == nullptr) return nullptr;
    at = object->if_contains(TakeStep(path));
    if (at == nullptr) return nullptr;
  }
  return at;
}

Json* FindMutable(Json& value, std::string_view path) {
  Json* at = &value;
  while (!path.empty()) {
    auto* object = at->if_object();
    if (object == nullptr) return nullptr;
    at = object->if_contains(TakeStep(path));
    if (at == nullptr) return nullptr;
  }
  return at;
}

const JsonObject* FindObject(const Json& value, std::string_view path) {
  const Json* at = Find(value, path);
  return at == nullptr ? nullptr : at->if_object();
}

const JsonArray* FindArray(const Json& value, std::string_view path) {
  const Json* at = Find(value, path);
  return at == nullptr ? nullptr : at->if_array();
}

const Json& ValueAt(const Json& value, std::string_view path) {
  static const Json kNull;
  const Json* at = Find(value, path);
  return at == nullptr ? kNull : *at;
}

const JsonObject& ObjectAt(const Json& value, std::string_view path) {
  static const JsonObject kEmpty;
  const JsonObject* object = FindObject(value, path);
  return object == nullptr ? kEmpty : *object;
}

const JsonArray& ArrayAt(const Json& value, std::string_view path) {
  static const JsonArray kEmpty;
  const JsonArray* array = FindArray(value, path);
  return array == nullptr ? kEmpty : *array;
}

std::string StringAt(const Json& value, std::string_view path, std::string_view fallback) {
  const Json* at = Find(value, path);
  if (at == nullptr || !at->is_string()) return std::string(fallback);
  return std::string(at->get_string());
}

std::int64_t IntAt(const Json& value, std::string_view path, std::int64_t fallback) {
  const Json* at = Find(value, path);
  if (at == nullptr) return fallback;
  boost::json::error_code failure;
  const auto number = at->to_number<std::int64_t>(failure);
  return failure ? fallback : number;
}

bool BoolAt(const Json& value, std::string_view path, bool fallback) {
  const Json* at = Find(value, path);
  return at == nullptr || !at->is_bool() ? fallback : at->get_bool();
}

std::string StringIn(const Json& value, std::string_view object_path, std::string_view key,
                     std::string_view fallback) {
  const JsonObject* object = FindObject(value, object_path);
  const Json* at = object == nullptr ? nullptr : object->if_contains(key);
  if (at == nullptr || !at->is_string()) return std::string(fallback);
  return std::string(at->get_string());
}

void Set(Json& value, std::string_view path, Json what) { MakeAt(value, path) = std::move(what); }

JsonObject& EnsureObject(Json& value, std::string_view path) {
  Json& at = MakeAt(value, path);
  if (!at.is_object()) at = JsonObject();
  return at.get_object();
}

JsonArray& EnsureArray(Json& value, std::string_view path) {
  Json& at = MakeAt(value, path);
  if (!at.is_array()) at = JsonArray();
  return at.get_array();
}

void Remove(Json& value, std::string_view path) {
  const auto dot = path.rfind('.');
  Json* parent = dot == std::string_view::npos ? &value : FindMutable(value, path.substr(0, dot));
  if (parent == nullptr || !parent->is_object()) return;
  parent->get_object().erase(dot == std::string_view::npos ? path : path.substr(dot + 1));
}

}  // namespace thinsnap
