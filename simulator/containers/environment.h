// A container's environment: env, envFrom and $(VAR) references, resolved as Kubernetes does.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/core/result.h"
#include "base/data/json_fwd.h"

namespace thinsnap::containers {

using Variables = std::vector<std::pair<std::string, std::string>>;  // in order, names unique

// Where values come from. ConfigMap and Secret answer the object, kNotFound without.
struct EnvironmentSources {
  std::function<Result<Json>(const std::string& name)> config_map;
  std::function<Result<Json>(const std::string& name)> secret;
  // What every container gets; the container's own win.
  Variables defaults;
};

// $(NAME) becomes its value, $$(NAME) becomes $(NAME), an unknown name stays as it is written.
std::string ExpandReferences(std::string_view text, const Variables& variables);

// A field of the pod, as the downward API names it: metadata.name, metadata.labels['x'],
// spec.nodeName, status.podIP.
Result<std::string> PodField(const Json& pod, const std::string& path);
// limits.memory and the like of a container; unset limits answer the node's whole.
Result<std::string> ContainerResource(const Json& pod, const std::string& container,
                                      const std::string& resource, const std::string& divisor);

// kNotFound or kInvalidArgument with a sentence naming the variable and what it refers to.
Result<Variables> BuildEnvironment(const Json& pod, const Json& container,
                                   const EnvironmentSources& sources);

const std::string* FindVariable(const Variables& variables, std::string_view name);
void SetVariable(Variables& variables, const std::string& name, const std::string& value);

// "500m", "128Mi", "2", "1e3" as a number; 0 for what cannot be read (the API server has checked
// it).
double ParseQuantity(std::string_view text);

}  // namespace thinsnap::containers
