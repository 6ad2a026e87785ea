// Who may use what: usagePolicy and label selectors, and the defaults of a BackupConfiguration.
// Pure functions over objects that the caller has read.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json_fwd.h"

namespace thinsnap::backup {

// metav1.LabelSelector against the labels of an object; an empty selector matches everything.
bool MatchesSelector(const Json& selector, const Json& object);

// True if `owner` (with spec.usagePolicy) may be used from the namespace; the namespace's own
// object is needed for `from: Selector` and may be null otherwise.
bool MayUse(const Json& owner, const std::string& from_namespace, const Json* namespace_object);
// The refusal of MayUse in words: object, field, found, accepted.
std::string UsageRefusal(const Json& owner, const std::string& kind,
                         const std::string& from_namespace);

// KubeStash's search for a default (BackupStorage, RetentionPolicy) for a namespace: of the same
// namespace, then one whose selector matches, then one for all. Null when there is none.
const Json* FindDefault(const std::vector<Json>& candidates, const std::string& from_namespace,
                        const Json* namespace_object);

// Replaces ${name} and ${name:=default}; what is unknown and has no default becomes empty.
std::string Substitute(
    const std::string& text,
    const std::function<std::optional<std::string>(const std::string& name)>& value);

}  // namespace thinsnap::backup
