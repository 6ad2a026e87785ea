#include "snapshotter/operator/restore_claims.h"

#include <map>
#include <utility>

#include "base/kube/object.h"

namespace thinsnap::backup {

namespace {

constexpr Duration kStuck = std::chrono::minutes(30);
constexpr char kSelectedNode[] = "volume.kubernetes.io/selected-node";

// For a claim of a WaitForFirstConsumer class the operator is the consumer: the node with the local
// copy, else the one whose pool has most room, else any that is Ready.
Result<std::string> ChooseNode(Context& context, const std::string& pool) {
  std::map<std::string, bool> ready;
  const auto nodes = TRY(context.client.List(kube::types::kNode, ""));
  for (const auto& node : nodes.items) {
    ready[kube::NameOf(node)] =
        kube::ConditionIs(node, "Ready") && !BoolAt(node, "spec.unschedulable");
  }
  std::string best;
  std::int64_t most_free = -1;
  const auto pools = context.client.List(kube::types::kThinPool, "");
  if (pools.ok()) {
    for (const auto& item : pools->items) {
      const auto node = StringAt(item, "spec.node");
      if (!ready[node] || !BoolAt(item, "status.healthy")) continue;
      if (kube::NameOf(item) == pool) return node;
      if (const auto free = IntAt(item, "status.freeBytes"); free > most_free) {
        most_free = free;
        best = node;
      }
    }
  }
  if (!best.empty()) return best;
  for (const auto& [node, is_ready] : ready) {
    if (is_ready) return node;
  }
  return std::string();
}

// The pool where the snapshot was cut that a claim is made from; empty where that cannot be told.
Result<std::string> PoolOf(Context& context, const Json& claim) {
  const kube::ObjectKey key{kube::NamespaceOf(claim), StringAt(claim, "spec.dataSource.name")};
  const auto source = TRY(GetIfExists(context.client, kube::types::kVolumeSnapshot, key));
  if (!source) return std::string();
  const kube::ObjectKey bound{"", StringAt(*source, "status.boundVolumeSnapshotContentName")};
  if (bound.name.empty()) return std::string();
  const auto content = TRY(GetIfExists(context.client, kube::types::kVolumeSnapshotContent, bound));
  if (!content) return std::string();
  const auto handle = ParseSnapshotHandle(StringAt(*content, "status.snapshotHandle"));
  return handle ? handle->pool : std::string();
}

// What the provisioner said last of a claim; empty when it said nothing bad.
Result<std::string> LastWarning(Context& context, const Json& claim) {
  kube::ListOptions options;
  options.field_selector = "involvedObject.uid=" + kube::UidOf(claim) + ",type=Warning";
  const auto events =
      TRY(context.client.List(kube::types::kEvent, kube::NamespaceOf(claim), options));
  std::string last, message;
  for (const auto& event : events.items) {
    const auto time = StringAt(event, "lastTimestamp", StringAt(event, "eventTime"));
    if (time < last) continue;
    last = time;
    message = StringAt(event, "message");
  }
  return message;
}

}  // namespace

Result<std::vector<Json>> ClaimsOf(Context& context, const Json& restore) {
  kube::ListOptions options;
  options.label_selector = context.kinds.Key("restore-session-uid") + "=" + kube::UidOf(restore);
  auto list = TRY(context.client.List(kube::types::kPersistentVolumeClaim,
                                      kube::NamespaceOf(restore), options));
  return std::move(list.items);
}

Status SelectNodes(Context& context, const Json& restore) {
  if (BoolAt(restore, "spec.waitForConsumer")) return {};
  const auto claims = TRY(ClaimsOf(context, restore));
  for (const Json& claim : claims) {
    if (StringAt(claim, "status.phase") == "Bound" ||
        !kube::AnnotationOf(claim, kSelectedNode).empty())
      continue;
    const auto class_name = StringAt(claim, "spec.storageClassName");
    const auto storage_class =
        TRY(GetIfExists(context.client, kube::types::kStorageClass, {"", class_name}));
    if (!storage_class || StringAt(*storage_class, "volumeBindingMode") != "WaitForFirstConsumer")
      continue;
    const auto pool = TRY(PoolOf(context, claim));
    const auto node = TRY(ChooseNode(context, pool));
    if (node.empty()) continue;
    const Json patch =
        JsonObject{{"metadata", JsonObject{{"annotations", JsonObject{{kSelectedNode, node}}}}}};
    TRY(context.client.Patch(kube::types::kPersistentVolumeClaim, kube::KeyOf(claim),
                             kube::PatchType::kMerge, patch));
  }
  return {};
}

Result<std::string> FollowClaims(Context& context, Json& restore) {
  const auto claims = TRY(ClaimsOf(context, restore));
  std::vector<std::string> trouble, progress, refused;
  for (const auto& claim : claims) {
    if (StringAt(claim, "status.phase") == "Bound") continue;
    const auto warning = TRY(LastWarning(context, claim));
    if (warning.empty()) continue;
    const auto text = "claim " + kube::KeyOf(claim).ToString() + ": " + warning;
    // ABORTED is how CSI says that it is on its way; its text is the progress.
    if (warning.find("code = Aborted") != std::string::npos) {
      progress.push_back(text);
    } else if (IsCsiRefusal(warning)) {
      refused.push_back(text);
    } else {
      trouble.push_back(text);
    }
  }
  if (!refused.empty()) {
    Report(context, restore, kRestoreProgressing, false, "ProvisioningRefused",
           Joined(refused, "; "));
    return Joined(refused, "; ");
  }
  if (!trouble.empty()) {
    Report(context, restore, kRestoreProgressing, false, "ProvisioningFailed",
           Joined(trouble, "; ") + "; the provisioner tries again");
  } else if (!progress.empty()) {
    Report(context, restore, kRestoreProgressing, true, "Importing", Joined(progress, "; "));
  }
  return std::string();
}

std::string StandsStill(const Context& context, const Json& restore) {
  const auto* condition = kube::FindCondition(restore, kRestoreProgressing);
  if (condition == nullptr || StringAt(*condition, "status") != "False") return "";
  const auto since = TimeAt(*condition, "lastTransitionTime");
  if (!since || context.Now() - *since < kStuck) return "";
  return "no progress for 30 minutes: " + StringAt(*condition, "message");
}

}  // namespace thinsnap::backup
