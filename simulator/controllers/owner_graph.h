// OwnerGraph: who owns whom, of all objects, by uid; and what the garbage collector does with one
// of them. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/data/json.h"
#include "base/kube/client.h"

namespace thinsnap::controllers {

struct OwnerRef {
  std::string uid, api_version, kind, name;
  bool block = false;  // blockOwnerDeletion
  bool operator==(const OwnerRef&) const = default;
};

struct OwnedObject {
  kube::ResourceType type;
  kube::ObjectKey key;
  std::string uid;
  std::vector<OwnerRef> owners;
  bool deleting = false;
  bool foreground = false;  // waits for its dependents
  bool orphan = false;      // leaves its dependents alone
};

OwnedObject ReadOwned(const kube::ResourceType& type, const Json& object);

class OwnerGraph {
 public:
  void Put(OwnedObject object);
  void Remove(const std::string& uid);
  const OwnedObject* Find(const std::string& uid) const;
  // Objects that name the uid as owner, whether or not it is known.
  std::vector<const OwnedObject*> DependentsOf(const std::string& uid) const;

 private:
  void Unlink(const OwnedObject& object);

  std::map<std::string, OwnedObject> objects_;
  std::map<std::string, std::set<std::string>> dependents_;
};

enum class OwnerState { kPresent, kAbsent, kWaiting /* for its dependents to go */ };

enum class Collect {
  kNothing,
  kDropReferences,    // some owners are gone, others hold it: the dangling references go
  kDelete,            // in the background
  kDeleteForeground,  // its owner waits for it, and it has dependents of its own
};
// `states` runs parallel to object.owners.
Collect PlanCollect(const OwnedObject& object, const std::vector<OwnerState>& states,
                    bool has_dependents);

}  // namespace thinsnap::controllers
