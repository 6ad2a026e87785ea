// JSON: Boost.JSON's DOM under our names, and the few accessors that Kubernetes objects need.
// Integers stay exact. Parsing refuses more than 64 levels. Include "base/data/json_fwd.h" where a
// declaration is enough.
#pragma once

#include <boost/json.hpp>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "base/data/json_fwd.h"

namespace thinsnap {

// kInvalidArgument with line and column.
Result<Json> ParseJson(std::string_view text);
// Compact, keys in their order.
std::string ToJson(const Json& value);
// Indented by two spaces, ends with a line feed.
std::string ToPrettyJson(const Json& value);

// Path: members separated by '.', "metadata.name". Each returns null or the fallback when a step is
// missing or has another type. Keys that contain '.' (annotations) are reached through FindObject
// and JsonObject::if_contains.
const Json* Find(const Json& value, std::string_view path);
Json* FindMutable(Json& value, std::string_view path);
const JsonObject* FindObject(const Json& value, std::string_view path);
const JsonArray* FindArray(const Json& value, std::string_view path);
// What stands there, members or elements to range over; null or empty when missing.
const Json& ValueAt(const Json& value, std::string_view path);
const JsonObject& ObjectAt(const Json& value, std::string_view path);
const JsonArray& ArrayAt(const Json& value, std::string_view path);
std::string StringAt(const Json& value, std::string_view path, std::string_view fallback = "");
std::int64_t IntAt(const Json& value, std::string_view path, std::int64_t fallback = 0);
bool BoolAt(const Json& value, std::string_view path, bool fallback = false);
// A member of an object of strings whose key may hold dots: StringIn(pod, "metadata.annotations",
// "a.b/c").
std::string StringIn(const Json& value, std::string_view object_path, std::string_view key,
                     std::string_view fallback = "");

// Sets the member, making objects on the way; what stands in the way and is no object is replaced.
void Set(Json& value, std::string_view path, Json what);
// Strings of the standard library do not become JSON by themselves.
template <std::same_as<std::string> Text>
void Set(Json& value, std::string_view path, const Text& what) {
  Set(value, path, Json(std::string_view(what)));
}
// The member to change, made like Set where it is missing or has another type.
JsonObject& EnsureObject(Json& value, std::string_view path);
JsonArray& EnsureArray(Json& value, std::string_view path);
// Removes the member; missing is fine.
void Remove(Json& value, std::string_view path);

}  // namespace thinsnap
