#include "simulator/kubelet/volume_store.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <openssl/sha.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/core/log.h"
#include "base/data/json.h"
#include "base/kube/object.h"
#include "simulator/containers/remove_tree.h"
#include "simulator/kubelet/csi_volume.h"
#include "simulator/kubelet/fs_group.h"

namespace thinsnap::kubelet {
namespace {

namespace fs = std::filesystem;

std::string Sha256Hex(const std::string& text) {
  std::uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(AsBytes(text).data(), text.size(), digest);
  return HexEncode(ByteSpan(digest, sizeof digest));
}

// By descriptor: pods that write there may put something else under its name at any moment.
MountedVolume HeldVolume(UniqueFd fd) {
  MountedVolume volume;
  volume.path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd.get());
  volume.held = std::make_shared<const UniqueFd>(std::move(fd));
  return volume;
}

std::string ClaimOf(const Json& pod, const Json& volume) {
  if (Find(volume, "ephemeral") != nullptr)
    return kube::NameOf(pod) + "-" + StringAt(volume, "name");
  return StringAt(volume, "persistentVolumeClaim.claimName");
}

bool IsClaim(const Json& volume) {
  return thinsnap::Find(volume, "persistentVolumeClaim") != nullptr ||
         thinsnap::Find(volume, "ephemeral") != nullptr;
}

}  // namespace

VolumeStore::VolumeStore(Runtime& runtime, kube::KubeClient& client, CsiNode& csi,
                         VolumeOptions options)
    : runtime_(runtime), client_(client), csi_(csi), options_(std::move(options)) {}

void VolumeStore::RemoveLeftovers(const std::set<std::string>& live_uids) {
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(options_.folder + "/pods", code)) {
    if (!live_uids.contains(entry.path().filename().string())) containers::RemoveTree(entry.path());
  }
}

Status VolumeStore::MountAll(const Json& pod) {
  const std::string uid = kube::UidOf(pod);
  for (const Json& volume : ArrayAt(pod, "spec.volumes")) {
    const std::string name = StringAt(volume, "name");
    if (Find(uid, name)) continue;
    Result<MountedVolume> mounted = MountOne(pod, volume);
    if (!mounted.ok()) return std::move(mounted).error().In("volume " + name);
    std::lock_guard lock(mutex_);
    pods_[uid].ready[name] = std::move(*mounted);
  }
  return {};
}

Result<MountedVolume> VolumeStore::MountOne(const Json& pod, const Json& volume) {
  const std::string name = StringAt(volume, "name");
  if (IsClaim(volume)) {
    return MountClaim(pod, name, ClaimOf(pod, volume),
                      BoolAt(volume, "persistentVolumeClaim.readOnly"));
  }
  if (const Json* source = thinsnap::Find(volume, "emptyDir"))
    return MountEmpty(pod, name, *source);
  if (const Json* source = thinsnap::Find(volume, "hostPath")) {
    return HeldVolume(TRY(MakeHostPath(*source, options_.host_paths)));
  }
  if (HasPayload(volume)) return MountPayload(pod, volume);
  return Error(Code::kInvalidArgument,
               "its source is not supported here; use persistentVolumeClaim, ephemeral, emptyDir, "
               "configMap, secret, "
               "downwardAPI, projected or hostPath");
}

Result<MountedVolume> VolumeStore::MountEmpty(const Json& pod, const std::string& name,
                                              const Json& source) {
  MountedVolume mounted;
  mounted.path = PodFolder(kube::UidOf(pod)) + "/volumes/kubernetes.io~empty-dir/" + name;
  if (TRY(MakeEmptyFolder(source, mounted.path))) {
    std::lock_guard lock(mutex_);
    pods_[kube::UidOf(pod)].own_mounts.push_back(mounted.path);
  }
  TRY(ApplyFsGroup(mounted.path, FsGroupOf(pod)));
  return mounted;
}

