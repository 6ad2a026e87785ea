#include "simulator/schema/protobuf.h"

#include "tests/unit/schema/values.h"

namespace thinsnap::schema {
namespace {

std::string Varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string Field(int number, std::string_view bytes) {
  return Varint(static_cast<std::uint64_t>(number) << 3 | 2) + Varint(bytes.size()) +
         std::string(bytes);
}

std::string Number(int number, std::uint64_t value) {
  return Varint(static_cast<std::uint64_t>(number) << 3) + Varint(value);
}

std::string Enveloped(std::string_view api_version, std::string_view kind, std::string_view raw) {
  return std::string("k8s\0", 4) + Field(1, Field(1, api_version) + Field(2, kind)) + Field(2, raw);
}

const Schema& SchemaOf(std::string_view group, std::string_view resource) {
  return *BuiltinKind(group, resource)->versions.front().schema;
}

TEST(ProtobufTest, OpensTheEnvelope) {
  const std::string body = Enveloped("v1", "ConfigMap", "raw");
  EXPECT_TRUE(IsProtobuf(body));
  const auto envelope = ParseEnvelope(body);
  ASSERT_TRUE(envelope.ok()) << envelope.error().ToString();
  EXPECT_EQ(envelope->api_version, "v1");
  EXPECT_EQ(envelope->kind, "ConfigMap");
  EXPECT_EQ(envelope->raw, "raw");
  EXPECT_FALSE(IsProtobuf("{}"));
}

TEST(ProtobufTest, ReadsMapsAndTexts) {
  const std::string raw = Field(1, Field(1, "c") + Field(11, Field(1, "l") + Field(2, "v"))) +
                          Field(2, Field(1, "a") + Field(2, "1"));
  const auto map = DecodeMessageBytes(SchemaOf("", "configmaps"), raw);
  ASSERT_TRUE(map.ok()) << map.error().ToString();
  EXPECT_EQ(StringAt(*map, "metadata.name"), "c");
  EXPECT_EQ(StringAt(*map, "metadata.labels.l"), "v");
  EXPECT_EQ(StringAt(*map, "data.a"), "1");
}

TEST(ProtobufTest, ReadsNumbersTimesAndQuantities) {
  // spec.replicas 3; metadata.creationTimestamp of 1 s.
  const std::string raw = Field(1, Field(1, "d") + Field(8, Number(1, 1))) + Field(2, Number(1, 3));
  const auto deployment = DecodeMessageBytes(SchemaOf("apps", "deployments"), raw);
  ASSERT_TRUE(deployment.ok()) << deployment.error().ToString();
  EXPECT_EQ(IntAt(*deployment, "spec.replicas"), 3);
  EXPECT_EQ(StringAt(*deployment, "metadata.creationTimestamp"), "1970-01-01T00:00:01Z");
  // spec.resources.requests of a claim.
  const std::string quantity = Field(2, Field(1, "storage") + Field(2, Field(1, "1Gi")));
  const auto claim =
      DecodeMessageBytes(SchemaOf("", "persistentvolumeclaims"), Field(2, Field(2, quantity)));
  ASSERT_TRUE(claim.ok()) << claim.error().ToString();
  EXPECT_EQ(StringIn(*claim, "spec.resources.requests", "storage"), "1Gi");
}

TEST(ProtobufTest, SkipsWhatItDoesNotKnow) {
  const auto map = DecodeMessageBytes(SchemaOf("", "configmaps"),
                                      Number(99, 7) + Field(98, "x") + Field(1, Field(1, "c")));
  ASSERT_TRUE(map.ok()) << map.error().ToString();
  EXPECT_EQ(StringAt(*map, "metadata.name"), "c");
}

TEST(ProtobufTest, RefusesEveryTruncation) {
  const std::string whole = Field(1, Field(1, "name")) + Field(2, Field(1, "a") + Field(2, "1"));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    // Cutting between fields leaves a smaller message; anywhere else it is damaged. Neither may
    // read past the end.
    std::ignore = DecodeMessageBytes(SchemaOf("", "configmaps"), whole.substr(0, size));
  }
  EXPECT_FALSE(DecodeMessageBytes(SchemaOf("", "configmaps"), whole.substr(0, 3)).ok());
  EXPECT_FALSE(ParseEnvelope(Enveloped("v1", "X", "raw").substr(0, 9)).ok());
  EXPECT_FALSE(
      DecodeMessageBytes(SchemaOf("", "configmaps"), "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
          .ok());
}

}  // namespace
}  // namespace thinsnap::schema
