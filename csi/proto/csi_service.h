// CsiService: the verbs of CSI as one plain interface. A driver implements it, CsiServer serves it
// over gRPC, CsiClient is it on the other end of a socket, and a simulation calls it directly.
//
// Only the messages are included here; gRPC's own headers stay in this folder's .cc files.
#pragma once

#include "base/core/clock.h"
#include "base/core/result.h"
#include "csi/proto/csi.pb.h"

// X(service, verb) for every unary verb that is served.
#define THINSNAP_CSI_VERBS(X)               \
  X(Identity, GetPluginInfo)                \
  X(Identity, GetPluginCapabilities)        \
  X(Identity, Probe)                        \
  X(Controller, CreateVolume)               \
  X(Controller, DeleteVolume)               \
  X(Controller, ControllerPublishVolume)    \
  X(Controller, ControllerUnpublishVolume)  \
  X(Controller, ValidateVolumeCapabilities) \
  X(Controller, ListVolumes)                \
  X(Controller, GetCapacity)                \
  X(Controller, ControllerGetCapabilities)  \
  X(Controller, CreateSnapshot)             \
  X(Controller, DeleteSnapshot)             \
  X(Controller, ListSnapshots)              \
  X(Controller, GetSnapshot)                \
  X(Controller, ControllerExpandVolume)     \
  X(Controller, ControllerGetVolume)        \
  X(Controller, ControllerModifyVolume)     \
  X(Node, NodeStageVolume)                  \
  X(Node, NodeUnstageVolume)                \
  X(Node, NodePublishVolume)                \
  X(Node, NodeUnpublishVolume)              \
  X(Node, NodeGetVolumeStats)               \
  X(Node, NodeExpandVolume)                 \
  X(Node, NodeGetCapabilities)              \
  X(Node, NodeGetInfo)

namespace thinsnap::proto {

// What comes with a call besides its request.
struct Call {
  MonoTime deadline = kForever;
};

// Thread-safe, blocking. Verbs that an implementation does not have answer kUnimplemented. The code
// of an Error is the gRPC code of the same name; kUnknownOutcome travels as UNAVAILABLE, since
// every verb of CSI may be repeated.
class CsiService {
 public:
  virtual ~CsiService() = default;

#define THINSNAP_DECLARE_VERB(service, verb)                     \
  virtual Result<csi::v1::verb##Response> verb(const Call& call, \
                                               const csi::v1::verb##Request& request);
  THINSNAP_CSI_VERBS(THINSNAP_DECLARE_VERB)
#undef THINSNAP_DECLARE_VERB
};

}  // namespace thinsnap::proto
