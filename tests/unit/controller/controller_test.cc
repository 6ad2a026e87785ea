// The controller role with two nodes and an API server in memory: placement, forwarding, lost
// pools. Both roles act with the rights that deploy/driver gives them, over mutual TLS.
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>

#include "base/core/file.h"
#include "base/data/json.h"
#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "base/net/certificate.h"
#include "csi/controller/run_controller.h"
#include "csi/pool/handle.h"
#include "simulator/apiserver/api_server.h"
#include "simulator/sidecars/crds.h"
#include "tests/sanity/node_under_test.h"

namespace thinsnap::controller {
namespace {

using testing::HasSubstr;

constexpr char kNs[] = "thinsnap-system";

class ControllerTest : public testing::Test {
 protected:
  ControllerTest() : runtime_(clock_), group_(runtime_) {}

  void SetUp() override {
    apiserver::Options options;
    options.without_http = true;
    auto server = apiserver::ApiServer::Start(runtime_, random_, options);
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = std::move(*server);
    admin_ = apiserver::MakeInProcessKubeClient(*server_, "admin");
    Install();
    auto authority = net::MakeAuthority("test", clock_);
    ASSERT_TRUE(authority.ok());
    net::CertificateRequest certificate;
    certificate.common_name = driver::kTlsName;
    certificate.dns_names = {driver::kTlsName};
    auto pair = net::IssueCertificate(*authority, certificate, clock_);
    ASSERT_TRUE(pair.ok());
    tls_ = {authority->cert_pem, pair->cert_pem, pair->key_pem};
    for (const char* name : {"node-a", "node-b"}) StartNode(name);
    StartController();
    WaitForPools(2);
  }

  void TearDown() override {
    controller_.reset();
    group_.Stop();
    group_.Join();
    nodes_.clear();
  }

  std::unique_ptr<kube::KubeClient> ClientOf(const std::string& account) {
    return apiserver::MakeInProcessKubeClient(
        *server_, std::string("system:serviceaccount:") + kNs + ":" + account,
        {"system:serviceaccounts", std::string("system:serviceaccounts:") + kNs,
         "system:authenticated"});
  }

  void Install() {
    ASSERT_TRUE(
        admin_->Create(kube::types::kNamespace, kube::NewObject(kube::types::kNamespace, {"", kNs}))
            .ok());
    std::vector<Json> crds, others;
    for (const auto& file :
         std::filesystem::directory_iterator(THINSNAP_SOURCE_DIR "/deploy/driver")) {
      auto objects = ParseYamlStream(*ReadFile(file.path()));
      ASSERT_TRUE(objects.ok()) << file.path() << objects.error().ToString();
      for (Json& object : *objects) {
        const bool is_crd = StringAt(object, "kind") == "CustomResourceDefinition";
        (is_crd ? crds : others).push_back(std::move(object));
      }
    }
    ASSERT_TRUE(sidecars::InstallCrds(runtime_, *admin_, crds).ok());
    for (const Json& object : others) {
      for (const kube::ResourceType& type :
           {kube::types::kServiceAccount, kube::types::kRole, kube::types::kRoleBinding,
            kube::types::kClusterRole, kube::types::kClusterRoleBinding, kube::types::kCsiDriver}) {
        if (type.kind != StringAt(object, "kind")) continue;
        const auto made = admin_->Create(type, object);
        ASSERT_TRUE(made.ok()) << made.error().ToString();
      }
    }
  }

  struct Node {
    std::unique_ptr<driver::NodeWorld> world;
    std::unique_ptr<kube::KubeClient> kube;
    std::unique_ptr<driver::NodeUnderTest> running;
  };

  void StartNode(const std::string& name) {
    Node& node = nodes_[name];
    if (!node.world) {
      node.world = driver::MakeSimWorld();
      node.kube = ClientOf("thinsnap-csi-node");
      node.world->kube = node.kube.get();
      node.world->options.node_name = name;
      node.world->options.listen_address = "127.0.0.1:0";
      node.world->options.tls = &tls_;
      node.world->options.heartbeat = std::chrono::milliseconds(50);
      Json object = kube::NewObject(kube::types::kNode, {"", name});
      ASSERT_TRUE(admin_->Create(kube::types::kNode, object).ok());
    }
    node.running = std::make_unique<driver::NodeUnderTest>(*node.world);
  }

  void StartController() {
    controller_kube_ = ClientOf("thinsnap-csi-controller");
    Channel<bool> ready(runtime_, 1);
    ControllerDriverOptions options;
    options.socket_path = folder_.path() + "/controller.sock";
    options.tls = &tls_;
    options.on_ready = [&] { ASSERT_TRUE(ready.Send(true).ok()); };
    group_.Spawn("controller", [this, options] {
      const Status ran = RunControllerDriver(runtime_, group_, random_, *controller_kube_, options);
      EXPECT_TRUE(ran.ok()) << ran.error().ToString();
    });
    ASSERT_TRUE(ready.Receive().ok());
    controller_ = proto::ConnectCsi(runtime_, "unix://" + options.socket_path);
  }

