#include "tests/faults/lacking.h"

#include <functional>

namespace thinsnap::faults {
namespace {

// Calls `visit` with each member's path and a way to the same member in a copy.
using Reach = std::function<Json*(Json& copy)>;
using Visit =
    std::function<void(const std::string& path, const Reach& parent, const std::string& member)>;

void Walk(const Json& value, const std::string& path, const Reach& reach, const Visit& visit) {
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      const std::string name(key);
      visit(path + name, reach, name);
      Walk(
          member, path + name + ".",
          [reach, name](Json& copy) { return reach(copy)->as_object().if_contains(name); }, visit);
    }
  } else if (const auto* array = value.if_array()) {
    for (std::size_t i = 0; i < array->size(); ++i) {
      Walk((*array)[i], path + std::to_string(i) + ".",
           [reach, i](Json& copy) { return &reach(copy)->as_array().at(i); }, visit);
    }
  }
}

}  // namespace

std::vector<Lacking> LackingOneField(const Json& object) {
  std::vector<Lacking> all;
  Walk(
      object, "", [](Json& copy) { return &copy; },
      [&](const std::string& path, const Reach& parent, const std::string& member) {
        if (path == "metadata" || path == "metadata.name" || path == "metadata.namespace") return;
        Json without = object;
        parent(without)->as_object().erase(member);
        all.push_back({path + " left out", std::move(without)});
        Json null = object;
        parent(null)->as_object()[member] = nullptr;
        all.push_back({path + " null", std::move(null)});
      });
  return all;
}

}  // namespace thinsnap::faults
