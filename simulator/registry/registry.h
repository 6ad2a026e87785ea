// Registry: the service layer. What requests do to objects, whoever sent them and however they
// came: optimistic concurrency, the rules of simulator/objects in their order, admission, and what
// follows from a write (a definition is served, a namespace gets its service account). Everything
// above it is transport.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/clock.h"
#include "base/core/guarded.h"
#include "base/core/random.h"
#include "base/data/json.h"
#include "simulator/objects/apply.h"
#include "simulator/objects/rules.h"
#include "simulator/objects/store.h"
#include "simulator/registry/admission.h"
#include "simulator/registry/user_info.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/codec.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::registry {

// What a request is about. `version` points into `kind`.
struct Target {
  schema::KindRef kind;
  const schema::KindVersion* version = nullptr;
  std::string ns, name, subresource;

  objects::StoreKey Key() const { return {kind->storage_resource, ns, name}; }
  std::string api_version() const { return kind->api_version(version->version); }
};

struct ListQuery {
  std::string label_selector, field_selector;
  std::string resource_version, match, continue_token;
  std::size_t limit = 0;
};

struct ListPage {
  std::vector<objects::ObjectRef> items;
  objects::Revision revision = 0;
  std::string continue_token;
  std::optional<std::size_t> remaining;
};

// One write: who does it and how; collects the warnings for the client.
struct WriteContext {
  UserInfo user;
  std::string manager = "unknown";
  bool dry_run = false;
  bool force = false;
  schema::FieldValidation validation = schema::FieldValidation::kWarn;
  std::vector<std::string> warnings;
};

struct Written {
  Json object;  // in the version that was asked for; of some deletions a Status
  int code = 200;
};

// Of a query; BadRequest unless it is a decimal number.
schema::ApiResult<objects::Revision> ParseRevision(std::string_view text);

// How often a write without a version is tried again before it is a Conflict.
inline constexpr int kRaces = 64;

enum class PatchKind : std::uint8_t { kJson, kMerge, kStrategic, kApply };

// Who is recorded in managedFields.
objects::FieldManager ManagerFor(const Target& target, const WriteContext& write);

class Registry {
 public:
  Registry(objects::VersionedStore& store, schema::KindTable& kinds, Clock& clock, Random& random,
           AdmissionOptions admission);

  // Makes what every cluster has, unless it is there: namespaces, roles. Serves the stored
  // definitions.
  Status Bootstrap(const std::string& ca_pem);

  // NoSuchResource if it is not served.
  schema::ApiResult<Target> Resolve(const std::string& group, const std::string& version,
                                    const std::string& resource, const std::string& ns,
                                    const std::string& name,
                                    const std::string& subresource = "") const;

  schema::ApiResult<objects::ObjectRef> Get(const Target& target) const;
  schema::ApiResult<ListPage> List(const Target& target, const ListQuery& query) const;
  // The object as this version shows it.
  Json Show(const objects::StoredObject& object, const Target& target) const;
  // As Show, in bytes; those of the store wherever they are the same.
  std::string ShowBytes(const objects::StoredObject& object, const Target& target) const;
  bool ShownAsStored(const objects::StoredObject& object, const Target& target) const;

  // `object` is decoded (objects::DecodeObject), in the target's version.
  schema::ApiResult<Written> Create(const Target& target, Json object, WriteContext& write);
  schema::ApiResult<Written> Update(const Target& target, Json object, WriteContext& write);
  // `patch` is parsed but not decoded.
  schema::ApiResult<Written> Patch(const Target& target, PatchKind kind, const Json& patch,
                                   const std::vector<std::string>& duplicates, WriteContext& write);
  schema::ApiResult<Written> Delete(const Target& target, const objects::DeleteRequest& request,
                                    WriteContext& write);
  schema::ApiResult<Written> DeleteCollection(const Target& target, const ListQuery& query,
                                              const objects::DeleteRequest& request,
                                              WriteContext& write);
  // POST pods/x/binding and pods/x/eviction.
  schema::ApiResult<Written> Bind(const Target& target, const Json& binding, WriteContext& write);

  schema::ApiResult<Json> GetScale(const Target& target) const;
  schema::ApiResult<Written> UpdateScale(const Target& target, const Json& scale,
                                         WriteContext& write);
  schema::ApiResult<Written> PatchScale(const Target& target, PatchKind kind, const Json& patch,
                                        WriteContext& write);

  objects::VersionedStore& store() { return store_; }
  const objects::VersionedStore& store() const { return store_; }
  schema::KindTable& kinds() { return kinds_; }
  const schema::KindTable& kinds() const { return kinds_; }
  Clock& clock() const { return clock_; }
  Random& random() const { return random_; }

 private:
  // The new object from the stored one (in the target's version).
  using Change = std::function<schema::ApiResult<Json>(const Json& old)>;
  struct ModifyMode {
    bool unconditional = true;  // a lost race is tried again
    bool tracked = false;       // the change has set managedFields itself
    bool plain_update = false;  // PUT: the object must name its version where the kind says so
  };
  schema::ApiResult<Written> Modify(const Target& target, const Change& change, ModifyMode mode,
                                    WriteContext& write);
  schema::ApiResult<Written> Insert(const Target& target, Json object, bool tracked,
                                    WriteContext& write);
  schema::ApiResult<Json> Patched(const Target& target, PatchKind kind, const Json& old,
                                  const Json& patch, const std::vector<std::string>& duplicates,
                                  WriteContext& write) const;
  schema::ApiResult<Written> ApplyPatch(const Target& target, const Json& patch,
                                        const std::vector<std::string>& duplicates,
                                        WriteContext& write);
  schema::ApiStatus CheckNamespace(const Target& target, const std::string& name) const;
  Json ToStored(const Target& target, Json object) const;
  schema::ApiError Fail(const Error& error, const Target& target) const;

  // What follows from a write.
  void AfterWrite(const Target& target, const objects::StoredObject& object, bool removed);
  void ServeDefinition(const objects::StoredObject& definition);
  void DrainDefinition(const objects::StoredObject& definition);
  void FurnishNamespace(const std::string& name);

  objects::VersionedStore& store_;
  schema::KindTable& kinds_;
  Clock& clock_;
  Random& random_;
  Admission admission_;
  std::string ca_pem_;
  mutable std::mutex mutex_;
  // Objects of these resources that are older get the defaults of the present definition when
  // shown.
  std::map<std::string, objects::Revision> schema_revisions_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::registry