std::string VolumeStore::PayloadFolder(const std::string& pod_uid, const std::string& name) const {
  return options_.memory_folder + "/volumes/" + pod_uid + "/" + name;
}

Result<MountedVolume> VolumeStore::MountPayload(const Json& pod, const Json& volume) {
  const Payload payload = TRY(BuildPayload(pod, volume, SourcesFor(pod)));
  MountedVolume mounted;
  mounted.path = PayloadFolder(kube::UidOf(pod), StringAt(volume, "name"));
  mounted.read_only = true;
  TRY(WritePayload(mounted.path, payload, runtime_.clock().Now(), FsGroupOf(pod).group));
  return mounted;
}

PayloadSources VolumeStore::SourcesFor(const Json& pod) {
  const std::string ns = kube::NamespaceOf(pod);
  PayloadSources sources;
  sources.config_map = [this, ns](const std::string& name) {
    return client_.Get(kube::types::kConfigMap, {ns, name});
  };
  sources.secret = [this, ns](const std::string& name) {
    return client_.Get(kube::types::kSecret, {ns, name});
  };
  sources.token = [this, ns, &pod](const std::string& audience,
                                   std::int64_t seconds) -> Result<std::string> {
    JsonArray audiences;
    if (!audience.empty()) audiences.emplace_back(audience);
    const Json request =
        JsonObject{{"apiVersion", "authentication.k8s.io/v1"},
                   {"kind", "TokenRequest"},
                   {"spec", JsonObject{{"audiences", std::move(audiences)},
                                       {"expirationSeconds", seconds},
                                       {"boundObjectRef", JsonObject{{"apiVersion", "v1"},
                                                                     {"kind", "Pod"},
                                                                     {"name", kube::NameOf(pod)},
                                                                     {"uid", kube::UidOf(pod)}}}}}};
    const Json answer = TRY(client_.CreateSubresource(
        kube::types::kServiceAccount, {ns, StringAt(pod, "spec.serviceAccountName", "default")},
        "token", request));
    return StringAt(answer, "status.token");
  };
  return sources;
}

Status VolumeStore::Refresh(const Json& pod) {
  for (const Json& volume : ArrayAt(pod, "spec.volumes")) {
    const std::string name = StringAt(volume, "name");
    if (!HasPayload(volume) || !Find(kube::UidOf(pod), name)) continue;
    Result<Payload> payload = BuildPayload(pod, volume, SourcesFor(pod));
    if (!payload.ok()) return std::move(payload).error().In("volume " + name);
    TRY(WritePayload(PayloadFolder(kube::UidOf(pod), name), *payload, runtime_.clock().Now(),
                     FsGroupOf(pod).group));
  }
  return {};
}

Result<Json> VolumeStore::VolumeFor(const std::string& ns, const std::string& claim) {
  const Json pvc = TRY(client_.Get(kube::types::kPersistentVolumeClaim, {ns, claim}));
  const std::string name = StringAt(pvc, "spec.volumeName");
  if (name.empty() || StringAt(pvc, "status.phase") != "Bound")
    return Error(Code::kUnavailable, "is not bound yet");
  Json pv = TRY(client_.Get(kube::types::kPersistentVolume, {"", name}));
  if (StringAt(pv, "spec.csi.driver") != options_.driver) {
    return Error(Code::kInvalidArgument, "persistent volume " + name +
                                             " has no csi source of the driver " + options_.driver);
  }
  if (StringAt(pv, "spec.claimRef.uid") != kube::UidOf(pvc)) {
    return Error(Code::kFailedPrecondition,
                 "persistent volume " + name + " belongs to another claim");
  }
  return pv;
}

Result<Json> VolumeStore::DriverObject() {
  Result<Json> object = client_.Get(kube::types::kCsiDriver, {"", options_.driver});
  if (object.Is(Code::kNotFound)) return Json();
  return object;
}

