#include "csi/controller/pool_controller.h"

#include <utility>

#include "base/core/log.h"
#include "base/data/json.h"
#include "base/kube/object.h"
#include "csi/driver/identity.h"

namespace thinsnap::controller {
namespace {

constexpr Duration kProbePause = std::chrono::milliseconds(500);

}  // namespace

PoolController::PoolController(Runtime& runtime, kube::KubeClient& client, PoolDirectory& directory,
                               std::string ns, Duration patience)
    : runtime_(runtime),
      client_(client),
      directory_(directory),
      ns_(std::move(ns)),
      patience_(patience),
      controller_(runtime, "thinpool",
                  [this](const kube::ObjectKey& key) { return Reconcile(key); }) {
  controller_.WatchOwn(directory.pool_objects());
}

Result<bool> PoolController::Answers(const driver::PoolRecord& pool) {
  if (pool.address.empty()) return false;
  const NodePtr node = directory_.Connect(pool.address);
  const MonoTime deadline = runtime_.clock().MonoNow() + patience_;
  for (;;) {
    const auto info = node->GetPluginInfo(proto::Call{deadline}, {});
    if (info.Is(Code::kCancelled)) return info.error();
    if (info.ok()) {
      // The address may be another pool's by now.
      const auto found = info->manifest().find(driver::kPoolManifestKey);
      return found != info->manifest().end() && found->second == pool.id.str();
    }
    if (runtime_.clock().MonoNow() + kProbePause >= deadline) return false;
    TRY(runtime_.SleepFor(kProbePause));
  }
}

Status PoolController::DeclareLost(const driver::PoolRecord& pool) {
  const kube::ObjectKey key{ns_, driver::kLostPoolsName};
  JsonObject data;
  data[pool.id.str()] =
      "node " + pool.node + ", declared lost at " + FormatRfc3339(runtime_.clock().Now());
  JsonObject patch;
  patch["data"] = data;
  const auto patched =
      client_.Patch(kube::types::kConfigMap, key, kube::PatchType::kMerge, Json(patch));
  if (patched.ok()) return {};
  if (!patched.Is(Code::kNotFound)) return patched.error();
  Json created = kube::NewObject(kube::types::kConfigMap, key);
  created.as_object()["data"] = data;
  TRY(client_.Create(kube::types::kConfigMap, created));
  return {};
}

Result<kube::Requeue> PoolController::Reconcile(const kube::ObjectKey& key) {
  auto object = client_.Get(kube::types::kThinPool, key);
  if (object.Is(Code::kNotFound)) return kube::Requeue::Done();
  if (!object.ok()) return object.error();
  if (!kube::IsDeleting(*object)) {
    if (kube::HasFinalizer(*object, driver::kPoolFinalizer)) return kube::Requeue::Done();
    kube::AddFinalizer(*object, driver::kPoolFinalizer);
    TRY(client_.Update(kube::types::kThinPool, *object));
    return kube::Requeue::Done();
  }
  if (!kube::HasFinalizer(*object, driver::kPoolFinalizer)) return kube::Requeue::Done();
  const driver::PoolRecord pool = driver::ReadPoolObject(*object);
  const auto node = client_.Get(kube::types::kNode, {"", pool.node});
  if (!node.ok() && !node.Is(Code::kNotFound)) return node.error();
  if (node.Is(Code::kNotFound) || !TRY(Answers(pool))) {
    LogWarning("thinpool", "pool " + pool.id.str() + " of node " + pool.node + " is lost");
    TRY(DeclareLost(pool).In("ConfigMap " + ns_ + "/" + driver::kLostPoolsName));
  }
  // Only after the entry is there: an id in neither place would be waited for.
  kube::RemoveFinalizer(*object, driver::kPoolFinalizer);
  const auto updated = client_.Update(kube::types::kThinPool, *object);
  if (!updated.ok() && !updated.Is(Code::kNotFound)) return updated.error();
  return kube::Requeue::Done();
}

}  // namespace thinsnap::controller
