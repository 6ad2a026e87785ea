#include "simulator/workloads/stateful_set_plan.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/kube/object.h"
#include "simulator/placement/pod_state.h"
#include "simulator/workloads/workload.h"

namespace thinsnap::workloads {

namespace {

constexpr char kRevisionLabel[] = "controller-revision-hash";

std::string MemberName(const Json& set, int ordinal) {
  return kube::NameOf(set) + "-" + std::to_string(ordinal);
}

std::string ClaimName(const Json& claim_template, const std::string& pod) {
  return StringAt(claim_template, "metadata.name") + "-" + pod;
}

class Planner {
 public:
  explicit Planner(const StatefulSetInput& input) : input_(input), set_(input.set) {
    first_ = static_cast<int>(IntAt(set_, "spec.ordinals.start"));
    end_ = first_ + static_cast<int>(IntAt(set_, "spec.replicas", 1));
    ordered_ = StringAt(set_, "spec.podManagementPolicy", "OrderedReady") != "Parallel";
    partition_ = static_cast<int>(IntAt(set_, "spec.updateStrategy.rollingUpdate.partition"));
    for (const Json& pod : input.pods) {
      const int ordinal = OrdinalOf(set_, pod);
      if (ordinal < 0) continue;
      (IsCondemned(set_, ordinal) ? condemned_ : members_)[ordinal] = &pod;
    }
  }

  StatefulSetPlan Run() {
    if (!kube::IsDeleting(set_)) Manage();
    Report();
    return std::move(plan_);
  }

 private:
  bool Healthy(const Json& pod) {
    return placement::IsActive(pod) && placement::IsReady(pod) &&
           placement::IsAvailable(pod, IntAt(set_, "spec.minReadySeconds"), input_.now,
                                  &plan_.again);
  }

  bool IsUpdated(const Json& pod) const {
    return kube::LabelOf(pod, kRevisionLabel) == input_.update_revision;
  }

  void Manage() {
    bool all_healthy = true;
    for (int ordinal = first_; ordinal < end_; ++ordinal) {
      const auto member = members_.find(ordinal);
      if (member == members_.end()) {
        plan_.create.push_back({ordinal, ordinal >= partition_});
        if (ordered_) return;
        all_healthy = false;
        continue;
      }
      const Json& pod = *member->second;
      if (placement::IsTerminal(pod) && !kube::IsDeleting(pod))
        plan_.remove.push_back(pod);  // made anew when it is gone
      if (!Healthy(pod)) {
        all_healthy = false;
        if (ordered_ && !MayReplace(pod)) return;
      }
    }
    // From the top; the next one goes when this one has gone.
    for (auto last = condemned_.rbegin(); last != condemned_.rend(); ++last) {
      const Json& pod = *last->second;
      if (kube::IsDeleting(pod)) {
        if (ordered_) return;
        continue;
      }
      plan_.remove.push_back(pod);
      if (ordered_) return;
    }
    if (!condemned_.empty() && ordered_) return;
    Update(all_healthy);
  }

  // A broken pod of an old revision does not stop the update that may mend it.
  bool MayReplace(const Json& pod) const {
    return !IsUpdated(pod) && placement::IsActive(pod) && !placement::IsReady(pod) &&
           input_.update_revision != input_.current_revision && OrdinalOf(set_, pod) >= partition_;
  }

  void Update(bool) {
    if (StringAt(set_, "spec.updateStrategy.type", "RollingUpdate") == "OnDelete") return;
    for (int ordinal = end_ - 1; ordinal >= std::max(first_, partition_); --ordinal) {
      const auto member = members_.find(ordinal);
      if (member == members_.end()) return;
      const Json& pod = *member->second;
      if (!IsUpdated(pod) && !kube::IsDeleting(pod)) {
        plan_.remove.push_back(pod);
        return;
      }
      if (!Healthy(pod)) return;
    }
  }

  void Report() {
    std::int64_t replicas = 0, ready = 0, available = 0, current = 0, updated = 0;
    for (const auto* group : {&members_, &condemned_}) {
      for (const auto& [ordinal, pod] : *group) {
        ++replicas;
        if (placement::IsReady(*pod)) ++ready;
        if (Healthy(*pod)) ++available;
        if (kube::IsDeleting(*pod)) continue;
        if (IsUpdated(*pod)) ++updated;
        if (kube::LabelOf(*pod, kRevisionLabel) == input_.current_revision) ++current;
      }
    }
    const auto wanted = static_cast<std::int64_t>(end_ - first_);
    const bool complete =
        updated == wanted && ready == wanted && replicas == wanted && partition_ <= first_;
    Json status = JsonObject();
    Set(status, "observedGeneration", IntAt(set_, "metadata.generation"));
    Set(status, "replicas", replicas);
    const auto put = [&](const char* field, std::int64_t value) {
      if (value > 0) Set(status, field, value);
    };
    put("readyReplicas", ready);
    put("currentReplicas", complete ? updated : current);
    put("updatedReplicas", updated);
    Set(status, "currentRevision",
        Json(complete ? input_.update_revision : input_.current_revision));
    Set(status, "updateRevision", Json(input_.update_revision));
    Set(status, "collisionCount", 0);
    Set(status, "availableReplicas", available);
    plan_.status = std::move(status);
  }

