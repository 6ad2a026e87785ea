#include "simulator/registry/admission.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/kube/object.h"
#include "simulator/registry/limit_range.h"
#include "simulator/registry/quota.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::registry {

using schema::ApiError;
using schema::ApiStatus;

namespace {

constexpr std::string_view kTokenMount = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr std::string_view kDefaultClass = "storageclass.kubernetes.io/is-default-class";

using Plugin = ApiStatus (*)(const AdmissionOptions& options, const AdmissionContext& context,
                             Json& object);

bool Is(const AdmissionContext& context, std::string_view group, std::string_view resource) {
  return context.kind.group == group && context.kind.resource == resource;
}

ApiStatus StorageProtection(const AdmissionOptions&, const AdmissionContext& context,
                            Json& object) {
  if (Is(context, "", "persistentvolumeclaims"))
    kube::AddFinalizer(object, "kubernetes.io/pvc-protection");
  if (Is(context, "", "persistentvolumes"))
    kube::AddFinalizer(object, "kubernetes.io/pv-protection");
  return {};
}

// A claim without a class gets the default one, the newest if there are several.
ApiStatus DefaultStorageClass(const AdmissionOptions&, const AdmissionContext& context,
                              Json& object) {
  if (!Is(context, "", "persistentvolumeclaims") || Find(object, "spec.storageClassName"))
    return {};
  auto classes = context.store.List("storageclasses.storage.k8s.io");
  if (!classes.ok()) return {};
  const objects::StoredObject* best = nullptr;
  for (const auto& item : classes->items) {
    if (kube::AnnotationOf(item->value(), kDefaultClass) != "true") continue;
    if (!best || StringAt(item->value(), "metadata.creationTimestamp") >
                     StringAt(best->value(), "metadata.creationTimestamp")) {
      best = item.get();
    }
  }
  if (best) Set(object, "spec.storageClassName", best->key().name);
  return {};
}

ApiStatus LimitRanges(const AdmissionOptions&, const AdmissionContext& context, Json& object) {
  if (!Is(context, "", "pods") && !Is(context, "", "persistentvolumeclaims")) return {};
  return ApplyLimitRanges(context.store, context.ns, context.kind.resource, object);
}

ApiStatus Tolerations(const AdmissionOptions&, const AdmissionContext& context, Json& object) {
  if (!Is(context, "", "pods")) return {};
  JsonArray& tolerations = EnsureArray(object, "spec.tolerations");
  for (const std::string key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    const bool tolerated =
        std::any_of(tolerations.begin(), tolerations.end(), [&](const Json& toleration) {
          const std::string its_key = StringAt(toleration, "key");
          const std::string effect = StringAt(toleration, "effect");
          return (its_key == key || its_key.empty()) && (effect == "NoExecute" || effect.empty());
        });
    if (tolerated) continue;
    tolerations.push_back({{"key", key},
                           {"operator", "Exists"},
                           {"effect", "NoExecute"},
                           {"tolerationSeconds", 300}});
  }
  return {};
}

ApiStatus Priority(const AdmissionOptions&, const AdmissionContext& context, Json& object) {
  if (!Is(context, "", "pods")) return {};
  const std::string name = StringAt(object, "spec.priorityClassName");
  std::int64_t priority = 0;
  std::string preemption = "PreemptLowerPriority";
  if (name == "system-node-critical") {
    priority = 2000001000;
  } else if (name == "system-cluster-critical") {
    priority = 2000000000;
  } else if (!name.empty()) {
    const auto found = context.store.Get({"priorityclasses.scheduling.k8s.io", "", name});
    if (!found) {
      return ApiError::Forbidden("", "pods", kube::NameOf(object),
                                 "no PriorityClass with name " + name + " was found");
    }
    priority = IntAt(found->value(), "value");
    preemption = StringAt(found->value(), "preemptionPolicy", preemption);
  }
  constexpr std::string_view kNotGiven =
      ") must not be provided in pod spec; priority admission controller computed ";
  if (const std::int64_t given = IntAt(object, "spec.priority", priority); given != priority) {
    return ApiError::Forbidden("", "pods", kube::NameOf(object),
                               "the integer value of priority (" + std::to_string(given) +
                                   std::string(kNotGiven) + std::to_string(priority) +
                                   " from the given PriorityClass name");
  }
  if (const std::string given = StringAt(object, "spec.preemptionPolicy", preemption);
      given != preemption) {
    return ApiError::Forbidden("", "pods", kube::NameOf(object),
                               "the string value of PreemptionPolicy (" + given +
                                   std::string(kNotGiven) + preemption +
                                   " from the given PriorityClass name");
  }
  Set(object, "spec.priority", priority);
  Set(object, "spec.preemptionPolicy", preemption);
  return {};
}

Json TokenVolume(const std::string& name) {
  const JsonObject token = {
      {"serviceAccountToken", {{"expirationSeconds", 3607}, {"path", "token"}}}};
  JsonArray ca_items;
  ca_items.push_back({{"key", "ca.crt"}, {"path", "ca.crt"}});
  JsonArray downward_items;
  downward_items.push_back(
      {{"path", "namespace"},
       {"fieldRef", {{"apiVersion", "v1"}, {"fieldPath", "metadata.namespace"}}}});
  JsonArray sources;
  sources.emplace_back(token);
  sources.emplace_back(
      JsonObject{{"configMap", {{"name", "kube-root-ca.crt"}, {"items", std::move(ca_items)}}}});
  sources.emplace_back(
      JsonObject{{"downwardAPI", JsonObject{{"items", std::move(downward_items)}}}});
  return {{"name", name}, {"projected", {{"sources", std::move(sources)}, {"defaultMode", 420}}}};
}

ApiStatus ServiceAccount(const AdmissionOptions& options, const AdmissionContext& context,
                         Json& object) {
  if (!options.service_accounts || !Is(context, "", "pods")) return {};
  std::string name = StringAt(object, "spec.serviceAccountName");
  if (name.empty()) name = StringAt(object, "spec.serviceAccount");
  if (name.empty()) name = "default";
  Set(object, "spec.serviceAccountName", name);
  Set(object, "spec.serviceAccount", name);
  const auto account = context.store.Get({"serviceaccounts", context.ns, name});
  if (!account) {
    return ApiError::Forbidden("", "pods", kube::NameOf(object),
                               "error looking up service account " + context.ns + "/" + name +
                                   ": serviceaccount \"" + name + "\" not found");
  }
  if (const JsonArray* secrets = FindArray(account->value(), "imagePullSecrets");
      secrets && !secrets->empty() && !Find(object, "spec.imagePullSecrets")) {
    Set(object, "spec.imagePullSecrets", *secrets);
  }
  const bool automount = BoolAt(account->value(), "automountServiceAccountToken", true);
  if (!BoolAt(object, "spec.automountServiceAccountToken", automount)) return {};

  const std::string volume = "kube-api-access-" + context.random.NameSuffix(5);
  bool used = false;
  for (const std::string_view list : {"spec.initContainers", "spec.containers"}) {
    Json* containers = FindMutable(object, list);
    if (!containers || !containers->is_array()) continue;
    for (Json& container : containers->as_array()) {
      if (!container.is_object()) continue;
      JsonArray& mounts = EnsureArray(container, "volumeMounts");
      const bool mounted = std::any_of(mounts.begin(), mounts.end(), [](const Json& mount) {
        return StringAt(mount, "mountPath") == kTokenMount;
      });
      if (mounted) continue;
      mounts.push_back(
          {{"name", volume}, {"readOnly", true}, {"mountPath", std::string(kTokenMount)}});
      used = true;
    }
  }
  if (used) EnsureArray(object, "spec.volumes").push_back(TokenVolume(volume));
  return {};
}

constexpr std::array<Plugin, 6> kPlugins = {LimitRanges,    StorageProtection, DefaultStorageClass,
                                            ServiceAccount, Tolerations,       Priority};

schema::Quantity StorageRequest(const Json& claim) {
  auto quantity = schema::Quantity::Parse(StringAt(claim, "spec.resources.requests.storage", "0"));
  return quantity.ok() ? *quantity : schema::Quantity();
}

}  // namespace

