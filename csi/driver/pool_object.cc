#include "csi/driver/pool_object.h"

#include <utility>

#include "base/core/log.h"
#include "base/data/json.h"
#include "base/kube/object.h"
#include "csi/pool/tags.h"

namespace thinsnap::driver {

PoolRecord ReadPoolObject(const Json& object) {
  PoolRecord record;
  record.id = pool::PoolId(kube::NameOf(object));
  record.node = StringAt(object, "spec.node");
  record.address = StringAt(object, "spec.address");
  record.size_bytes = static_cast<std::uint64_t>(IntAt(object, "status.sizeBytes"));
  record.free_bytes = static_cast<std::uint64_t>(IntAt(object, "status.freeBytes"));
  record.healthy = BoolAt(object, "status.healthy");
  record.reason = StringAt(object, "status.reason");
  if (const JsonObject* counts = FindObject(object, "status.volumesByNamespace")) {
    for (const auto& [ns, count] : *counts) {
      if (count.is_int64()) {
        record.volumes_by_namespace[std::string(ns)] = static_cast<int>(count.as_int64());
      }
    }
  }
  return record;
}

void PoolReporter::Run() {
  std::string last_trouble;
  for (;;) {
    const Status reported = ReportOnce();
    if (Runtime::Cancelled()) return;
    const std::string trouble = reported.ok() ? "" : reported.error().ToString();
    if (!trouble.empty() && trouble != last_trouble) LogWarning("pool object", trouble);
    last_trouble = trouble;
    if (!runtime_.SleepFor(options_.period).ok()) return;
  }
}

Result<bool> IsDeclaredLost(kube::KubeClient& client, const std::string& ns,
                            const pool::PoolId& id) {
  const auto lost = client.Get(kube::types::kConfigMap, {ns, kLostPoolsName});
  if (lost.Is(Code::kNotFound)) return false;
  if (!lost.ok()) return Error(lost.error()).In("read ConfigMap " + ns + "/" + kLostPoolsName);
  const JsonObject* data = FindObject(*lost, "data");
  return data != nullptr && data->contains(id.str());
}

Result<Json> PoolReporter::StatusOf(const pool::PoolStatus& pool, bool lost) {
  JsonObject by_namespace;
  const auto volumes = TRY(pool_.ListVolumes());
  for (const pool::VolumeInfo& volume : volumes) {
    const std::string claim = tags::Get(volume.tags, tags::kClaim);
    const auto slash = claim.find('/');
    if (slash == std::string::npos) continue;
    Json& count = by_namespace[claim.substr(0, slash)];
    count = count.is_int64() ? count.as_int64() + 1 : std::int64_t{1};
  }
  JsonObject status;
  status["sizeBytes"] = static_cast<std::int64_t>(pool.size_bytes);
  status["freeBytes"] = static_cast<std::int64_t>(pool.free_bytes);
  status["snapshotOverheadBytes"] = static_cast<std::int64_t>(pool.snapshot_overhead_bytes);
  status["healthy"] = pool.healthy() && !lost;
  status["reason"] = lost ? "declared lost: read only, its " + std::to_string(volumes.size()) +
                                " volumes are orphans until its id is removed from the ConfigMap " +
                                kLostPoolsName
                          : pool.Trouble();
  status["volumes"] = static_cast<std::int64_t>(volumes.size());
  status["volumesByNamespace"] = std::move(by_namespace);
  status["heartbeatTime"] = FormatRfc3339(runtime_.clock().Now());
  return Json(std::move(status));
}

Status PoolReporter::ReportOnce() {
  const pool::PoolStatus pool = TRY(pool_.GetStatus());
  const bool lost = TRY(IsDeclaredLost(client_, options_.ns, pool.id));
  if (options_.on_lost) options_.on_lost(lost);

  const kube::ObjectKey key{"", pool.id.str()};
  JsonObject spec;
  spec["node"] = options_.node_name;
  spec["address"] = options_.address;
  auto current = client_.Get(kube::types::kThinPool, key);
  if (current.Is(Code::kNotFound)) {
    Json object = kube::NewObject(kube::types::kThinPool, key);
    kube::AddFinalizer(object, kPoolFinalizer);
    object.as_object()["spec"] = spec;
    current = client_.Create(kube::types::kThinPool, object);
  }
  if (!current.ok()) return std::move(current).error().In("ThinPool " + pool.id.str());
  // One that is going is the controller's business; it is written anew when it is gone.
  if (kube::IsDeleting(*current)) return {};
  const Json* known = Find(*current, "spec");
  if (known == nullptr || *known != Json(spec)) {
    JsonObject patch;
    patch["spec"] = spec;
    TRY(client_.Patch(kube::types::kThinPool, key, kube::PatchType::kMerge, patch)
            .In("ThinPool " + pool.id.str()));
  }
  JsonObject patch;
  patch["status"] = TRY(StatusOf(pool, lost));
  kube::PatchOptions options;
  options.subresource = "status";
  TRY(client_.Patch(kube::types::kThinPool, key, kube::PatchType::kMerge, patch, options)
          .In("status of ThinPool " + pool.id.str()));
  return {};
}

}  // namespace thinsnap::driver
