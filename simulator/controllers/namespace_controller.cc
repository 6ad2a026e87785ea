// The namespace controller: empties a Terminating namespace of every kind there is, says in
// conditions what is still there, and finalizes it when nothing is.
#include <map>

#include "simulator/controllers/kind_watcher.h"
#include "simulator/controllers/parts.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::ObjectPtr;
using kube::Requeue;
using kube::ResourceType;

struct Remains {
  std::map<std::string, int> kinds;       // "pods." -> how many
  std::map<std::string, int> finalizers;  // how many objects have it
  std::string failure;
};

std::string Describe(const std::map<std::string, int>& counts, const char* between) {
  std::string text;
  for (const auto& [name, count] : counts) {
    if (!text.empty()) text += ", ";
    text += name + between + std::to_string(count) + " resource instances";
  }
  return text;
}

class NamespaceController final : public QueuePart {
 public:
  NamespaceController(const Context& context, KindWatcher& kinds)
      : QueuePart(context, "namespace-controller"),
        kinds_(kinds),
        namespaces_(For(types::kNamespace)) {
    queue_.WatchOwn(namespaces_);
    kinds.AddHandler(
        [this](const ResourceType& type, const ObjectPtr& old, const ObjectPtr& current) {
          if (!type.namespaced) return;
          const auto ns = kube::NamespaceOf(current ? *current : *old);
          const auto owner = namespaces_.Get({"", ns});
          if (owner && kube::IsDeleting(*owner)) queue_.Add({"", ns});
        });
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const ObjectPtr cached = namespaces_.Get(key);
    if (!cached || !kube::IsDeleting(*cached)) return Requeue::Done();
    auto live = client_.Get(types::kNamespace, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    Json ns = TRY(std::move(live));
    if (!kube::IsDeleting(ns)) return Requeue::Done();
    const Remains remains = TRY(Empty(key.name));
    ns = TRY(WriteConditions(std::move(ns), remains));
    if (!remains.failure.empty()) return Error(Code::kAborted, remains.failure);
    // What remains calls us when it goes; the timer is for what no watch tells.
    if (!remains.kinds.empty()) return Requeue::After(std::chrono::seconds(5));
    JsonArray kept;
    for (const Json& finalizer : ArrayAt(ns, "spec.finalizers")) {
      if (finalizer != Json("kubernetes")) kept.push_back(finalizer);
    }
    Set(ns, "spec.finalizers", std::move(kept));
    auto finalized = client_.Update(types::kNamespace, ns, "finalize");
    if (!finalized.ok() && !finalized.Is(Code::kNotFound)) return std::move(finalized).error();
    return Requeue::Done();
  }

  Result<Remains> Empty(const std::string& ns) {
    Remains remains;
    std::vector<ResourceType> all = kinds_.Types();
    all.push_back(types::kEvent);  // nobody owns them, but they are of their namespace
    for (const ResourceType& type : all) {
      if (!type.namespaced) continue;
      const auto listed = client_.List(type, ns);
      if (listed.Is(Code::kNotFound) || listed.Is(Code::kUnimplemented)) continue;
      if (listed.Is(Code::kCancelled)) return listed.error();
      if (!listed.ok()) {
        remains.failure = listed.error().message();
        continue;
      }
      const auto name = type.resource + "." + type.group;
      for (const Json& object : listed->items) {
        if (!kube::IsDeleting(object)) {
          kube::DeleteOptions options;
          options.propagation_policy = "Background";
          options.uid = kube::UidOf(object);
          const auto deleted = client_.Delete(type, kube::KeyOf(object), options);
          if (!deleted.ok() && !deleted.Is(Code::kNotFound))
            remains.failure = deleted.error().message();
        }
        const auto after = client_.Get(type, kube::KeyOf(object));
        if (after.Is(Code::kNotFound)) continue;
        ++remains.kinds[name];
        for (const Json& finalizer : ArrayAt(after.ok() ? *after : object, "metadata.finalizers")) {
          if (finalizer.is_string()) ++remains.finalizers[std::string(finalizer.get_string())];
        }
      }
    }
    return remains;
  }

  Result<Json> WriteConditions(Json ns, const Remains& remains) {
    const auto now = context_.Now();
    bool changed = false;
    const auto set = [&](const char* type, bool bad, const char* reason,
                         const std::string& message) {
      changed |= kube::SetCondition(ns, type, bad, reason, message, now);
    };
    set("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered",
        "All resources successfully discovered");
    set("NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions",
        "All legacy kube types successfully parsed");
    const bool failed = !remains.failure.empty();
    set("NamespaceDeletionContentFailure", failed,
        failed ? "ContentDeletionFailed" : "ContentDeleted",
        failed ? remains.failure
               : "All content successfully deleted, may be waiting on finalization");
    const bool some = !remains.kinds.empty();
    set("NamespaceContentRemaining", some, some ? "SomeResourcesRemain" : "ContentRemoved",
        some ? "Some resources are remaining: " + Describe(remains.kinds, " has ")
             : "All content successfully removed");
    const bool held = !remains.finalizers.empty();
    set("NamespaceFinalizersRemaining", held,
        held ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
        held ? "Some content in the namespace has finalizers remaining: " +
                   Describe(remains.finalizers, " in ")
             : "All content-preserving finalizers finished");
    if (!changed) return ns;
    return client_.Update(types::kNamespace, ns, "status");
  }

  KindWatcher& kinds_;
  kube::Informer& namespaces_;
};

// What each namespace is born with.
class NamespaceDefaults final : public QueuePart {
 public:
  NamespaceDefaults(const Context& context, std::string root_ca_pem)
      : QueuePart(context, "serviceaccount-controller"),
        root_ca_pem_(std::move(root_ca_pem)),
        namespaces_(For(types::kNamespace)),
        accounts_(For(types::kServiceAccount)),
        config_maps_(For(types::kConfigMap)) {
    const auto own_namespace = [](const Json& object) {
      return std::vector<ObjectKey>{{"", kube::NamespaceOf(object)}};
    };
    queue_.WatchOwn(namespaces_);
    queue_.WatchMapped(accounts_, own_namespace);
    queue_.WatchMapped(config_maps_, own_namespace);
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const ObjectPtr ns = namespaces_.Get(key);
    if (!ns || kube::IsDeleting(*ns)) return Requeue::Done();
    if (const ObjectKey account{key.name, "default"}; !accounts_.Get(account)) {
      TRY(CreateIfMissing(types::kServiceAccount,
                          kube::NewObject(types::kServiceAccount, account)));
    }
    const ObjectKey map_key{key.name, "kube-root-ca.crt"};
    if (root_ca_pem_.empty()) return Requeue::Done();
    const ObjectPtr present = config_maps_.Get(map_key);
    if (!present) {
      Json map = kube::NewObject(types::kConfigMap, map_key);
      Set(map, "data", Json{{"ca.crt", root_ca_pem_}});
      TRY(CreateIfMissing(types::kConfigMap, map));
    } else if (StringIn(*present, "data", "ca.crt") != root_ca_pem_) {
      Json map = *present;
      Set(map, "data", Json{{"ca.crt", root_ca_pem_}});
      TRY(client_.Update(types::kConfigMap, map));
    }
    return Requeue::Done();
  }

  Status CreateIfMissing(const kube::ResourceType& type, const Json& object) {
    auto created = client_.Create(type, object);
    // The namespace may be gone or going by now.
    if (created.ok() || created.Is(Code::kAlreadyExists) || created.Is(Code::kNotFound) ||
        created.Is(Code::kPermissionDenied)) {
      return {};
    }
    return std::move(created).error();
  }

  const std::string root_ca_pem_;
  kube::Informer& namespaces_;
  kube::Informer& accounts_;
  kube::Informer& config_maps_;
};

}  // namespace

std::unique_ptr<Part> MakeNamespaceController(const Context& context, KindWatcher& kinds) {
  return std::make_unique<NamespaceController>(context, kinds);
}

std::unique_ptr<Part> MakeNamespaceDefaults(const Context& context, std::string root_ca_pem) {
  return std::make_unique<NamespaceDefaults>(context, std::move(root_ca_pem));
}

}  // namespace thinsnap::controllers
