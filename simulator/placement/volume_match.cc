#include "simulator/placement/volume_match.h"

#include <algorithm>

#include "base/kube/object.h"
#include "simulator/objects/selectors.h"
#include "simulator/placement/node_match.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::placement {

namespace {

constexpr char kBetaStorageClass[] = "volume.beta.kubernetes.io/storage-class";

std::int64_t BytesAt(const Json& object, std::string_view path) {
  const Json* value = Find(object, path);
  if (value == nullptr) return 0;
  if (value->is_int64()) return value->get_int64();
  if (!value->is_string()) return 0;
  const auto quantity = schema::Quantity::Parse(value->get_string());
  return quantity.ok() ? quantity->Value() : 0;
}

bool HasMode(const JsonArray& modes, const Json& mode) {
  return std::find(modes.begin(), modes.end(), mode) != modes.end();
}

bool SatisfiesClaim(const Json& volume, const Json& claim) {
  const JsonArray& offered = ArrayAt(volume, "spec.accessModes");
  const JsonArray& wanted = ArrayAt(claim, "spec.accessModes");
  if (!std::all_of(wanted.begin(), wanted.end(),
                   [&](const Json& mode) { return HasMode(offered, mode); })) {
    return false;
  }
  return StringAt(volume, "spec.volumeMode", "Filesystem") ==
             StringAt(claim, "spec.volumeMode", "Filesystem") &&
         CapacityOf(volume) >= RequestOf(claim);
}

bool SelectorMatches(const Json& claim, const Json& volume) {
  const Json* selector = Find(claim, "spec.selector");
  if (selector == nullptr || !selector->is_object()) return true;
  const auto parsed = objects::LabelSelector::FromObject(*selector);
  return parsed.ok() && parsed.value().Matches(volume);
}

}  // namespace

std::string StorageClassOf(const Json& claim_or_volume) {
  if (const auto old = kube::AnnotationOf(claim_or_volume, kBetaStorageClass); !old.empty())
    return old;
  return StringAt(claim_or_volume, "spec.storageClassName");
}

bool WantsDefaultClass(const Json& claim) {
  const Json* name = Find(claim, "spec.storageClassName");
  return (name == nullptr || name->is_null()) &&
         kube::AnnotationOf(claim, kBetaStorageClass).empty();
}

kube::ObjectPtr DefaultClass(const std::vector<kube::ObjectPtr>& classes) {
  kube::ObjectPtr best;
  for (const auto& candidate : classes) {
    if (kube::AnnotationOf(*candidate, "storageclass.kubernetes.io/is-default-class") != "true")
      continue;
    // RFC 3339 in UTC sorts as text; the list is sorted by name, so the first of equals stays.
    if (!best || StringAt(*best, "metadata.creationTimestamp") <
                     StringAt(*candidate, "metadata.creationTimestamp")) {
      best = candidate;
    }
  }
  return best;
}

bool BindsLate(const Json& storage_class) {
  return StringAt(storage_class, "volumeBindingMode") == "WaitForFirstConsumer";
}

bool IsReservedFor(const Json& volume, const Json& claim) {
  if (StringAt(volume, "spec.claimRef.name") != kube::NameOf(claim) ||
      StringAt(volume, "spec.claimRef.namespace") != kube::NamespaceOf(claim)) {
    return false;
  }
  const auto uid = StringAt(volume, "spec.claimRef.uid");
  return uid.empty() || uid == kube::UidOf(claim);
}

bool IsBoundTo(const Json& volume, const Json& claim) {
  return IsReservedFor(volume, claim) && !StringAt(volume, "spec.claimRef.uid").empty();
}

bool IsFullyBound(const Json& claim) {
  return !StringAt(claim, "spec.volumeName").empty() &&
         !kube::AnnotationOf(claim, kBindCompleted).empty();
}

std::int64_t CapacityOf(const Json& volume) { return BytesAt(volume, "spec.capacity.storage"); }
std::int64_t RequestOf(const Json& claim) {
  return BytesAt(claim, "spec.resources.requests.storage");
}

bool VolumeReachableFrom(const Json& volume, const Json& node) {
  const Json* required = Find(volume, "spec.nodeAffinity.required");
  return required == nullptr || !required->is_object() || MatchesNodeSelector(*required, node);
}

kube::ObjectPtr FindVolumeFor(const Json& claim, const std::vector<kube::ObjectPtr>& volumes,
                              const Json* node, bool only_reserved) {
  kube::ObjectPtr best;
  for (const auto& volume : volumes) {
    if (kube::IsDeleting(*volume)) continue;
    const bool reserved = IsReservedFor(*volume, claim);
    // What a person or a provisioner reserved is taken even if the class differs; it must still be
    // large enough.
    if (reserved && SatisfiesClaim(*volume, claim)) return volume;
    if (reserved || only_reserved || FindObject(*volume, "spec.claimRef") != nullptr) continue;
    if (StringAt(*volume, "status.phase") != "Available") continue;
    if (StorageClassOf(*volume) != StorageClassOf(claim) || !SatisfiesClaim(*volume, claim) ||
        !SelectorMatches(claim, *volume)) {
      continue;
    }
    if (node != nullptr && !VolumeReachableFrom(*volume, *node)) continue;
    if (!best || CapacityOf(*volume) < CapacityOf(*best)) best = volume;
  }
  return best;
}

}  // namespace thinsnap::placement
