// Custom resource definitions: their own validation and defaults, the kinds they make, their
// status.
#pragma once

#include <string>

#include "base/core/clock.h"
#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::schema {

// Names, exactly one storage version, structural schemas, rules that compile, list-map keys: what
// ValidateCreate and ValidateUpdate call for this kind.
FieldErrors ValidateCrd(const Json& crd);
FieldErrors ValidateCrdUpdate(const Json& crd, const Json& old);
// Defaults of a definition: singular, listKind, conversion, status.storedVersions.
void DefaultCrd(Json& crd);

// The kind that an accepted definition serves. The definition has passed ValidateCrd.
// kInvalidArgument otherwise.
Result<KindRef> KindFromCrd(const Json& crd);

// What the naming and establishing controllers do, in one step: status.acceptedNames and the
// conditions NamesAccepted and Established. Names that another kind of the group has make
// NamesAccepted false. Returns whether it changed.
bool EstablishCrd(const KindTable& kinds, Json& crd, WallTime now);
bool IsEstablished(const Json& crd);

// The root schema of a version, from openAPIV3Schema; null root nodes are never returned.
Result<std::shared_ptr<const SchemaTree>> SchemaFromOpenApi(const Json& schema);

}  // namespace thinsnap::schema
