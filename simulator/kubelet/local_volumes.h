// Volumes that are folders of the node itself (emptyDir, hostPath), and places below a volume
// (subPath).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/core/file.h"
#include "base/core/result.h"
#include "base/data/json.h"

namespace thinsnap::kubelet {

// An emptyDir at the path. True if something is mounted there: medium Memory, whose sizeLimit
// holds.
Result<bool> MakeEmptyFolder(const Json& source, const std::string& path);

// Where hostPath volumes lie: below a folder of the node, which is the root that they see, but for
// paths of this machine that its user lends to pods.
struct HostPaths {
  std::string root;
  std::vector<std::string> lent;  // absolute, with all that is below them
};

// Checks or makes what hostPath's type asks for; opened with O_PATH.
Result<UniqueFd> MakeHostPath(const Json& source, const HostPaths& paths);

// A place below a volume, a folder when missing (as open as the volume itself), that no link may
// lead out of the volume (kPermissionDenied). Opened with O_PATH: pods that write to the volume may
// put something else under its name at any moment.
Result<UniqueFd> PlaceBelow(const std::string& volume, const std::string& sub_path);

// What a descriptor stands for, mounted at a path that no pod can reach: a mount namespace binds
// nothing by the descriptor of another one, and so runc needs a path. Until this object goes.
class PrivateMount {
 public:
  static Result<std::shared_ptr<const PrivateMount>> Make(const UniqueFd& what, std::string path);
  ~PrivateMount();
  PrivateMount(const PrivateMount&) = delete;
  PrivateMount& operator=(const PrivateMount&) = delete;
  const std::string& path() const { return path_; }

 private:
  explicit PrivateMount(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

}  // namespace thinsnap::kubelet
