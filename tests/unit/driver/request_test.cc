#include "csi/driver/request.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <utility>

#include "base/core/bytes.h"
#include "csi/transfer/repository_source.h"

namespace thinsnap::driver {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Mode = csi::v1::VolumeCapability::AccessMode;

csi::v1::VolumeCapability Capability(Mode::Mode mode, const std::string& fs_type = "") {
  csi::v1::VolumeCapability capability;
  capability.mutable_mount()->set_fs_type(fs_type);
  capability.mutable_access_mode()->set_mode(mode);
  return capability;
}

TEST(RequestTest, NamesAreCheckedAsTheInterfaceSays) {
  EXPECT_TRUE(RequireName("").Is(Code::kInvalidArgument));
  EXPECT_TRUE(RequireName(std::string(128, 'x')).ok());
  EXPECT_TRUE(RequireName(std::string(129, 'x')).Is(Code::kInvalidArgument));
  EXPECT_TRUE(RequireName("tab\tline\nreturn\r").ok());
  EXPECT_TRUE(RequireName("Sch\u00f6n/../x y").ok());
  EXPECT_TRUE(RequireName("bell\a").Is(Code::kInvalidArgument));
  EXPECT_TRUE(RequireName("c1\u0085").Is(Code::kInvalidArgument));
}

TEST(RequestTest, OneNodeModesAreTakenAndOthersNamed) {
  for (const auto mode :
       {Mode::SINGLE_NODE_WRITER, Mode::SINGLE_NODE_READER_ONLY, Mode::SINGLE_NODE_SINGLE_WRITER,
        Mode::SINGLE_NODE_MULTI_WRITER, Mode::MULTI_NODE_READER_ONLY}) {
    EXPECT_TRUE(ReadCapability(Capability(mode)).ok());
  }
  EXPECT_TRUE(ReadCapability(Capability(Mode::MULTI_NODE_READER_ONLY))->read_only);
  const auto many = ReadCapability(Capability(Mode::MULTI_NODE_MULTI_WRITER));
  ASSERT_TRUE(many.Is(Code::kInvalidArgument));
  EXPECT_THAT(many.error().message(), HasSubstr("MULTI_NODE_MULTI_WRITER"));
  EXPECT_THAT(many.error().message(), HasSubstr("ReadWriteOnce"));
  EXPECT_TRUE(ReadCapability(Capability(Mode::UNKNOWN)).Is(Code::kInvalidArgument));
  EXPECT_TRUE(ReadCapability({}).Is(Code::kInvalidArgument));
  EXPECT_TRUE(
      ReadCapability(Capability(Mode::SINGLE_NODE_WRITER, "ntfs")).Is(Code::kInvalidArgument));
}

TEST(RequestTest, OneVolumeHasOneFilesystem) {
  csi::v1::CreateVolumeRequest request;
  *request.add_volume_capabilities() = Capability(Mode::SINGLE_NODE_WRITER, "ext4");
  *request.add_volume_capabilities() = Capability(Mode::SINGLE_NODE_READER_ONLY);
  EXPECT_TRUE(CheckCapabilities(request.volume_capabilities()).ok());
  *request.add_volume_capabilities() = Capability(Mode::SINGLE_NODE_WRITER, "xfs");
  const auto refused = CheckCapabilities(request.volume_capabilities());
  ASSERT_TRUE(refused.Is(Code::kInvalidArgument));
  EXPECT_THAT(refused.error().message(), HasSubstr("ext4 and xfs"));
}

TEST(RequestTest, ParametersOfAVolumeAreReadOrNamed) {
  csi::v1::CreateVolumeRequest request;
  (*request.mutable_parameters())["csi.storage.k8s.io/pvc/name"] = "data";
  (*request.mutable_parameters())["filesystemUUID"] = "new";
  (*request.mutable_mutable_parameters())["tag/team"] = "orders";
  const auto read = ReadVolumeParameters(request);
  ASSERT_TRUE(read.ok()) << read.error().ToString();
  EXPECT_TRUE(read->new_uuid);
  EXPECT_THAT(read->user_tags, ElementsAre(testing::Pair("tag.team", "orders")));
  (*request.mutable_parameters())["filesystemUUID"] = "random";
  EXPECT_TRUE(ReadVolumeParameters(request).Is(Code::kInvalidArgument));
  (*request.mutable_parameters())["filesystemUUID"] = "same";
  EXPECT_FALSE(ReadVolumeParameters(request)->new_uuid);
  const std::map<std::string, std::string> wrong = {{"iops", "100"},
                                                    {"tag/", "x"},
                                                    {"tag/a b", "x"},
                                                    {"tag/" + std::string(64, 'n'), "x"},
                                                    {"tag/long", std::string(129, 'v')},
                                                    {"tag/bell", "\a"}};
  for (const auto& [key, value] : wrong) {
    auto parameters = std::as_const(request).mutable_parameters();
    parameters[key] = value;
    const auto refused = ReadUserTags(parameters);
    ASSERT_TRUE(refused.Is(Code::kInvalidArgument)) << key;
    EXPECT_THAT(refused.error().message(), HasSubstr(key));
  }
}

TEST(RequestTest, SizesHaveTheirCodes) {
  csi::v1::CapacityRange range;
  EXPECT_TRUE(ReadSizeRange(false, range).ok());
  EXPECT_TRUE(ReadSizeRange(true, range).Is(Code::kInvalidArgument));
  range.set_required_bytes(-1);
  EXPECT_TRUE(ReadSizeRange(true, range).Is(Code::kInvalidArgument));
  range.set_required_bytes(10);
  range.set_limit_bytes(5);
  EXPECT_TRUE(ReadSizeRange(true, range).Is(Code::kOutOfRange));
  EXPECT_EQ(*ChooseSize({}, 0), kGiB);
  EXPECT_EQ(*ChooseSize({0, kMiB}, 0), kMiB);
  EXPECT_EQ(*ChooseSize({kMiB, 0}, 2 * kMiB), 2 * kMiB);
  EXPECT_TRUE(ChooseSize({0, kMiB}, 2 * kMiB).Is(Code::kOutOfRange));
}

TEST(RequestTest, TokensAreOursOrAborted) {
  EXPECT_TRUE(ReadToken("")->id.empty());
  EXPECT_EQ(ReadToken("0123456789abc.01arz3ndektsv4rrffq69g5fav")->pool, "0123456789abc");
  for (const char* token : {"invalid-token", ".", "0123456789abc.", ".01arz3ndektsv4rrffq69g5fav",
                            "pool.01arz3ndektsv4rrffq69g5fav"}) {
    EXPECT_TRUE(ReadToken(token).Is(Code::kAborted)) << token;
  }
}

TEST(RequestTest, TopologyValuesFitALabel) {
  EXPECT_EQ(TopologyValue("node-1.example"), "node-1.example");
  const std::string long_name = std::string(60, 'n') + ".example.internal";
  const std::string value = TopologyValue(long_name);
  EXPECT_EQ(value.size(), 63U);
  EXPECT_EQ(TopologyValue(long_name), value);
  EXPECT_NE(TopologyValue(long_name + "x"), value);
}

TEST(RequestTest, SnapshotParametersAreRead) {
  google::protobuf::Map<std::string, std::string> parameters;
  parameters["repositories"] = "r1, r2,r1";
  parameters["localCopies"] = "3";
  parameters["csi.storage.k8s.io/volumesnapshot/namespace"] = "shop";
  const auto read = ReadSnapshotParameters(parameters);
  ASSERT_TRUE(read.ok());
  EXPECT_THAT(read->repositories, ElementsAre("r1", "r2"));
  EXPECT_EQ(read->local_copies, 3);
  EXPECT_EQ(read->snapshot_namespace, "shop");
  parameters["localCopies"] = "many";
  EXPECT_TRUE(ReadSnapshotParameters(parameters).Is(Code::kInvalidArgument));
}

TEST(RepositoryConfigTest, EveryKeyIsCheckedAndNoSecretTold) {
  std::map<std::string, std::string> values = {{"id", "r"},
                                               {"suite", "sealed"},
                                               {"url", "s3://bucket/prefix"},
                                               {"secretAccessKey", "hush"},
                                               {"passphrase", "hush"},
                                               {"namespaces", "shop, bank"}};
  const auto config = transfer::ReadRepositoryConfig(values);
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  EXPECT_TRUE(config->Admits("bank"));
  EXPECT_FALSE(config->Admits("mill"));
  EXPECT_FALSE(config->wiping);
  const std::map<std::string, std::string> wrong = {
      {"suite", "open"}, {"state", "gone"}, {"extra", "x"}, {"url", ""}, {"id", ""}};
  for (const auto& [key, value] : wrong) {
    auto broken = values;
    broken[key] = value;
    const auto read = transfer::ReadRepositoryConfig(broken);
    ASSERT_TRUE(read.Is(Code::kInvalidArgument)) << key;
    EXPECT_THAT(read.error().message(), HasSubstr("\"" + key + "\""));
    EXPECT_THAT(read.error().message(), Not(HasSubstr("hush")));
  }
}

}  // namespace
}  // namespace thinsnap::driver
