#include "simulator/schema/autoscaling.h"

#include <string>
#include <utility>

#include "base/data/json.h"

namespace thinsnap::schema {
namespace {

constexpr std::string_view kMetrics = "autoscaling.alpha.kubernetes.io/metrics";
constexpr std::string_view kBehavior = "autoscaling.alpha.kubernetes.io/behavior";
constexpr const char* kShare = "spec.targetCPUUtilizationPercentage";

// The wanted share if the metric says no more than that.
const Json* CpuShare(const Json& metric) {
  const bool simple = StringAt(metric, "type") == "Resource" &&
                      StringAt(metric, "resource.name") == "cpu" &&
                      StringAt(metric, "resource.target.type") == "Utilization";
  return simple ? Find(metric, "resource.target.averageUtilization") : nullptr;
}

void Annotate(Json& object, std::string_view key, const Json& value) {
  EnsureObject(object, "metadata.annotations")[key] = ToJson(value);
}

// The annotation's value, which goes.
Json TakeAnnotation(Json& object, std::string_view key) {
  Json* annotations = FindMutable(object, "metadata.annotations");
  if (annotations == nullptr || !annotations->is_object()) return {};
  JsonObject& members = annotations->get_object();
  const Json* text = members.if_contains(key);
  if (text == nullptr || !text->is_string()) return {};
  auto value = ParseJson(std::string(text->get_string()));
  members.erase(key);
  if (members.empty()) Remove(object, "metadata.annotations");
  return value.ok() ? std::move(*value) : Json();
}

void ToSimple(Json& object) {
  JsonArray others;
  for (const Json& metric : ArrayAt(object, "spec.metrics")) {
    const Json* share = CpuShare(metric);
    if (share != nullptr && Find(object, kShare) == nullptr) {
      const Json copy = *share;
      Set(object, kShare, copy);
    } else {
      others.push_back(metric);
    }
  }
  if (!others.empty()) Annotate(object, kMetrics, others);
  if (const Json* behavior = Find(object, "spec.behavior"); behavior != nullptr)
    Annotate(object, kBehavior, Json(*behavior));
  for (const char* field :
       {"spec.metrics", "spec.behavior", "status.currentMetrics", "status.conditions"}) {
    Remove(object, field);
  }
  if (Find(object, "status") != nullptr && Find(object, "status.currentReplicas") == nullptr)
    Set(object, "status.currentReplicas", Json(0));
}

void FromSimple(Json& object) {
  JsonArray metrics;
  if (const Json* share = Find(object, kShare); share != nullptr) {
    const JsonObject target{{"type", "Utilization"}, {"averageUtilization", *share}};
    metrics.push_back(
        JsonObject{{"type", "Resource"}, {"resource", {{"name", "cpu"}, {"target", target}}}});
  }
  Remove(object, kShare);
  if (const Json others = TakeAnnotation(object, kMetrics); others.is_array()) {
    for (const Json& metric : others.get_array()) metrics.push_back(metric);
  }
  if (!metrics.empty()) Set(object, "spec.metrics", std::move(metrics));
  if (Json behavior = TakeAnnotation(object, kBehavior); behavior.is_object())
    Set(object, "spec.behavior", std::move(behavior));
  Remove(object, "status.currentCPUUtilizationPercentage");
}

}  // namespace

void ConvertAutoscaler(std::string_view to_version, Json& autoscaler) {
  if (StringAt(autoscaler, "apiVersion").ends_with(to_version)) return;
  to_version == "v1" ? ToSimple(autoscaler) : FromSimple(autoscaler);
}

}  // namespace thinsnap::schema
