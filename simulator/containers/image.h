// Images: what a name in a pod stands for on this machine. Nothing is pulled: an image is a root
// filesystem made of read-only pieces of the host, of busybox-static, or of a folder or an OCI
// layout that the user named. Every container gets a root of its own that it may write to.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/core/command.h"
#include "base/core/result.h"
#include "simulator/containers/environment.h"

namespace thinsnap::containers {

struct ImageOptions {
  std::string cache_folder;                    // the unpacked busybox; shared by the nodes
  std::string program_folder;                  // our build/bin, for the image thinsnap
  std::map<std::string, std::string> folders;  // --image NAME=FOLDER
};

// How to make a container's root.
struct RootPlan {
  std::vector<std::pair<std::string, std::string>>
      read_only_binds;                                     // host path -> path in the root
  std::vector<std::pair<std::string, std::string>> links;  // path in the root -> target
  std::vector<std::string> lower_folders;                  // overlaid, the lowest first, if given
  std::vector<std::string> entrypoint, default_command;    // before args; instead of them
  std::string path_variable;
  Variables environment;       // of the image
  std::string working_folder;  // "" is /
  std::int64_t user = 0;
  std::string note;  // for the container's log, when it runs the default command
};

enum class ImageKind { kBusybox, kOwn, kHost, kFolder };

struct ImageChoice {
  ImageKind kind = ImageKind::kHost;
  std::string folder;
};

// "docker.io/library/busybox:1.36@sha256:..." -> "busybox".
std::string ShortImageName(const std::string& image);
// A mapping matches the whole text, the text without tag and digest, or the short name.
ImageChoice ChooseImage(const std::string& image, const ImageOptions& options);

// Prepares what is shared. kFailedPrecondition names what is missing on this machine.
Result<RootPlan> PlanRoot(const std::string& image, const ImageOptions& options,
                          CommandRunner& runner);

// Makes the container's own root folder: folders, links, a minimal /etc. The binds are left to the
// container's configuration.
Status MakeRoot(const RootPlan& plan, const std::string& root, const std::string& hostname,
                const std::vector<std::pair<std::string, std::string>>& hosts);

}  // namespace thinsnap::containers
