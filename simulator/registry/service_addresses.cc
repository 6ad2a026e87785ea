#include "simulator/registry/service_addresses.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "base/data/json.h"

namespace thinsnap::registry {

using schema::FieldError;
using schema::FieldErrors;

namespace {

// 10.96.0.0/16, as kubeadm's clusters have by default a larger one that begins there.
constexpr std::uint32_t kNetwork = (10U << 24) | (96U << 16);
constexpr std::uint32_t kHosts = 1U << 16;
// The first addresses are left to those who name one.
constexpr std::uint32_t kFirstRandom = 256;
constexpr std::uint32_t kFirstPort = 30000, kLastPort = 32767;

// One of first to last that is free, from a random one on; nothing where none is.
std::optional<std::uint32_t> AnyOf(std::uint32_t first, std::uint32_t last, Random& random,
                                   const std::function<bool(std::uint32_t)>& is_free) {
  const std::uint32_t count = last - first + 1;
  const auto start = static_cast<std::uint32_t>(random.Below(count));
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t candidate = first + (start + i) % count;
    if (is_free(candidate)) return candidate;
  }
  return std::nullopt;
}

std::string AddressText(std::uint32_t host) {
  const std::uint32_t address = kNetwork + host;
  return std::to_string(address >> 24) + "." + std::to_string((address >> 16) & 0xff) + "." +
         std::to_string((address >> 8) & 0xff) + "." + std::to_string(address & 0xff);
}

bool InNetwork(const std::string& text) {
  struct in_addr address = {};
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) return false;
  const std::uint32_t host = ntohl(address.s_addr) - kNetwork;
  return host > 0 && host < kHosts - 1;
}

struct Taken {
  std::set<std::string> addresses;
  std::set<std::int64_t> ports;
};

Taken TakenBy(const objects::VersionedStore& store) {
  Taken taken;
  const auto services = store.List("services");
  if (!services.ok()) return taken;
  for (const auto& service : services->items) {
    taken.addresses.insert(StringAt(service->value(), "spec.clusterIP"));
    for (const Json& port : ArrayAt(service->value(), "spec.ports"))
      taken.ports.insert(IntAt(port, "nodePort"));
  }
  return taken;
}

void ChooseFamilies(Json& service, FieldErrors& errors) {
  const bool headless = StringAt(service, "spec.clusterIP") == "None";
  const JsonObject* selector = FindObject(service, "spec.selector");
  if (headless && (selector == nullptr || selector->empty())) {
    // Its endpoints are made by others, of whatever family.
    if (Find(service, "spec.ipFamilies") == nullptr)
      Set(service, "spec.ipFamilies", JsonArray{"IPv4", "IPv6"});
    if (Find(service, "spec.ipFamilyPolicy") == nullptr)
      Set(service, "spec.ipFamilyPolicy", "RequireDualStack");
    return;
  }
  const JsonArray& families = ArrayAt(service, "spec.ipFamilies");
  for (std::size_t i = 0; i < families.size(); ++i) {
    if (families[i] == Json("IPv4")) continue;
    errors.push_back(FieldError::Invalid("spec.ipFamilies[" + std::to_string(i) + "]", families[i],
                                         "not configured on this cluster"));
  }
  if (const std::string policy = StringAt(service, "spec.ipFamilyPolicy");
      policy == "RequireDualStack") {
    errors.push_back(FieldError::Invalid("spec.ipFamilyPolicy", Json(policy),
                                         "this cluster is not configured for dual-stack services"));
  }
  if (families.empty()) Set(service, "spec.ipFamilies", JsonArray{"IPv4"});
  if (Find(service, "spec.ipFamilyPolicy") == nullptr)
    Set(service, "spec.ipFamilyPolicy", "SingleStack");
}

void ChooseAddress(const Taken& taken, Random& random, const Json* old, Json& service,
                   FieldErrors& errors) {
  std::string address = StringAt(service, "spec.clusterIP");
  const std::string had = old == nullptr ? "" : StringAt(*old, "spec.clusterIP");
  if (address.empty()) {
    const auto host = AnyOf(kFirstRandom, kHosts - 2, random, [&](std::uint32_t candidate) {
      return !taken.addresses.contains(AddressText(candidate));
    });
    if (!host) {
      errors.push_back(FieldError::Invalid("spec.clusterIPs", Json(JsonArray()),
                                           "failed to allocate a serviceIP: range is full"));
      return;
    }
    address = AddressText(*host);
  } else if (address != "None" && address != had) {
    const std::string failed = "failed to allocate IP " + address + ": ";
    if (!InNetwork(address)) {
      errors.push_back(
          FieldError::Invalid("spec.clusterIPs", Json(JsonArray{Json(address)}),
                              failed + "the provided network does not match the current range"));
    } else if (taken.addresses.contains(address)) {
      errors.push_back(FieldError::Invalid("spec.clusterIPs", Json(JsonArray{Json(address)}),
                                           failed + "provided IP is already allocated"));
    }
  }
  Set(service, "spec.clusterIP", address);
  Set(service, "spec.clusterIPs", JsonArray{Json(address)});
}

void ChoosePorts(Taken& taken, Random& random, const Json* old, Json& service,
                 FieldErrors& errors) {
  const std::string type = StringAt(service, "spec.type");
  const bool wanted =
      type == "NodePort" ||
      (type == "LoadBalancer" && BoolAt(service, "spec.allocateLoadBalancerNodePorts", true));
  Json* ports = FindMutable(service, "spec.ports");
  if (ports == nullptr || !ports->is_array()) return;
  std::set<std::int64_t> had;
  if (old != nullptr) {
    for (const Json& port : ArrayAt(*old, "spec.ports")) had.insert(IntAt(port, "nodePort"));
  }
  JsonArray& list = ports->as_array();
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string field = "spec.ports[" + std::to_string(i) + "].nodePort";
    std::int64_t number = IntAt(list[i], "nodePort");
    if (number == 0 && wanted) {
      const auto port = AnyOf(kFirstPort, kLastPort, random, [&](std::uint32_t candidate) {
        return !taken.ports.contains(candidate);
      });
      if (!port) {
        errors.push_back(FieldError::Invalid(field, Json(number),
                                             "failed to allocate a nodePort: range is full"));
        return;
      }
      number = *port;
      Set(list[i], "nodePort", Json(number));
    } else if (number != 0 && !had.contains(number)) {
      if (number < kFirstPort || number > kLastPort) {
        errors.push_back(FieldError::Invalid(
            field, Json(number),
            "provided port is not in the valid range. The range of valid ports is 30000-32767"));
      } else if (taken.ports.contains(number)) {
        errors.push_back(
            FieldError::Invalid(field, Json(number), "provided port is already allocated"));
      }
    }
    taken.ports.insert(number);
  }
}

}  // namespace

ServiceAddresses::Held ServiceAddresses::Allocate(const objects::VersionedStore& store,
                                                  Random& random, const Json* old, Json& service) {
  Held held{std::unique_lock(mutex_), {}};
  if (StringAt(service, "spec.type") == "ExternalName") return held;
  Taken taken = TakenBy(store);
  ChooseFamilies(service, held.errors);
  ChooseAddress(taken, random, old, service, held.errors);
  ChoosePorts(taken, random, old, service, held.errors);
  return held;
}

}  // namespace thinsnap::registry
