// The services of CSI as plain interfaces. A driver implements those that it has, CsiServer serves
// them over gRPC, CsiClient is all of them on the other end of a connection, and a simulation calls
// them directly.
//
// Only the messages are included here; gRPC's own headers stay in this folder's .cc files.
#pragma once

#include <algorithm>
#include <functional>
#include <string>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "csi/proto/csi.pb.h"

// X(verb) for every unary verb of a service.
#define THINSNAP_IDENTITY_VERBS(X) \
  X(GetPluginInfo)                 \
  X(GetPluginCapabilities)         \
  X(Probe)
#define THINSNAP_CONTROLLER_VERBS(X) \
  X(CreateVolume)                    \
  X(DeleteVolume)                    \
  X(ControllerPublishVolume)         \
  X(ControllerUnpublishVolume)       \
  X(ValidateVolumeCapabilities)      \
  X(ListVolumes)                     \
  X(GetCapacity)                     \
  X(ControllerGetCapabilities)       \
  X(CreateSnapshot)                  \
  X(DeleteSnapshot)                  \
  X(ListSnapshots)                   \
  X(GetSnapshot)                     \
  X(ControllerExpandVolume)          \
  X(ControllerGetVolume)             \
  X(ControllerModifyVolume)
#define THINSNAP_GROUP_VERBS(X)     \
  X(GroupControllerGetCapabilities) \
  X(CreateVolumeGroupSnapshot)      \
  X(DeleteVolumeGroupSnapshot)      \
  X(GetVolumeGroupSnapshot)
// Of a service whose answers are streams.
#define THINSNAP_METADATA_VERBS(X) \
  X(GetMetadataAllocated)          \
  X(GetMetadataDelta)
#define THINSNAP_NODE_VERBS(X) \
  X(NodeStageVolume)           \
  X(NodeUnstageVolume)         \
  X(NodePublishVolume)         \
  X(NodeUnpublishVolume)       \
  X(NodeGetVolumeStats)        \
  X(NodeExpandVolume)          \
  X(NodeGetCapabilities)       \
  X(NodeGetInfo)

// The declaration of a verb in a class that implements it.
#define THINSNAP_OVERRIDE_VERB(verb)                            \
  Result<csi::v1::verb##Response> verb(const proto::Call& call, \
                                       const csi::v1::verb##Request& request) override;
#define THINSNAP_OVERRIDE_STREAM(verb)                                        \
  Status verb(const proto::Call& call, const csi::v1::verb##Request& request, \
              const proto::Sink<csi::v1::verb##Response>& sink) override;

namespace thinsnap::proto {

// What comes with a call besides its request.
struct Call {
  MonoTime deadline = kForever;
  // What the log lines about it have in common, on every driver that it comes by.
  std::string id = {};

  // The same call, ended earlier.
  Call Until(MonoTime latest) const { return {std::min(deadline, latest), id}; }
};

// Takes the messages of a stream, one after the other, and may make its sender wait. An error says
// that nobody takes more; it ends the call.
template <typename Response>
using Sink = std::function<Status(const Response&)>;

// All services are thread-safe and blocking. Verbs that an implementation does not have answer
// kUnimplemented. The code of an Error is the gRPC code of the same name; kUnknownOutcome travels
// as UNAVAILABLE, since every verb of CSI may be repeated.
#define THINSNAP_DECLARE_VERB(verb)                              \
  virtual Result<csi::v1::verb##Response> verb(const Call& call, \
                                               const csi::v1::verb##Request& request);

class IdentityService {
 public:
  virtual ~IdentityService() = default;
  THINSNAP_IDENTITY_VERBS(THINSNAP_DECLARE_VERB)
};

class ControllerService {
 public:
  virtual ~ControllerService() = default;
  THINSNAP_CONTROLLER_VERBS(THINSNAP_DECLARE_VERB)
};

class GroupControllerService {
 public:
  virtual ~GroupControllerService() = default;
  THINSNAP_GROUP_VERBS(THINSNAP_DECLARE_VERB)
};

class NodeService {
 public:
  virtual ~NodeService() = default;
  THINSNAP_NODE_VERBS(THINSNAP_DECLARE_VERB)
};

// The answer is what the sink was given, whole only if the verb returns OK.
#define THINSNAP_DECLARE_STREAM(verb)                                          \
  virtual Status verb(const Call& call, const csi::v1::verb##Request& request, \
                      const Sink<csi::v1::verb##Response>& sink);

class SnapshotMetadataService {
 public:
  virtual ~SnapshotMetadataService() = default;
  THINSNAP_METADATA_VERBS(THINSNAP_DECLARE_STREAM)
};

#undef THINSNAP_DECLARE_VERB
#undef THINSNAP_DECLARE_STREAM

// A whole driver, as the socket of a node has it.
class CsiService : public IdentityService,
                   public ControllerService,
                   public GroupControllerService,
                   public SnapshotMetadataService,
                   public NodeService {};

}  // namespace thinsnap::proto
