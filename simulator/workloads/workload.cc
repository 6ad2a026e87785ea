#include "simulator/workloads/workload.h"

#include <algorithm>
#include <charconv>

#include "base/kube/object.h"
#include "simulator/placement/pod_state.h"

namespace thinsnap::workloads {

namespace {

constexpr std::string_view kSafeLetters = "bcdfghjklmnpqrstvwxz2456789";

// Members in the order of their names.
Json Canonical(const Json& value) {
  if (const JsonArray* array = value.if_array()) {
    JsonArray sorted;
    for (const Json& element : *array) sorted.push_back(Canonical(element));
    return sorted;
  }
  const JsonObject* object = value.if_object();
  if (object == nullptr) return value;
  std::vector<std::string> keys;
  for (const auto& [key, member] : *object) keys.emplace_back(key);
  std::sort(keys.begin(), keys.end());
  JsonObject sorted;
  for (const auto& key : keys) sorted[key] = Canonical(object->at(key));
  return sorted;
}

}  // namespace

std::string TemplateHash(const Json& pod_template) {
  std::uint32_t hash = 2166136261U;  // FNV-1a
  for (const char c : ToJson(Canonical(pod_template))) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  }
  std::string text = std::to_string(hash);
  for (char& c : text) c = kSafeLetters[static_cast<unsigned char>(c) % kSafeLetters.size()];
  return text;
}

std::int64_t ScaledValue(const Json* int_or_percent, std::int64_t total, bool round_up,
                         std::int64_t fallback) {
  if (int_or_percent == nullptr) return fallback;
  if (int_or_percent->is_int64()) return int_or_percent->get_int64();
  if (!int_or_percent->is_string()) return fallback;
  const std::string_view text = int_or_percent->get_string();
  std::int64_t percent = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percent);
  if (error != std::errc() ||
      std::string_view(end, static_cast<std::size_t>(text.data() + text.size() - end)) != "%") {
    return fallback;
  }
  return (percent * total + (round_up ? 99 : 0)) / 100;
}

void SortForRemoval(std::vector<const Json*>& pods) {
  const auto progress = [](const Json& pod) {
    if (placement::NodeOf(pod).empty()) return 0;
    if (StringAt(pod, "status.phase") != "Running") return 1;
    return placement::IsReady(pod) ? 3 : 2;
  };
  std::stable_sort(pods.begin(), pods.end(), [&](const Json* a, const Json* b) {
    const int first = progress(*a), second = progress(*b);
    if (first != second) return first < second;
    return StringAt(*a, "metadata.creationTimestamp") > StringAt(*b, "metadata.creationTimestamp");
  });
}

}  // namespace thinsnap::workloads
