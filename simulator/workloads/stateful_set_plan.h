// What a StatefulSet does next: pods in the order of their numbers, one step at a time unless it is
// Parallel. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json.h"

namespace thinsnap::workloads {

struct StatefulSetInput {
  const Json& set;
  const std::vector<Json>& pods;  // those that the set controls
  std::string current_revision, update_revision;
  WallTime now;
};

struct NewMember {
  int ordinal;
  bool updated;  // from the update revision, else from the current one
};

struct StatefulSetPlan {
  std::vector<NewMember> create;
  std::vector<Json> remove;
  Json status;
  std::optional<Duration> again;
};

StatefulSetPlan PlanStatefulSet(const StatefulSetInput& input);

// The number in the pod's name; -1 if the name is not of the form <set>-<n>.
int OrdinalOf(const Json& set, const Json& pod);

// The pod of that number: name, host name, labels, its claims as volumes.
Json MemberPod(const Json& set, const Json& pod_template, int ordinal, const std::string& revision);
// The claims that the pod needs, in the order of the templates.
std::vector<Json> MemberClaims(const Json& set, int ordinal);

// Whether a scale-down takes the member of that number away.
bool IsCondemned(const Json& set, int ordinal);
// The claim of a member with the owners that persistentVolumeClaimRetentionPolicy asks for: the set
// (whenDeleted), or the pod that is scaled away (whenScaled), so that the claim goes with it.
Json WithOwners(Json claim, const Json& set, const Json& pod);

}  // namespace thinsnap::workloads
