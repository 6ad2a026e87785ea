// Payload: the files of configMap, secret, downwardAPI and projected volumes, and how they are put
// in place: readers see all of the old ones or all of the new ones ("..data" is a link that is
// replaced).
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/data/json_fwd.h"

namespace thinsnap::kubelet {

struct PayloadFile {
  std::string content;
  unsigned mode = 0644;
};
using Payload = std::map<std::string, PayloadFile>;  // by path relative to the volume

struct PayloadSources {
  std::function<Result<Json>(const std::string& name)> config_map, secret;
  // A service account token for the pod.
  std::function<Result<std::string>(const std::string& audience, std::int64_t seconds)> token;
};

// The keys of a ConfigMap or of a Secret, decoded.
Result<std::map<std::string, std::string>> ContentOf(const Json& object, bool secret);

// True for volumes whose files these are.
bool HasPayload(const Json& volume);
// What the volume (an element of spec.volumes) holds now. Errors name the object or field.
Result<Payload> BuildPayload(const Json& pod, const Json& volume, const PayloadSources& sources);
// Replaces the folder's content if it differs.
Status WritePayload(const std::string& folder, const Payload& payload, WallTime now,
                    std::optional<std::int64_t> group = std::nullopt);

}  // namespace thinsnap::kubelet
