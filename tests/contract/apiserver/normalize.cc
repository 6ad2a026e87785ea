#include "tests/contract/apiserver/normalize.h"

#include <algorithm>
#include <re2/re2.h>
#include <set>
#include <string_view>
#include <tuple>
#include <vector>

namespace thinsnap::apiserver {
namespace {

const std::set<std::string_view> kMasked = {"uid",
                                            "resourceVersion",
                                            "creationTimestamp",
                                            "deletionTimestamp",
                                            "time",
                                            "selfLink",
                                            "continue",
                                            "lastTransitionTime",
                                            "storageVersionHash",
                                            "remainingItemCount",
                                            "startTime",
                                            "lastProbeTime",
                                            "serverAddress",
                                            "token",
                                            "expirationTimestamp",
                                            "controller-uid",
                                            "description"};

std::string MaskText(std::string text) {
  static const re2::RE2 uid("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}");
  static const re2::RE2 time(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z)");
  static const re2::RE2 generated("gen-[a-z0-9]{5}");
  re2::RE2::GlobalReplace(&text, uid, "UID");
  re2::RE2::GlobalReplace(&text, time, "TIME");
  re2::RE2::GlobalReplace(&text, generated, "gen-XXXXX");
  return text;
}

Json Masked(const Json& value) {
  if (value.is_string()) {
    static const re2::RE2 age("[0-9]+(s|m|h|m[0-9]+s)");
    const std::string text = MaskText(std::string(value.as_string()));
    if (re2::RE2::FullMatch(text, age)) return Json("AGE");
    return Json(std::string_view(text));
  }
  if (value.is_array()) {
    JsonArray out;
    for (const Json& item : value.as_array()) out.push_back(Masked(item));
    return out;
  }
  if (!value.is_object()) return value;
  JsonObject out;
  for (const auto& member : value.as_object()) {
    const std::string_view key = member.key();
    if (key == "managedFields") continue;
    if (kMasked.contains(key) && !member.value().is_object()) {
      out[key] = "*";
    } else {
      out[key] = Masked(member.value());
    }
  }
  return out;
}

// Of a Status only what programs act on.
Json Essence(const Json& status) {
  std::vector<std::tuple<std::string, std::string>> causes;
  for (const Json& cause : ArrayAt(status, "details.causes")) {
    causes.emplace_back(StringAt(cause, "reason"), StringAt(cause, "field"));
  }
  std::sort(causes.begin(), causes.end());
  JsonArray sorted;
  for (const auto& [reason, field] : causes)
    sorted.push_back({std::string_view(reason), std::string_view(field)});
  return {{"status", std::string_view(StringAt(status, "status"))},
          {"reason", std::string_view(StringAt(status, "reason"))},
          {"code", IntAt(status, "code")},
          {"kind", std::string_view(StringAt(status, "details.kind"))},
          {"group", std::string_view(StringAt(status, "details.group"))},
          {"name", std::string_view(MaskText(StringAt(status, "details.name")))},
          {"causes", std::move(sorted)}};
}

}  // namespace

std::string Compare(const Json& recorded, int status, const std::string& body,
                    const std::string& warning) {
  const auto expected_status = IntAt(recorded, "status");
  std::string out;
  if (status != expected_status) {
    out +=
        "status " + std::to_string(status) + ", recorded " + std::to_string(expected_status) + "\n";
  }
  if (warning != StringAt(recorded, "warning")) {
    out += "warning '" + warning + "', recorded '" + StringAt(recorded, "warning") + "'\n";
  }
  const Json expected = *Find(recorded, "answer");
  const auto parsed = ParseJson(body);
  Json left = parsed.ok() && !expected.is_string() ? *parsed : Json(std::string_view(body));
  Json right = expected;
  const bool statuses = StringAt(left, "kind") == "Status" && StringAt(right, "kind") == "Status";
  left = statuses ? Essence(left) : Masked(left);
  right = statuses ? Essence(right) : Masked(right);
  if (left != right) out += "ours     " + ToJson(left) + "\nrecorded " + ToJson(right) + "\n";
  if (!out.empty() && statuses) out += "body " + body + "\n";
  return out;
}

}  // namespace thinsnap::apiserver
