#include "simulator/containers/environment.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "base/core/bytes.h"
#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::containers {
namespace {

// What Kubernetes lets be a variable: no '=' and nothing unprintable.
bool UsableName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(),
                                      [](char c) { return c > ' ' && c < 127 && c != '='; });
}

Result<std::string> KeyOfConfigMap(const Json& object, const std::string& key) {
  if (const JsonObject* data = FindObject(object, "data")) {
    if (const Json* value = data->if_contains(key); value != nullptr && value->is_string()) {
      return std::string(value->get_string());
    }
  }
  return Error(Code::kNotFound, "has no key " + key);
}

Result<std::string> KeyOfSecret(const Json& object, const std::string& key) {
  if (const JsonObject* data = FindObject(object, "data")) {
    if (const Json* value = data->if_contains(key); value != nullptr && value->is_string()) {
      const Bytes bytes = TRY(Base64Decode(value->get_string()));
      return std::string(AsText(bytes));
    }
  }
  return Error(Code::kNotFound, "has no key " + key);
}

// Optional references that are missing leave the variable out: nullopt.
Result<std::optional<std::string>> FromKey(const Json& reference, const char* kind, bool secret,
                                           const EnvironmentSources& sources) {
  const std::string name = StringAt(reference, "name");
  const std::string key = StringAt(reference, "key");
  const std::string what = std::string(kind) + " " + name;
  Result<Json> object = secret ? sources.secret(name) : sources.config_map(name);
  if (object.Is(Code::kNotFound)) {
    if (BoolAt(reference, "optional")) return std::optional<std::string>();
    return Error(Code::kNotFound, what + " does not exist");
  }
  if (!object.ok()) return std::move(object).error().In(what);
  Result<std::string> value = secret ? KeyOfSecret(*object, key) : KeyOfConfigMap(*object, key);
  if (value.ok()) return std::optional<std::string>(std::move(*value));
  if (value.Is(Code::kNotFound) && BoolAt(reference, "optional"))
    return std::optional<std::string>();
  return Error(value.error().code(), what + " " + value.error().message());
}

Status AddAll(const Json& source, const EnvironmentSources& sources, Variables* variables) {
  const std::string prefix = StringAt(source, "prefix");
  const bool secret = Find(source, "secretRef") != nullptr;
  const Json* reference = Find(source, secret ? "secretRef" : "configMapRef");
  if (reference == nullptr) return {};
  const std::string name = StringAt(*reference, "name");
  const std::string what = std::string(secret ? "secret " : "configmap ") + name;
  Result<Json> object = secret ? sources.secret(name) : sources.config_map(name);
  if (object.Is(Code::kNotFound)) {
    if (BoolAt(*reference, "optional")) return {};
    return Error(Code::kNotFound, what + " does not exist");
  }
  if (!object.ok()) return std::move(object).error().In(what);
  const JsonObject* data = FindObject(*object, "data");
  if (data == nullptr) return {};
  for (const auto& member : *data) {
    const std::string key(member.key());
    if (!UsableName(prefix + key)) continue;
    Result<std::string> value = secret ? KeyOfSecret(*object, key) : KeyOfConfigMap(*object, key);
    if (!value.ok()) return std::move(value).error().In(what);
    SetVariable(*variables, prefix + key, *value);
  }
  return {};
}

std::string QuotedKey(const std::string& path, std::string_view prefix) {
  const std::size_t open = prefix.size();
  if (path.size() < open + 4 || path.compare(0, open, prefix) != 0) return "";
  return path.substr(open + 2, path.size() - open - 4);
}

std::string FormatMap(const Json& pod, const char* path) {
  std::string text;
  if (const JsonObject* map = FindObject(pod, path)) {
    for (const auto& member : *map) {
      text += std::string(member.key()) + "=" + ToJson(member.value()) + "\n";
    }
  }
  return text;
}

}  // namespace

double ParseQuantity(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return 0;
  const std::string_view suffix = text.substr(static_cast<std::size_t>(end - text.data()));
  static constexpr std::pair<std::string_view, double> kSuffixes[] = {
      {"", 1},     {"m", 1e-3},    {"k", 1e3},        {"M", 1e6},           {"G", 1e9},
      {"T", 1e12}, {"Ki", 1024.0}, {"Mi", 1048576.0}, {"Gi", 1073741824.0}, {"Ti", 1099511627776.0},
  };
  for (const auto& [name, factor] : kSuffixes) {
    if (suffix == name) return number * factor;
  }
  return 0;
}

const std::string* FindVariable(const Variables& variables, std::string_view name) {
  for (const auto& [own, value] : variables) {
    if (own == name) return &value;
  }
  return nullptr;
}

void SetVariable(Variables& variables, const std::string& name, const std::string& value) {
  for (auto& [own, old] : variables) {
    if (own == name) {
      old = value;
      return;
    }
  }
  variables.emplace_back(name, value);
}

