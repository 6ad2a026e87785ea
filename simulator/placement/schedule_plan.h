// Where a pod may go. Pure: the pod, the nodes, their pods and the claims decide.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/data/json.h"
#include "base/kube/informer.h"

namespace thinsnap::placement {

// A claim of the pod, with what decides its place.
struct PodClaim {
  kube::ObjectPtr claim;
  kube::ObjectPtr volume;               // of a bound claim
  kube::ObjectPtr storage_class;        // of an unbound one
  std::set<std::string> refused_nodes;  // nodes on which provisioning failed lately
};

struct ScheduleInput {
  kube::ObjectPtr pod;
  std::vector<kube::ObjectPtr> nodes;
  std::vector<kube::ObjectPtr> pods;  // all of the cluster, bound or assumed to be
  std::vector<PodClaim> claims;
  std::vector<kube::ObjectPtr> volumes;                  // free ones may serve unbound claims
  std::map<std::string, std::set<std::string>> drivers;  // node -> CSI drivers registered there
  std::set<std::string> csi_provisioners;                // provisioners that are CSI drivers
  std::map<std::string, kube::ObjectPtr> namespaces;     // by name; selectors of affinity ask
};

struct SchedulePlan {
  std::string node;     // empty: nowhere
  std::string message;  // why: "0/2 nodes are available: ..."
};

// The feasible node with the best preference, then the fewest pods, then the first name.
SchedulePlan PlanSchedule(const ScheduleInput& input);

// The node's verdict alone: why the pod cannot stand there, or nothing.
std::optional<std::string> WhyNot(const ScheduleInput& input, const Json& node);

}  // namespace thinsnap::placement
