// The strategic merge patch of built-in kinds: maps merge, lists merge by the keys of the schema,
// and directives in the patch say what else is wanted.
#include <algorithm>
#include <utility>
#include <vector>

#include "simulator/objects/patch.h"

namespace thinsnap::objects {
namespace {

constexpr std::string_view kDirective = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeletePrefix = "$deleteFromPrimitiveList/";
constexpr std::string_view kOrderPrefix = "$setElementOrder/";

schema::ApiError Bad(const std::string& why) {
  return schema::ApiError::BadRequest("strategic merge patch: " + why);
}

const Json* Member(const Json& value, std::string_view name) {
  const auto* object = value.if_object();
  return object == nullptr ? nullptr : object->if_contains(name);
}

std::string DirectiveOf(const Json& value) {
  const Json* directive = Member(value, kDirective);
  return directive != nullptr && directive->is_string() ? std::string(directive->as_string()) : "";
}

bool Contains(const JsonArray& items, const Json& wanted) {
  return std::find(items.begin(), items.end(), wanted) != items.end();
}

// The schema of a member and how it merges.
struct Place {
  const schema::Schema* schema = nullptr;
  const schema::Property* property = nullptr;
};
Place PlaceOf(const schema::Schema* schema, std::string_view name) {
  if (schema == nullptr) return {};
  if (const schema::Property* property = schema->FindProperty(name))
    return {property->schema, property};
  return {schema->additional, nullptr};
}

schema::ApiResult<Json> MergeObjects(const Json& original, const Json& patch,
                                     const schema::Schema* schema);

// Where an item stands in a list of items that name only their keys (or of primitives).
std::size_t PositionIn(const JsonArray& order, const Json& item, const std::string& key) {
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (key.empty() ? order[i] == item
                    : Member(order[i], key) && Member(item, key) &&
                          *Member(order[i], key) == *Member(item, key)) {
      return i;
    }
  }
  return order.size();
}

// Items that the client ordered come in its order; those that only the server has keep their places
// among them.
JsonArray Ordered(const JsonArray& merged, const JsonArray& original, const JsonArray& order,
                  const std::string& key) {
  std::vector<const Json*> named, others;
  for (const Json& item : merged)
    (PositionIn(order, item, key) < order.size() ? named : others).push_back(&item);
  std::stable_sort(named.begin(), named.end(), [&](const Json* a, const Json* b) {
    return PositionIn(order, *a, key) < PositionIn(order, *b, key);
  });
  JsonArray out;
  std::size_t next = 0;
  for (const Json* item : named) {
    const auto position = PositionIn(original, *item, key);
    while (position < original.size() && next < others.size() &&
           PositionIn(original, *others[next], key) < position) {
      out.push_back(*others[next++]);
    }
    out.push_back(*item);
  }
  while (next < others.size()) out.push_back(*others[next++]);
  return out;
}

schema::ApiResult<JsonArray> MergeLists(const JsonArray& original, const JsonArray& patch,
                                        const std::string& key, const schema::Schema* element) {
  JsonArray merged = original;
  if (key.empty()) {
    for (const Json& item : patch) {
      if (!Contains(merged, item)) merged.push_back(item);
    }
    return merged;
  }
  for (const Json& item : patch) {
    if (DirectiveOf(item) == "replace") {
      merged.clear();
      for (const Json& other : patch) {
        if (DirectiveOf(other).empty()) merged.push_back(other);
      }
      return merged;
    }
  }
  for (const Json& item : patch) {
    const Json* name = Member(item, key);
    if (name == nullptr)
      return Bad("an element of a list has no " + key + ", by which the list is merged");
    const auto same = [&](const Json& other) {
      const Json* its = Member(other, key);
      return its != nullptr && *its == *name;
    };
    const auto found = std::find_if(merged.begin(), merged.end(), same);
    if (DirectiveOf(item) == "delete") {
      merged.erase(std::remove_if(merged.begin(), merged.end(), same), merged.end());
    } else if (found != merged.end()) {
      *found = TRY(MergeObjects(*found, item, element));
    } else {
      merged.push_back(TRY(MergeObjects(JsonObject(), item, element)));
    }
  }
  return merged;
}

schema::ApiStatus MergeMember(JsonObject& to, std::string_view name, const Json& patch,
                              const JsonObject& all, const schema::Schema* schema) {
  const Place place = PlaceOf(schema, name);
  if (patch.is_null()) {
    to.stable_erase(name);
    return {};
  }
  const Json* there = to.if_contains(name);
  if (patch.is_object()) {
    const Json base = there != nullptr && there->is_object() ? *there : Json(JsonObject());
    to[name] = TRY(MergeObjects(base, patch, place.schema));
    return {};
  }
  if (!patch.is_array() || place.property == nullptr || !place.property->patch_merge) {
    to[name] = patch;
    return {};
  }
  const JsonArray original =
      there != nullptr && there->is_array() ? there->as_array() : JsonArray();
  const std::string& key = place.property->patch_merge_key;
  JsonArray merged = TRY(MergeLists(original, patch.as_array(), key, place.schema->items));
  const Json* order = all.if_contains(std::string(kOrderPrefix) + std::string(name));
  // Without a word about the order it is that of the patch.
  const JsonArray& wanted =
      order != nullptr && order->is_array() ? order->as_array() : patch.as_array();
  merged = Ordered(merged, original, wanted, key);
  to[name] = std::move(merged);
  return {};
}

schema::ApiResult<Json> MergeObjects(const Json& original, const Json& patch,
                                     const schema::Schema* schema) {
  const auto& members = patch.as_object();
  const std::string directive = DirectiveOf(patch);
  if (directive == "delete") return Json(JsonObject());
  JsonObject out =
      original.is_object() && directive != "replace" ? original.as_object() : JsonObject();
  if (directive != "" && directive != "replace" && directive != "merge") {
    return Bad("$patch is '" + directive + "', not one of replace, merge and delete");
  }
  if (const Json* retained = members.if_contains(kRetainKeys);
      retained != nullptr && retained->is_array()) {
    std::vector<std::string> dropped;
    for (const auto& member : out) {
      if (!Contains(retained->as_array(), Json(member.key()))) dropped.emplace_back(member.key());
    }
    for (const std::string& name : dropped) out.stable_erase(name);
  }
  for (const auto& member : members) {
    const std::string_view name = member.key();
    if (name == kDirective || name == kRetainKeys) continue;
    if (name.starts_with(kDeletePrefix)) {
      Json* list = out.if_contains(name.substr(kDeletePrefix.size()));
      if (list == nullptr || !list->is_array() || !member.value().is_array()) continue;
      auto& items = list->as_array();
      items.erase(std::remove_if(
                      items.begin(), items.end(),
                      [&](const Json& item) { return Contains(member.value().as_array(), item); }),
                  items.end());
      continue;
    }
    if (name.starts_with(kOrderPrefix)) {
      // Of a list that the patch does not mention otherwise.
      const auto list_name = name.substr(kOrderPrefix.size());
      if (members.contains(list_name)) continue;
      Json* list = out.if_contains(list_name);
      if (list == nullptr || !list->is_array() || !member.value().is_array()) continue;
      const Place place = PlaceOf(schema, list_name);
      const std::string key = place.property != nullptr ? place.property->patch_merge_key : "";
      const JsonArray before = list->as_array();
      *list = Ordered(before, before, member.value().as_array(), key);
      continue;
    }
    TRY(MergeMember(out, name, member.value(), members, schema));
  }
  return Json(std::move(out));
}

}  // namespace

schema::ApiResult<Json> ApplyStrategicMergePatch(const Json& object, const Json& patch,
                                                 const schema::Schema& schema) {
  if (!patch.is_object())
    return schema::ApiError::BadRequest(
        "error decoding patch: a strategic merge patch is an object");
  return MergeObjects(object, patch, &schema);
}

}  // namespace thinsnap::objects
