// ControllerDriver: Identity and Controller for the central sidecars. It holds no state: a handle
// names the pool, the directory knows the pool's node, and the node does the work.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "csi/controller/placement.h"
#include "csi/controller/pool_directory.h"
#include "csi/driver/busy.h"
#include "csi/driver/request.h"
#include "csi/pool/handle.h"
#include "csi/proto/csi_service.h"

namespace thinsnap::controller {

class ControllerDriver final : public proto::IdentityService,
                               public proto::ControllerService,
                               public proto::GroupControllerService,
                               public proto::SnapshotMetadataService {
 public:
  ControllerDriver(Runtime& runtime, TaskGroup& group, PoolDirectory& directory)
      : runtime_(runtime), group_(group), directory_(directory) {}

  THINSNAP_IDENTITY_VERBS(THINSNAP_OVERRIDE_VERB)
  THINSNAP_OVERRIDE_VERB(CreateVolume)
  THINSNAP_OVERRIDE_VERB(DeleteVolume)
  THINSNAP_OVERRIDE_VERB(ValidateVolumeCapabilities)
  THINSNAP_OVERRIDE_VERB(ListVolumes)
  THINSNAP_OVERRIDE_VERB(GetCapacity)
  THINSNAP_OVERRIDE_VERB(ControllerGetCapabilities)
  THINSNAP_OVERRIDE_VERB(CreateSnapshot)
  THINSNAP_OVERRIDE_VERB(DeleteSnapshot)
  THINSNAP_OVERRIDE_VERB(ListSnapshots)
  THINSNAP_OVERRIDE_VERB(ControllerExpandVolume)
  THINSNAP_OVERRIDE_VERB(ControllerGetVolume)
  THINSNAP_OVERRIDE_VERB(ControllerModifyVolume)
  THINSNAP_OVERRIDE_VERB(GetSnapshot)
  THINSNAP_GROUP_VERBS(THINSNAP_OVERRIDE_VERB)
  THINSNAP_METADATA_VERBS(THINSNAP_OVERRIDE_STREAM)

 private:
  // The source of a new volume: the pool that holds it, and whether a repository has it too.
  struct Source {
    pool::PoolId pool;
    bool anywhere = false;
  };
  // kUnavailable until the pools are known.
  Status Ready() const;
  // The node of a volume that must be there: kNotFound with its pool lost.
  Result<NodePtr> NodeOfVolume(const std::string& volume);
  Result<Source> FindSource(const csi::v1::CreateVolumeRequest& request);
  Result<std::vector<driver::PoolRecord>> Candidates(const csi::v1::CreateVolumeRequest& request,
                                                     const Source& source);
  // Claims of one namespace that are made at the same moment belong on one node, though no pool
  // counts their volumes yet: the latest choice for each namespace weighs as one volume. A hint
  // only; losing it costs nothing that was promised.
  Result<std::vector<driver::PoolRecord>> PlanTogether(std::vector<driver::PoolRecord> pools,
                                                       const PlacementWish& wish);
  struct NameSearch {
    std::optional<driver::PoolRecord> holder;
    std::set<pool::PoolId> unheard;  // that did not answer: they may have it, too
  };
  Result<NameSearch> FindByName(const proto::Call& call, const std::string& name);
  // Calls `ask` for each pool, for a few at the same time.
  Status AskPools(const std::vector<driver::PoolRecord>& pools,
                  const std::function<void(const driver::PoolRecord&)>& ask);
  // The pages of all pools, one after the other.
  template <typename Response, typename Request>
  Result<Response> ListAll(const proto::Call& call, const Request& request,
                           Result<Response> (proto::ControllerService::*verb)(const proto::Call&,
                                                                              const Request&));
  // Asks the node that has the snapshot; where it does not answer or is lost, any other, which
  // reads the repository. Not once the sink was given anything.
  template <typename Response, typename Request>
  Status AskForBlocks(const proto::Call& call, const std::string& snapshot, const Request& request,
                      const proto::Sink<Response>& sink,
                      Status (proto::SnapshotMetadataService::*verb)(const proto::Call&,
                                                                     const Request&,
                                                                     const proto::Sink<Response>&));
  Result<csi::v1::ListSnapshotsResponse> FindInRepository(
      const proto::Call& call, const csi::v1::ListSnapshotsRequest& request);

  Runtime& runtime_;
  TaskGroup& group_;
  PoolDirectory& directory_;
  driver::BusyKeys busy_;

  struct Recent {
    pool::PoolId pool;
    MonoTime at;
  };
  std::mutex recent_mutex_;
  std::map<std::string, Recent> recent_ GUARDED_BY(recent_mutex_);  // by namespace
};

}  // namespace thinsnap::controller