  // Until the condition holds, or 20 s.
  void Until(const char* what, const std::function<bool()>& condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return;
      ASSERT_TRUE(runtime_.SleepFor(std::chrono::milliseconds(20)).ok());
    }
    FAIL() << "not seen: " << what;
  }
  void WaitForPools(std::size_t count) {
    Until("pools", [&] {
      csi::v1::GetCapacityRequest request;
      const auto objects = admin_->List(kube::types::kThinPool, "");
      if (!objects.ok() || objects->items.size() != count) return false;
      for (const Json& object : objects->items) {
        if (!BoolAt(object, "status.healthy")) return false;
      }
      const auto capacity = controller_->GetCapacity({}, request);
      return capacity.ok() &&
             capacity->available_capacity() > static_cast<std::int64_t>((count - 1) * 64 * kGiB);
    });
  }

  static csi::v1::CreateVolumeRequest VolumeRequest(const std::string& name,
                                                    const std::vector<std::string>& nodes,
                                                    const std::string& ns = "shop") {
    csi::v1::CreateVolumeRequest request;
    request.set_name(name);
    request.mutable_capacity_range()->set_required_bytes(static_cast<std::int64_t>(4 * kMiB));
    auto* capability = request.add_volume_capabilities();
    capability->mutable_mount();
    capability->mutable_access_mode()->set_mode(
        csi::v1::VolumeCapability::AccessMode::SINGLE_NODE_WRITER);
    for (const std::string& node : nodes) {
      (*request.mutable_accessibility_requirements()
            ->add_requisite()
            ->mutable_segments())["topology.thinsnap.io/node"] = node;
    }
    (*request.mutable_parameters())["csi.storage.k8s.io/pvc/name"] = name;
    (*request.mutable_parameters())["csi.storage.k8s.io/pvc/namespace"] = ns;
    return request;
  }
  csi::v1::Volume CreateVolume(const std::string& name, const std::vector<std::string>& nodes) {
    const auto made = controller_->CreateVolume({}, VolumeRequest(name, nodes));
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().ToString());
    return made.ok() ? made->volume() : csi::v1::Volume();
  }
  static std::string NodeOf(const csi::v1::Volume& volume) {
    return volume.accessible_topology_size() == 0
               ? ""
               : volume.accessible_topology(0).segments().at("topology.thinsnap.io/node");
  }
  csi::v1::Snapshot CreateSnapshot(const std::string& name, const std::string& volume) {
    csi::v1::CreateSnapshotRequest request;
    request.set_name(name);
    request.set_source_volume_id(volume);
    const auto made = controller_->CreateSnapshot({}, request);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().ToString());
    return made.ok() ? made->snapshot() : csi::v1::Snapshot();
  }
  std::string PoolOf(const std::string& node) {
    return nodes_[node].world->pool->GetStatus()->id.str();
  }
  bool IsLost(const std::string& pool) {
    const auto map = admin_->Get(kube::types::kConfigMap, {kNs, "thinsnap-lost-pools"});
    return map.ok() && FindObject(*map, "data") != nullptr &&
           FindObject(*map, "data")->contains(pool);
  }
  void LoseNode(const std::string& name) {
    const std::string pool = PoolOf(name);
    nodes_[name].running->Stop();
    ASSERT_TRUE(admin_->Delete(kube::types::kNode, {"", name}).ok());
    ASSERT_TRUE(admin_->Delete(kube::types::kThinPool, {"", pool}).ok());
    Until("the pool's object to go",
          [&] { return admin_->Get(kube::types::kThinPool, {"", pool}).Is(Code::kNotFound); });
    ASSERT_TRUE(IsLost(pool));
  }

  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_;
  driver::TestFolder folder_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<kube::KubeClient> admin_, controller_kube_;
  proto::TlsFiles tls_;
  std::map<std::string, Node> nodes_;
  TaskGroup group_;
  std::unique_ptr<proto::CsiService> controller_;
};

TEST_F(ControllerTest, GoesWhereTheTopologySays) {
  EXPECT_EQ(NodeOf(CreateVolume("a", {"node-a"})), "node-a");
  EXPECT_EQ(NodeOf(CreateVolume("b", {"node-b"})), "node-b");
  // A repeated call finds the name wherever it is, whatever the topology prefers now.
  EXPECT_EQ(NodeOf(CreateVolume("a", {"node-a", "node-b"})), "node-a");
  const auto listed = controller_->ListVolumes({}, {});
  ASSERT_TRUE(listed.ok());
  EXPECT_EQ(listed->entries_size(), 2);
}

