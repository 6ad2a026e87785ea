// Codec: from a request's body to an object of a kind: JSON, YAML or protobuf; unknown and
// duplicate fields; Go's type errors; the form in which the server keeps it (no nulls, no empty
// optional members, canonical quantities).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::schema {

enum class FieldValidation { kIgnore, kWarn, kStrict };

enum class BodyFormat { kJson, kYaml, kProtobuf };

struct Decoded {
  Json object;
  std::vector<std::string> warnings;  // `unknown field "spec.x"`, `duplicate field "data.a"`
};

// The kind's object: apiVersion and kind are filled in when absent and refused when they are
// others; nothing is defaulted yet. Built-in kinds: a wrong type is a 400. Custom kinds: unknown
// fields are pruned, wrong types are left for ValidateCreate. kStrict makes warnings a 400; kIgnore
// drops them.
ApiResult<Decoded> DecodeObject(const Kind& kind, const KindVersion& version, std::string_view body,
                                BodyFormat format, FieldValidation validation);
// The same for a value that is already parsed: the result of a patch. `duplicates` were found while
// parsing it.
ApiResult<Decoded> DecodeValue(const Kind& kind, const KindVersion& version, Json value,
                               FieldValidation validation,
                               std::vector<std::string> duplicates = {});
// Options and other objects that are no kinds:
// "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions", "k8s.io.api.autoscaling.v1.Scale",
// "k8s.io.api.policy.v1.Eviction". An empty body is an empty object.
ApiResult<Json> DecodeMessage(std::string_view message, std::string_view body, BodyFormat format);

// Parses without a type, for patches; the error is a 400 with "error decoding patch: ...". YAML
// includes JSON.
ApiResult<Json> DecodePatch(std::string_view body, BodyFormat format,
                            std::vector<std::string>* duplicates = nullptr);

// Fills in the kind's defaults: on a request, and on what comes from the store for custom kinds.
void ApplyDefaults(const Kind& kind, const KindVersion& version, Json& object);

// The object in another served version of its kind (events: also between core/v1 and
// events.k8s.io/v1). `from` and `to` are the kinds as served; for most only apiVersion changes.
Json ConvertObject(const Kind& from, const Kind& to, std::string_view to_version, Json object);

// Paths of members given twice in an object, as "duplicate field ..." texts. The text is valid
// JSON.
std::vector<std::string> FindDuplicates(std::string_view json);

}  // namespace thinsnap::schema
