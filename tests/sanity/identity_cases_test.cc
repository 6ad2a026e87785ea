// Cases 1-9 and the verbs that are not claimed.
#include <cctype>

#include "tests/sanity/sanity_fixture.h"

namespace thinsnap::driver {
namespace {

class IdentityCasesTest : public SanityTest {};
THINSNAP_SANITY_WORLDS(IdentityCasesTest);

TEST_P(IdentityCasesTest, PluginCapabilitiesAreThoseOfTheInterface) {  // 1
  const auto answer = csi().GetPluginCapabilities({}, {});
  ASSERT_OK(answer);
  using Plugin = csi::v1::PluginCapability;
  bool controller = false, topology = false, online = false;
  for (const auto& capability : answer->capabilities()) {
    if (capability.has_service()) {
      controller |= capability.service().type() == Plugin::Service::CONTROLLER_SERVICE;
      topology |= capability.service().type() == Plugin::Service::VOLUME_ACCESSIBILITY_CONSTRAINTS;
      EXPECT_NE(capability.service().type(), Plugin::Service::UNKNOWN);
      EXPECT_TRUE(Plugin::Service::Type_IsValid(capability.service().type()));
    } else {
      ASSERT_TRUE(capability.has_volume_expansion());
      online |= capability.volume_expansion().type() == Plugin::VolumeExpansion::ONLINE;
    }
  }
  EXPECT_TRUE(controller && topology && online);
}

TEST_P(IdentityCasesTest, ProbeIsReady) {  // 2
  const auto answer = csi().Probe({}, {});
  ASSERT_OK(answer);
  EXPECT_TRUE(answer->ready().value());
}

TEST_P(IdentityCasesTest, NameBeginsAndEndsWithALetter) {  // 3
  const auto answer = csi().GetPluginInfo({}, {});
  ASSERT_OK(answer);
  const std::string& name = answer->name();
  EXPECT_EQ(name, "csi.thinsnap.io");
  EXPECT_LE(name.size(), 63U);
  EXPECT_TRUE(std::isalpha(name.front()) && std::isalpha(name.back()));
  EXPECT_FALSE(answer->vendor_version().empty());
}

TEST_P(IdentityCasesTest, ControllerCapabilitiesAreThoseOfTheInterface) {  // 4
  const auto answer = csi().ControllerGetCapabilities({}, {});
  ASSERT_OK(answer);
  EXPECT_EQ(answer->capabilities_size(), 12);
  for (const auto& capability : answer->capabilities()) {
    const int type = capability.rpc().type();
    EXPECT_TRUE(type >= 1 && type <= 15) << type;
  }
}

TEST_P(IdentityCasesTest, CapacityNeedsNoArguments) {  // 5
  const auto answer = csi().GetCapacity({}, {});
  ASSERT_OK(answer);
  EXPECT_GT(answer->available_capacity(), 0);
  csi::v1::GetCapacityRequest elsewhere;
  (*elsewhere.mutable_accessible_topology()->mutable_segments())["topology.thinsnap.io/node"] =
      "another";
  EXPECT_EQ(csi().GetCapacity({}, elsewhere)->available_capacity(), 0);
}

TEST_P(IdentityCasesTest, ListVolumesNeedsNoArguments) {  // 6
  Volume("listed");
  const auto listed = csi().ListVolumes({}, {});
  ASSERT_OK(listed);
  for (const auto& entry : listed->entries()) EXPECT_FALSE(entry.volume().volume_id().empty());
}

TEST_P(IdentityCasesTest, ListVolumesRefusesForeignTokens) {  // 7
  csi::v1::ListVolumesRequest request;
  request.set_starting_token("invalid-token");
  EXPECT_CODE(csi().ListVolumes({}, request), Code::kAborted);
  request.clear_starting_token();
  request.set_max_entries(-1);
  EXPECT_CODE(csi().ListVolumes({}, request), Code::kInvalidArgument);
}

TEST_P(IdentityCasesTest, ListVolumesShowsTheNewAndNotTheDeleted) {  // 8
  const int before = CountVolumes();
  const std::string volume = Volume("sanity");
  EXPECT_EQ(CountVolumes(), before + 1);
  ASSERT_OK(Delete(volume));
  EXPECT_EQ(CountVolumes(), before);
}

TEST_P(IdentityCasesTest, PagesSurviveDeletions) {  // 9
  std::vector<std::string> made;
  for (int i = 0; i < 5; ++i) made.push_back(Volume("page-" + std::to_string(i)));
  csi::v1::ListVolumesRequest request;
  request.set_max_entries(2);
  const auto first = csi().ListVolumes({}, request);
  ASSERT_OK(first);
  ASSERT_EQ(first->entries_size(), 2);
  // The token's own volume goes.
  ASSERT_OK(Delete(first->entries(1).volume().volume_id()));
  request.set_starting_token(first->next_token());
  request.set_max_entries(0);
  const auto rest = csi().ListVolumes({}, request);
  ASSERT_OK(rest);
  EXPECT_EQ(rest->entries_size(), 3);
  EXPECT_TRUE(rest->next_token().empty());
}

TEST_P(IdentityCasesTest, VerbsThatAreNotClaimedAreUnimplemented) {  // 30-39
  EXPECT_CODE(csi().ControllerPublishVolume({}, {}), Code::kUnimplemented);
  EXPECT_CODE(csi().ControllerUnpublishVolume({}, {}), Code::kUnimplemented);
}

}  // namespace
}  // namespace thinsnap::driver