TEST_F(ControllerTest, PagesGoAcrossNodes) {
  std::set<std::string> made, seen;
  for (int i = 0; i < 5; ++i) {
    const auto volume = CreateVolume("v" + std::to_string(i), {i % 2 == 0 ? "node-a" : "node-b"});
    made.insert(volume.volume_id());
  }
  csi::v1::ListVolumesRequest request;
  request.set_max_entries(2);
  for (int page = 0; page < 5; ++page) {
    const auto listed = controller_->ListVolumes({}, request);
    ASSERT_TRUE(listed.ok()) << listed.error().ToString();
    EXPECT_LE(listed->entries_size(), 2);
    for (const auto& entry : listed->entries()) {
      EXPECT_TRUE(seen.insert(entry.volume().volume_id()).second);
    }
    if (listed->next_token().empty()) break;
    request.set_starting_token(listed->next_token());
  }
  EXPECT_EQ(seen, made);
}

TEST_F(ControllerTest, LastPageHasNoToken) {
  for (int i = 0; i < 4; ++i) {
    const auto volume = CreateVolume("v" + std::to_string(i), {i % 2 == 0 ? "node-a" : "node-b"});
    CreateSnapshot("s" + std::to_string(i), volume.volume_id());
  }
  for (const int size : {2, 4}) {
    csi::v1::ListVolumesRequest volumes;
    csi::v1::ListSnapshotsRequest snapshots;
    volumes.set_max_entries(size);
    snapshots.set_max_entries(size);
    for (int page = 1; page <= 4 / size; ++page) {
      const auto volumes_page = controller_->ListVolumes({}, volumes);
      const auto snapshots_page = controller_->ListSnapshots({}, snapshots);
      ASSERT_TRUE(volumes_page.ok() && snapshots_page.ok());
      EXPECT_EQ(volumes_page->entries_size(), size);
      EXPECT_EQ(snapshots_page->entries_size(), size);
      EXPECT_EQ(volumes_page->next_token().empty(), page == 4 / size);
      EXPECT_EQ(snapshots_page->next_token().empty(), page == 4 / size);
      volumes.set_starting_token(volumes_page->next_token());
      snapshots.set_starting_token(snapshots_page->next_token());
    }
  }
}

TEST_F(ControllerTest, SnapshotsOfAVolumeNeedItsNodeOnly) {
  const auto volume = CreateVolume("v", {"node-a"});
  CreateSnapshot("s", volume.volume_id());
  nodes_["node-b"].running->Stop();
  csi::v1::ListSnapshotsRequest request;
  EXPECT_TRUE(controller_->ListSnapshots({}, request).Is(Code::kUnavailable));
  request.set_source_volume_id(volume.volume_id());
  const auto listed = controller_->ListSnapshots({}, request);
  ASSERT_TRUE(listed.ok()) << listed.error().ToString();
  EXPECT_EQ(listed->entries_size(), 1);
}

TEST_F(ControllerTest, VolumeLargerThanAnyPoolIsRefusedWithFigures) {
  auto request = VolumeRequest("big", {});
  request.mutable_capacity_range()->set_required_bytes(static_cast<std::int64_t>(kTiB));
  const auto made = controller_->CreateVolume({}, request);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kResourceExhausted);
  EXPECT_THAT(made.error().message(), HasSubstr(PoolOf("node-a")));
  EXPECT_THAT(made.error().message(), HasSubstr(PoolOf("node-b")));
  EXPECT_THAT(made.error().message(), HasSubstr("1.0 TiB"));
}

TEST_F(ControllerTest, CloneGoesToItsSourceAndNowhereElse) {
  const auto volume = CreateVolume("v", {"node-b"});
  const auto snapshot = CreateSnapshot("s", volume.volume_id());
  auto restore = VolumeRequest("r", {"node-a", "node-b"});
  restore.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot.snapshot_id());
  const auto restored = controller_->CreateVolume({}, restore);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_EQ(NodeOf(restored->volume()), "node-b");

  auto elsewhere = VolumeRequest("e", {"node-a"});
  elsewhere.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot.snapshot_id());
  const auto refused = controller_->CreateVolume({}, elsewhere);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  EXPECT_THAT(refused.error().message(), HasSubstr(PoolOf("node-b")));
  EXPECT_THAT(refused.error().message(), HasSubstr("node-b"));
}

TEST_F(ControllerTest, SilentNodeIsUnavailableNotLost) {
  const auto volume = CreateVolume("v", {"node-a"});
  nodes_["node-a"].running->Stop();
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.volume_id());
  EXPECT_TRUE(controller_->DeleteVolume({}, remove).Is(Code::kUnavailable));
  // The other node still takes volumes.
  EXPECT_EQ(NodeOf(CreateVolume("w", {"node-a", "node-b"})), "node-b");
  StartNode("node-a");
  Until("the node's new address", [&] { return controller_->DeleteVolume({}, remove).ok(); });
}

