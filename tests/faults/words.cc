#include "tests/faults/words.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "base/core/clock.h"
#include "base/kube/object.h"

namespace thinsnap::faults {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Names that are drawn at random, by what they are: 26 characters are a ULID, 16 hex digits a hash,
// 10 digits a time.
std::string Masked(const std::string& text) {
  std::string masked;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) != 0)) ++end;
    const auto word = text.substr(at, end - at);
    const bool digits = std::any_of(word.begin(), word.end(), IsDigit);
    if (word.size() == 26 && digits) {
      masked += "ULID";
    } else if (word.size() == 10 && std::all_of(word.begin(), word.end(), IsDigit)) {
      masked += "SECOND";
    } else if (word.size() == 16 && digits) {
      masked += "HASH";
    } else {
      masked += word;
    }
    if (end < text.size()) masked += text[end++];
    at = end;
  }
  return masked;
}

bool IsOfOneRun(const std::string& key) {
  static const std::set<std::string> kKeys{"uid",
                                           "resourceVersion",
                                           "generation",
                                           "observedGeneration",
                                           "managedFields",
                                           "duration",
                                           "size",
                                           "totalSize",
                                           "creationTimestamp",
                                           "deletionTimestamp",
                                           "lastTransitionTime",
                                           "startTime",
                                           "completionTime",
                                           "lastUpdateTime",
                                           "data",
                                           "storage.kubernetes.io/csiProvisionerIdentity",
                                           "failed"};
  return kKeys.contains(key);
}

}  // namespace

void Words::Put(const std::string& path, const Json& value) {
  if (value.is_object()) {
    Line(path);
    for (const auto& [key, member] : value.get_object()) {
      if (!IsOfOneRun(std::string(key))) Put(path + "." + std::string(key), member);
    }
  } else if (value.is_array()) {
    std::size_t i = 0;
    for (const auto& item : value.get_array()) {
      const auto name = StringAt(item, "type", std::to_string(i));
      ++i;
      Put(path + "[" + name + "]", item);
    }
  } else {
    auto text =
        value.is_string() ? std::string(std::string_view(value.get_string())) : ToJson(value);
    if (ParseRfc3339(text).ok()) text = "TIME";
    Line(path + " = " + text);
  }
}

void Words::Line(std::string text) {
  for (const auto& [random, mask] : masks_) {
    for (auto at = text.find(random); at != std::string::npos; at = text.find(random))
      text.replace(at, random.size(), mask);
  }
  text_ += Masked(text) + "\n";
}

void Words::MaskObject(const Json& object) {
  Mask(kube::UidOf(object), "UID");
  const auto* owner = kube::ControllerOf(object);
  if (owner == nullptr) return;
  const auto kind = StringAt(*owner, "kind");
  if (kind == "Job" || kind == "ReplicaSet")
    Mask(kube::NameOf(object), StringAt(*owner, "name") + "-*");
}

}  // namespace thinsnap::faults
