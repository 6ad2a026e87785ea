// An OpenAPI v2 document as kubectl up to 1.28 reads it: the protobuf messages of OpenAPIv2.proto.
// Only what the server's own document contains is written: paths with their operations, and
// definitions.
#pragma once

#include <string>

#include "base/data/json.h"

namespace thinsnap::schema {

std::string EncodeSwagger(const Json& document);

}  // namespace thinsnap::schema
