#include "tests/unit/controllers/cluster.h"

#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "simulator/sidecars/crds.h"

namespace thinsnap::testing {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;
using kube::ResourceType;

constexpr int kPatienceSeconds = 30;

}  // namespace

Cluster::Cluster(proto::CsiService* driver, const controllers::ControllerOptions& options)
    : runtime_(clock_) {
  apiserver::Options server_options;
  server_options.without_http = true;
  auto server = apiserver::ApiServer::Start(runtime_, random_, server_options);
  EXPECT_TRUE(server.ok()) << server.error().message();
  server_ = std::move(*server);
  client_ = apiserver::MakeInProcessKubeClient(*server_, "test");
  group_ = std::make_unique<TaskGroup>(runtime_);
  const auto installed = sidecars::InstallCrds(runtime_, *client_, sidecars::SnapshotCrds());
  EXPECT_TRUE(installed.ok()) << installed.error().message();
  informers_ = std::make_unique<kube::InformerSet>(runtime_, *client_);
  kubelet_ = std::make_unique<kube::Controller>(
      runtime_, "kubelet", [this](const ObjectKey& key) { return PretendPod(key); });
  kubelet_->WatchOwn(informers_->For(types::kPod));
  controllers_ =
      controllers::StartControllers(runtime_, *group_, *client_, *informers_, random_, options);
  if (driver != nullptr) {
    sidecars::SidecarOptions sidecar_options;
    sidecar_options.driver_name = "test.csi";
    sidecar_options.retry_start = std::chrono::milliseconds(10);
    sidecar_options.retry_max = std::chrono::milliseconds(50);
    sidecars_ = sidecars::StartSidecars(runtime_, *group_, *client_, *informers_, random_, *driver,
                                        sidecar_options);
  }
  informers_->StartAll(*group_);
  kubelet_->Start(*group_);
}

Cluster::~Cluster() {
  group_->Stop();
  server_->Stop();
  group_->Join();
}

Json Cluster::Create(const ResourceType& type, const Json& object) {
  auto created = client_->Create(type, object);
  EXPECT_TRUE(created.ok()) << created.error().ToString();
  return created.ok() ? std::move(*created) : Json();
}

Json Cluster::CreateYaml(const ResourceType& type, const std::string& yaml) {
  const auto object = ParseYaml(yaml);
  EXPECT_TRUE(object.ok()) << object.error().message();
  return object.ok() ? Create(type, *object) : Json();
}

Json Cluster::Update(const ResourceType& type, const ObjectKey& key,
                     const std::function<void(Json&)>& change, const std::string& subresource) {
  for (;;) {
    auto object = client_->Get(type, key);
    EXPECT_TRUE(object.ok()) << object.error().ToString();
    if (!object.ok()) return nullptr;
    change(*object);
    auto updated = client_->Update(type, *object, subresource);
    if (updated.Is(Code::kAborted)) continue;
    EXPECT_TRUE(updated.ok()) << updated.error().ToString();
    return updated.ok() ? std::move(*updated) : Json();
  }
}

void Cluster::Delete(const ResourceType& type, const ObjectKey& key, const std::string& policy,
                     int grace_seconds) {
  kube::DeleteOptions options;
  options.propagation_policy = policy;
  if (grace_seconds >= 0) options.grace_period_seconds = grace_seconds;
  const auto deleted = client_->Delete(type, key, options);
  EXPECT_TRUE(deleted.ok() || deleted.Is(Code::kNotFound)) << deleted.error().ToString();
}

bool Cluster::Exists(const ResourceType& type, const ObjectKey& key) {
  return client_->Get(type, key).ok();
}

Json Cluster::Wait(const ResourceType& type, const ObjectKey& key, const Predicate& predicate) {
  return WaitAny(type, key.ns, [&](const Json& object) {
    return kube::NameOf(object) == key.name && predicate(object);
  });
}

Json Cluster::WaitAny(const ResourceType& type, const std::string& ns, const Predicate& predicate) {
  const auto listed = client_->List(type, ns);
  EXPECT_TRUE(listed.ok()) << listed.error().ToString();
  if (!listed.ok()) return nullptr;
  for (const Json& object : listed->items) {
    if (predicate(object)) return object;
  }
  Json found;
  kube::WatchOptions options;
  options.resource_version = listed->resource_version;
  options.timeout_seconds = kPatienceSeconds;
  const auto watched = client_->Watch(type, ns, options, [&](kube::WatchEvent event) -> Status {
    if (event.type == kube::WatchEvent::Type::kDeleted ||
        event.type == kube::WatchEvent::Type::kBookmark)
      return {};
    if (!predicate(event.object)) return {};
    found = std::move(event.object);
    return Error(Code::kCancelled, "found");
  });
  EXPECT_TRUE(!found.is_null()) << type.kind << " in " << ns << " never came to that; watch: "
                                << (watched.ok() ? "ended" : watched.error().ToString());
  return found;
}

