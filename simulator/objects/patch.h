// The three patches over JSON. None of them validates the result: decode it with DecodeValue.
#pragma once

#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/schema.h"

namespace thinsnap::objects {

// RFC 6902 with the API server's leniency: `replace` of a missing member adds it. 422 when an
// operation cannot be done or a test fails, 400 when the patch is no list, 413 past 10,000
// operations.
schema::ApiResult<Json> ApplyJsonPatch(const Json& object, const Json& patch);

// RFC 7386. 400 when the patch is no object.
schema::ApiResult<Json> ApplyMergePatch(const Json& object, const Json& patch);

// Lists are merged by the schema's merge keys; $patch, $deleteFromPrimitiveList, $setElementOrder,
// $retainKeys.
schema::ApiResult<Json> ApplyStrategicMergePatch(const Json& object, const Json& patch,
                                                 const schema::Schema& schema);

}  // namespace thinsnap::objects
