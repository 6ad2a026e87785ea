// Kinds: what the API serves, as data. Built-in kinds come from a table, custom ones from their
// definitions.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/guarded.h"
#include "base/data/json.h"
#include "simulator/schema/schema.h"

namespace thinsnap::schema {

// A column of `kubectl get`. Built-in kinds fill their cells by code (table.h), custom ones by
// JSONPath.
struct Column {
  std::string name, type, format, description, json_path;
  int priority = 0;
};

// "pods/log": {"log", "Pod", "", "", {"get"}}. group and version are given when the kind is of
// another group.
struct Subresource {
  std::string name, kind, group, version;
  std::vector<std::string> verbs;
};

struct KindVersion {
  std::string version;
  const Schema* schema = nullptr;  // of the whole object, metadata included
  std::vector<Column> columns;     // of built-in kinds too
  std::vector<Subresource> subresources;
  std::vector<std::string>
      selectable_fields;  // beyond metadata.name and metadata.namespace: "spec.nodeName"
  // Scale paths in dotted form without the leading dot, empty if there is no scale:
  // "spec.replicas".
  std::string scale_spec_path, scale_status_path, scale_selector_path;
  std::string deprecation_warning;
};

struct Kind {
  std::string group;     // "" is the core group
  std::string resource;  // plural: "configmaps"
  std::string kind, list_kind, singular;
  std::vector<std::string> short_names, categories;
  std::vector<std::string> verbs;  // "create", ... ; reviews have only "create"
  bool namespaced = true;
  bool custom = false;
  bool has_status = false;             // /status; else status is an ordinary field
  bool has_generation = false;         //
  bool graceful_delete = false;        // pods
  bool delete_returns_object = false;  // DELETE answers the object instead of a Status
  bool create_on_update = false;       // PUT of a missing object creates it
  bool rv_required_on_update = false;  // custom resources
  bool stored = true;                  // reviews and bindings are not
  std::vector<KindVersion> versions;   // served ones, preferred first
  std::string storage_version;         // stored objects have this apiVersion
  // Where its objects lie in the store: "configmaps", "deployments.apps". events.k8s.io/Event lies
  // in "events".
  std::string storage_resource;
  std::shared_ptr<const SchemaTree> schema_tree;  // owns the schemas of a custom kind

  const KindVersion* FindVersion(std::string_view version) const;  // null if not served
  const Subresource* FindSubresource(const KindVersion& version, std::string_view name) const;
  std::string api_version(std::string_view version) const;
  // "configmaps", "deployments.apps".
  std::string group_resource() const;
};
using KindRef = std::shared_ptr<const Kind>;

struct Group {
  std::string name;
  std::vector<std::string> versions;  // preferred first
};

// What the server has without any definition, in the order of discovery.
std::vector<KindRef> BuiltinKinds();

// All kinds served now. Thread-safe; changes are rare.
class KindTable {
 public:
  KindTable();  // the built-in kinds

  // Null if not served. resource may be the plural only.
  KindRef Find(std::string_view group, std::string_view version, std::string_view resource) const;
  KindRef FindKind(std::string_view group, std::string_view version, std::string_view kind) const;
  // Any version.
  KindRef FindResource(std::string_view group, std::string_view resource) const;
  // In the order of discovery: core first, then by group; within, by resource.
  std::vector<KindRef> All() const;
  std::vector<Group> Groups() const;
  // Rises with each change: for ETags and OpenAPI hashes.
  std::uint64_t generation() const;

  // Puts or replaces a custom kind.
  void Add(KindRef kind);
  void Remove(std::string_view group, std::string_view resource);

 private:
  mutable std::mutex mutex_;
  std::vector<KindRef> kinds_ GUARDED_BY(mutex_);
  std::uint64_t generation_ GUARDED_BY(mutex_) = 1;
};

}  // namespace thinsnap::schema
