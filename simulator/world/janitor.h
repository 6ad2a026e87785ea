// Janitor: a small process that outlives a killed `up` by a moment. Namespaces take mounts,
// processes and loop devices with them, but nobody removes the empty control groups of dead
// containers: it does, and ends.
#pragma once

#include <string>
#include <utility>

#include "base/core/file.h"
#include "base/core/result.h"

namespace thinsnap::world {

class Janitor {
 public:
  // To be called before any thread exists. It works when this process, and with it the other end of
  // a pipe, is gone.
  static Result<Janitor> Start(const std::string& cgroup);

 private:
  explicit Janitor(UniqueFd life) : life_(std::move(life)) {}
  UniqueFd life_;
};

}  // namespace thinsnap::world
