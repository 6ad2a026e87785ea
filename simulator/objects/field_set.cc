#include "simulator/objects/field_set.h"

#include <algorithm>
#include <set>

namespace thinsnap::objects {
namespace {

// Owned and changed as one value.
bool IsAtomic(const schema::Schema* schema, const Json& value) {
  if (value.is_array()) return schema == nullptr || schema->list_type == schema::ListType::kAtomic;
  if (!value.is_object()) return true;
  return schema != nullptr && (schema->map_atomic || schema->format == schema::Format::kRaw);
}

std::string ChildKey(const schema::Schema* list, const Json& element) {
  if (list->list_type == schema::ListType::kSet) return "v:" + ToJson(element);
  return ElementKey(*list, element);
}

Json* FindElement(const schema::Schema* list, JsonArray& array, std::string_view key) {
  for (Json& element : array) {
    if (ChildKey(list, element) == key) return &element;
  }
  return nullptr;
}

// All of it is a change (or a removal) when the other side has nothing.
void AddAll(const schema::Schema* schema, const Json& value, FieldSet& to) {
  to.Add(FieldsOf(schema, value));
}

// As FieldsOf, of what was not there before: each object and list counts as a change too.
FieldSet NewFieldsOf(const schema::Schema* schema, const Json& value) {
  FieldSet set = FieldsOf(schema, value);
  set.self = true;
  if (IsAtomic(schema, value)) return set;
  if (const JsonObject* object = value.if_object()) {
    for (const auto& [key, member] : *object)
      set.children["f:" + std::string(key)] = NewFieldsOf(MemberSchema(schema, key), member);
    return set;
  }
  if (schema->list_type == schema::ListType::kMap) {
    for (const Json& element : value.get_array())
      set.children[ChildKey(schema, element)] = NewFieldsOf(schema->items, element);
  }
  return set;
}

// Members of built-in types that are in the JSON of an object which nobody has filled in: it is
// only what they contain that can be new.
bool IsAlwaysThere(const schema::Schema* schema, std::string_view name) {
  const schema::Property* property = schema == nullptr ? nullptr : schema->FindProperty(name);
  if (property == nullptr) return false;
  return property->value || (schema->is_builtin() && !property->omit_empty);
}

}  // namespace

const schema::Schema* MemberSchema(const schema::Schema* schema, std::string_view name) {
  if (schema == nullptr) return nullptr;
  if (const schema::Property* property = schema->FindProperty(name)) return property->schema;
  return schema->additional;
}

std::string ElementKey(const schema::Schema& list, const Json& element) {
  std::map<std::string, Json> keys;
  for (const std::string& name : list.list_map_keys) {
    if (const Json* value = Find(element, name)) {
      keys[name] = *value;
    } else if (name == "protocol") {
      keys[name] = Json("TCP");  // the one key of built-in lists that has a default
    }
  }
  JsonObject object;
  for (const auto& [name, value] : keys) object[name] = value;
  return "k:" + ToJson(object);
}

FieldSet FieldSet::FromJson(const Json& fields) {
  FieldSet set;
  if (const JsonObject* object = fields.if_object()) {
    for (const auto& [key, value] : *object) {
      if (key == ".") {
        set.self = true;
        continue;
      }
      FieldSet child = FromJson(value);
      // An empty object stands for the path itself.
      if (child.children.empty()) child.self = true;
      set.children[std::string(key)] = std::move(child);
    }
  }
  return set;
}

Json FieldSet::ToJson() const {
  JsonObject object;
  if (self && !children.empty()) object["."] = JsonObject();
  for (const auto& [key, child] : children) object[key] = child.ToJson();
  return object;
}

void FieldSet::Add(const FieldSet& other) {
  self |= other.self;
  for (const auto& [key, child] : other.children) children[key].Add(child);
}

void FieldSet::Subtract(const FieldSet& other) {
  if (other.self) self = false;
  for (const auto& [key, child] : other.children) {
    const auto found = children.find(key);
    if (found == children.end()) continue;
    found->second.Subtract(child);
    if (found->second.empty()) children.erase(found);
  }
}

FieldSet FieldSet::IntersectedWith(const FieldSet& other) const {
  FieldSet both;
  both.self = self && other.self;
  for (const auto& [key, child] : children) {
    const auto found = other.children.find(key);
    if (found == other.children.end()) continue;
    FieldSet inner = child.IntersectedWith(found->second);
    if (!inner.empty()) both.children[key] = std::move(inner);
  }
  return both;
}

bool FieldSet::Overlaps(const FieldSet& other) const { return !IntersectedWith(other).empty(); }

FieldSet FieldSet::WithParents() const {
  FieldSet set;
  set.self = !empty();
  for (const auto& [key, child] : children) set.children[key] = child.WithParents();
  return set;
}

FieldSet FieldsOf(const schema::Schema* schema, const Json& value) {
  FieldSet set;
  if (IsAtomic(schema, value)) {
    set.self = true;
    return set;
  }
  if (const JsonObject* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      set.children["f:" + std::string(key)] = FieldsOf(MemberSchema(schema, key), member);
    }
    if (object->empty()) set.self = true;
    return set;
  }
  for (const Json& element : value.get_array()) {
    FieldSet child =
        schema->list_type == schema::ListType::kMap ? FieldsOf(schema->items, element) : FieldSet();
    child.self = true;
    set.children[ChildKey(schema, element)] = std::move(child);
  }
  if (value.get_array().empty()) set.self = true;
  return set;
}