Result<CsiSecrets> VolumeStore::ReadSecret(const std::optional<kube::ObjectKey>& key) {
  if (!key) return CsiSecrets();
  const Json secret = TRY(client_.Get(kube::types::kSecret, *key).In("secret " + key->ToString()));
  return ContentOf(secret, true).In("secret " + key->ToString());
}

Result<MountedVolume> VolumeStore::MountClaim(const Json& pod, const std::string& name,
                                              const std::string& claim, bool read_only) {
  const std::string ns = kube::NamespaceOf(pod);
  const std::string uid = kube::UidOf(pod);
  const std::string what = "persistentvolumeclaim " + ns + "/" + claim;
  const Json pv = TRY(VolumeFor(ns, claim).In(what));
  const DriverRules rules = RulesOf(TRY(DriverObject().In("CSIDriver " + options_.driver)));
  const CsiNodeAbilities abilities = TRY(csi_.Abilities().In(what));
  const FsGroup fs_group = TakesFsGroup(rules, pv, read_only) ? FsGroupOf(pod) : FsGroup();
  Published published;
  published.claim_namespace = ns;
  published.claim_name = claim;
  published.volume = VolumeOf(pv);
  if (fs_group.group && abilities.mounts_for_group)
    published.volume.mount_group = std::to_string(*fs_group.group);
  if (rules.pod_info) published.pod_info = PodInfo(pod);
  published.stage_secret = SecretOf(pv, "nodeStageSecretRef");
  published.publish_secret = SecretOf(pv, "nodePublishSecretRef");
  published.expand_secret = SecretOf(pv, "nodeExpandSecretRef");
  const bool block = published.volume.block;
  const std::string pod_folder = PodFolder(uid), pv_name = kube::NameOf(pv);
  published.target_path = block ? pod_folder + "/volumeDevices/kubernetes.io~csi/" + pv_name
                                : pod_folder + "/volumes/kubernetes.io~csi/" + pv_name + "/mount";
  if (abilities.stages) {
    published.staging_path = options_.folder + "/plugins/kubernetes.io/csi/" + options_.driver +
                             "/" + Sha256Hex(published.volume.id) + "/globalmount";
  }
  {
    std::lock_guard lock(mutex_);
    auto& slot = staged_[published.volume.id];
    if (!slot) slot = std::make_shared<Staged>();
    published.staged = slot;
    slot->users.insert(uid);
    // Noted before the driver is asked: an error leaves it uncertain, and the end of the pod undoes
    // it.
    pods_[uid].published[name] = published;
  }
  TRY(StageAndPublish(published, read_only).In(what));
  if (published.volume.mount_group.empty()) TRY(ApplyFsGroup(published.target_path, fs_group));
  return MountedVolume{published.target_path, block, read_only};
}

Status VolumeStore::StageAndPublish(const Published& published, bool read_only) {
  Staged& staged = *published.staged;
  std::lock_guard lock(staged.mutex);
  if (!published.staging_path.empty() && !staged.staged) {
    TRY(MakeFolders(published.staging_path));
    const CsiSecrets secrets = TRY(ReadSecret(published.stage_secret).In("stage"));
    TRY(csi_.Stage(published.volume, secrets, published.staging_path).In("stage"));
    staged.staged = true;
  }
  TRY(MakeFolders(fs::path(published.target_path).parent_path().string()));
  CsiVolume volume = published.volume;
  volume.context.insert(published.pod_info.begin(), published.pod_info.end());
  const CsiSecrets secrets = TRY(ReadSecret(published.publish_secret).In("publish"));
  return csi_.Publish(volume, secrets, published.staging_path, published.target_path, read_only)
      .In("publish");
}

