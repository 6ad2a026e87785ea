// Node selectors, taints and tolerations: may an object stand on this node? Pure.
#pragma once

#include <optional>
#include <string>

#include "base/data/json.h"

namespace thinsnap::placement {

// A NodeSelector {nodeSelectorTerms: [...]}: one term must match; within a term all expressions and
// fields.
bool MatchesNodeSelector(const Json& selector, const Json& node);
// One term {matchExpressions, matchFields}. An empty term matches nothing.
bool MatchesNodeSelectorTerm(const Json& term, const Json& node);
// spec.nodeSelector and the required node affinity.
bool PodMatchesNode(const Json& pod, const Json& node);
// Sum of the weights of preferred terms that match.
std::int64_t PreferredNodeWeight(const Json& pod, const Json& node);

bool Tolerates(const Json& pod, const Json& taint);
// The first taint with one of these effects that the pod does not tolerate: "{key: value}".
std::optional<std::string> UntoleratedTaint(const Json& pod, const Json& node,
                                            bool no_execute_only = false);

// StorageClass.allowedTopologies; without any every node will do.
bool MatchesAllowedTopologies(const Json& storage_class, const Json& node);

}  // namespace thinsnap::placement
