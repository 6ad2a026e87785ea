// Janitor: a small process that outlives a killed `up` by a moment. Namespaces take mounts,
// processes and loop devices with them, but not everything goes by itself:
// - the empty control groups of dead containers stay until somebody removes them;
// - a filesystem that was frozen for a snapshot stays frozen for ever when the driver and its
//   watchdog die with their node: whoever writes to it cannot even be killed, and the node never
//   ends. So drivers hand each filesystem that they freeze to the janitor, which thaws it when they
//   are gone.
#pragma once

#include <string>
#include <utility>

#include "base/core/file.h"
#include "base/core/result.h"
#include "base/core/runtime.h"

namespace thinsnap::world {

// In the data folder, below which nodes have their folders.
inline constexpr char kJanitorSocket[] = "janitor.sock";

struct JanitorOptions {
  std::string cgroup;
  std::string data_folder;
};

class Janitor {
 public:
  // To be called before any thread exists. It cleans up when this process, and with it the other
  // end of a pipe, is gone.
  static Result<Janitor> Start(const JanitorOptions& options);

  // Waits until the janitor of a former life of this folder has ended, and with it the last process
  // of a pod: a volume must not have two writers. kDeadlineExceeded if that takes too long.
  Status WaitForFormer(Runtime& runtime) const;

 private:
  Janitor(JanitorOptions options, UniqueFd life, UniqueFd lock)
      : options_(std::move(options)), life_(std::move(life)), lock_(std::move(lock)) {}

  JanitorOptions options_;
  UniqueFd life_;
  UniqueFd lock_;  // shared with the process: free when both are gone
};

// Asks the janitor behind a socket to thaw the filesystem of this folder when the answer is closed
// or its owner dies. When it returns, the janitor has taken note.
Result<UniqueFd> AskToThaw(const std::string& socket_path, const std::string& folder);
// Ends that. When it returns, the janitor has let go of the filesystem.
void StopAsking(UniqueFd asked);

}  // namespace thinsnap::world
