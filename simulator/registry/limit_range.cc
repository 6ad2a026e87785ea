#include "simulator/registry/limit_range.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/data/json.h"
#include "base/kube/object.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::registry {

using schema::ApiError;
using schema::ApiStatus;
using schema::Quantity;

namespace {

using Amounts = std::map<std::string, Quantity>;
using Complaints = std::vector<std::string>;

Amounts AmountsAt(const Json& object, std::string_view path) {
  Amounts amounts;
  const JsonObject* members = FindObject(object, path);
  if (members == nullptr) return amounts;
  for (const auto& [name, value] : *members) {
    if (!value.is_string()) continue;
    if (auto amount = Quantity::Parse(std::string(value.get_string())); amount.ok())
      amounts[std::string(name)] = *amount;
  }
  return amounts;
}

const Quantity* Of(const Amounts& amounts, const std::string& name) {
  const auto found = amounts.find(name);
  return found == amounts.end() ? nullptr : &found->second;
}

// "minimum cpu usage per Container is 100m, but request is 50m".
void CheckBounds(const Json& limit, const Amounts& requests, const Amounts& limits,
                 Complaints& complaints) {
  const std::string type = StringAt(limit, "type");
  const auto complain = [&](const char* bound, const std::string& name, const Quantity& at,
                            const std::string& why) {
    complaints.push_back(std::string(bound) + " " + name + " usage per " + type + " is " +
                         at.ToString() + why);
  };
  for (const auto& [name, least] : AmountsAt(limit, "min")) {
    const Quantity* request = Of(requests, name);
    const Quantity* most = Of(limits, name);
    if (request == nullptr) {
      complain("minimum", name, least, ".  No request is specified");
    } else if (*request < least) {
      complain("minimum", name, least, ", but request is " + request->ToString());
    } else if (most != nullptr && *most < least) {
      complain("minimum", name, least, ", but limit is " + most->ToString());
    }
  }
  for (const auto& [name, most] : AmountsAt(limit, "max")) {
    const Quantity* request = Of(requests, name);
    // A claim has requests only.
    const Quantity* used = type == "PersistentVolumeClaim" ? request : Of(limits, name);
    if (used == nullptr) {
      complain("maximum", name, most,
               type == "PersistentVolumeClaim" ? ".  No request is specified"
                                               : ".  No limit is specified");
    } else if (*used > most) {
      complain("maximum", name, most,
               (used == request ? ", but request is " : ", but limit is ") + used->ToString());
    } else if (request != nullptr && *request > most) {
      complain("maximum", name, most, ", but request is " + request->ToString());
    }
  }
}

void AddMissing(const Json& limit, const char* from, Json& container, const char* to,
                std::set<std::string>& given) {
  const JsonObject* amounts = FindObject(limit, from);
  if (amounts == nullptr) return;
  for (const auto& [name, value] : *amounts) {
    const std::string path = std::string("resources.") + to;
    const JsonObject* present = FindObject(container, path);
    if (present != nullptr && present->contains(name)) continue;
    EnsureObject(container, path)[name] = value;
    given.insert(std::string(name));
  }
}

std::string Joined(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

void FillIn(const Json& limit, Json& pod) {
  std::string told;
  for (const auto& [list, noun] : {std::pair("spec.initContainers", "init container"),
                                   std::pair("spec.containers", "container")}) {
    Json* containers = FindMutable(pod, list);
    if (containers == nullptr || !containers->is_array()) continue;
    for (Json& container : containers->as_array()) {
      std::set<std::string> requests, limits;
      AddMissing(limit, "defaultRequest", container, "requests", requests);
      AddMissing(limit, "default", container, "limits", limits);
      const auto tell = [&](const std::set<std::string>& given, const char* what) {
        if (given.empty()) return;
        told += (told.empty() ? "" : "; ") + Joined(given) + " " + what + " for " + noun + " " +
                StringAt(container, "name");
      };
      tell(requests, "request");
      tell(limits, "limit");
    }
  }
  if (told.empty()) return;
  kube::SetAnnotation(pod, "kubernetes.io/limit-ranger", "LimitRanger plugin set: " + told);
}

// What all containers have together; init containers run before, one at a time.
Amounts Together(const Json& pod, const std::string& path) {
  Amounts sum;
  for (const Json& container : ArrayAt(pod, "spec.containers")) {
    for (const auto& [name, amount] : AmountsAt(container, path)) {
      const Quantity* before = Of(sum, name);
      sum[name] = before == nullptr ? amount : *before + amount;
    }
  }
  for (const Json& container : ArrayAt(pod, "spec.initContainers")) {
    for (const auto& [name, amount] : AmountsAt(container, path)) {
      const Quantity* others = Of(sum, name);
      if (others == nullptr || *others < amount) sum[name] = amount;
    }
  }
  return sum;
}

void CheckPod(const Json& limit, const Json& pod, Complaints& complaints) {
  const std::string type = StringAt(limit, "type");
  if (type == "Pod") {
    CheckBounds(limit, Together(pod, "resources.requests"), Together(pod, "resources.limits"),
                complaints);
  }
  if (type != "Container") return;
  for (const char* list : {"spec.containers", "spec.initContainers"}) {
    for (const Json& container : ArrayAt(pod, list)) {
      CheckBounds(limit, AmountsAt(container, "resources.requests"),
                  AmountsAt(container, "resources.limits"), complaints);
    }
  }
}

}  // namespace

ApiStatus ApplyLimitRanges(const objects::VersionedStore& store, const std::string& ns,
                           std::string_view resource, Json& object) {
  objects::StoreListOptions in_namespace;
  in_namespace.ns = ns;
  const auto ranges = store.List("limitranges", in_namespace);
  if (!ranges.ok()) return {};
  const bool is_pod = resource == "pods";
  Complaints complaints;
  for (const auto& range : ranges->items) {
    for (const Json& limit : ArrayAt(range->value(), "spec.limits")) {
      if (is_pod && StringAt(limit, "type") == "Container") FillIn(limit, object);
    }
  }
  for (const auto& range : ranges->items) {
    for (const Json& limit : ArrayAt(range->value(), "spec.limits")) {
      if (is_pod) {
        CheckPod(limit, object, complaints);
      } else if (StringAt(limit, "type") == "PersistentVolumeClaim") {
        CheckBounds(limit, AmountsAt(object, "spec.resources.requests"), {}, complaints);
      }
    }
  }
  if (complaints.empty()) return {};
  std::string why;
  for (const std::string& complaint : complaints) why += (why.empty() ? "" : ", ") + complaint;
  if (complaints.size() > 1) why = "[" + why + "]";
  return ApiError::Forbidden("", resource, kube::NameOf(object), why);
}

}  // namespace thinsnap::registry
