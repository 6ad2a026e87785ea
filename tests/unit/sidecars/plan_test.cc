#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/kube/object.h"
#include "simulator/sidecars/crds.h"
#include "simulator/sidecars/parameters.h"
#include "simulator/sidecars/provision_plan.h"
#include "simulator/sidecars/snapshot_names.h"
#include "simulator/sidecars/snapshot_plan.h"

namespace thinsnap::sidecars {
namespace {

TEST(ParametersTest, KeepsTheDriversOwn) {
  const auto own = DriverParameters({{"a", "1"},
                                     {"csi.storage.k8s.io/fstype", "xfs"},
                                     {"fstype", "ext4"},
                                     {"csi.storage.k8s.io/node-stage-secret-name", "x"}});
  ASSERT_TRUE(own.ok());
  EXPECT_EQ(*own, (Parameters{{"a", "1"}}));
  const auto unknown = DriverParameters({{"csi.storage.k8s.io/colour", "blue"}});
  EXPECT_TRUE(unknown.Is(Code::kInvalidArgument));
  EXPECT_NE(unknown.error().message().find("colour"), std::string::npos);
}

TEST(ParametersTest, SecretTemplates) {
  const Parameters parameters{
      {"csi.storage.k8s.io/provisioner-secret-name", "s-${pvc.name}"},
      {"csi.storage.k8s.io/provisioner-secret-namespace", "${pvc.namespace}"}};
  const Variables variables{{"pvc.name", "data"}, {"pvc.namespace", "ns"}, {"pv.name", "pvc-1"}};
  auto key = SecretReference(parameters, "provisioner", variables);
  ASSERT_TRUE(key.ok() && *key);
  EXPECT_EQ((*key)->ToString(), "ns/s-data");
  EXPECT_FALSE(*SecretReference({}, "provisioner", variables));
  EXPECT_TRUE(SecretReference({{"csi.storage.k8s.io/provisioner-secret-name", "x"}}, "provisioner",
                              variables)
                  .Is(Code::kInvalidArgument));
  // A claim's name must not choose the namespace.
  key = SecretReference({{"csi.storage.k8s.io/secret-name", "x"},
                         {"csi.storage.k8s.io/secret-namespace", "${pvc.name}"}},
                        "provisioner", variables);
  EXPECT_TRUE(key.Is(Code::kInvalidArgument));
}

TEST(ParametersTest, Quantities) {
  EXPECT_EQ(BinaryQuantity(1LL << 30), "1Gi");
  EXPECT_EQ(BinaryQuantity(1536LL << 20), "1536Mi");
  EXPECT_EQ(BinaryQuantity(1000), "1000");
  EXPECT_EQ(BinaryQuantity(0), "0");
  const Json text("1.5Gi");
  EXPECT_EQ(QuantityBytes(&text), 1536LL << 20);
}

kube::ObjectPtr Node(const std::string& name) {
  return std::make_shared<const Json>(JsonObject{
      {"metadata", JsonObject{{"name", name}, {"labels", JsonObject{{"k/node", name}}}}}});
}
kube::ObjectPtr CsiNode(const std::string& name) {
  return std::make_shared<const Json>(JsonObject{
      {"metadata", JsonObject{{"name", name}}},
      {"spec", JsonObject{{"drivers",
                           JsonArray{Json(JsonObject{
                               {"name", "d"}, {"topologyKeys", JsonArray{Json("k/node")}}})}}}}});
}

TEST(ProvisionPlanTest, TopologyBeginsWithTheSelectedNode) {
  TopologyInput input{"d",
                      "b",
                      false,
                      JsonObject(),
                      {Node("a"), Node("b"), Node("bare")},
                      {CsiNode("a"), CsiNode("b")},
                      "s"};
  auto topology = PlanTopology(input);
  ASSERT_TRUE(topology.ok());
  EXPECT_EQ(topology->requisite_size(), 2);
  EXPECT_EQ(topology->preferred(0).segments().at("k/node"), "b");
  input.strict = true;
  topology = PlanTopology(input);
  EXPECT_EQ(topology->requisite_size(), 1);
  input.selected_node = "bare";
  EXPECT_TRUE(PlanTopology(input).Is(Code::kFailedPrecondition));
  input.selected_node = "gone";
  EXPECT_TRUE(PlanTopology(input).Is(Code::kNotFound));
}

Json Claim(const std::string& size) {
  return JsonObject{
      {"metadata", JsonObject{{"name", "c"}, {"namespace", "ns"}, {"uid", "u"}}},
      {"spec", JsonObject{{"accessModes", JsonArray{Json("ReadWriteOnce"), Json("ReadOnlyMany")}},
                          {"resources", JsonObject{{"requests", JsonObject{{"storage", size}}}}}}}};
}

TEST(ProvisionPlanTest, OneCapabilityForEachMode) {
  DriverFacts driver;
  SidecarOptions plain;
  plain.extra_create_metadata = false;
  auto request = VolumeRequest(Claim("1Gi"), JsonObject(), driver, plain);
  ASSERT_TRUE(request.ok());
  ASSERT_EQ(request->volume_capabilities_size(), 2);
  using Mode = csi::v1::VolumeCapability::AccessMode;
  EXPECT_EQ(request->volume_capabilities(0).access_mode().mode(), Mode::SINGLE_NODE_WRITER);
  EXPECT_EQ(request->volume_capabilities(1).access_mode().mode(), Mode::MULTI_NODE_READER_ONLY);
  driver.single_node_multi_writer = true;
  request = VolumeRequest(Claim("1Gi"), JsonObject(), driver, plain);
  EXPECT_EQ(request->volume_capabilities(0).access_mode().mode(), Mode::SINGLE_NODE_MULTI_WRITER);
  EXPECT_TRUE(request->parameters().empty());
}

// The volume's filesystem, as the driver is asked for it and as the volume says it.
std::pair<std::string, std::string> FsTypes(const Json& parameters, const std::string& fallback,
                                            const std::string& mode = "Filesystem") {
  SidecarOptions options;
  options.default_fs_type = fallback;
  const Json storage_class =
      JsonObject{{"metadata", JsonObject{{"name", "fast"}}}, {"parameters", parameters}};
  Json claim = Claim("1Gi");
  Set(claim, "spec.volumeMode", mode);
  const auto request = VolumeRequest(claim, storage_class, DriverFacts(), options);
  if (!request.ok()) return {request.error().message(), ""};
  csi::v1::Volume volume;
  volume.set_volume_id("v");
  const auto pv = NewVolume(claim, storage_class, *request, volume, "d", "me");
  return {request->volume_capabilities(0).mount().fs_type(),
          pv.ok() ? StringAt(*pv, "spec.csi.fsType", "none") : pv.error().message()};
}

TEST(ProvisionPlanTest, TheFilesystemIsThatOfTheClassOrTheDefault) {
  using Types = std::pair<std::string, std::string>;
  EXPECT_EQ(FsTypes(JsonObject(), "ext4"), Types("ext4", "ext4"));
  EXPECT_EQ(FsTypes(JsonObject(), ""), Types("", "none"));
  EXPECT_EQ(FsTypes(JsonObject{{"csi.storage.k8s.io/fstype", "xfs"}}, "ext4"), Types("xfs", "xfs"));
  EXPECT_EQ(FsTypes(JsonObject{{"fstype", "xfs"}}, "ext4"), Types("xfs", "xfs"));
  EXPECT_EQ(FsTypes(JsonObject{{"fstype", ""}}, "ext4"), Types("ext4", "ext4"));
  EXPECT_EQ(FsTypes(JsonObject(), "ext4", "Block"), Types("", "none"));
  EXPECT_THAT(
      FsTypes(JsonObject{{"fstype", "xfs"}, {"csi.storage.k8s.io/fstype", "xfs"}}, "").first,
      ::testing::HasSubstr("accepted is one of them"));
}

TEST(ProvisionPlanTest, WithoutATypeTheDriverChooses) {
  // A type that nobody asked for would refuse every copy of a volume that has another one.
  SidecarOptions options;
  const Json plain = JsonObject{{"metadata", JsonObject{{"name", "fast"}}}};
  const auto request = VolumeRequest(Claim("1Gi"), plain, DriverFacts(), options);
  ASSERT_TRUE(request.ok());
  for (const auto& capability : request->volume_capabilities()) {
    EXPECT_TRUE(capability.has_mount());
    EXPECT_EQ(capability.mount().fs_type(), "");
  }
}

struct Source {
  Json snapshot, content;
};
Source ReadySource() {
  return {JsonObject{{"metadata", JsonObject{{"name", "s"}, {"namespace", "ns"}, {"uid", "su"}}},
                     {"status", JsonObject{{"readyToUse", true}, {"restoreSize", "1Gi"}}}},
          JsonObject{
              {"metadata", JsonObject{{"name", "sc"}}},
              {"spec", JsonObject{{"driver", "d"},
                                  {"sourceVolumeMode", "Filesystem"},
                                  {"volumeSnapshotRef",
                                   JsonObject{{"name", "s"}, {"namespace", "ns"}, {"uid", "su"}}}}},
              {"status", JsonObject{{"snapshotHandle", "h"}}}}};
}

TEST(ProvisionPlanTest, SnapshotSourcesAreChecked) {
  const auto [snapshot, content] = ReadySource();
  EXPECT_TRUE(CheckSnapshotSource(Claim("1Gi"), snapshot, content, "d").ok());
  EXPECT_TRUE(CheckSnapshotSource(Claim("2Gi"), snapshot, content, "d").ok());
  const auto refused = [&](const Json& claim, const Json& s, const Json& c, const char* part) {
    const auto checked = CheckSnapshotSource(claim, s, c, "d");
    ASSERT_TRUE(checked.Is(Code::kFailedPrecondition)) << part;
    EXPECT_NE(checked.error().message().find(part), std::string::npos) << checked.error().message();
  };
  refused(Claim("1Mi"), snapshot, content, "less than the size");
  Json other = content;
  Set(other, "spec.driver", "x");
  refused(Claim("1Gi"), snapshot, other, "driver x");
  other = content;
  Set(other, "spec.volumeSnapshotRef.uid", "x");
  refused(Claim("1Gi"), snapshot, other, "another snapshot");
  other = snapshot;
  Set(other, "status.readyToUse", false);
  refused(Claim("1Gi"), other, content, "not Ready");
  Json block = Claim("1Gi");
  Set(block, "spec.volumeMode", "Block");
  refused(block, snapshot, content, "modifies the mode");
  other = content;
  kube::SetAnnotation(other, kAllowVolumeModeChange, "true");
  EXPECT_TRUE(CheckSnapshotSource(block, snapshot, other, "d").ok());
}

TEST(ProvisionPlanTest, AnswersAreChecked) {
  csi::v1::CreateVolumeRequest request;
  request.mutable_capacity_range()->set_required_bytes(10);
  csi::v1::Volume volume;
  volume.set_volume_id("v");
  EXPECT_TRUE(CheckVolume(request, volume).ok());
  volume.set_capacity_bytes(9);
  EXPECT_FALSE(CheckVolume(request, volume).ok());
  volume.set_capacity_bytes(11);
  request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id("s");
  EXPECT_FALSE(CheckVolume(request, volume).ok());
  volume.mutable_content_source()->mutable_snapshot()->set_snapshot_id("s");
  EXPECT_TRUE(CheckVolume(request, volume).ok());
}

TEST(SnapshotPlanTest, ContentsMustFit) {
  const auto [snapshot, content] = ReadySource();
  Json dynamic = content;
  Set(dynamic, "spec.source.volumeHandle", "v");
  EXPECT_TRUE(CheckContent(dynamic, snapshot).ok());
  Json given = snapshot;
  Set(given, "spec.source.volumeSnapshotContentName", "sc");
  EXPECT_FALSE(CheckContent(dynamic, given).ok());
  Set(dynamic, "spec.volumeSnapshotRef.name", "x");
  EXPECT_FALSE(CheckContent(dynamic, snapshot).ok());
}

TEST(SnapshotPlanTest, StatusFollowsTheContent) {
  auto [snapshot, content] = ReadySource();
  Set(content, "status", *ParseJson(R"({"readyToUse": false, "creationTime": 1795000000123456789,
      "restoreSize": 1073741824, "error": {"message": "slow"}})"));
  Json status = SnapshotStatus(snapshot, content);
  EXPECT_EQ(StringAt(status, "restoreSize"), "1Gi");
  EXPECT_EQ(StringAt(status, "error.message"), "slow");
  EXPECT_EQ(StringAt(status, "boundVolumeSnapshotContentName"), "sc");
  Set(content, "status.readyToUse", true);
  status = SnapshotStatus(snapshot, content);
  EXPECT_TRUE(BoolAt(status, "readyToUse"));
  EXPECT_EQ(Find(status, "error"), nullptr);
}

TEST(SnapshotPlanTest, RestoresHoldTheSnapshot) {
  const auto [snapshot, content] = ReadySource();
  Json claim = Claim("1Gi");
  Set(claim, "status.phase", "Pending");
  Set(claim, "spec.dataSource",
      JsonObject{{"apiGroup", kSnapshotGroup}, {"kind", "VolumeSnapshot"}, {"name", "s"}});
  EXPECT_TRUE(IsBeingRestored(claim, snapshot));
  Set(claim, "status.phase", "Bound");
  EXPECT_FALSE(IsBeingRestored(claim, snapshot));
}

TEST(CrdsTest, ThreeDefinitions) {
  const auto crds = SnapshotCrds();
  ASSERT_EQ(crds.size(), 3U);
  for (const Json& crd : crds) EXPECT_EQ(StringAt(crd, "spec.group"), kSnapshotGroup);
}

}  // namespace
}  // namespace thinsnap::sidecars