std::string ExpandReferences(std::string_view text, const Variables& variables) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 >= text.size()) {
      out += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    const std::size_t close = text[i + 1] == '(' ? text.find(')', i) : std::string_view::npos;
    if (close == std::string_view::npos) {
      out += '$';
      continue;
    }
    const std::string_view name = text.substr(i + 2, close - i - 2);
    const std::string* value = FindVariable(variables, name);
    out += value != nullptr ? *value : std::string(text.substr(i, close - i + 1));
    i = close;
  }
  return out;
}

Result<std::string> PodField(const Json& pod, const std::string& path) {
  if (path == "metadata.labels") return FormatMap(pod, "metadata.labels");
  if (path == "metadata.annotations") return FormatMap(pod, "metadata.annotations");
  if (path.starts_with("metadata.labels[")) {
    return kube::LabelOf(pod, QuotedKey(path, "metadata.labels"));
  }
  if (path.starts_with("metadata.annotations[")) {
    return kube::AnnotationOf(pod, QuotedKey(path, "metadata.annotations"));
  }
  static constexpr std::string_view kFields[] = {
      "metadata.name", "metadata.namespace",      "metadata.uid",
      "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
      "status.podIP",  "status.hostIPs",          "status.podIPs"};
  if (std::find(std::begin(kFields), std::end(kFields), path) == std::end(kFields)) {
    return Error(Code::kInvalidArgument,
                 "fieldPath " + path + " is not one that a pod can ask for");
  }
  // The whole world is one host's loopback.
  if (path.starts_with("status.")) return std::string("127.0.0.1");
  if (path == "spec.serviceAccountName") return StringAt(pod, path, "default");
  return StringAt(pod, path);
}

Result<std::string> ContainerResource(const Json& pod, const std::string& container,
                                      const std::string& resource, const std::string& divisor) {
  const std::size_t dot = resource.find('.');
  const std::string kind = resource.substr(0, dot);
  const std::string name = dot == std::string::npos ? "" : resource.substr(dot + 1);
  if ((kind != "limits" && kind != "requests") || name.empty()) {
    return Error(Code::kInvalidArgument,
                 "resource " + resource + " is neither limits.NAME nor requests.NAME");
  }
  for (const char* list : {"spec.containers", "spec.initContainers"}) {
    for (const Json& item : ArrayAt(pod, list)) {
      if (StringAt(item, "name") != container) continue;
      const std::string found = StringIn(item, "resources." + kind, name);
      const double value = ParseQuantity(found.empty() ? (name == "cpu" ? "1" : "0") : found);
      const double unit = divisor.empty() || divisor == "0" ? 1 : ParseQuantity(divisor);
      return std::to_string(static_cast<std::int64_t>(std::ceil(value / (unit > 0 ? unit : 1))));
    }
  }
  return Error(Code::kInvalidArgument, "the pod has no container " + container);
}

Result<Variables> BuildEnvironment(const Json& pod, const Json& container,
                                   const EnvironmentSources& sources) {
  Variables variables = sources.defaults;
  for (const Json& source : ArrayAt(container, "envFrom")) {
    TRY(AddAll(source, sources, &variables));
  }
  for (const Json& entry : ArrayAt(container, "env")) {
    const std::string name = StringAt(entry, "name");
    const Json* from = Find(entry, "valueFrom");
    if (from == nullptr || from->is_null()) {
      SetVariable(variables, name, ExpandReferences(StringAt(entry, "value"), variables));
      continue;
    }
    const std::string where = "environment variable " + name;
    if (const Json* field = Find(*from, "fieldRef")) {
      Result<std::string> value = PodField(pod, StringAt(*field, "fieldPath"));
      if (!value.ok()) return std::move(value).error().In(where);
      SetVariable(variables, name, *value);
    } else if (const Json* resource = Find(*from, "resourceFieldRef")) {
      Result<std::string> value =
          ContainerResource(pod, StringAt(*resource, "containerName", StringAt(container, "name")),
                            StringAt(*resource, "resource"), StringAt(*resource, "divisor"));
      if (!value.ok()) return std::move(value).error().In(where);
      SetVariable(variables, name, *value);
    } else {
      const bool secret = Find(*from, "secretKeyRef") != nullptr;
      const Json* reference = Find(*from, secret ? "secretKeyRef" : "configMapKeyRef");
      if (reference == nullptr) continue;
      Result<std::optional<std::string>> value =
          FromKey(*reference, secret ? "secret" : "configmap", secret, sources);
      if (!value.ok()) return std::move(value).error().In(where);
      if (value->has_value()) SetVariable(variables, name, **value);
    }
  }
  return variables;
}

}  // namespace thinsnap::containers
