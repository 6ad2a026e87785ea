#include "simulator/placement/pod_state.h"

#include <algorithm>

#include "base/kube/object.h"

namespace thinsnap::placement {

bool IsSucceeded(const Json& pod) { return StringAt(pod, "status.phase") == "Succeeded"; }
bool IsFailed(const Json& pod) { return StringAt(pod, "status.phase") == "Failed"; }
bool IsTerminal(const Json& pod) { return IsSucceeded(pod) || IsFailed(pod); }
bool IsReady(const Json& pod) { return kube::ConditionIs(pod, "Ready"); }
bool IsActive(const Json& pod) { return !IsTerminal(pod) && !kube::IsDeleting(pod); }
std::string NodeOf(const Json& pod) { return StringAt(pod, "spec.nodeName"); }

bool IsAvailable(const Json& pod, std::int64_t min_ready_seconds, WallTime now,
                 std::optional<Duration>* wait) {
  const Json* ready = kube::FindCondition(pod, "Ready");
  if (ready == nullptr || !IsReady(pod)) return false;
  if (min_ready_seconds <= 0) return true;
  const auto since = TimeAt(*ready, "lastTransitionTime");
  if (!since) return false;
  const auto until = *since + std::chrono::seconds(min_ready_seconds);
  if (until <= now) return true;
  if (wait != nullptr && (!*wait || **wait > until - now)) *wait = until - now;
  return false;
}

std::vector<std::string> ClaimsOf(const Json& pod) {
  std::vector<std::string> claims;
  for (const Json& volume : ArrayAt(pod, "spec.volumes")) {
    if (const auto claim = StringAt(volume, "persistentVolumeClaim.claimName"); !claim.empty()) {
      claims.push_back(claim);
    } else if (FindObject(volume, "ephemeral") != nullptr) {
      claims.push_back(kube::NameOf(pod) + "-" + StringAt(volume, "name"));
    }
  }
  return claims;
}

std::optional<WallTime> TimeAt(const Json& object, std::string_view path) {
  const auto text = StringAt(object, path);
  if (text.empty()) return std::nullopt;
  const auto time = ParseRfc3339(text);
  if (!time.ok()) return std::nullopt;
  return *time;
}

WallTime FinishTime(const Json& pod) {
  std::optional<WallTime> last;
  for (const char* list : {"status.containerStatuses", "status.initContainerStatuses"}) {
    for (const Json& container : ArrayAt(pod, list)) {
      const auto ended = TimeAt(container, "state.terminated.finishedAt");
      if (ended && (!last || *last < *ended)) last = ended;
    }
  }
  if (!last) last = TimeAt(pod, "metadata.deletionTimestamp");
  if (!last) last = TimeAt(pod, "metadata.creationTimestamp");
  return last.value_or(WallTime{});
}

Json PodFromTemplate(const Json& pod_template, const Json& owner) {
  Json pod = kube::NewObject(kube::types::kPod, {kube::NamespaceOf(owner), ""});
  Remove(pod, "metadata.name");
  for (const char* member : {"labels", "annotations", "finalizers"}) {
    if (const Json* value = Find(pod_template, std::string("metadata.") + member)) {
      Set(pod, std::string("metadata.") + member, *value);
    }
  }
  if (const Json* spec = Find(pod_template, "spec")) Set(pod, "spec", *spec);
  kube::AddOwnerReference(pod, kube::OwnerReference(owner));
  return pod;
}

}  // namespace thinsnap::placement
