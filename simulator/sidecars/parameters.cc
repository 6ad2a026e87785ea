#include "simulator/sidecars/parameters.h"

#include <algorithm>
#include <array>

#include "base/core/bytes.h"
#include "base/kube/object.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::sidecars {

namespace {

constexpr std::string_view kPrefix = "csi.storage.k8s.io/";

constexpr std::array kSecretPrefixes{"",
                                     "provisioner",
                                     "controller-publish",
                                     "node-stage",
                                     "node-publish",
                                     "controller-expand",
                                     "node-expand",
                                     "controller-modify",
                                     "snapshotter",
                                     "snapshotter-list",
                                     "group-snapshotter",
                                     "group-snapshotter-get"};

bool IsKnown(std::string_view key) {
  if (key == "fstype") return true;
  return std::any_of(kSecretPrefixes.begin(), kSecretPrefixes.end(), [&](std::string_view prefix) {
    const auto stem = std::string(prefix) + (prefix.empty() ? "" : "-");
    return key == stem + "secret-name" || key == stem + "secret-namespace";
  });
}

// ${name} becomes its value; an unknown name is an error.
Result<std::string> Fill(const std::string& text, const Variables& variables,
                         const std::string& where) {
  std::string filled;
  std::size_t at = 0;
  for (;;) {
    const auto open = text.find("${", at);
    filled += text.substr(at, open == std::string::npos ? open : open - at);
    if (open == std::string::npos) return filled;
    const auto close = text.find('}', open);
    const auto name = close == std::string::npos ? text.substr(open + 2)
                                                 : text.substr(open + 2, close - open - 2);
    const auto value = variables.find(name);
    if (close == std::string::npos || value == variables.end()) {
      std::string known;
      for (const auto& [variable, unused] : variables)
        known += (known.empty() ? "${" : ", ${") + variable + "}";
      return Error(Code::kInvalidArgument, "parameter " + where + " is \"" + text + "\": ${" +
                                               name + "} is not known here; known are " + known);
    }
    filled += value->second;
    at = close + 1;
  }
}

}  // namespace

Parameters ParametersOf(const Json& class_object) {
  Parameters all;
  if (const JsonObject* object = FindObject(class_object, "parameters")) {
    for (const auto& [key, value] : *object) {
      if (value.is_string()) all.emplace(key, value.get_string());
    }
  }
  return all;
}

Result<Parameters> DriverParameters(const Parameters& all) {
  Parameters own;
  for (const auto& [key, value] : all) {
    if (!key.starts_with(kPrefix)) {
      // The old spellings without a prefix are the sidecars' too.
      if (key != "fstype") own.emplace(key, value);
    } else if (!IsKnown(std::string_view(key).substr(kPrefix.size()))) {
      return Error(Code::kInvalidArgument, "found unknown parameter key \"" + key +
                                               "\" with reserved namespace " +
                                               std::string(kPrefix));
    }
  }
  return own;
}

Result<std::optional<kube::ObjectKey>> SecretReference(const Parameters& parameters,
                                                       std::string_view prefix,
                                                       const Variables& variables) {
  std::string stem = std::string(kPrefix) + std::string(prefix) + "-secret-";
  if (!parameters.contains(stem + "name") && !parameters.contains(stem + "namespace")) {
    stem = std::string(kPrefix) + "secret-";
  }
  const auto name = parameters.find(stem + "name");
  const auto ns = parameters.find(stem + "namespace");
  if (name == parameters.end() && ns == parameters.end()) return std::optional<kube::ObjectKey>();
  if (name == parameters.end() || ns == parameters.end()) {
    return Error(Code::kInvalidArgument,
                 "either name and namespace for the " + std::string(prefix) +
                     " secret must both be given, or neither: " + stem +
                     (name == parameters.end() ? "name" : "namespace") + " is missing");
  }
  kube::ObjectKey key;
  key.name = TRY(Fill(name->second, variables, stem + "name"));
  // Names of other tenants' objects must not choose the namespace.
  Variables for_namespace = variables;
  std::erase_if(for_namespace, [](const auto& entry) {
    return entry.first.starts_with("pvc.") ? entry.first != "pvc.namespace"
                                           : entry.first == "volumesnapshot.name";
  });
  key.ns = TRY(Fill(ns->second, for_namespace, stem + "namespace"));
  return std::optional<kube::ObjectKey>(std::move(key));
}

Result<std::map<std::string, std::string>> ReadSecret(kube::KubeClient& client,
                                                      const std::optional<kube::ObjectKey>& key) {
  std::map<std::string, std::string> data;
  if (!key) return data;
  const Json secret =
      TRY(client.Get(kube::types::kSecret, *key).In("error getting secret " + key->ToString()));
  if (const JsonObject* object = FindObject(secret, "data")) {
    for (const auto& [name, value] : *object) {
      if (!value.is_string()) continue;
      const Bytes bytes = TRY(Base64Decode(value.get_string()).In("secret " + key->ToString()));
      data.emplace(name, AsText(bytes));
    }
  }
  return data;
}

std::string BinaryQuantity(std::int64_t bytes) {
  static constexpr std::array kSuffixes{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  std::size_t suffix = 0;
  while (bytes != 0 && bytes % 1024 == 0 && suffix + 1 < kSuffixes.size()) {
    bytes /= 1024;
    ++suffix;
  }
  return std::to_string(bytes) + kSuffixes[suffix];
}

std::int64_t QuantityBytes(const Json* value) {
  if (value == nullptr) return 0;
  if (value->is_int64()) return value->get_int64();
  if (!value->is_string()) return 0;
  const auto quantity = schema::Quantity::Parse(value->get_string());
  return quantity.ok() ? quantity->Value() : 0;
}

}  // namespace thinsnap::sidecars