Status VolumeStore::GiveUp(const Published& published, const std::string& pod_uid) {
  Staged& staged = *published.staged;
  std::lock_guard lock(staged.mutex);
  TRY(csi_.Unpublish(published.volume.id, published.target_path).In("unpublish"));
  bool last = false;
  {
    std::lock_guard users_lock(mutex_);
    staged.users.erase(pod_uid);
    last = staged.users.empty();
  }
  if (!last || published.staging_path.empty()) return {};
  TRY(csi_.Unstage(published.volume.id, published.staging_path).In("unstage"));
  staged.staged = false;
  containers::RemoveTree(fs::path(published.staging_path).parent_path());
  return {};
}

Status VolumeStore::UnmountAll(const std::string& pod_uid, bool remove_data) {
  PodVolumes volumes;
  {
    std::lock_guard lock(mutex_);
    if (const auto it = pods_.find(pod_uid); it != pods_.end()) {
      it->second.ready.clear();
      volumes = it->second;
    }
  }
  for (const auto& [name, published] : volumes.published) {
    Status done = GiveUp(published, pod_uid);
    if (!done.ok()) return std::move(done).error().In("volume " + name);
    std::lock_guard lock(mutex_);
    pods_[pod_uid].published.erase(name);
  }
  for (const std::string& path : volumes.own_mounts) umount2(path.c_str(), MNT_DETACH);
  {
    std::lock_guard lock(mutex_);
    pods_.erase(pod_uid);
  }
  containers::RemoveTree(options_.memory_folder + "/volumes/" + pod_uid);
  if (remove_data) containers::RemoveTree(PodFolder(pod_uid));
  return {};
}

std::optional<MountedVolume> VolumeStore::Find(const std::string& pod_uid,
                                               const std::string& volume) const {
  std::lock_guard lock(mutex_);
  const auto pod = pods_.find(pod_uid);
  if (pod == pods_.end()) return std::nullopt;
  const auto it = pod->second.ready.find(volume);
  if (it == pod->second.ready.end()) return std::nullopt;
  return it->second;
}

bool VolumeStore::HasVolumes(const std::string& pod_uid) const {
  std::lock_guard lock(mutex_);
  return pods_.contains(pod_uid);
}

Status VolumeStore::ExpandOne(const Published& published) {
  if (!TRY(csi_.Abilities()).expands) return {};
  const CsiSecrets secrets = TRY(ReadSecret(published.expand_secret));
  std::lock_guard lock(published.staged->mutex);
  return csi_.Expand(published.volume, secrets, published.target_path, published.staging_path);
}

Status VolumeStore::Expand(const Json& pod) {
  std::map<std::string, Published> published;
  {
    std::lock_guard lock(mutex_);
    const auto it = pods_.find(kube::UidOf(pod));
    if (it == pods_.end()) return {};
    for (const auto& [name, item] : it->second.published) {
      if (it->second.ready.contains(name)) published[name] = item;
    }
  }
  for (const auto& [name, item] : published) {
    Json pvc = TRY(
        client_.Get(kube::types::kPersistentVolumeClaim, {item.claim_namespace, item.claim_name}));
    if (!kube::ConditionIs(pvc, "FileSystemResizePending")) continue;
    const Json pv =
        TRY(client_.Get(kube::types::kPersistentVolume, {"", StringAt(pvc, "spec.volumeName")}));
    const std::string capacity = StringIn(pv, "spec.capacity", "storage");
    TRY(ExpandOne(item).In("volume " + name + ": expand"));
    Set(pvc, "status.capacity", JsonObject{{"storage", capacity}});
    JsonArray conditions;
    for (const Json& condition : ArrayAt(pvc, "status.conditions")) {
      const std::string type = StringAt(condition, "type");
      if (type != "FileSystemResizePending" && type != "Resizing") conditions.push_back(condition);
    }
    Set(pvc, "status.conditions", std::move(conditions));
    Remove(pvc, "status.allocatedResourceStatuses");
    TRY(client_.Update(kube::types::kPersistentVolumeClaim, pvc, "status"));
  }
  return {};
}

}  // namespace thinsnap::kubelet
