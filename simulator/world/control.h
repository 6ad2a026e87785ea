// The control socket of a running `up`: commands of `thinsnap-sim` to it, one line of JSON each
// way.
#pragma once

#include <functional>
#include <string>

#include "base/core/file.h"
#include "base/core/runtime.h"
#include "base/data/json_fwd.h"

namespace thinsnap::world {

inline constexpr char kControlSocket[] = "control.sock";

class ControlServer {
 public:
  // Answers {"command": "destroy-node", "name": ...}; one at a time.
  using Handler = std::function<Status(const std::string& command, const std::string& name)>;

  ControlServer(TaskGroup& group, Handler handler);
  Status Start(const std::string& socket_path);

 private:
  void Serve(int fd);

  TaskGroup& group_;
  const Handler handler_;
  UniqueFd listener_;
};

// kUnavailable when no `up` runs on that folder.
Status SendControl(const std::string& data_folder, const std::string& command,
                   const std::string& name);

}  // namespace thinsnap::world
