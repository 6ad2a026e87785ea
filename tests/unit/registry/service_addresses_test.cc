#include "simulator/registry/service_addresses.h"

#include <gtest/gtest.h>
#include <memory>
#include <set>
#include <string>

#include "base/data/json.h"

namespace thinsnap::registry {
namespace {

class ServiceAddressesTest : public testing::Test {
 protected:
  void SetUp() override { store_ = *objects::VersionedStore::Open({}); }

  // What the spec becomes; stored under the name unless it is refused.
  Json Make(const std::string& name, const std::string& spec, std::string* told = nullptr) {
    Json service{{"metadata", {{"name", name}}}, {"spec", *ParseJson(spec)}};
    auto held = addresses_.Allocate(*store_, random_, nullptr, service);
    for (const schema::FieldError& error : held.errors) {
      if (told) *told += error.field + ": " + error.message + "\n";
    }
    if (held.errors.empty()) {
      EXPECT_TRUE(store_->Create({"services", "default", name}, service).ok());
    }
    return service;
  }

  std::string Refusal(const std::string& spec) {
    std::string told;
    Make("refused", spec, &told);
    return told;
  }

  SeededRandom random_{7};
  std::unique_ptr<objects::VersionedStore> store_;
  ServiceAddresses addresses_;
};

TEST_F(ServiceAddressesTest, GivesOutAddressesAndPorts) {
  const Json first = Make("a", R"({"type": "ClusterIP", "ports": [{"port": 80}]})");
  const std::string address = StringAt(first, "spec.clusterIP");
  EXPECT_TRUE(address.starts_with("10.96.")) << address;
  EXPECT_EQ(ArrayAt(first, "spec.clusterIPs"), JsonArray{Json(address)});
  EXPECT_EQ(IntAt(ArrayAt(first, "spec.ports")[0], "nodePort"), 0);
  EXPECT_NE(StringAt(Make("b", R"({"type": "ClusterIP"})"), "spec.clusterIP"), address);

  const Json node = Make("c", R"({"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]})");
  const auto port = IntAt(ArrayAt(node, "spec.ports")[0], "nodePort");
  EXPECT_GE(port, 30000);
  EXPECT_LE(port, 32767);
  EXPECT_NE(IntAt(ArrayAt(node, "spec.ports")[1], "nodePort"), port);
}

TEST_F(ServiceAddressesTest, SaysWhenEveryPortIsTaken) {
  std::string ports;
  for (int port = 1; port <= 2768; ++port)
    ports += (port == 1 ? "" : ", ") + std::string(R"({"port": )") + std::to_string(port) + "}";
  const Json all = Make("a", R"({"type": "NodePort", "ports": [)" + ports + "]}");
  std::set<std::int64_t> numbers;
  for (const Json& port : ArrayAt(all, "spec.ports")) numbers.insert(IntAt(port, "nodePort"));
  EXPECT_EQ(numbers.size(), 2768u);
  EXPECT_EQ(Refusal(R"({"type": "NodePort", "ports": [{"port": 80}]})"),
            "spec.ports[0].nodePort: Invalid value: 0: failed to allocate a nodePort: range is "
            "full\n");
}

TEST_F(ServiceAddressesTest, LeavesHeadlessAndExternalOnesAlone) {
  const Json headless = Make("a", R"({"type": "ClusterIP", "clusterIP": "None",
                                      "selector": {"app": "x"}})");
  EXPECT_EQ(StringAt(headless, "spec.clusterIP"), "None");
  EXPECT_EQ(ArrayAt(headless, "spec.ipFamilies"), JsonArray{Json("IPv4")});
  EXPECT_EQ(Find(Make("b", R"({"type": "ExternalName"})"), "spec.clusterIP"), nullptr);
}

TEST_F(ServiceAddressesTest, RefusesWhatIsTakenOrOutside) {
  Make("a", R"({"type": "NodePort", "clusterIP": "10.96.9.9",
                "ports": [{"port": 80, "nodePort": 30009}]})");
  EXPECT_EQ(Refusal(R"({"type": "ClusterIP", "clusterIP": "10.96.9.9"})"),
            "spec.clusterIPs: Invalid value: [\"10.96.9.9\"]: failed to allocate IP 10.96.9.9: "
            "provided IP is already allocated\n");
  EXPECT_EQ(Refusal(R"({"type": "ClusterIP", "clusterIP": "10.97.0.1"})"),
            "spec.clusterIPs: Invalid value: [\"10.97.0.1\"]: failed to allocate IP 10.97.0.1: the "
            "provided network does not match the current range\n");
  EXPECT_EQ(Refusal(R"({"type": "NodePort", "ports": [{"port": 1, "nodePort": 30009}]})"),
            "spec.ports[0].nodePort: Invalid value: 30009: provided port is already allocated\n");
  EXPECT_EQ(Refusal(R"({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]})"),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
            "The range of valid ports is 30000-32767\n");
  EXPECT_EQ(Refusal(R"({"type": "ClusterIP", "ipFamilies": ["IPv6"]})"),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster\n");
}

}  // namespace
}  // namespace thinsnap::registry
