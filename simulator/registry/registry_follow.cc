// What follows from writes: definitions are served and drained, namespaces furnished, quotas
// refreshed.
#include <utility>

#include "base/core/log.h"
#include "base/kube/object.h"
#include "simulator/registry/bootstrap.h"
#include "simulator/registry/quota.h"
#include "simulator/registry/registry.h"
#include "simulator/schema/crd.h"

namespace thinsnap::registry {

using schema::ApiError;

namespace {

constexpr std::string_view kDefinitions = "customresourcedefinitions.apiextensions.k8s.io";
constexpr std::string_view kCleanup = "customresourcecleanup.apiextensions.k8s.io";
constexpr std::string_view kRootCa = "kube-root-ca.crt";

WriteContext OwnWrite() {
  WriteContext write;
  write.user = {"system:apiserver", {"system:masters"}};
  write.manager = "kube-apiserver";
  return write;
}

void LogFailure(const std::string& what, const ApiError& error) {
  LogWarning("apiserver", what + ": " + error.message);
}

}  // namespace

Registry::Registry(objects::VersionedStore& store, schema::KindTable& kinds, Clock& clock,
                   Random& random, AdmissionOptions admission)
    : store_(store), kinds_(kinds), clock_(clock), random_(random), admission_(admission) {}

Status Registry::Bootstrap(const std::string& ca_pem) {
  ca_pem_ = ca_pem;
  auto definitions = TRY(store_.List(std::string(kDefinitions)));
  for (const auto& definition : definitions.items) ServeDefinition(*definition);
  for (Json& object : BootstrapObjects()) {
    const std::string api_version = StringAt(object, "apiVersion");
    const auto slash = api_version.find('/');
    const std::string group = slash == std::string::npos ? "" : api_version.substr(0, slash);
    const std::string version =
        slash == std::string::npos ? api_version : api_version.substr(slash + 1);
    const auto kind = kinds_.FindKind(group, version, StringAt(object, "kind"));
    if (!kind)
      return Error(Code::kInternal, "no kind for the initial object " + api_version + " " +
                                        StringAt(object, "kind"));
    auto target =
        Resolve(group, version, kind->resource, kube::NamespaceOf(object), kube::NameOf(object));
    if (!target.ok()) return target.error().ToError();
    if (store_.Get(target->Key())) continue;
    auto decoded = schema::DecodeValue(*target->kind, *target->version, std::move(object),
                                       schema::FieldValidation::kStrict);
    if (!decoded.ok()) return decoded.error().ToError().In("initial object " + target->name);
    schema::ApplyDefaults(*target->kind, *target->version, decoded->object);
    WriteContext write = OwnWrite();
    auto created = Create(*target, std::move(decoded->object), write);
    if (!created.ok()) return created.error().ToError().In("initial object " + target->name);
  }
  // A namespace whose furniture was cut off by a crash.
  auto namespaces = TRY(store_.List("namespaces"));
  for (const auto& ns : namespaces.items) {
    if (!kube::IsDeleting(ns->value())) FurnishNamespace(ns->key().name);
  }
  // Likewise a definition whose instances were being deleted.
  for (const auto& definition : definitions.items) {
    if (kube::IsDeleting(definition->value())) DrainDefinition(*definition);
  }
  return {};
}

void Registry::AfterWrite(const Target& target, const objects::StoredObject& object, bool removed) {
  const schema::Kind& kind = *target.kind;
  const std::string resource = kind.group_resource();
  if (resource == kDefinitions) {
    if (removed) {
      const auto dot = object.key().name.find('.');
      kinds_.Remove(object.key().name.substr(dot + 1), object.key().name.substr(0, dot));
      std::lock_guard lock(mutex_);
      schema_revisions_.erase(object.key().name);
    } else if (kube::IsDeleting(object.value())) {
      DrainDefinition(object);
    } else {
      ServeDefinition(object);
    }
    return;
  }
  if (kind.custom && removed) {
    const auto definition = store_.Get({std::string(kDefinitions), "", resource});
    if (definition && kube::IsDeleting(definition->value())) DrainDefinition(*definition);
  }
  if (resource == "namespaces" && !removed && !kube::IsDeleting(object.value()))
    FurnishNamespace(object.key().name);
  if (removed && ((resource == "serviceaccounts" && object.key().name == "default") ||
                  (resource == "configmaps" && object.key().name == kRootCa))) {
    FurnishNamespace(object.key().ns);
  }
  if (kind.namespaced &&
      (resource == "resourcequotas" || IsCounted(store_, object.key().ns, kind))) {
    RefreshQuotas(store_, object.key().ns);
  }
}

void Registry::FurnishNamespace(const std::string& name) {
  if (!admission_.options().service_accounts) return;
  const auto ns = store_.Get({"namespaces", "", name});
  if (!ns || kube::IsDeleting(ns->value())) return;
  auto make = [&](const std::string& resource, const std::string& object_name, Json object) {
    auto target = Resolve("", "v1", resource, name, object_name);
    if (!target.ok() || store_.Get(target->Key())) return;
    WriteContext write = OwnWrite();
    auto created = Create(*target, std::move(object), write);
    if (!created.ok() && created.error().reason != "AlreadyExists") {
      LogFailure("cannot make " + resource + " " + name + "/" + object_name, created.error());
    }
  };
  make("serviceaccounts", "default",
       {{"apiVersion", "v1"},
        {"kind", "ServiceAccount"},
        {"metadata", {{"name", "default"}, {"namespace", name}}}});
  make("configmaps", std::string(kRootCa),
       {{"apiVersion", "v1"},
        {"kind", "ConfigMap"},
        {"metadata", {{"name", std::string(kRootCa)}, {"namespace", name}}},
        {"data", {{"ca.crt", ca_pem_}}}});
}

void Registry::ServeDefinition(const objects::StoredObject& definition) {
  objects::ObjectRef latest = store_.Get(definition.key());
  for (int race = 0; latest && race < 8; ++race) {
    Json crd = latest->value();
    if (!schema::EstablishCrd(kinds_, crd, clock_.Now())) break;
    auto updated = store_.Update(latest->key(), std::move(crd), latest->revision());
    latest = updated.ok() ? *updated : store_.Get(definition.key());
    if (updated.ok()) break;
  }
  if (!latest) return;
  if (!schema::IsEstablished(latest->value())) return;
  auto kind = schema::KindFromCrd(latest->value());
  if (!kind.ok()) {
    LogWarning("apiserver",
               "definition " + latest->key().name + " is not served: " + kind.error().message());
    return;
  }
  {
    std::lock_guard lock(mutex_);
    schema_revisions_[(*kind)->storage_resource] = latest->revision();
  }
  kinds_.Add(std::move(*kind));
}

void Registry::DrainDefinition(const objects::StoredObject& definition) {
  const std::string name = definition.key().name;
  const auto dot = name.find('.');
  const auto kind = kinds_.FindResource(name.substr(dot + 1), name.substr(0, dot));
  if (kind && !kind->versions.empty()) {
    auto instances = store_.List(kind->storage_resource);
    if (!instances.ok()) return;
    for (const auto& instance : instances->items) {
      if (kube::IsDeleting(instance->value())) continue;
      Target target{kind, &kind->versions.front(), instance->key().ns, instance->key().name, ""};
      WriteContext write = OwnWrite();
      auto deleted = Delete(target, {}, write);
      if (!deleted.ok() && deleted.error().reason != "NotFound") {
        LogFailure("cannot delete " + name + " " + target.name, deleted.error());
      }
    }
    if (store_.Count(kind->storage_resource) != 0)
      return;  // each one's last finalizer brings us back
  }
  auto target = Resolve("apiextensions.k8s.io", "v1", "customresourcedefinitions", "", name);
  if (!target.ok() || !store_.Get(target->Key())) return;
  WriteContext write = OwnWrite();
  auto released = Modify(
      *target,
      [](const Json& old) -> schema::ApiResult<Json> {
        Json next = old;
        kube::RemoveFinalizer(next, kCleanup);
        return next;
      },
      {}, write);
  if (!released.ok() && released.error().reason != "NotFound") {
    LogFailure("cannot release definition " + name, released.error());
  }
}

}  // namespace thinsnap::registry
