// Small readings of the objects of the backup API, and their texts. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json.h"
#include "base/kube/client.h"

namespace thinsnap::backup {

void RemoveCondition(Json& object, std::string_view condition);
// The messages of the conditions of an object that are False; empty where there are none.
std::string FalseConditions(const Json& object);

// What a sidecar reports of a CSI driver's answer that no repetition mends: damage, a wrong key, a
// full pool before the cut.
bool IsCsiRefusal(std::string_view message);
// {name, namespace} -> key; the namespace of the referrer where none is given.
kube::ObjectKey ReferenceKey(const Json& reference, const std::string& own_namespace);
// For spec.storageRef and the like.
Json ReferenceTo(const kube::ObjectKey& key);
// "12.222 MiB", as KubeStash writes sizes.
std::string SizeText(std::uint64_t bytes);
// "1m30s": whole seconds between two times of an object, for status.duration.
std::string DurationText(Duration duration);
// The time in a field, or nothing.
std::optional<WallTime> TimeAt(const Json& object, std::string_view path);
inline WallTime CreationTime(const Json& object) {
  return TimeAt(object, "metadata.creationTimestamp").value_or(WallTime{});
}
std::string Joined(const std::vector<std::string>& parts, std::string_view separator);

}  // namespace thinsnap::backup
