// NodeFleet: the node processes of a world and their folders.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/net/certificate.h"
#include "simulator/apiserver/api_server.h"
#include "simulator/world/up.h"
#include "simulator/world/world_state.h"

namespace thinsnap::world {

// Thread-safe.
class NodeFleet {
 public:
  // For the person at the terminal; from any task.
  using Tell = std::function<void(const std::string& what)>;

  NodeFleet(Runtime& runtime, TaskGroup& parent, apiserver::ApiServer& api,
            const net::KeyPair& authority, const UpOptions& options, WorldState state, Tell tell);

  // Writes the node's folder and starts its process, again whenever it ends.
  Status Start(const std::string& name);
  // A fire: the process, the pool and the folder go, and the name never comes back. kNotFound names
  // the nodes there are.
  Status Destroy(const std::string& name);
  // Ends the node processes orderly, all at the same time, and waits.
  void StopAll();
  std::vector<std::string> names() const;
  static std::string FolderOf(const std::string& data, const std::string& node) {
    return data + "/nodes/" + node;
  }

 private:
  Status WriteFiles(const std::string& name);

  Runtime& runtime_;
  TaskGroup& parent_;
  apiserver::ApiServer& api_;
  const net::KeyPair& authority_;
  const UpOptions& options_;
  const std::string cgroup_;
  const Tell tell_;
  mutable std::mutex mutex_;
  WorldState state_ GUARDED_BY(mutex_);
  struct Running {
    std::unique_ptr<TaskGroup> group;
    std::shared_ptr<std::atomic<bool>> burns;
  };
  std::map<std::string, Running> nodes_;
};

// The certificate authority of the driver's own connections, kept in the folder.
Result<net::KeyPair> LoadOrMakeAuthority(const std::string& folder, Clock& clock);
// A certificate for the role of that name, as three files.
Status WriteDriverTls(const std::string& folder, const net::KeyPair& authority,
                      const std::string& role, Clock& clock);

}  // namespace thinsnap::world
