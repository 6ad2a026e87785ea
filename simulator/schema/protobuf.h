// Protobuf bodies of built-in kinds: decoded by the wire table, never written.
#pragma once

#include <string>
#include <string_view>

#include "base/core/result.h"
#include "base/data/json.h"
#include "simulator/schema/schema.h"

namespace thinsnap::schema {

struct ProtobufEnvelope {
  std::string api_version, kind;
  std::string_view raw;  // into the body
  std::string content_type;
};

// The body starts with "k8s\0".
bool IsProtobuf(std::string_view body);
// kInvalidArgument when it is damaged.
Result<ProtobufEnvelope> ParseEnvelope(std::string_view body);
// The message as JSON, without apiVersion and kind. kInvalidArgument when it is damaged. Unknown
// fields are skipped.
Result<Json> DecodeMessageBytes(const Schema& schema, std::string_view raw);

}  // namespace thinsnap::schema
