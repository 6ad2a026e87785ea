// The driver as its sidecars see it: what it can do, and what its errors mean to them.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/core/guarded.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "csi/proto/csi_service.h"

namespace thinsnap::sidecars {

struct DriverFacts {
  std::string name;
  bool topology = false;                  // VOLUME_ACCESSIBILITY_CONSTRAINTS
  bool volumes = false;                   // CREATE_DELETE_VOLUME
  bool snapshots = false;                 // CREATE_DELETE_SNAPSHOT
  bool list_snapshots = false;            //
  bool clone = false;                     //
  bool expand = false;                    // EXPAND_VOLUME of the controller
  bool attach = false;                    // PUBLISH_UNPUBLISH_VOLUME
  bool single_node_multi_writer = false;  //
};

// GetPluginInfo, Probe and the capabilities, repeated until the driver is there and ready.
// kCancelled; kFailedPrecondition if it calls itself other than `expected_name`.
Result<DriverFacts> WaitForDriver(Runtime& runtime, proto::CsiService& csi,
                                  const std::string& expected_name);

proto::Call CallWithin(Runtime& runtime, Duration timeout);

// The call may still be running or be repeated at once: what it makes must not be forgotten.
bool IsSnapshotErrorFinal(Code code);
bool IsVolumeErrorFinal(Code code);

// `rpc error: code = NotFound desc = ...`, as upstream's messages quote it.
std::string RpcError(const Error& error);

// Waits of one key's repeats: doubling from `first` to `longest`, forgotten after a success. A key
// that is called earlier, by an event that its own write caused, sees how long it still has to
// wait. Thread-safe.
class Backoffs {
 public:
  Backoffs(Clock& clock, Duration first, Duration longest)
      : clock_(clock), first_(first), longest_(longest) {}
  Duration Next(const std::string& key) { return Next(key, longest_); }
  // With a limit of its own.
  Duration Next(const std::string& key, Duration longest);
  // Zero if the wait is over or there was none.
  Duration Remaining(const std::string& key);
  void Forget(const std::string& key);

 private:
  struct Wait {
    Duration length;
    MonoTime due;
  };

  Clock& clock_;
  const Duration first_, longest_;
  std::mutex mutex_;
  std::map<std::string, Wait> waits_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::sidecars