ApiStatus Admission::MutateCreate(const AdmissionContext& context, Json& object) const {
  for (const Plugin plugin : kPlugins) TRY(plugin(options_, context, object));
  return {};
}

void Admission::MutateUpdate(const AdmissionContext& context, Json& object) const {
  // A pod that was written without them does not lose the tolerations it got.
  static_cast<void>(Tolerations(options_, context, object));
}

ApiStatus Admission::CheckUpdate(const AdmissionContext& context, const Json& old,
                                 const Json& object) const {
  if (!Is(context, "", "persistentvolumeclaims")) return {};
  if (!(StorageRequest(object) > StorageRequest(old))) return {};
  const std::string class_name = StringAt(object, "spec.storageClassName");
  const auto storage_class = context.store.Get({"storageclasses.storage.k8s.io", "", class_name});
  if (storage_class && BoolAt(storage_class->value(), "allowVolumeExpansion")) return {};
  return ApiError::Forbidden(
      "", "persistentvolumeclaims", kube::NameOf(object),
      "only dynamically provisioned pvc can be resized and the storageclass that provisions the "
      "pvc must support resize");
}

ApiStatus Admission::CheckDelete(const AdmissionContext& context, const std::string& name) const {
  if (Is(context, "", "namespaces") &&
      (name == "default" || name == "kube-system" || name == "kube-public")) {
    return ApiError::Forbidden("", "namespaces", name, "this namespace may not be deleted");
  }
  return {};
}

ServiceAddresses::Held Admission::Allocate(const AdmissionContext& context, const Json* old,
                                           Json& object) {
  if (!Is(context, "", "services")) return {};
  return service_addresses_.Allocate(context.store, context.random, old, object);
}

ApiStatus Admission::Charge(const AdmissionContext& context, const Json& object,
                            const std::function<ApiStatus()>& create) {
  if (!context.kind.namespaced || !IsCounted(context.store, context.ns, context.kind))
    return create();
  std::lock_guard lock(quota_mutex_);
  TRY(CheckQuota(context.store, context.ns, context.kind, object));
  return create();
}

}  // namespace thinsnap::registry
