// How a Deployment moves its pods from old ReplicaSets to the new one. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json.h"

namespace thinsnap::workloads {

inline constexpr char kPodTemplateHash[] = "pod-template-hash";
inline constexpr char kRevision[] = "deployment.kubernetes.io/revision";

struct DeploymentPlan {
  bool create_new = false;                    // the ReplicaSet of the present template is missing
  std::int64_t new_replicas = 0;              // of the new ReplicaSet, made or present
  std::map<std::string, std::int64_t> scale;  // old ReplicaSets by name: replicas
  std::vector<std::string> forget;            // empty ones beyond the history
  std::int64_t revision = 1;                  // of the new ReplicaSet
};

// `sets` are the Deployment's ReplicaSets. `old_pods_left`: pods of old ReplicaSets that have not
// ended (Recreate waits).
DeploymentPlan PlanDeployment(const Json& deployment, const std::vector<Json>& sets,
                              bool old_pods_left);

// The status after the plan was made; conditions keep their times where nothing changed. `again`
// gets the time to the progress deadline.
Json DeploymentStatus(const Json& deployment, const std::vector<Json>& sets, WallTime now,
                      std::optional<Duration>* again);

// The ReplicaSet of the present template; null if missing.
const Json* NewReplicaSet(const Json& deployment, const std::vector<Json>& sets);
std::string DeploymentHash(const Json& deployment);
// As it is to be created.
Json MakeReplicaSet(const Json& deployment, std::int64_t replicas, std::int64_t revision);

std::int64_t RevisionOf(const Json& object);

}  // namespace thinsnap::workloads
