// KubeClient: the Kubernetes API as its clients see it. Real over HTTPS, or straight into the
// simulator's server.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/data/json.h"

namespace thinsnap::kube {

// A kind of object as it is addressed: {"apps", "v1", "deployments", "Deployment", true}.
struct ResourceType {
  std::string group;  // "" is the core group
  std::string version;
  std::string resource;  // plural
  std::string kind;
  bool namespaced = true;

  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  auto operator<=>(const ResourceType&) const = default;
};

struct ObjectKey {
  std::string ns;  // empty for cluster-scoped objects
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;
  std::string ToString() const { return ns.empty() ? name : ns + "/" + name; }
};

struct ListOptions {
  std::string label_selector, field_selector;
  std::string resource_version;  // "" is the latest, "0" is any
  int limit = 0;                 // the client follows `continue` by itself: List returns everything
};

struct ObjectList {
  std::vector<Json> items;
  std::string resource_version;
};

struct WatchOptions {
  std::string label_selector, field_selector;
  std::string resource_version;  // events strictly after it
  int timeout_seconds = 290;
};

struct WatchEvent {
  enum class Type { kAdded, kModified, kDeleted, kBookmark } type;
  Json object;
};

enum class PatchType { kJson, kMerge, kStrategicMerge, kApply };

struct PatchOptions {
  std::string subresource;    // "status"
  std::string field_manager;  // required for kApply
  bool force = false;
};

struct DeleteOptions {
  std::optional<int> grace_period_seconds;
  std::string propagation_policy;  // "", Background, Foreground, Orphan
  std::string uid;                 // precondition
  std::string resource_version;    // precondition
};

// Codes: 404 kNotFound; 409 AlreadyExists kAlreadyExists; 409 Conflict kAborted; 410 kOutOfRange;
// 403 kPermissionDenied; 401 kUnauthenticated; 422 and 400 kInvalidArgument; 429
// kResourceExhausted; 415 and 405 kUnimplemented; 503 and 504 kUnavailable; 500 kInternal; a lost
// answer of a write kUnknownOutcome. The message is the Status object's. Thread-safe; blocking;
// cancelled with the task's group. Does not retry.
class KubeClient {
 public:
  virtual ~KubeClient() = default;

  virtual Result<Json> Get(const ResourceType& type, const ObjectKey& key) = 0;
  // ns empty: all namespaces.
  virtual Result<ObjectList> List(const ResourceType& type, const std::string& ns,
                                  const ListOptions& options = {}) = 0;
  // Blocks; hands over each event; OK when the server ended the watch, kOutOfRange when the version
  // is too old, kDeadlineExceeded when nothing came for longer than a watch may last, or whatever
  // `on_event` returned to end it.
  virtual Status Watch(const ResourceType& type, const std::string& ns, const WatchOptions& options,
                       const std::function<Status(WatchEvent)>& on_event) = 0;
  // apiVersion and kind are filled in where missing; the namespace is the object's own.
  virtual Result<Json> Create(const ResourceType& type, const Json& object) = 0;
  // subresource "" or "status"; the resourceVersion in the object is the precondition.
  virtual Result<Json> Update(const ResourceType& type, const Json& object,
                              const std::string& subresource = "") = 0;
  virtual Result<Json> Patch(const ResourceType& type, const ObjectKey& key, PatchType patch_type,
                             const Json& patch, const PatchOptions& options = {}) = 0;
  // The answer is the object or the Status.
  virtual Result<Json> Delete(const ResourceType& type, const ObjectKey& key,
                              const DeleteOptions& options = {}) = 0;
  // POST to a subresource: pods/binding, serviceaccounts/token; resource "" for reviews.
  virtual Result<Json> CreateSubresource(const ResourceType& type, const ObjectKey& key,
                                         const std::string& subresource, const Json& object) = 0;
};

}  // namespace thinsnap::kube