  const StatefulSetInput& input_;
  const Json& set_;
  int first_ = 0, end_ = 0, partition_ = 0;
  bool ordered_ = true;
  std::map<int, const Json*> members_, condemned_;
  StatefulSetPlan plan_;
};

}  // namespace

StatefulSetPlan PlanStatefulSet(const StatefulSetInput& input) { return Planner(input).Run(); }

int OrdinalOf(const Json& set, const Json& pod) {
  const auto prefix = kube::NameOf(set) + "-";
  const auto name = kube::NameOf(pod);
  if (!name.starts_with(prefix)) return -1;
  int ordinal = -1;
  const auto [end, error] =
      std::from_chars(name.data() + prefix.size(), name.data() + name.size(), ordinal);
  return error == std::errc() && end == name.data() + name.size() ? ordinal : -1;
}

Json MemberPod(const Json& set, const Json& pod_template, int ordinal,
               const std::string& revision) {
  Json pod = placement::PodFromTemplate(pod_template, set);
  const auto name = MemberName(set, ordinal);
  Set(pod, "metadata.name", Json(name));
  kube::SetLabel(pod, "statefulset.kubernetes.io/pod-name", name);
  kube::SetLabel(pod, "apps.kubernetes.io/pod-index", std::to_string(ordinal));
  kube::SetLabel(pod, kRevisionLabel, revision);
  Set(pod, "spec.hostname", Json(name));
  if (const auto service = StringAt(set, "spec.serviceName"); !service.empty())
    Set(pod, "spec.subdomain", Json(service));
  JsonArray volumes;
  const JsonArray& claims = ArrayAt(set, "spec.volumeClaimTemplates");
  for (const Json& claim : claims) {
    volumes.emplace_back(
        JsonObject{{"name", StringAt(claim, "metadata.name")},
                   {"persistentVolumeClaim", JsonObject{{"claimName", ClaimName(claim, name)}}}});
  }
  for (const Json& volume : ArrayAt(pod, "spec.volumes")) {
    const bool replaced = std::any_of(claims.begin(), claims.end(), [&](const Json& claim) {
      return StringAt(claim, "metadata.name") == StringAt(volume, "name");
    });
    if (!replaced) volumes.push_back(volume);
  }
  if (!volumes.empty()) Set(pod, "spec.volumes", std::move(volumes));
  return pod;
}

std::vector<Json> MemberClaims(const Json& set, int ordinal) {
  std::vector<Json> claims;
  const auto pod = MemberName(set, ordinal);
  for (const Json& claim_template : ArrayAt(set, "spec.volumeClaimTemplates")) {
    Json claim = kube::NewObject(kube::types::kPersistentVolumeClaim,
                                 {kube::NamespaceOf(set), ClaimName(claim_template, pod)});
    for (const char* member : {"metadata.labels", "metadata.annotations", "spec"}) {
      if (const Json* value = Find(claim_template, member)) Set(claim, member, *value);
    }
    if (const JsonObject* labels = FindObject(set, "spec.selector.matchLabels")) {
      for (const auto& [key, value] : *labels) {
        if (value.is_string()) kube::SetLabel(claim, key, value.get_string());
      }
    }
    if (StringAt(set, "spec.persistentVolumeClaimRetentionPolicy.whenDeleted") == "Delete") {
      kube::AddOwnerReference(claim, kube::OwnerReference(set, true, true));
    }
    claims.push_back(std::move(claim));
  }
  return claims;
}

bool IsCondemned(const Json& set, int ordinal) {
  const auto first = IntAt(set, "spec.ordinals.start");
  return ordinal < first || ordinal >= first + IntAt(set, "spec.replicas", 1);
}

Json WithOwners(Json claim, const Json& set, const Json& pod) {
  constexpr char kPolicy[] = "spec.persistentVolumeClaimRetentionPolicy";
  const auto deletes = [&](const char* when) {
    return StringAt(set, std::string(kPolicy) + "." + when) == "Delete";
  };
  const bool goes_with_pod = deletes("whenScaled") && IsCondemned(set, OrdinalOf(set, pod));
  JsonArray owners;
  for (const Json& owner : ArrayAt(claim, "metadata.ownerReferences")) {
    const bool is_set = StringAt(owner, "uid") == kube::UidOf(set);
    const bool is_member =
        StringAt(owner, "kind") == "Pod" && StringAt(owner, "name") == kube::NameOf(pod);
    if (!is_set && !is_member) owners.push_back(owner);
  }
  if (owners.empty()) {
    Remove(claim, "metadata.ownerReferences");
  } else {
    Set(claim, "metadata.ownerReferences", std::move(owners));
  }
  if (goes_with_pod) {
    kube::AddOwnerReference(claim, kube::OwnerReference(pod));
  } else if (deletes("whenDeleted")) {
    kube::AddOwnerReference(claim, kube::OwnerReference(set, true, true));
  }
  return claim;
}

}  // namespace thinsnap::workloads
