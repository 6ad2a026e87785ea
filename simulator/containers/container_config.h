// The OCI runtime's config.json of one container, from the pod's YAML and what was prepared for it.
// Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json_fwd.h"
#include "simulator/containers/environment.h"
#include "simulator/containers/image.h"

namespace thinsnap::containers {

struct ContainerMount {
  std::string source;       // on the node, until the container has started
  std::string destination;  // in the container
  bool read_only = false;
  std::shared_ptr<const void> held = {};  // what the source is there by
};

struct ContainerDevice {
  std::string path;  // in the container
  unsigned major = 0, minor = 0;
};

struct ContainerInputs {
  const Json& pod;
  const Json& container;
  const RootPlan& image;
  std::string root;  // the container's own root folder
  std::string cgroup;
  std::string hostname;
  Variables environment;
  std::vector<ContainerMount> mounts;
  std::vector<ContainerDevice> devices;
  std::string pid_namespace;  // of another container, to be joined; empty: its own
};

// What the container runs: command and args, or the image's default.
std::vector<std::string> CommandOf(const Json& container, const RootPlan& image,
                                   const Variables& environment);

// kInvalidArgument with the field, for what no container of ours can be.
Result<Json> BuildContainerConfig(const ContainerInputs& inputs);

}  // namespace thinsnap::containers
