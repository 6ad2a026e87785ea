// The garbage collector: objects whose owners are all gone are deleted; owners deleted in the
// foreground wait for the dependents that block them; orphaning owners let go of theirs. The graph
// may be behind: nothing is deleted before the server confirmed that the owner is gone.
#include <mutex>
#include <set>
#include <utility>

#include "base/core/guarded.h"
#include "simulator/controllers/kind_watcher.h"
#include "simulator/controllers/owner_graph.h"
#include "simulator/controllers/parts.h"

namespace thinsnap::controllers {

namespace {

using kube::ObjectKey;
using kube::ObjectPtr;
using kube::Requeue;
using kube::ResourceType;

constexpr char kForeground[] = "foregroundDeletion";
constexpr char kOrphan[] = "orphan";

// Queue keys are uids.
ObjectKey ByUid(const std::string& uid) { return {"", uid}; }

class GarbageCollector final : public QueuePart {
 public:
  GarbageCollector(const Context& context, KindWatcher& kinds)
      : QueuePart(context, "garbage-collector-controller"), kinds_(kinds) {
    kinds.AddHandler([this](const ResourceType& type, const ObjectPtr& old,
                            const ObjectPtr& current) { Observe(type, old, current); });
  }

 private:
  void Observe(const ResourceType& type, const ObjectPtr& old, const ObjectPtr& current) {
    std::set<std::string> concerned;
    if (old) {
      // An owner in the foreground may have waited for this one.
      for (const auto& owner : ReadOwned(type, *old).owners) concerned.insert(owner.uid);
    }
    {
      std::lock_guard lock(mutex_);
      if (old && (!current || kube::UidOf(*old) != kube::UidOf(*current))) {
        const auto uid = kube::UidOf(*old);
        graph_.Remove(uid);
        for (const auto* dependent : graph_.DependentsOf(uid)) concerned.insert(dependent->uid);
      }
      if (current) {
        auto owned = ReadOwned(type, *current);
        if (!owned.owners.empty() || (owned.deleting && (owned.foreground || owned.orphan))) {
          concerned.insert(owned.uid);
        }
        graph_.Put(std::move(owned));
      }
    }
    for (const auto& uid : concerned) queue_.Add(ByUid(uid));
  }

  struct View {
    std::optional<OwnedObject> object;
    std::vector<OwnedObject> dependents;
  };
  View Look(const std::string& uid) const {
    std::lock_guard lock(mutex_);
    View view;
    if (const auto* object = graph_.Find(uid)) view.object = *object;
    for (const auto* dependent : graph_.DependentsOf(uid)) view.dependents.push_back(*dependent);
    return view;
  }

  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const auto& uid = key.name;
    const View view = Look(uid);
    if (!view.object) return Requeue::Done();
    const OwnedObject& object = *view.object;
    if (object.deleting && object.orphan) return Orphan(object, view.dependents);
    if (object.deleting && object.foreground) return WaitForDependents(object, view.dependents);
    if (object.deleting || object.owners.empty()) return Requeue::Done();
    return Consider(object, !view.dependents.empty());
  }

  // The object as the server has it; nullopt if it is gone or another one has its name.
  Result<std::optional<Json>> Live(const OwnedObject& object) {
    auto live = client_.Get(object.type, object.key);
    if (live.Is(Code::kNotFound)) return std::optional<Json>();
    if (!live.ok()) return std::move(live).error();
    if (kube::UidOf(*live) != object.uid) return std::optional<Json>();
    return std::optional<Json>(std::move(*live));
  }

  Result<Requeue> RemoveFinalizer(const OwnedObject& object, const char* finalizer) {
    auto live = TRY(Live(object));
    if (!live || !kube::HasFinalizer(*live, finalizer)) return Requeue::Done();
    kube::RemoveFinalizer(*live, finalizer);
    auto updated = client_.Update(object.type, *live);
    if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    return Requeue::Done();
  }

  Result<Requeue> WaitForDependents(const OwnedObject& object,
                                    const std::vector<OwnedObject>& dependents) {
    bool blocked = false;
    for (const auto& dependent : dependents) {
      for (const auto& owner : dependent.owners) blocked |= owner.uid == object.uid && owner.block;
      if (!dependent.deleting) queue_.Add(ByUid(dependent.uid));
    }
    if (blocked) return Requeue::Done();
    if (!kinds_.Synced()) return Requeue::After(std::chrono::milliseconds(200));
    return RemoveFinalizer(object, kForeground);
  }

