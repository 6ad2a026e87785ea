// FieldSet: which fields of an object somebody owns, the tree behind FieldsV1 ("f:name",
// "k:{keys}", "v:value", ".").
#pragma once

#include <map>
#include <string>

#include "base/data/json.h"
#include "simulator/schema/schema.h"

namespace thinsnap::objects {

struct FieldSet {
  bool self = false;  // the path itself is a member
  std::map<std::string, FieldSet, std::less<>> children;

  bool empty() const { return !self && children.empty(); }
  bool operator==(const FieldSet&) const = default;

  static FieldSet FromJson(const Json& fields);
  Json ToJson() const;

  void Add(const FieldSet& other);
  void Subtract(const FieldSet& other);
  FieldSet IntersectedWith(const FieldSet& other) const;
  bool Overlaps(const FieldSet& other) const;
  // With the path of everything that something of it lies in.
  FieldSet WithParents() const;
};

// The leaves of a value by its type: atomic values as a whole, elements of keyed lists by their
// keys.
FieldSet FieldsOf(const schema::Schema* schema, const Json& value);
// What `object` has that `old` has not, or has otherwise; and what of old is gone.
void CompareFields(const schema::Schema* schema, const Json& old, const Json& object,
                   FieldSet& changed, FieldSet& removed);
// The path of the first list element whose key was there before; empty if there is none.
std::string FindDuplicate(const schema::Schema* schema, const Json& value, const std::string& path);
// Takes out what is named, elements of lists included.
void RemoveFields(const schema::Schema* schema, Json& value, const FieldSet& fields);
// `applied` over `live`, by type.
Json MergeFields(const schema::Schema* schema, const Json& live, const Json& applied);

// The type of a member; null when none is known.
const schema::Schema* MemberSchema(const schema::Schema* schema, std::string_view name);
// "k:{"name":"a"}" of an element of a keyed list.
std::string ElementKey(const schema::Schema& list, const Json& element);

}  // namespace thinsnap::objects