TEST_F(ControllerTest, UnknownPoolIsUnavailable) {
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id("ts1.0123456789abc.01arz3ndektsv4rrffq69g5fav");
  EXPECT_TRUE(controller_->DeleteVolume({}, remove).Is(Code::kUnavailable));
}

TEST_F(ControllerTest, LostPoolLetsEverythingGo) {
  const auto volume = CreateVolume("v", {"node-a"});
  const auto snapshot = CreateSnapshot("s", volume.volume_id());
  LoseNode("node-a");
  Until("the controller to know", [&] {
    csi::v1::DeleteSnapshotRequest remove;
    remove.set_snapshot_id(snapshot.snapshot_id());
    return controller_->DeleteSnapshot({}, remove).ok();
  });
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.volume_id());
  EXPECT_TRUE(controller_->DeleteVolume({}, remove).ok());
  csi::v1::CreateSnapshotRequest cut;
  cut.set_name("s2");
  cut.set_source_volume_id(volume.volume_id());
  EXPECT_TRUE(controller_->CreateSnapshot({}, cut).Is(Code::kNotFound));
  EXPECT_TRUE(
      controller_->CreateVolume({}, VolumeRequest("x", {"node-a"})).Is(Code::kResourceExhausted));
  auto restore = VolumeRequest("r", {"node-b"});
  restore.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot.snapshot_id());
  EXPECT_TRUE(controller_->CreateVolume({}, restore).Is(Code::kNotFound));
  const auto listed = controller_->ListVolumes({}, {});
  ASSERT_TRUE(listed.ok()) << listed.error().ToString();
  EXPECT_EQ(listed->entries_size(), 0);
  EXPECT_EQ(NodeOf(CreateVolume("y", {})), "node-b");
}

TEST_F(ControllerTest, DeletedObjectOfALivingPoolIsWrittenAnew) {
  const std::string pool = PoolOf("node-a");
  const auto before = admin_->Get(kube::types::kThinPool, {"", pool});
  ASSERT_TRUE(before.ok());
  ASSERT_TRUE(admin_->Delete(kube::types::kThinPool, {"", pool}).ok());
  Until("the new object", [&] {
    const auto now = admin_->Get(kube::types::kThinPool, {"", pool});
    return now.ok() && kube::UidOf(*now) != kube::UidOf(*before);
  });
  EXPECT_FALSE(IsLost(pool));
}

TEST_F(ControllerTest, NodeThatMayNotKnowWhetherItsPoolIsLostOnlyReadsIt) {
  const auto volume = CreateVolume("v", {"node-a"});
  Node& node = nodes_["node-a"];
  node.running.reset();
  node.kube = ClientOf("stranger");  // may not read the ConfigMap
  node.world->kube = node.kube.get();
  StartNode("node-a");
  proto::CsiService& driver = node.running->client();
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.volume_id());
  EXPECT_TRUE(driver.DeleteVolume({}, remove).Is(Code::kUnavailable));
  EXPECT_TRUE(driver.CreateVolume({}, VolumeRequest("w", {"node-a"})).Is(Code::kUnavailable));
  EXPECT_EQ(node.world->pool->ListVolumes()->size(), 1U);
}

TEST_F(ControllerTest, LostPoolThatComesBackIsReadOnlyUntilTakenBack) {
  const auto volume = CreateVolume("v", {"node-a"});
  const std::string pool = PoolOf("node-a");
  LoseNode("node-a");
  ASSERT_TRUE(
      admin_->Create(kube::types::kNode, kube::NewObject(kube::types::kNode, {"", "node-a"})).ok());
  StartNode("node-a");
  proto::CsiService& node = nodes_["node-a"].running->client();
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.volume_id());
  EXPECT_TRUE(node.DeleteVolume({}, remove).Is(Code::kFailedPrecondition));
  EXPECT_EQ(nodes_["node-a"].world->pool->ListVolumes()->size(), 1U);
  Until("the orphans to be told", [&] {
    const auto object = admin_->Get(kube::types::kThinPool, {"", pool});
    return object.ok() && StringAt(*object, "status.reason").find("orphans") != std::string::npos;
  });
  JsonObject patch;
  patch["data"] = JsonObject{{pool, nullptr}};
  ASSERT_TRUE(admin_
                  ->Patch(kube::types::kConfigMap, {kNs, "thinsnap-lost-pools"},
                          kube::PatchType::kMerge, patch)
                  .ok());
  // While the controller has not seen it yet, the pool counts as lost, and OK says nothing of the
  // volume.
  Until("gone", [&] {
    return controller_->DeleteVolume({}, remove).ok() &&
           nodes_["node-a"].world->pool->ListVolumes()->empty();
  });
}

}  // namespace
}  // namespace thinsnap::controller