  Result<Requeue> Orphan(const OwnedObject& object, const std::vector<OwnedObject>& dependents) {
    if (!kinds_.Synced()) return Requeue::After(std::chrono::milliseconds(200));
    for (const auto& dependent : dependents) TRY(DropReferences(dependent, {object.uid}));
    return RemoveFinalizer(object, kOrphan);
  }

  Status DropReferences(const OwnedObject& object, const std::set<std::string>& uids) {
    auto live = TRY(Live(object));
    if (!live) return {};
    JsonArray kept;
    for (const Json& reference : ArrayAt(*live, "metadata.ownerReferences")) {
      if (!uids.contains(StringAt(reference, "uid"))) kept.push_back(reference);
    }
    if (kept.empty()) {
      Remove(*live, "metadata.ownerReferences");
    } else {
      Set(*live, "metadata.ownerReferences", std::move(kept));
    }
    auto updated = client_.Update(object.type, *live);
    if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    return {};
  }

  // `unseen` is set where the server has the owner, but no watch would tell of its end yet.
  Result<OwnerState> StateOf(const OwnedObject& object, const OwnerRef& owner, bool& unseen) {
    {
      std::lock_guard lock(mutex_);
      if (const auto* known = graph_.Find(owner.uid)) {
        if (known->type.namespaced && known->key.ns != object.key.ns) return OwnerState::kAbsent;
        return known->deleting && known->foreground ? OwnerState::kWaiting : OwnerState::kPresent;
      }
    }
    const auto type = kinds_.Find(owner.api_version, owner.kind);
    // A kind that is not served tells nothing.
    if (!type) return OwnerState::kPresent;
    if (type->namespaced && object.key.ns.empty()) {
      auto live = TRY(Live(object));
      if (live) {
        events_.Emit(*live, "Warning", "OwnerRefInvalidNamespace",
                     "ownerRef [" + owner.api_version + "/" + owner.kind + ", name: " + owner.name +
                         ", uid: " + owner.uid + "] does not exist in namespace \"\"");
      }
      return OwnerState::kPresent;
    }
    const auto live = client_.Get(*type, {type->namespaced ? object.key.ns : "", owner.name});
    if (live.Is(Code::kNotFound)) return OwnerState::kAbsent;
    if (!live.ok()) return live.error();
    if (kube::UidOf(*live) != owner.uid) return OwnerState::kAbsent;
    unseen = true;
    return OwnerState::kPresent;
  }

  Result<Requeue> Consider(const OwnedObject& seen, bool has_dependents) {
    const auto live = TRY(Live(seen));
    if (!live) return Requeue::Done();
    const OwnedObject object = ReadOwned(seen.type, *live);
    std::vector<OwnerState> states;
    std::set<std::string> dangling;
    bool unseen = false;
    for (const auto& owner : object.owners) {
      states.push_back(TRY(StateOf(object, owner, unseen)));
      if (states.back() != OwnerState::kPresent) dangling.insert(owner.uid);
    }
    const Collect collect = PlanCollect(object, states, has_dependents);
    if (collect == Collect::kNothing) {
      return unseen ? Requeue::After(std::chrono::milliseconds(200)) : Requeue::Done();
    }
    if (collect == Collect::kDropReferences) {
      TRY(DropReferences(object, dangling));
      return Requeue::Done();
    }
    kube::DeleteOptions options;
    options.uid = object.uid;
    options.resource_version = kube::ResourceVersionOf(*live);
    options.propagation_policy =
        collect == Collect::kDeleteForeground ? "Foreground" : "Background";
    const auto deleted = client_.Delete(object.type, object.key, options);
    if (!deleted.ok() && !deleted.Is(Code::kNotFound)) return deleted.error();
    return Requeue::Done();
  }

  KindWatcher& kinds_;
  mutable std::mutex mutex_;
  OwnerGraph graph_ GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Part> MakeGarbageCollector(const Context& context, KindWatcher& kinds) {
  return std::make_unique<GarbageCollector>(context, kinds);
}

}  // namespace thinsnap::controllers
