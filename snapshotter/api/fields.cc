#include "snapshotter/api/fields.h"

#include <algorithm>
#include <cstdio>

namespace thinsnap::backup {

void RemoveCondition(Json& object, std::string_view condition) {
  if (FindArray(object, "status.conditions") == nullptr) return;
  auto& conditions = EnsureArray(object, "status.conditions");
  for (auto it = conditions.begin(); it != conditions.end(); ++it) {
    if (StringAt(*it, "type") != condition) continue;
    conditions.erase(it);
    return;
  }
}

std::string FalseConditions(const Json& object) {
  std::vector<std::string> messages;
  for (const auto& condition : ArrayAt(object, "status.conditions")) {
    if (StringAt(condition, "status") == "False")
      messages.push_back(StringAt(condition, "message"));
  }
  return Joined(messages, " ");
}

bool IsCsiRefusal(std::string_view message) {
  constexpr const char* kFinal[] = {"DataLoss",         "NotFound",        "InvalidArgument",
                                    "PermissionDenied", "Unauthenticated", "FailedPrecondition",
                                    "OutOfRange",       "Unimplemented"};
  return std::any_of(std::begin(kFinal), std::end(kFinal), [&](const char* code) {
    return message.find(std::string("code = ") + code) != std::string_view::npos;
  });
}

kube::ObjectKey ReferenceKey(const Json& reference, const std::string& own_namespace) {
  std::string ns = StringAt(reference, "namespace");
  if (ns.empty()) ns = own_namespace;
  return {std::move(ns), StringAt(reference, "name")};
}

Json ReferenceTo(const kube::ObjectKey& key) {
  return JsonObject{{"name", key.name}, {"namespace", key.ns}};
}

std::string SizeText(std::uint64_t bytes) {
  struct Unit {
    const char* name;
    std::uint64_t size;
  };
  for (const auto& unit : {Unit{"TiB", 1ULL << 40}, Unit{"GiB", 1ULL << 30},
                           Unit{"MiB", 1ULL << 20}, Unit{"KiB", 1ULL << 10}}) {
    if (bytes < unit.size) continue;
    char text[48];
    std::snprintf(text, sizeof text, "%.3f %s",
                  static_cast<double>(bytes) / static_cast<double>(unit.size), unit.name);
    return text;
  }
  return std::to_string(bytes) + " B";
}

std::string DurationText(Duration duration) {
  auto seconds = std::chrono::round<std::chrono::seconds>(duration).count();
  if (seconds < 0) seconds = 0;
  std::string text;
  if (seconds >= 3600) text += std::to_string(seconds / 3600) + "h";
  if (seconds >= 60) text += std::to_string(seconds / 60 % 60) + "m";
  return text + std::to_string(seconds % 60) + "s";
}

std::optional<WallTime> TimeAt(const Json& object, std::string_view path) {
  const auto text = StringAt(object, path);
  if (text.empty()) return std::nullopt;
  const auto time = ParseRfc3339(text);
  if (!time.ok()) return std::nullopt;
  return *time;
}

std::string Joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (const auto& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

}  // namespace thinsnap::backup
