#include "simulator/objects/apply.h"

#include <algorithm>
#include <vector>

#include "simulator/objects/field_set.h"

namespace thinsnap::objects {
namespace {

constexpr std::size_t kMostUpdateManagers = 10;

struct Owner {
  std::string manager, operation, api_version, time, subresource;
  FieldSet fields;
};

// What the server keeps is owned by nobody.
void StripOwnFields(FieldSet& fields) {
  fields.children.erase("f:apiVersion");
  fields.children.erase("f:kind");
  const auto metadata = fields.children.find("f:metadata");
  if (metadata == fields.children.end()) return;
  for (const char* name :
       {"f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:generation",
        "f:managedFields", "f:resourceVersion", "f:deletionTimestamp",
        "f:deletionGracePeriodSeconds", "f:generateName"}) {
    metadata->second.children.erase(name);
  }
  metadata->second.self = false;
  if (metadata->second.empty()) fields.children.erase(metadata);
}

std::vector<Owner> OwnersOf(const Json& object) {
  std::vector<Owner> owners;
  for (const Json& entry : ArrayAt(object, "metadata.managedFields")) {
    const Json* fields = Find(entry, "fieldsV1");
    if (fields == nullptr) continue;
    owners.push_back({StringAt(entry, "manager"), StringAt(entry, "operation"),
                      StringAt(entry, "apiVersion"), StringAt(entry, "time"),
                      StringAt(entry, "subresource"), FieldSet::FromJson(*fields)});
  }
  return owners;
}

void StoreOwners(const std::vector<Owner>& owners, Json& object) {
  JsonArray entries;
  for (const Owner& owner : owners) {
    if (owner.fields.empty()) continue;
    JsonObject entry = {{"manager", owner.manager},        {"operation", owner.operation},
                        {"apiVersion", owner.api_version}, {"time", owner.time},
                        {"fieldsType", "FieldsV1"},        {"fieldsV1", owner.fields.ToJson()}};
    if (!owner.subresource.empty()) entry["subresource"] = owner.subresource;
    entries.push_back(std::move(entry));
  }
  if (entries.empty()) {
    Remove(object, "metadata.managedFields");
  } else {
    Set(object, "metadata.managedFields", Json(std::move(entries)));
  }
}

Owner& OwnerFor(std::vector<Owner>& owners, const FieldManager& manager, const char* operation) {
  const auto same = [&](const Owner& owner) {
    return owner.manager == manager.name && owner.operation == operation &&
           owner.subresource == manager.subresource &&
           (owner.api_version == manager.api_version || std::string_view(operation) == "Apply");
  };
  const auto found = std::find_if(owners.begin(), owners.end(), same);
  if (found != owners.end()) {
    found->api_version = manager.api_version;
    return *found;
  }
  owners.push_back({manager.name, operation, manager.api_version, "", manager.subresource, {}});
  return owners.back();
}

// Many updaters become one, the oldest first.
void MergeOldUpdates(std::vector<Owner>& owners) {
  const auto is_update = [](const Owner& owner) { return owner.operation == "Update"; };
  while (static_cast<std::size_t>(std::count_if(owners.begin(), owners.end(), is_update)) >
         kMostUpdateManagers) {
    const auto older = [](const Owner& a, const Owner& b) { return a.time < b.time; };
    std::vector<Owner> updates;
    std::copy_if(owners.begin(), owners.end(), std::back_inserter(updates), is_update);
    std::stable_sort(updates.begin(), updates.end(), older);
    const Owner first = updates[0], second = updates[1];
    std::erase_if(owners, [&](const Owner& owner) {
      return is_update(owner) && ((owner.manager == first.manager && owner.time == first.time) ||
                                  (owner.manager == second.manager && owner.time == second.time));
    });
    Owner ancient = second;
    ancient.manager = "ancient-changes";
    ancient.fields.Add(first.fields);
    owners.push_back(std::move(ancient));
  }
}

bool ClientClears(const Json& object) {
  const JsonArray* entries = FindArray(object, "metadata.managedFields");
  if (entries == nullptr) return false;
  return entries->empty() ||
         (entries->size() == 1 && (*entries)[0].is_object() && (*entries)[0].get_object().empty());
}

std::string Describe(const Owner& owner) {
  std::string text = "\"" + owner.manager + "\"";
  if (!owner.subresource.empty()) text += " with subresource \"" + owner.subresource + "\"";
  if (owner.operation == "Update") text += " using " + owner.api_version;
  return text;
}

// ".spec.containers[name=\"c\"].image" of every leaf.
void ListPaths(const FieldSet& fields, const std::string& path, std::vector<std::string>& paths) {
  if (fields.self) paths.push_back(path);
  for (const auto& [key, child] : fields.children) {
    std::string at = path;
    if (key.starts_with("f:")) {
      at += "." + key.substr(2);
    } else if (key.starts_with("k:")) {
      const Result<Json> keys = ParseJson(key.substr(2));
      at += '[';
      if (keys.ok() && keys->is_object()) {
        bool first = true;
        for (const auto& [name, value] : keys->get_object()) {
          at += (first ? "" : ",") + std::string(name) + "=" + ToJson(value);
          first = false;
        }
      }
      at += ']';
    } else {
      at += "[" + key.substr(2) + "]";
    }
    ListPaths(child, at, paths);
  }
}

schema::ApiError ConflictError(const std::vector<std::pair<Owner, FieldSet>>& conflicts) {
  schema::FieldErrors causes;
  for (const auto& [owner, fields] : conflicts) {
    std::vector<std::string> paths;
    ListPaths(fields, "", paths);
    for (const std::string& path : paths) {
      causes.push_back({"FieldManagerConflict", path, "conflict with " + Describe(owner)});
    }
  }
  std::string message = "Apply failed with " + std::to_string(causes.size()) +
                        (causes.size() == 1 ? " conflict: " : " conflicts: ");
  if (causes.size() == 1) {
    message += causes[0].message + ": " + causes[0].field;
  } else {
    message += "conflicts with";
    for (const schema::FieldError& cause : causes)
      message += " " + cause.message.substr(14) + ":\n- " + cause.field;
  }
  schema::ApiError error(409, "Conflict", message);
  error.has_details = true;
  error.causes = std::move(causes);
  return error;
}

}  // namespace

void TrackUpdate(const schema::Schema& schema, const Json* old, Json& object,
                 const FieldManager& manager, WallTime now) {
  if (ClientClears(object)) {
    Remove(object, "metadata.managedFields");
    return;
  }
  std::vector<Owner> owners = OwnersOf(object);
  if (owners.empty() && old != nullptr && FindArray(object, "metadata.managedFields") == nullptr)
    owners = OwnersOf(*old);
  FieldSet changed, removed;
  const Json nothing = JsonObject();
  CompareFields(&schema, old == nullptr ? nothing : *old, object, changed, removed);
  StripOwnFields(changed);
  StripOwnFields(removed);
  // The server owns the status that it made up itself at creation.
  if (manager.subresource.empty()) changed.children.erase("f:status");
  if (!changed.empty() || !removed.empty()) {
    for (Owner& owner : owners) {
      owner.fields.Subtract(removed);
      if (owner.manager != manager.name || owner.operation != "Update" ||
          owner.subresource != manager.subresource) {
        owner.fields.Subtract(changed);
      }
    }
  }
  if (!changed.empty()) {
    Owner& own = OwnerFor(owners, manager, "Update");
    FieldSet together = own.fields;
    together.Add(changed);
    own.time = FormatRfc3339(now);
    own.fields = std::move(together);
  }
  std::erase_if(owners, [](const Owner& owner) { return owner.fields.empty(); });
  MergeOldUpdates(owners);
  StoreOwners(owners, object);
}

schema::ApiResult<Json> ApplyConfiguration(const schema::Schema& schema, const Json* live,
                                           const Json& patch, const FieldManager& manager,
                                           bool force, WallTime now) {
  if (const JsonArray* managed = FindArray(patch, "metadata.managedFields");
      managed != nullptr && !managed->empty()) {
    return schema::ApiError::BadRequest("metadata.managedFields must be nil");
  }
  if (const std::string twice = FindDuplicate(&schema, patch, ""); !twice.empty())
    return schema::ApiError::BadRequest("failed to create typed patch object: duplicate entries: " +
                                        twice);
  Json applied = patch;
  Remove(applied, "metadata.managedFields");
  FieldSet wanted = FieldsOf(&schema, applied);
  StripOwnFields(wanted);
  std::vector<Owner> owners;
  Json result = applied;
  if (live != nullptr) {
    owners = OwnersOf(*live);
    if (owners.empty()) {
      FieldSet before = FieldsOf(&schema, *live);
      StripOwnFields(before);
      owners.push_back({"before-first-apply", "Update", manager.api_version, FormatRfc3339(now), "",
                        std::move(before)});
    }
    result = MergeFields(&schema, *live, applied);

    // What this apply would change, and who else owns it.
    FieldSet changed, gone;
    CompareFields(&schema, *live, result, changed, gone);
    StripOwnFields(changed);
    std::vector<std::pair<Owner, FieldSet>> conflicts;
    for (const Owner& owner : owners) {
      if (owner.operation == "Apply" && owner.manager == manager.name &&
          owner.subresource == manager.subresource)
        continue;
      FieldSet contested = owner.fields.IntersectedWith(changed);
      if (!contested.empty()) conflicts.emplace_back(owner, std::move(contested));
    }
    if (!conflicts.empty() && !force) return ConflictError(conflicts);

    // What it applied before, applies no more, and nobody else owns goes away.
    Owner& own = OwnerFor(owners, manager, "Apply");
    FieldSet dropped = own.fields;
    dropped.Subtract(wanted.WithParents());
    for (Owner& owner : owners) {
      if (&owner == &own) continue;
      owner.fields.Subtract(changed);
      dropped.Subtract(owner.fields.WithParents());
    }
    if (!dropped.empty()) RemoveFields(&schema, result, dropped);
  }
  Owner& own = OwnerFor(owners, manager, "Apply");
  if (own.time.empty() || own.fields != wanted) own.time = FormatRfc3339(now);
  own.fields = std::move(wanted);
  StoreOwners(owners, result);
  return result;
}

}  // namespace thinsnap::objects
