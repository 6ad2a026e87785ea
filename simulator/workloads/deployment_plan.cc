#include "simulator/workloads/deployment_plan.h"

#include <algorithm>
#include <charconv>

#include "base/kube/object.h"
#include "simulator/placement/pod_state.h"
#include "simulator/workloads/workload.h"

namespace thinsnap::workloads {

namespace {

constexpr char kLastApplied[] = "kubectl.kubernetes.io/last-applied-configuration";

std::int64_t SpecReplicas(const Json& set) { return IntAt(set, "spec.replicas", 1); }
std::int64_t Available(const Json& set) { return IntAt(set, "status.availableReplicas"); }

struct Limits {
  std::int64_t replicas, surge, unavailable;
};

Limits LimitsOf(const Json& deployment) {
  Limits limits{SpecReplicas(deployment), 0, 0};
  const auto quarter = [&](bool up) { return (25 * limits.replicas + (up ? 99 : 0)) / 100; };
  limits.surge = ScaledValue(Find(deployment, "spec.strategy.rollingUpdate.maxSurge"),
                             limits.replicas, true, quarter(true));
  limits.unavailable = ScaledValue(Find(deployment, "spec.strategy.rollingUpdate.maxUnavailable"),
                                   limits.replicas, false, quarter(false));
  if (limits.surge == 0 && limits.unavailable == 0) limits.unavailable = 1;
  limits.unavailable = std::min(limits.unavailable, limits.replicas);
  return limits;
}

bool Recreates(const Json& deployment) {
  return StringAt(deployment, "spec.strategy.type") == "Recreate";
}

// Takes replicas from the old sets, oldest first: broken ones freely, working ones as far as
// availability allows.
void ShrinkOld(const Json* newest, const std::vector<const Json*>& old, const Limits& limits,
               DeploymentPlan& plan) {
  std::int64_t total = newest == nullptr ? 0 : plan.new_replicas;
  std::int64_t available = newest == nullptr ? 0 : Available(*newest);
  for (const Json* set : old) {
    total += SpecReplicas(*set);
    available += Available(*set);
  }
  const std::int64_t floor = limits.replicas - limits.unavailable;
  const std::int64_t new_missing = newest == nullptr ? 0 : plan.new_replicas - Available(*newest);
  std::int64_t room = total - floor - new_missing;
  if (room <= 0) return;
  std::map<std::string, std::int64_t> left;
  for (const Json* set : old) {
    const auto broken =
        std::min(std::max<std::int64_t>(SpecReplicas(*set) - Available(*set), 0), room);
    left[kube::NameOf(*set)] = SpecReplicas(*set) - broken;
    room -= broken;
  }
  std::int64_t spare = std::min(available - floor, room);
  for (const Json* set : old) {
    auto& replicas = left[kube::NameOf(*set)];
    const auto taken = std::min(replicas, std::max<std::int64_t>(spare, 0));
    replicas -= taken;
    spare -= taken;
  }
  for (const Json* set : old) {
    const auto replicas = left[kube::NameOf(*set)];
    if (replicas != SpecReplicas(*set)) plan.scale[kube::NameOf(*set)] = replicas;
  }
}

void PlanForgetting(const Json& deployment, const std::vector<const Json*>& old,
                    DeploymentPlan& plan) {
  const auto limit = static_cast<std::size_t>(
      std::max<std::int64_t>(IntAt(deployment, "spec.revisionHistoryLimit", 10), 0));
  std::size_t kept = old.size();
  for (const Json* set : old) {
    if (kept <= limit) return;
    if (SpecReplicas(*set) == 0 && IntAt(*set, "status.replicas") == 0 && !kube::IsDeleting(*set)) {
      plan.forget.push_back(kube::NameOf(*set));
      --kept;
    }
  }
}

Json Condition(const Json& deployment, const char* type, bool value, const std::string& reason,
               const std::string& message, WallTime now) {
  const auto stamp = FormatRfc3339(now);
  const char* text = value ? "True" : "False";
  Json condition = JsonObject{{"type", type},
                              {"status", text},
                              {"lastUpdateTime", stamp},
                              {"lastTransitionTime", stamp},
                              {"reason", reason},
                              {"message", message}};
  if (const Json* present = kube::FindCondition(deployment, type)) {
    if (StringAt(*present, "status") == text) {
      Set(condition, "lastTransitionTime", Json(StringAt(*present, "lastTransitionTime")));
      if (StringAt(*present, "reason") == reason && StringAt(*present, "message") == message)
        return *present;
    }
  }
  return condition;
}

}  // namespace

std::int64_t RevisionOf(const Json& object) {
  const auto text = kube::AnnotationOf(object, kRevision);
  std::int64_t revision = 0;
  std::from_chars(text.data(), text.data() + text.size(), revision);
  return revision;
}

std::string DeploymentHash(const Json& deployment) {
  const Json* pod_template = Find(deployment, "spec.template");
  return TemplateHash(pod_template == nullptr ? Json() : *pod_template);
}

const Json* NewReplicaSet(const Json& deployment, const std::vector<Json>& sets) {
  const auto hash = DeploymentHash(deployment);
  for (const Json& set : sets) {
    if (kube::LabelOf(set, kPodTemplateHash) == hash && !kube::IsDeleting(set)) return &set;
  }
  return nullptr;
}

Json MakeReplicaSet(const Json& deployment, std::int64_t replicas, std::int64_t revision) {
  const auto hash = DeploymentHash(deployment);
  Json set = kube::NewObject(kube::types::kReplicaSet, {kube::NamespaceOf(deployment),
                                                        kube::NameOf(deployment) + "-" + hash});
  if (const Json* labels = Find(deployment, "spec.template.metadata.labels"))
    Set(set, "metadata.labels", *labels);
  kube::SetLabel(set, kPodTemplateHash, hash);
  if (const JsonObject* annotations = FindObject(deployment, "metadata.annotations")) {
    for (const auto& [key, value] : *annotations) {
      if (key != kLastApplied && value.is_string())
        kube::SetAnnotation(set, key, value.get_string());
    }
  }
  kube::SetAnnotation(set, kRevision, std::to_string(revision));
  kube::AddOwnerReference(set, kube::OwnerReference(deployment));
  Set(set, "spec.replicas", replicas);
  if (const auto seconds = IntAt(deployment, "spec.minReadySeconds"); seconds > 0)
    Set(set, "spec.minReadySeconds", seconds);
  if (const Json* selector = Find(deployment, "spec.selector"))
    Set(set, "spec.selector", *selector);
  EnsureObject(set, "spec.selector.matchLabels")[kPodTemplateHash] = hash;
  if (const Json* pod_template = Find(deployment, "spec.template")) {
    Json copy = *pod_template;
    kube::SetLabel(copy, kPodTemplateHash, hash);
    Set(set, "spec.template", std::move(copy));
  }
  return set;
}

DeploymentPlan PlanDeployment(const Json& deployment, const std::vector<Json>& sets,
                              bool old_pods_left) {
  DeploymentPlan plan;
  const Json* newest = NewReplicaSet(deployment, sets);
  std::vector<const Json*> old;
  std::int64_t last_revision = 0;
  for (const Json& set : sets) {
    if (&set == newest) continue;
    old.push_back(&set);
    last_revision = std::max(last_revision, RevisionOf(set));
  }
  std::stable_sort(old.begin(), old.end(),
                   [](const Json* a, const Json* b) { return RevisionOf(*a) < RevisionOf(*b); });
  plan.revision =
      newest == nullptr ? last_revision + 1 : std::max(RevisionOf(*newest), last_revision + 1);

  const Limits limits = LimitsOf(deployment);
  if (BoolAt(deployment, "spec.paused")) {
    // Nothing rolls; a single ReplicaSet still follows the size.
    plan.new_replicas = newest == nullptr ? 0
                        : old.empty()     ? limits.replicas
                                          : SpecReplicas(*newest);
    return plan;
  }
  if (Recreates(deployment)) {
    bool any_left = old_pods_left;
    for (const Json* set : old) {
      if (SpecReplicas(*set) > 0) plan.scale[kube::NameOf(*set)] = 0;
      any_left |= SpecReplicas(*set) > 0 || IntAt(*set, "status.replicas") > 0;
    }
    plan.create_new = newest == nullptr && !any_left;
    plan.new_replicas = newest != nullptr && any_left ? SpecReplicas(*newest) : limits.replicas;
    PlanForgetting(deployment, old, plan);
    return plan;
  }
  plan.create_new = newest == nullptr;
  std::int64_t total = newest == nullptr ? 0 : SpecReplicas(*newest);
  plan.new_replicas = total;
  for (const Json* set : old) total += SpecReplicas(*set);
  if (plan.new_replicas > limits.replicas) {
    plan.new_replicas = limits.replicas;
  } else {
    const auto room = std::max<std::int64_t>(limits.replicas + limits.surge - total, 0);
    plan.new_replicas += std::min(room, limits.replicas - plan.new_replicas);
  }
  // One direction in one step: the next step sees what this one brought.
  if (newest != nullptr && plan.new_replicas == SpecReplicas(*newest))
    ShrinkOld(newest, old, limits, plan);
  PlanForgetting(deployment, old, plan);
  return plan;
}

Json DeploymentStatus(const Json& deployment, const std::vector<Json>& sets, WallTime now,
                      std::optional<Duration>* again) {
  const Json* newest = NewReplicaSet(deployment, sets);
  const Limits limits = LimitsOf(deployment);
  std::int64_t replicas = 0, ready = 0, available = 0;
  for (const Json& set : sets) {
    replicas += IntAt(set, "status.replicas");
    ready += IntAt(set, "status.readyReplicas");
    available += Available(set);
  }
  const std::int64_t updated = newest == nullptr ? 0 : IntAt(*newest, "status.replicas");
  Json status = JsonObject();
  Set(status, "observedGeneration", IntAt(deployment, "metadata.generation"));
  const auto put = [&](const char* field, std::int64_t value) {
    if (value > 0) Set(status, field, value);
  };
  put("replicas", replicas);
  put("updatedReplicas", updated);
  put("readyReplicas", ready);
  put("availableReplicas", available);
  put("unavailableReplicas", limits.replicas - available);
  if (const Json* collisions = Find(deployment, "status.collisionCount"))
    Set(status, "collisionCount", *collisions);

  const bool enough =
      available >= limits.replicas - (Recreates(deployment) ? 0 : limits.unavailable);
  JsonArray conditions;
  conditions.push_back(Condition(deployment, "Available", enough,
                                 enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
                                 enough ? "Deployment has minimum availability."
                                        : "Deployment does not have minimum availability.",
                                 now));
  const bool complete = newest != nullptr && updated == limits.replicas &&
                        replicas == limits.replicas && available == limits.replicas;
  if (BoolAt(deployment, "spec.paused") && !complete) {
    if (const Json* present = kube::FindCondition(deployment, "Progressing"))
      conditions.push_back(*present);
  } else if (newest != nullptr) {
    const auto name = kube::NameOf(*newest);
    const Json* present = kube::FindCondition(deployment, "Progressing");
    // Any change of the figures is progress, and starts the deadline anew.
    const Json* before = Find(deployment, "status");
    bool moved = before == nullptr;
    for (const char* field :
         {"replicas", "updatedReplicas", "readyReplicas", "availableReplicas"}) {
      moved = moved || IntAt(*before, field) != IntAt(status, field);
    }
    const auto since = present == nullptr ? std::optional<WallTime>()
                                          : placement::TimeAt(*present, "lastUpdateTime");
    const auto limit = std::chrono::seconds(IntAt(deployment, "spec.progressDeadlineSeconds", 600));
    const bool was_complete =
        present != nullptr && StringAt(*present, "reason") == "NewReplicaSetAvailable";
    if (complete) {
      conditions.push_back(Condition(deployment, "Progressing", true, "NewReplicaSetAvailable",
                                     "ReplicaSet \"" + name + "\" has successfully progressed.",
                                     now));
    } else if (!moved && !was_complete && since && *since + limit <= now) {
      conditions.push_back(Condition(deployment, "Progressing", false, "ProgressDeadlineExceeded",
                                     "ReplicaSet \"" + name + "\" has timed out progressing.",
                                     now));
    } else {
      Json condition = Condition(deployment, "Progressing", true, "ReplicaSetUpdated",
                                 "ReplicaSet \"" + name + "\" is progressing.", now);
      if (moved) Set(condition, "lastUpdateTime", Json(FormatRfc3339(now)));
      const auto from = placement::TimeAt(condition, "lastUpdateTime").value_or(now);
      *again = std::max<Duration>(from + limit - now, std::chrono::seconds(1));
      conditions.push_back(std::move(condition));
    }
  }
  Set(status, "conditions", std::move(conditions));
  return status;
}

}  // namespace thinsnap::workloads
