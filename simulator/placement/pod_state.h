// What controllers ask of a pod.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json.h"
#include "base/kube/client.h"

namespace thinsnap::placement {

// Succeeded or Failed: no container will run again.
bool IsTerminal(const Json& pod);
bool IsSucceeded(const Json& pod);
bool IsFailed(const Json& pod);
bool IsReady(const Json& pod);
// Ready for at least that long. `wait` gets the rest when it will be, if non-null.
bool IsAvailable(const Json& pod, std::int64_t min_ready_seconds, WallTime now,
                 std::optional<Duration>* wait);
// Neither terminal nor being deleted.
bool IsActive(const Json& pod);
std::string NodeOf(const Json& pod);

// Claims that the pod's volumes name; an ephemeral volume's claim is called <pod>-<volume>.
std::vector<std::string> ClaimsOf(const Json& pod);

// When the last container ended; the deletion's time or the pod's creation where no container
// tells.
WallTime FinishTime(const Json& pod);

// A time of an object in RFC 3339, if it is there and readable.
std::optional<WallTime> TimeAt(const Json& object, std::string_view path);

// A pod from a template of a controller: metadata of the template, owned by it. No name yet.
Json PodFromTemplate(const Json& pod_template, const Json& owner);

}  // namespace thinsnap::placement
