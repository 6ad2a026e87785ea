// OrphanReaper: takes the dead children that nobody of this process waits for.
//
// A kubelet inherits what its descendants leave. A program that was run in a container and lost its
// `runc exec` becomes a child of ours; until it is reaped, the container's process 1 cannot end
// (zap_pid_ns_processes waits for it), so it must be taken soon.
#pragma once

#include <map>
#include <set>
#include <sys/types.h>

namespace thinsnap::containers {

class OrphanReaper {
 public:
  // Reaps, of the children that are dead: at once those of a deeper PID namespace that are not its
  // process 1, since nobody here started them; the others at the tenth call, by when whoever
  // started them would have waited: call it once in a second. Process 1 of a namespace always has
  // an owner, and so have those of `owned`. Never blocks; one thread.
  void Reap(const std::set<pid_t>& owned);

 private:
  std::map<pid_t, int> dead_;  // how many calls have seen it
};

}  // namespace thinsnap::containers
