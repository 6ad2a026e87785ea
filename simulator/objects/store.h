// VersionedStore: the one place where the simulated cluster's objects lie. One mutex, one revision
// counter for all kinds; each resource has its objects sorted by key and a bounded log of its
// latest events.
//
// Durable form: one SQLite file in WAL mode. A write that returned OK survives kill -9 of the
// process; power loss may take the latest writes with it but never damages the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"

namespace thinsnap::objects {

using Revision = std::uint64_t;

// `resource` is "configmaps" or "deployments.apps" (Kind::storage_resource); ns is empty for
// cluster-scoped objects.
struct StoreKey {
  std::string resource, ns, name;
  auto operator<=>(const StoreKey&) const = default;
};

// Immutable. value.metadata.resourceVersion is the revision.
class StoredObject {
 public:
  StoredObject(StoreKey key, Json value, Revision revision);
  const StoreKey& key() const { return key_; }
  const Json& value() const { return value_; }
  Revision revision() const { return revision_; }
  // Compact JSON, made at the first call. Thread-safe.
  const std::string& bytes() const;

 private:
  const StoreKey key_;
  const Json value_;
  const Revision revision_;
  mutable std::once_flag once_;
  mutable std::string bytes_;
};
using ObjectRef = std::shared_ptr<const StoredObject>;

struct StoreEvent {
  enum class Type { kCreated, kUpdated, kDeleted } type;
  Revision revision;
  ObjectRef object;    // of a deletion: the last state, with the revision of the deletion
  ObjectRef previous;  // null for kCreated
};

struct StoreList {
  std::vector<ObjectRef> items;  // sorted by namespace, then name
  Revision revision = 0;         // the list is the state at this revision
  bool more = false;             // the limit cut it
  std::size_t remaining = 0;     // how many are left, if more
};

struct StoreListOptions {
  std::string ns;  // empty: all namespaces
  std::optional<Revision>
      at;                 // an exact past revision; kOutOfRange when the log no longer reaches it
  std::size_t limit = 0;  // 0: all
  std::string after_ns, after_name;  // continue strictly after this key, if after_name is not empty
  // Objects for which it is false are left out and do not count for the limit.
  std::function<bool(const StoredObject&)> filter;
};

struct StoreOptions {
  std::string path;  // empty: in memory only
  std::size_t log_events_per_resource = 1024;
  // Revisions of a new store start after this one.
  Revision first_revision = 1;
};

// Thread-safe. Nothing blocks but for the file.
class VersionedStore {
 public:
  // Reads everything back from the file. kDataLoss if it is damaged, kFailedPrecondition if another
  // process has it.
  static Result<std::unique_ptr<VersionedStore>> Open(StoreOptions options);
  ~VersionedStore();
  VersionedStore(const VersionedStore&) = delete;
  VersionedStore& operator=(const VersionedStore&) = delete;

  Revision revision() const;

  // Null when absent.
  ObjectRef Get(const StoreKey& key) const;
  // kOutOfRange as said at StoreListOptions::at; a revision of the future is kInvalidArgument.
  Result<StoreList> List(const std::string& resource, const StoreListOptions& options = {}) const;
  std::size_t Count(const std::string& resource) const;

  // The store sets metadata.resourceVersion. kAlreadyExists.
  Result<ObjectRef> Create(StoreKey key, Json value);
  // kNotFound; kAborted if the stored revision is not `expected` (0: whatever it is).
  Result<ObjectRef> Update(StoreKey key, Json value, Revision expected);
  // As Update. `last`, if given, is the state the deletion event shows; otherwise the stored one.
  // Returns it with the revision of the deletion.
  Result<ObjectRef> Delete(const StoreKey& key, Revision expected,
                           std::optional<Json> last = std::nullopt);

  // Ends with the destructor: after that, the callback is not called any more (do not destroy it
  // from the callback).
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };
  // Called in order of revision, under the store's mutex: must not block nor call the store.
  using OnEvent = std::function<void(const StoreEvent&)>;
  // Events of the resource ("" for all resources) with revisions above `after`, first the logged
  // ones, from within this call. kOutOfRange if the log no longer reaches back that far; a revision
  // of the future waits for it.
  Result<std::unique_ptr<Subscription>> Watch(const std::string& resource, Revision after,
                                              OnEvent on_event);
  // The state now and every event after it, without a gap.
  struct ListAndSubscription {
    StoreList list;
    std::unique_ptr<Subscription> subscription;
  };
  ListAndSubscription ListAndWatch(const std::string& resource, const StoreListOptions& options,
                                   OnEvent on_event);
  // Runs it under the mutex: all events up to that revision have been handed over and none after
  // it. For bookmarks.
  void AtRevision(const std::function<void(Revision)>& action) const;

  // Forgets the logs, as etcd's compaction does: older watches and lists get kOutOfRange.
  void Compact();
  // Moves the write-ahead log into the file; for a background task, every few seconds. Fine to
  // never call.
  Status Checkpoint();

 private:
  struct State;
  explicit VersionedStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace thinsnap::objects
