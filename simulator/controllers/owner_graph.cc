#include "simulator/controllers/owner_graph.h"

#include <algorithm>

#include "base/kube/object.h"

namespace thinsnap::controllers {

OwnedObject ReadOwned(const kube::ResourceType& type, const Json& object) {
  OwnedObject owned{type,
                    kube::KeyOf(object),
                    kube::UidOf(object),
                    {},
                    kube::IsDeleting(object),
                    kube::HasFinalizer(object, "foregroundDeletion"),
                    kube::HasFinalizer(object, "orphan")};
  for (const Json& reference : ArrayAt(object, "metadata.ownerReferences")) {
    owned.owners.push_back({StringAt(reference, "uid"), StringAt(reference, "apiVersion"),
                            StringAt(reference, "kind"), StringAt(reference, "name"),
                            BoolAt(reference, "blockOwnerDeletion")});
  }
  return owned;
}

void OwnerGraph::Unlink(const OwnedObject& object) {
  for (const auto& owner : object.owners) {
    const auto entry = dependents_.find(owner.uid);
    if (entry == dependents_.end()) continue;
    entry->second.erase(object.uid);
    if (entry->second.empty()) dependents_.erase(entry);
  }
}

void OwnerGraph::Put(OwnedObject object) {
  Remove(object.uid);
  for (const auto& owner : object.owners) dependents_[owner.uid].insert(object.uid);
  auto uid = object.uid;
  objects_.emplace(std::move(uid), std::move(object));
}

void OwnerGraph::Remove(const std::string& uid) {
  const auto present = objects_.find(uid);
  if (present == objects_.end()) return;
  Unlink(present->second);
  objects_.erase(present);
}

const OwnedObject* OwnerGraph::Find(const std::string& uid) const {
  const auto present = objects_.find(uid);
  return present == objects_.end() ? nullptr : &present->second;
}

std::vector<const OwnedObject*> OwnerGraph::DependentsOf(const std::string& uid) const {
  std::vector<const OwnedObject*> dependents;
  const auto entry = dependents_.find(uid);
  if (entry == dependents_.end()) return dependents;
  for (const auto& dependent : entry->second) {
    if (const OwnedObject* object = Find(dependent)) dependents.push_back(object);
  }
  return dependents;
}

Collect PlanCollect(const OwnedObject& object, const std::vector<OwnerState>& states,
                    bool has_dependents) {
  if (object.deleting || states.empty()) return Collect::kNothing;
  const auto count = [&](OwnerState state) {
    return std::count(states.begin(), states.end(), state);
  };
  const auto size = static_cast<std::ptrdiff_t>(states.size());
  if (count(OwnerState::kPresent) == size) return Collect::kNothing;
  if (count(OwnerState::kPresent) > 0) return Collect::kDropReferences;
  return count(OwnerState::kWaiting) > 0 && has_dependents ? Collect::kDeleteForeground
                                                           : Collect::kDelete;
}

}  // namespace thinsnap::controllers
