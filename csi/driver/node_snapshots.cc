// The verbs of NodeDriver that concern snapshots.
#include <algorithm>
#include <chrono>
#include <google/protobuf/timestamp.pb.h>
#include <utility>

#include "base/core/log.h"
#include "base/data/json.h"
#include "csi/driver/node_driver.h"
#include "csi/pool/tags.h"
#include "csi/transfer/local_copies.h"

namespace thinsnap::driver {
namespace {

Error Refused(std::string message) { return {Code::kFailedPrecondition, std::move(message)}; }

void SetTime(google::protobuf::Timestamp& to, WallTime time) {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  to.set_seconds(seconds.count());
  to.set_nanos(static_cast<std::int32_t>((since - seconds).count()));
}

}  // namespace

pool::SnapshotHandle NodeDriver::HandleOf(const pool::SnapshotInfo& snapshot) const {
  const auto repositories = tags::RepositoriesOf(snapshot);
  return {pool_id_, snapshot.volume, snapshot.id, repositories.empty() ? "" : repositories.front()};
}

bool NodeDriver::IsListed(const pool::SnapshotInfo& snapshot) {
  return !tags::Has(snapshot.tags, tags::kHidden) && !tags::Has(snapshot.tags, tags::kInternal);
}

csi::v1::Snapshot NodeDriver::Describe(const pool::SnapshotInfo& snapshot) const {
  const pool::SnapshotHandle handle = HandleOf(snapshot);
  csi::v1::Snapshot described;
  described.set_snapshot_id(handle.ToString());
  described.set_source_volume_id(handle.volume_handle().ToString());
  described.set_size_bytes(
      static_cast<std::int64_t>(tags::GetBytes(snapshot.tags, tags::kSize, snapshot.size_bytes)));
  SetTime(*described.mutable_creation_time(), snapshot.cut);
  described.set_ready_to_use(tags::IsExported(snapshot));
  if (!snapshot.group.str().empty()) {
    described.set_group_snapshot_id(pool::GroupHandle{pool_id_, snapshot.group}.ToString());
  }
  return described;
}

Status NodeDriver::CheckRepositories(const SnapshotParameters& parameters) {
  for (const std::string& id : parameters.repositories) {
    auto config = repositories_.Config(id);
    if (config.Is(Code::kCancelled) || config.Is(Code::kUnavailable)) return config.error();
    if (!config.ok()) return Refused(config.error().message());
    if (config->wiping) {
      return Refused("repository " + id + " is being wiped and takes no exports");
    }
    const std::string& ns = parameters.snapshot_namespace;
    if (!config->Admits(ns)) {
      if (ns.empty()) {
        return Refused("repository " + id +
                       " is for certain namespaces only, and the snapshotter does not say which "
                       "one asks: it must run with --extra-create-metadata");
      }
      return Error(Code::kPermissionDenied,
                   "namespace " + ns + " may not export into repository " + id +
                       "; those that may are: " + tags::JoinList(config->namespaces));
    }
    // A wrong key is told before the cut. A store that does not answer now may do so later.
    const auto opened = repositories_.Open(id);
    if (opened.Is(Code::kCancelled)) return opened.error();
    if (opened.Is(Code::kFailedPrecondition) || opened.Is(Code::kInvalidArgument) ||
        opened.Is(Code::kPermissionDenied) || opened.Is(Code::kUnauthenticated)) {
      return Refused(opened.error().message());
    }
  }
  return {};
}

pool::Tags NodeDriver::TagsOfCut(const pool::VolumeInfo& volume,
                                 const SnapshotParameters& parameters) {
  pool::Tags tags;
  tags[tags::kRepositories] = tags::JoinList(parameters.repositories);
  tags[tags::kLocalCopies] = std::to_string(parameters.local_copies);
  tags[tags::kSize] = tags::Get(volume.tags, tags::kSize);
  tags[tags::kMode] = tags::Get(volume.tags, tags::kMode);
  tags[tags::kClaim] = tags::Get(volume.tags, tags::kClaim);
  tags[tags::kFsType] = tags::Get(volume.tags, mount::kFsTag);
  tags[tags::kContent] = parameters.content;
  if (!parameters.snapshot_name.empty()) {
    tags[tags::kVolumeSnapshot] = parameters.snapshot_namespace + "/" + parameters.snapshot_name;
  }
  std::erase_if(tags, [](const auto& tag) { return tag.second.empty(); });
  return tags;
}

Result<pool::SnapshotInfo> NodeDriver::Cut(const pool::VolumeInfo& volume, const std::string& name,
                                           const SnapshotParameters& parameters) {
  const pool::SnapshotRequest cut{name, volume.id, TagsOfCut(volume, parameters)};
  auto snapshot = WithRoom({}, [&] { return pool_.Snapshot(cut, quiesce_); });
  // The sidecar takes RESOURCE_EXHAUSTED as "perhaps it was cut", and such a VolumeSnapshot cannot
  // be deleted.
  if (snapshot.Is(Code::kResourceExhausted)) return Refused(snapshot.error().message());
  return snapshot;
}

Result<csi::v1::CreateSnapshotResponse> NodeDriver::CreateSnapshot(
    const proto::Call&, const csi::v1::CreateSnapshotRequest& request) {
  TRY(RequireName(request.name()));
  TRY(RequireField(request.source_volume_id(), "source_volume_id"));
  const BusyKeys::Hold hold(busy_, "snapshot name " + request.name());
  TRY(hold.Check());
  auto snapshot = TRY(pool_.FindSnapshot(request.name()));
  if (snapshot && !IsListed(*snapshot)) {
    // Deleted, and kept for increments only. The name is wanted for a new point in time.
    TRY(CheckWritable());
    TRY(exporter_.GiveUp(snapshot->id));
    snapshot.reset();
  }
  csi::v1::CreateSnapshotResponse response;
  if (snapshot) {
    const pool::SnapshotHandle handle = HandleOf(*snapshot);
    if (handle.volume_handle().ToString() != request.source_volume_id()) {
      return Error(Code::kAlreadyExists, "name \"" + request.name() +
                                             "\" stands for a snapshot of volume " +
                                             handle.volume_handle().ToString());
    }
    if (tags::IsExported(*snapshot)) {
      TRY(exporter_.Forget(snapshot->id));
    } else {
      exporter_.Add(snapshot->volume);
      if (const auto failure = exporter_.FailureToReport(*snapshot)) {
        return Error(Code::kInternal, "export of snapshot " + handle.ToString() +
                                          " fails and is tried again: " + failure->message());
      }
    }
  } else {
    const SnapshotParameters parameters = TRY(ReadSnapshotParameters(request.parameters()));
    const pool::VolumeInfo volume = TRY(FindVolume(request.source_volume_id()));
    TRY(CheckWritable());
    if (tags::Has(volume.tags, tags::kImporting)) {
      return Refused("volume " + request.source_volume_id() + " is still being imported");
    }
    TRY(CheckRepositories(parameters));
    snapshot = TRY(Cut(volume, request.name(), parameters));
    if (!parameters.repositories.empty()) exporter_.Add(snapshot->volume);
  }
  *response.mutable_snapshot() = Describe(*snapshot);
  return response;
}

Result<csi::v1::DeleteSnapshotResponse> NodeDriver::DeleteSnapshot(
    const proto::Call&, const csi::v1::DeleteSnapshotRequest& request) {
  TRY(RequireField(request.snapshot_id(), "snapshot_id"));
  const auto handle = pool::SnapshotHandle::Parse(request.snapshot_id());
  if (!handle.ok()) return csi::v1::DeleteSnapshotResponse();
  if (handle->pool != pool_id_) {
    return Error(Code::kUnavailable, "snapshot " + request.snapshot_id() +
                                         " is not in this node's pool " + pool_id_.str());
  }
  TRY(CheckWritable());
  const BusyKeys::Hold hold(busy_, request.snapshot_id());
  TRY(hold.Check());
  auto snapshot = pool_.GetSnapshot(handle->snapshot);
  if (snapshot.Is(Code::kNotFound)) return csi::v1::DeleteSnapshotResponse();
  if (!snapshot.ok()) return snapshot.error();
  if (!IsListed(*snapshot) || snapshot->volume != handle->volume) {
    return csi::v1::DeleteSnapshotResponse();
  }
  TRY(exporter_.Cancel(snapshot->id));
  // The export may just have ended: look again.
  const auto siblings = TRY(pool_.SnapshotsOf(snapshot->volume));
  const auto volume = pool_.GetVolume(snapshot->volume);
  if (!volume.ok() && !volume.Is(Code::kNotFound)) return volume.error();
  Status hidden = Error(Code::kNotFound, "no base");
  if (volume.ok() && transfer::IsBase(siblings, *snapshot)) {
    hidden = pool_.TagSnapshot(snapshot->id, {{tags::kHidden, "1"}});
    // A pool without room for a tag has none for a base.
    if (!hidden.ok() && !hidden.Is(Code::kResourceExhausted)) return hidden.error();
  }
  if (!hidden.ok()) TRY(pool_.RemoveSnapshot(snapshot->id));
  TRY(exporter_.Forget(snapshot->id));
  return csi::v1::DeleteSnapshotResponse();
}

Result<std::optional<csi::v1::Snapshot>> NodeDriver::LookInRepository(
    const pool::SnapshotHandle& handle) {
  const auto point = transfer::FindPoint(repositories_, handle);
  if (point.Is(Code::kNotFound)) return std::optional<csi::v1::Snapshot>();
  if (point.Is(Code::kCancelled) || point.Is(Code::kDataLoss)) return point.error();
  // An empty list would say that there is no such snapshot.
  if (!point.ok()) return Error(Code::kUnavailable, point.error().message());
  csi::v1::Snapshot described;
  described.set_snapshot_id(handle.ToString());
  described.set_source_volume_id(handle.volume_handle().ToString());
  described.set_size_bytes(
      IntAt(point->attributes, "sizeBytes", static_cast<std::int64_t>(point->size_bytes)));
  SetTime(*described.mutable_creation_time(), point->cut);
  described.set_ready_to_use(true);
  return std::optional(described);
}

Result<csi::v1::ListSnapshotsResponse> NodeDriver::ListSnapshots(
    const proto::Call&, const csi::v1::ListSnapshotsRequest& request) {
  if (request.max_entries() < 0) return Error(Code::kInvalidArgument, "max_entries is negative");
  const PageStart start = TRY(ReadToken(request.starting_token()));
  csi::v1::ListSnapshotsResponse response;
  std::optional<pool::SnapshotHandle> wanted;
  if (!request.snapshot_id().empty()) {
    auto parsed = pool::SnapshotHandle::Parse(request.snapshot_id());
    if (!parsed.ok()) return response;
    wanted = std::move(*parsed);
  }
  for (const pool::SnapshotInfo& snapshot : TRY(pool_.ListSnapshots())) {
    if (!IsListed(snapshot) || snapshot.id.str() <= start.id) continue;
    const csi::v1::Snapshot described = Describe(snapshot);
    if (wanted && described.snapshot_id() != request.snapshot_id()) continue;
    if (!request.source_volume_id().empty() &&
        described.source_volume_id() != request.source_volume_id()) {
      continue;
    }
    if (request.max_entries() != 0 && response.entries_size() == request.max_entries()) {
      const auto last = pool::SnapshotHandle::Parse(
          response.entries(response.entries_size() - 1).snapshot().snapshot_id());
      response.set_next_token(MakeToken(pool_id_.str(), last->snapshot.str()));
      break;
    }
    *response.add_entries()->mutable_snapshot() = described;
  }
  if (!wanted || wanted->repository.empty() || !response.entries().empty() ||
      !request.starting_token().empty()) {
    return response;
  }
  if (!request.source_volume_id().empty() &&
      request.source_volume_id() != wanted->volume_handle().ToString()) {
    return response;
  }
  if (auto stored = TRY(LookInRepository(*wanted))) {
    *response.add_entries()->mutable_snapshot() = std::move(*stored);
  }
  return response;
}

Result<csi::v1::GetSnapshotResponse> NodeDriver::GetSnapshot(
    const proto::Call& call, const csi::v1::GetSnapshotRequest& request) {
  return GetOneSnapshot(*this, call, request);
}

}  // namespace thinsnap::driver