void Cluster::WaitGone(const ResourceType& type, const ObjectKey& key) {
  const auto listed = client_->List(type, key.ns);
  ASSERT_TRUE(listed.ok()) << listed.error().ToString();
  bool present = false;
  for (const Json& object : listed->items) present |= kube::NameOf(object) == key.name;
  if (!present) return;
  bool gone = false;
  kube::WatchOptions options;
  options.resource_version = listed->resource_version;
  options.timeout_seconds = kPatienceSeconds;
  const auto watched =
      client_->Watch(type, key.ns, options, [&](const kube::WatchEvent& event) -> Status {
        if (event.type != kube::WatchEvent::Type::kDeleted ||
            kube::NameOf(event.object) != key.name)
          return {};
        gone = true;
        return Error(Code::kCancelled, "gone");
      });
  const auto left = client_->Get(type, key);
  EXPECT_TRUE(gone || left.Is(Code::kNotFound))
      << type.kind << " " << key.ToString()
      << " did not go: " << (left.ok() ? ToPrettyJson(*left) : "");
}

Json Cluster::WaitEvent(const std::string& ns, const std::string& name, const std::string& reason) {
  return WaitAny(types::kEvent, ns, [&](const Json& event) {
    return StringAt(event, "involvedObject.name") == name && StringAt(event, "reason") == reason;
  });
}

void Cluster::AddNamespace(const std::string& name) {
  Create(types::kNamespace, kube::NewObject(types::kNamespace, {"", name}));
}

void Cluster::AddNode(const std::string& name) {
  Json node = kube::NewObject(types::kNode, {"", name});
  kube::SetLabel(node, "kubernetes.io/hostname", name);
  kube::SetLabel(node, "test.csi/node", name);
  node = Create(types::kNode, node);
  Update(
      types::kNode, {"", name},
      [&](Json& object) {
        kube::SetCondition(object, "Ready", true, "KubeletReady", "", clock_.Now());
      },
      "status");
  Json csi_node = kube::NewObject(types::kCsiNode, {"", name});
  kube::AddOwnerReference(csi_node, kube::OwnerReference(node, false, false));
  Set(csi_node, "spec.drivers",
      JsonArray{Json(JsonObject{{"name", "test.csi"},
                                {"nodeID", name},
                                {"topologyKeys", JsonArray{Json("test.csi/node")}}})});
  Create(types::kCsiNode, csi_node);
}

Result<Requeue> Cluster::PretendPod(const ObjectKey& key) {
  auto live = client_->Get(types::kPod, key);
  if (live.Is(Code::kNotFound)) return Requeue::Done();
  Json pod = TRY(std::move(live));
  const auto node = StringAt(pod, "spec.nodeName");
  // The kubelet of a lost node does nothing.
  if (node.empty() || !client_->Get(types::kNode, {"", node}).ok()) return Requeue::Done();
  if (kube::IsDeleting(pod)) {
    kube::DeleteOptions options;
    options.grace_period_seconds = 0;
    const auto deleted = client_->Delete(types::kPod, key, options);
    if (!deleted.ok() && !deleted.Is(Code::kNotFound)) return deleted.error();
    return Requeue::Done();
  }
  if (StringAt(pod, "status.phase", "Pending") != "Pending") return Requeue::Done();
  const auto exit_text = kube::AnnotationOf(pod, "test/exit");
  const auto now = FormatRfc3339(clock_.Now());
  if (exit_text.empty()) {
    Set(pod, "status.phase", "Running");
    kube::SetCondition(pod, "Ready", true, "", "", clock_.Now());
  } else {
    const int code = std::stoi(exit_text);
    Set(pod, "status.phase", code == 0 ? "Succeeded" : "Failed");
    Set(pod, "status.containerStatuses",
        JsonArray{Json(
            JsonObject{{"name", "main"},
                       {"image", "busybox"},
                       {"imageID", ""},
                       {"ready", false},
                       {"restartCount", 0},
                       {"state", JsonObject{{"terminated", JsonObject{{"exitCode", code},
                                                                      {"startedAt", now},
                                                                      {"finishedAt", now}}}}}})});
  }
  auto updated = client_->Update(types::kPod, pod, "status");
  if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
  return Requeue::Done();
}

}  // namespace thinsnap::testing
