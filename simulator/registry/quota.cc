#include "simulator/registry/quota.h"

#include <optional>
#include <utility>
#include <vector>

#include "base/data/json.h"

namespace thinsnap::registry {

using schema::ApiError;
using schema::ApiStatus;
using schema::Quantity;

namespace {

constexpr std::string_view kClassInfix = ".storageclass.storage.k8s.io/";

Quantity One() { return Quantity::FromInteger(1); }

// What a line of spec.hard is about: which resource it counts, and for claims of which class.
struct Line {
  std::string resource;       // "persistentvolumeclaims", "volumesnapshots.snapshot.storage.k8s.io"
  std::string storage_class;  // only claims of this class
  enum class Amount {
    kCount,
    kStorage,
    kRequestCpu,
    kRequestMemory,
    kLimitCpu,
    kLimitMemory
  } amount = Amount::kCount;
};

std::optional<Line> ParseLine(std::string_view name) {
  Line line;
  if (name.starts_with("count/")) {
    line.resource = name.substr(6);
    return line;
  }
  if (const auto at = name.find(kClassInfix); at != std::string_view::npos) {
    line.resource = "persistentvolumeclaims";
    line.storage_class = name.substr(0, at);
    const auto what = name.substr(at + kClassInfix.size());
    if (what == "requests.storage") line.amount = Line::Amount::kStorage;
    return line;
  }
  static const std::map<std::string_view, Line> kKnown = {
      {"requests.storage", {"persistentvolumeclaims", "", Line::Amount::kStorage}},
      {"persistentvolumeclaims", {"persistentvolumeclaims", "", Line::Amount::kCount}},
      {"pods", {"pods", "", Line::Amount::kCount}},
      {"services", {"services", "", Line::Amount::kCount}},
      {"secrets", {"secrets", "", Line::Amount::kCount}},
      {"configmaps", {"configmaps", "", Line::Amount::kCount}},
      {"resourcequotas", {"resourcequotas", "", Line::Amount::kCount}},
      {"replicationcontrollers", {"replicationcontrollers", "", Line::Amount::kCount}},
      {"cpu", {"pods", "", Line::Amount::kRequestCpu}},
      {"requests.cpu", {"pods", "", Line::Amount::kRequestCpu}},
      {"memory", {"pods", "", Line::Amount::kRequestMemory}},
      {"requests.memory", {"pods", "", Line::Amount::kRequestMemory}},
      {"limits.cpu", {"pods", "", Line::Amount::kLimitCpu}},
      {"limits.memory", {"pods", "", Line::Amount::kLimitMemory}},
  };
  const auto found = kKnown.find(name);
  if (found == kKnown.end()) return std::nullopt;
  return found->second;
}

Quantity ParseOrZero(const std::string& text) {
  auto quantity = Quantity::Parse(text);
  return quantity.ok() ? *quantity : Quantity();
}

Quantity PodAmount(const Json& pod, const std::string& path) {
  Quantity sum;
  for (const Json& container : ArrayAt(pod, "spec.containers"))
    sum = sum + ParseOrZero(StringAt(container, path, "0"));
  return sum;
}

Quantity AmountOf(const Line& line, const Json& object) {
  if (!line.storage_class.empty() &&
      StringAt(object, "spec.storageClassName") != line.storage_class)
    return {};
  if (line.resource == "pods") {
    const std::string phase = StringAt(object, "status.phase");
    if (phase == "Succeeded" || phase == "Failed") return {};
  }
  switch (line.amount) {
    case Line::Amount::kCount:
      return One();
    case Line::Amount::kStorage:
      return ParseOrZero(StringAt(object, "spec.resources.requests.storage", "0"));
    case Line::Amount::kRequestCpu:
      return PodAmount(object, "resources.requests.cpu");
    case Line::Amount::kRequestMemory:
      return PodAmount(object, "resources.requests.memory");
    case Line::Amount::kLimitCpu:
      return PodAmount(object, "resources.limits.cpu");
    case Line::Amount::kLimitMemory:
      return PodAmount(object, "resources.limits.memory");
  }
  return {};
}

std::vector<objects::ObjectRef> ListIn(const objects::VersionedStore& store,
                                       const std::string& resource, const std::string& ns) {
  objects::StoreListOptions options;
  options.ns = ns;
  auto list = store.List(resource, options);
  return list.ok() ? std::move(list->items) : std::vector<objects::ObjectRef>{};
}

Quantity UsedOf(const objects::VersionedStore& store, const std::string& ns, const Line& line) {
  Quantity used;
  for (const auto& item : ListIn(store, line.resource, ns))
    used = used + AmountOf(line, item->value());
  return used;
}

}  // namespace

bool IsCounted(const objects::VersionedStore& store, const std::string& ns,
               const schema::Kind& kind) {
  for (const auto& quota : ListIn(store, "resourcequotas", ns)) {
    const JsonObject* hard = FindObject(quota->value(), "spec.hard");
    if (!hard) continue;
    for (const auto& item : *hard) {
      const auto line = ParseLine(item.key());
      if (line && line->resource == kind.group_resource()) return true;
    }
  }
  return false;
}

ApiStatus CheckQuota(const objects::VersionedStore& store, const std::string& ns,
                     const schema::Kind& kind, const Json& object) {
  for (const auto& quota : ListIn(store, "resourcequotas", ns)) {
    const JsonObject* hard = FindObject(quota->value(), "spec.hard");
    if (!hard) continue;
    std::string requested_text, used_text, limited_text;
    for (const auto& item : *hard) {
      const auto line = ParseLine(item.key());
      if (!line || line->resource != kind.group_resource() || !item.value().is_string()) continue;
      const Quantity requested = AmountOf(*line, object);
      if (requested.IsZero()) continue;
      const Quantity used = UsedOf(store, ns, *line);
      const Quantity limit = ParseOrZero(std::string(item.value().as_string()));
      if (used + requested <= limit) continue;
      const std::string name(item.key());
      auto add = [&](std::string& text, const Quantity& amount) {
        if (!text.empty()) text += ',';
        text += name + "=" + amount.ToString();
      };
      add(requested_text, requested);
      add(used_text, used);
      add(limited_text, limit);
    }
    if (requested_text.empty()) continue;
    return ApiError::Forbidden(kind.group, kind.resource, StringAt(object, "metadata.name"),
                               "exceeded quota: " + quota->key().name +
                                   ", requested: " + requested_text + ", used: " + used_text +
                                   ", limited: " + limited_text);
  }
  return {};
}

void RefreshQuotas(objects::VersionedStore& store, const std::string& ns) {
  for (const auto& quota : ListIn(store, "resourcequotas", ns)) {
    const JsonObject* hard = FindObject(quota->value(), "spec.hard");
    if (!hard) continue;
    JsonObject used;
    for (const auto& item : *hard) {
      const auto line = ParseLine(item.key());
      if (line) used[item.key()] = UsedOf(store, ns, *line).ToString();
    }
    const Json status = {{"hard", *hard}, {"used", std::move(used)}};
    const Json* before = Find(quota->value(), "status");
    if (before && *before == status) continue;
    Json next = quota->value();
    Set(next, "status", status);
    // Lost to another write: that one's refresh follows.
    std::ignore = store.Update(quota->key(), std::move(next), quota->revision());
  }
}

}  // namespace thinsnap::registry
