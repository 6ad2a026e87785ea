// Rules: what the server does to an object around a write, and what it refuses. Pure functions; the
// order of a request:
//   create  DecodeObject, ApplyDefaults, [admission], PrepareCreate, ValidateCreate, [TrackUpdate],
//   store update  DecodeObject, ApplyDefaults, [admission], PrepareUpdate, ValidateUpdate,
//   [TrackUpdate], store or remove delete  PrepareDelete, store or remove
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::objects {

// Fills in name (from generateName), uid, creationTimestamp, generation; clears what clients may
// not set (status where it is a subresource, deletionTimestamp); the kind's own steps (Job selector
// and labels, Secret stringData, Namespace finalizers, PVC data sources, Pod phase and QoS). `ns`
// is that of the request's path, "" for cluster-scoped kinds. BadRequest if the object's namespace
// is another one, or if it carries a resourceVersion. An object without any name is left to
// ValidateCreate.
schema::ApiStatus PrepareCreate(const schema::Kind& kind, const schema::KindVersion& version,
                                std::string_view ns, Json& object, WallTime now, Random& random);
schema::FieldErrors ValidateCreate(const schema::Kind& kind, const schema::KindVersion& version,
                                   const Json& object);

// Carries over what an update may not change (uid, creationTimestamp, deletionTimestamp,
// generation; status or all but status, depending on the subresource) and counts generation.
// Subresource "" or "status", "finalize" (namespaces), "ephemeralcontainers", "resize", "scale".
// BadRequest if name or namespace are others than old's.
schema::ApiStatus PrepareUpdate(const schema::Kind& kind, const schema::KindVersion& version,
                                std::string_view subresource, const Json& old, Json& object);
schema::FieldErrors ValidateUpdate(const schema::Kind& kind, const schema::KindVersion& version,
                                   std::string_view subresource, const Json& old,
                                   const Json& object);
// True if nothing but managedFields' times differs: such a write is not stored.
bool IsNoOp(const Json& old, const Json& object);

struct DeleteRequest {
  std::optional<std::int64_t> grace_period_seconds;
  std::string propagation_policy;  // "", Background, Foreground, Orphan
  std::optional<bool> orphan_dependents;
  std::string uid, resource_version;  // preconditions
};
enum class DeleteOutcome {
  kRemove,  // take it out of the store now; `object` is its last state
  kUpdate,  // store `object`: it is marked and waits for finalizers or its kubelet
  kNone,    // it is being deleted already and nothing changes
};
// Checks preconditions (Conflict) and changes `object` to what the deletion makes of it.
schema::ApiResult<DeleteOutcome> PrepareDelete(const schema::Kind& kind, Json& object,
                                               const DeleteRequest& request, WallTime now);
// After an update: a marked object whose last finalizer went (and whose grace is over) is removed
// instead of stored.
bool MustBeRemoved(const schema::Kind& kind, const Json& object);

// From the DeleteOptions object; Invalid (422) for an unknown policy or dryRun.
schema::ApiResult<DeleteRequest> ParseDeleteOptions(const Json& options);

// autoscaling/v1 Scale of an object with a scale path; Internal if the path is not there.
schema::ApiResult<Json> GetScale(const schema::Kind& kind, const schema::KindVersion& version,
                                 const Json& object);
// Sets the replicas that `scale` asks for.
schema::ApiStatus SetScale(const schema::KindVersion& version, const Json& scale, Json& object);

// POST pods/<name>/binding: sets spec.nodeName, annotations of the binding, condition PodScheduled.
// Conflict if the pod is bound already or being deleted.
schema::ApiStatus BindPod(Json& pod, const Json& binding, WallTime now);

// A new cluster's objects need a uid too.
std::string NewUid(Random& random);

}  // namespace thinsnap::objects
