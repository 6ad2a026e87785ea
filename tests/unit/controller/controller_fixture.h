// The controller role with two nodes and an API server in memory. Both roles act with the rights
// that deploy/driver gives them, over mutual TLS.
#pragma once

#include <filesystem>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/core/file.h"
#include "base/data/json.h"
#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "base/net/certificate.h"
#include "csi/controller/run_controller.h"
#include "csi/driver/role_certificates.h"
#include "csi/pool/handle.h"
#include "simulator/apiserver/api_server.h"
#include "simulator/sidecars/crds.h"
#include "tests/sanity/node_under_test.h"

namespace thinsnap::controller {

inline constexpr char kDriverNamespace[] = "thinsnap-system";

class ControllerFixture : public testing::Test {
 protected:
  ControllerFixture() : runtime_(clock_), group_(runtime_) {}

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
    node_tls_ = Issue(*authority, driver::kNodeTlsName);
    controller_tls_ = Issue(*authority, driver::kControllerTlsName);
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

  proto::TlsFiles Issue(const net::KeyPair& authority, const std::string& role) {
    net::CertificateRequest certificate;
    certificate.common_name = role;
    certificate.dns_names = {role};
    auto pair = net::IssueCertificate(authority, certificate, clock_);
    EXPECT_TRUE(pair.ok());
    if (!pair.ok()) return {};
    return {authority.cert_pem, pair->cert_pem, pair->key_pem};
  }

  std::unique_ptr<kube::KubeClient> ClientOf(const std::string& account) {
    return apiserver::MakeInProcessKubeClient(
        *server_, std::string("system:serviceaccount:") + kDriverNamespace + ":" + account,
        {"system:serviceaccounts", std::string("system:serviceaccounts:") + kDriverNamespace,
         "system:authenticated"});
  }

  void Install() {
    ASSERT_TRUE(admin_
                    ->Create(kube::types::kNamespace,
                             kube::NewObject(kube::types::kNamespace, {"", kDriverNamespace}))
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

  void StartNode(const std::string& name, std::uint64_t capacity_bytes = 64 * kGiB) {
    Node& node = nodes_[name];
    if (!node.world) {
      node.world = driver::MakeSimWorld(capacity_bytes);
      node.kube = ClientOf("thinsnap-csi-node");
      node.world->kube = node.kube.get();
      node.world->options.node_name = name;
      node.world->options.listen_address = "127.0.0.1:0";
      node.world->options.tls = &node_tls_;
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
    options.tls = &controller_tls_;
    options.silence = std::chrono::seconds(8);
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
  // As a provisioner asks for a pod that waits on the first of the nodes.
  static csi::v1::CreateVolumeRequest PreferringRequest(const std::string& name,
                                                        const std::vector<std::string>& nodes) {
    auto request = VolumeRequest(name, nodes);
    auto& topology = *request.mutable_accessibility_requirements();
    *topology.mutable_preferred() = topology.requisite();
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
    const auto map =
        admin_->Get(kube::types::kConfigMap, {kDriverNamespace, "thinsnap-lost-pools"});
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
  proto::TlsFiles node_tls_, controller_tls_;
  std::map<std::string, Node> nodes_;
  TaskGroup group_;
  std::unique_ptr<proto::CsiService> controller_;
};

}  // namespace thinsnap::controller