std::string FindDuplicate(const schema::Schema* schema, const Json& value,
                          const std::string& path) {
  if (IsAtomic(schema, value)) return "";
  if (const JsonObject* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      std::string found =
          FindDuplicate(MemberSchema(schema, key), member, path + "." + std::string(key));
      if (!found.empty()) return found;
    }
    return "";
  }
  std::set<std::string> keys;
  for (const Json& element : value.get_array()) {
    const std::string key = ChildKey(schema, element);
    if (!keys.insert(key).second) return path + "[" + key.substr(2) + "]";
    if (schema->list_type != schema::ListType::kMap) continue;
    std::string found = FindDuplicate(schema->items, element, path + "[" + key.substr(2) + "]");
    if (!found.empty()) return found;
  }
  return "";
}

void CompareFields(const schema::Schema* schema, const Json& old, const Json& object,
                   FieldSet& changed, FieldSet& removed) {
  if (old == object) return;
  const bool alike =
      (old.is_object() && object.is_object()) || (old.is_array() && object.is_array());
  if (!alike || IsAtomic(schema, object)) {
    AddAll(schema, object, changed);
    return;
  }
  const auto compare_child = [&](const std::string& key, const schema::Schema* inner,
                                 const Json* before, const Json* after) {
    if (before == nullptr) {
      const bool structure = after->is_object() || after->is_array();
      if (structure && key.starts_with("f:") && IsAlwaysThere(schema, key.substr(2))) {
        const Json nothing = after->is_object() ? Json(JsonObject()) : Json(JsonArray());
        FieldSet inner_changed, inner_removed;
        CompareFields(inner, nothing, *after, inner_changed, inner_removed);
        if (IsAtomic(inner, *after) || inner_changed.empty()) inner_changed.self = true;
        changed.children[key].Add(inner_changed);
      } else {
        changed.children[key].Add(NewFieldsOf(inner, *after));
      }
    } else if (after == nullptr) {
      FieldSet all = FieldsOf(inner, *before);
      all.self = true;
      removed.children[key].Add(all);
    } else {
      FieldSet inner_changed, inner_removed;
      CompareFields(inner, *before, *after, inner_changed, inner_removed);
      if (!inner_changed.empty()) changed.children[key].Add(inner_changed);
      if (!inner_removed.empty()) removed.children[key].Add(inner_removed);
    }
  };
  if (const JsonObject* after = object.if_object()) {
    const JsonObject& before = old.get_object();
    for (const auto& [key, value] : *after) {
      compare_child("f:" + std::string(key), MemberSchema(schema, key), before.if_contains(key),
                    &value);
    }
    for (const auto& [key, value] : before) {
      if (!after->contains(key))
        compare_child("f:" + std::string(key), MemberSchema(schema, key), &value, nullptr);
    }
    return;
  }
  std::map<std::string, const Json*> before, after;
  for (const Json& element : old.get_array()) before[ChildKey(schema, element)] = &element;
  for (const Json& element : object.get_array()) after[ChildKey(schema, element)] = &element;
  for (const auto& [key, element] : after) {
    const auto found = before.find(key);
    compare_child(key, schema->items, found == before.end() ? nullptr : found->second, element);
  }
  for (const auto& [key, element] : before) {
    if (!after.contains(key)) compare_child(key, schema->items, element, nullptr);
  }
}

void RemoveFields(const schema::Schema* schema, Json& value, const FieldSet& fields) {
  if (JsonObject* object = value.if_object()) {
    for (const auto& [key, child] : fields.children) {
      if (!key.starts_with("f:")) continue;
      const std::string name = key.substr(2);
      Json* member = object->if_contains(name);
      if (member == nullptr) continue;
      RemoveFields(MemberSchema(schema, name), *member, child);
      const bool emptied = (member->is_object() && member->get_object().empty()) ||
                           (member->is_array() && member->get_array().empty());
      if (child.self || (emptied && !child.children.empty())) object->erase(name);
    }
    return;
  }
  JsonArray* array = value.if_array();
  if (array == nullptr || schema == nullptr || schema->list_type == schema::ListType::kAtomic)
    return;
  JsonArray kept;
  for (Json& element : *array) {
    const auto found = fields.children.find(ChildKey(schema, element));
    if (found != fields.children.end()) {
      if (found->second.self) continue;
      RemoveFields(schema->items, element, found->second);
    }
    kept.push_back(std::move(element));
  }
  *array = std::move(kept);
}

Json MergeFields(const schema::Schema* schema, const Json& live, const Json& applied) {
  const bool alike =
      (live.is_object() && applied.is_object()) || (live.is_array() && applied.is_array());
  if (!alike || IsAtomic(schema, applied)) return applied;
  Json merged = live;
  if (const JsonObject* object = applied.if_object()) {
    for (const auto& [key, value] : *object) {
      Json* present = merged.get_object().if_contains(key);
      if (present == nullptr) {
        merged.get_object()[key] = value;
      } else {
        *present = MergeFields(MemberSchema(schema, key), *present, value);
      }
    }
    return merged;
  }
  JsonArray& array = merged.get_array();
  for (const Json& element : applied.get_array()) {
    Json* present = FindElement(schema, array, ChildKey(schema, element));
    if (present == nullptr) {
      array.push_back(element);
    } else {
      *present = MergeFields(schema->items, *present, element);
    }
  }
  return merged;
}

}  // namespace thinsnap::objects
