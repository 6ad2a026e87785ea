// Services: what their ports and addresses must be, and what of them goes with the type.
#include <arpa/inet.h>
#include <array>
#include <set>

#include "simulator/objects/kind_rules.h"
#include "simulator/objects/validation.h"

namespace thinsnap::objects {
namespace {

bool IsAddress(const std::string& text) {
  std::array<unsigned char, sizeof(struct in6_addr)> bytes;
  return inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
         inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

std::string TypeOf(const Json& service) { return StringAt(service, "spec.type", "ClusterIP"); }

bool HasNodePorts(const std::string& type) { return type == "NodePort" || type == "LoadBalancer"; }

void ValidatePorts(const Json& service, schema::FieldErrors& errors) {
  const JsonArray& ports = ArrayAt(service, "spec.ports");
  const bool headless = StringAt(service, "spec.clusterIP") == "None";
  const std::string type = TypeOf(service);
  if (ports.empty() && !headless && type != "ExternalName")
    errors.push_back(schema::FieldError::Required("spec.ports"));
  std::set<std::string> names;
  std::set<std::pair<std::string, std::int64_t>> numbers;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string at = "spec.ports[" + std::to_string(i) + "]";
    const std::string name = StringAt(ports[i], "name");
    if (name.empty() && ports.size() > 1) {
      errors.push_back(schema::FieldError::Required(at + ".name"));
    } else if (!name.empty() && !names.insert(name).second) {
      errors.push_back(schema::FieldError::Duplicate(at + ".name", Json(name)));
    }
    const std::int64_t port = IntAt(ports[i], "port");
    if (port < 1 || port > 65535) {
      errors.push_back(schema::FieldError::Invalid(at + ".port", Json(port),
                                                   "must be between 1 and 65535, inclusive"));
    }
    if (const Json* to = Find(ports[i], "targetPort");
        to != nullptr && to->is_int64() && (to->get_int64() < 1 || to->get_int64() > 65535)) {
      errors.push_back(schema::FieldError::Invalid(at + ".targetPort", *to,
                                                   "must be between 1 and 65535, inclusive"));
    }
    const std::string protocol = StringAt(ports[i], "protocol", "TCP");
    RequireOneOf(ports[i], "protocol", {"SCTP", "TCP", "UDP"}, errors, at);
    if (!numbers.emplace(protocol, port).second) {
      errors.push_back(schema::FieldError::Duplicate(
          at, Json(JsonObject{{"port", port}, {"protocol", protocol}})));
    }
    if (IntAt(ports[i], "nodePort") != 0 && !HasNodePorts(type)) {
      errors.push_back(schema::FieldError::Forbidden(
          at + ".nodePort", "may not be used when `type` is '" + type + "'"));
    }
  }
}

void ValidateAddresses(const Json& service, schema::FieldErrors& errors) {
  const std::string address = StringAt(service, "spec.clusterIP");
  const JsonArray& all = ArrayAt(service, "spec.clusterIPs");
  if (TypeOf(service) == "ExternalName") {
    RequireText(service, "spec.externalName", errors);
    if (!address.empty()) {
      errors.push_back(schema::FieldError::Forbidden(
          "spec.clusterIPs", "may not be set when `type` is 'ExternalName'"));
    }
    return;
  }
  if (address.empty()) {
    if (!all.empty()) {
      errors.push_back(schema::FieldError::Invalid(
          "spec.clusterIPs", Json(all), "must be empty when `clusterIP` is not specified"));
    }
    return;
  }
  if (!all.empty() && (!all[0].is_string() || all[0].get_string() != address)) {
    errors.push_back(schema::FieldError::Invalid("spec.clusterIP", Json(address),
                                                 "must match first value of `clusterIPs`"));
  }
  if (address == "None") {
    if (HasNodePorts(TypeOf(service))) {
      errors.push_back(schema::FieldError::Invalid(
          "spec.clusterIPs[0]", Json(address),
          "may not be set to 'None' for " + TypeOf(service) + " services"));
    }
  } else if (!IsAddress(address)) {
    errors.push_back(schema::FieldError::Invalid(
        "spec.clusterIPs[0]", Json(address),
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
  }
}

}  // namespace

void ValidateService(const Json& object, schema::FieldErrors& errors) {
  RequireOneOf(object, "spec.type", {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"},
               errors);
  RequireOneOf(object, "spec.sessionAffinity", {"ClientIP", "None"}, errors);
  ValidatePorts(object, errors);
  ValidateAddresses(object, errors);
}

void ValidateServiceUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  const std::string before = StringAt(old, "spec.clusterIP");
  const std::string after = StringAt(object, "spec.clusterIP");
  if (before.empty() || before == after || TypeOf(object) == "ExternalName" ||
      TypeOf(old) == "ExternalName") {
    return;
  }
  JsonArray value;
  value.emplace_back(after);
  errors.push_back(schema::FieldError::Invalid("spec.clusterIPs[0]", Json(std::move(value)),
                                               "may not change once set"));
}

void PrepareServiceUpdate(const Json& old, Json& object) {
  const std::string type = TypeOf(object);
  // What was allocated stays, though the writer does not repeat it; what only the old type had
  // goes, unless the writer has just set it.
  if (type != "ExternalName" && TypeOf(old) != "ExternalName") {
    for (const char* field :
         {"spec.clusterIP", "spec.clusterIPs", "spec.ipFamilies", "spec.ipFamilyPolicy"}) {
      const Json* had = Find(old, field);
      const Json* has = Find(object, field);
      const bool empty = has == nullptr || has->is_null() ||
                         (has->is_string() && has->get_string().empty()) ||
                         (has->is_array() && has->get_array().empty());
      if (had != nullptr && empty) Set(object, field, *had);
    }
  }
  const auto drop = [&](const char* field, bool fits) {
    if (!fits && Same(old, object, field)) Remove(object, field);
  };
  for (const char* field : {"spec.clusterIP", "spec.clusterIPs", "spec.ipFamilies",
                            "spec.ipFamilyPolicy", "spec.internalTrafficPolicy"}) {
    drop(field, type != "ExternalName");
  }
  drop("spec.externalTrafficPolicy", HasNodePorts(type));
  drop("spec.allocateLoadBalancerNodePorts", type == "LoadBalancer");
  Json* ports = FindMutable(object, "spec.ports");
  if (ports == nullptr || !ports->is_array()) return;
  for (Json& port : ports->as_array()) {
    for (const Json& was : ArrayAt(old, "spec.ports")) {
      if (IntAt(was, "port") != IntAt(port, "port") ||
          StringAt(was, "protocol") != StringAt(port, "protocol")) {
        continue;
      }
      const std::int64_t number = IntAt(was, "nodePort");
      if (HasNodePorts(type)) {
        if (number != 0 && IntAt(port, "nodePort") == 0) Set(port, "nodePort", Json(number));
      } else if (number != 0 && IntAt(port, "nodePort") == number) {
        Remove(port, "nodePort");
      }
    }
  }
}

}  // namespace thinsnap::objects
