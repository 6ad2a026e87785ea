// What all verbs of NodeDriver share, and the Identity service.
#include "csi/driver/node_driver.h"

#include <utility>

#include "base/core/log.h"
#include "csi/driver/identity.h"
#include "csi/pool/tags.h"

namespace thinsnap::driver {

NodeDriver::NodeDriver(Runtime& runtime, pool::ThinPool& pool, mount::VolumeMounts& mounts,
                       pool::Quiesce& quiesce, transfer::Exporter& exporter,
                       transfer::Importer& importer, transfer::Repositories& repositories,
                       std::string node_name, pool::GuardOptions guard)
    : runtime_(runtime),
      pool_(pool),
      mounts_(mounts),
      quiesce_(quiesce),
      exporter_(exporter),
      importer_(importer),
      repositories_(repositories),
      node_name_(std::move(node_name)),
      guard_(pool, guard) {}

Status NodeDriver::Start() {
  const auto status = TRY(pool_.GetStatus());
  pool_id_ = status.id;
  return {};
}

Status NodeDriver::Recover() {
  TRY(mounts_.Recover());
  if (!CheckWritable().ok()) return {};
  // A clone that was under way is made again from a new cut.
  for (const pool::SnapshotInfo& snapshot : TRY(pool_.ListSnapshots())) {
    if (!tags::Has(snapshot.tags, tags::kInternal)) continue;
    // One that cannot be removed now keeps nobody else from being served.
    if (const Status removed = pool_.RemoveSnapshot(snapshot.id); !removed.ok()) {
      LogWarning("driver", "snapshot " + snapshot.id.str() +
                               " of a clone that was interrupted stays until the next start: " +
                               removed.error().ToString());
    }
  }
  return {};
}

void NodeDriver::SetStanding(PoolStanding standing) {
  exporter_.SetServing(standing == PoolStanding::kServes);
  importer_.SetServing(standing == PoolStanding::kServes);
  const std::lock_guard lock(mutex_);
  if (standing != standing_ && standing == PoolStanding::kLost) {
    LogWarning("driver", "pool " + pool_id_.str() + " is declared lost: it is only read");
  } else if (standing_ == PoolStanding::kLost && standing == PoolStanding::kServes) {
    LogWarning("driver", "pool " + pool_id_.str() + " is taken back");
  }
  standing_ = standing;
}

Status NodeDriver::CheckWritable() {
  const std::lock_guard lock(mutex_);
  if (standing_ == PoolStanding::kServes) return {};
  if (standing_ == PoolStanding::kUnknown) {
    return Error(Code::kUnavailable,
                 "pool " + pool_id_.str() +
                     " is only read until its node has seen in the ConfigMap thinsnap-lost-pools "
                     "that it was not declared lost");
  }
  return Error(Code::kFailedPrecondition,
               "pool " + pool_id_.str() +
                   " was declared lost and is only read; removing its id from the ConfigMap "
                   "thinsnap-lost-pools takes it back");
}

Result<pool::VolumeInfo> NodeDriver::FindVolume(const std::string& handle) {
  const pool::VolumeHandle parsed = TRY(pool::VolumeHandle::Parse(handle));
  if (parsed.pool != pool_id_) {
    return Error(Code::kUnavailable,
                 "volume " + handle + " is not in this node's pool " + pool_id_.str());
  }
  auto found = pool_.GetVolume(parsed.volume);
  if (found.Is(Code::kNotFound)) return Error(Code::kNotFound, "there is no volume " + handle);
  return found;
}

Result<std::unique_ptr<pool::Guard::Reservation>> NodeDriver::Reserve(const pool::Wish& wish) {
  pool::Guard::Verdict verdict = TRY(guard_.Reserve(wish));
  if (verdict.refusal && verdict.refusal->freeing_helps) {
    const auto freed = exporter_.MakeRoom(verdict.refusal->missing_bytes);
    // What was refused stays refused if nothing can be freed.
    if (freed.ok() && *freed) verdict = TRY(guard_.Reserve(wish));
  }
  if (verdict.refusal) return verdict.refusal->ToError();
  return std::move(verdict.reservation);
}

Result<csi::v1::GetPluginInfoResponse> NodeDriver::GetPluginInfo(
    const proto::Call&, const csi::v1::GetPluginInfoRequest&) {
  csi::v1::GetPluginInfoResponse info = PluginInfo();
  (*info.mutable_manifest())[kPoolManifestKey] = pool_id_.str();
  return info;
}

Result<csi::v1::GetPluginCapabilitiesResponse> NodeDriver::GetPluginCapabilities(
    const proto::Call&, const csi::v1::GetPluginCapabilitiesRequest&) {
  return PluginCapabilities();
}

Result<csi::v1::ProbeResponse> NodeDriver::Probe(const proto::Call&, const csi::v1::ProbeRequest&) {
  const auto status = pool_.GetStatus();
  if (!status.ok()) {
    return Error(Code::kFailedPrecondition,
                 "the pool does not answer: " + status.error().message());
  }
  if (!status->healthy()) {
    return Error(Code::kFailedPrecondition,
                 "pool " + pool_id_.str() + " is in trouble: " + status->Trouble());
  }
  csi::v1::ProbeResponse answer;
  answer.mutable_ready()->set_value(true);
  return answer;
}

Result<csi::v1::ControllerGetCapabilitiesResponse> NodeDriver::ControllerGetCapabilities(
    const proto::Call&, const csi::v1::ControllerGetCapabilitiesRequest&) {
  return ControllerCapabilities();
}

Result<csi::v1::NodeGetCapabilitiesResponse> NodeDriver::NodeGetCapabilities(
    const proto::Call&, const csi::v1::NodeGetCapabilitiesRequest&) {
  return NodeCapabilities();
}

}  // namespace thinsnap::driver
