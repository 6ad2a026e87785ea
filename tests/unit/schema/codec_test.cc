#include "simulator/schema/codec.h"

#include <gtest/gtest.h>

#include "base/data/json.h"

namespace thinsnap::schema {
namespace {

class CodecTest : public ::testing::Test {
 protected:
  ApiResult<Decoded> Decode(const char* group, const char* resource, const std::string& body,
                            FieldValidation validation = FieldValidation::kWarn,
                            BodyFormat format = BodyFormat::kJson) {
    const auto kind = kinds_.FindResource(group, resource);
    EXPECT_TRUE(kind);
    return DecodeObject(*kind, kind->versions.front(), body, format, validation);
  }

  std::string Refusal(const char* resource, const std::string& body,
                      FieldValidation validation = FieldValidation::kWarn) {
    auto decoded = Decode("", resource, body, validation);
    return decoded.ok() ? "accepted" : decoded.error().message;
  }

  KindTable kinds_;
};

TEST_F(CodecTest, FillsInTheTypeAndDropsNulls) {
  auto decoded = Decode("", "configmaps", R"({"metadata":{"name":"a","labels":null},"data":{}})");
  ASSERT_TRUE(decoded.ok()) << decoded.error().message;
  EXPECT_EQ(ToJson(decoded->object),
            R"({"metadata":{"name":"a"},"apiVersion":"v1","kind":"ConfigMap"})");
}

TEST_F(CodecTest, RefusesAnotherType) {
  EXPECT_NE(Refusal("configmaps", R"({"apiVersion":"v1","kind":"Secret"})")
                .find("cannot be handled as a ConfigMap"),
            std::string::npos);
  EXPECT_NE(
      Refusal("configmaps", R"({"apiVersion":"v2","kind":"ConfigMap"})").find("in version \"v2\""),
      std::string::npos);
  EXPECT_NE(Refusal("configmaps", "").find("must be of type ConfigMap"), std::string::npos);
  EXPECT_NE(Refusal("configmaps", "{nope").find("json parse error"), std::string::npos);
}

TEST_F(CodecTest, SaysWhichFieldHasTheWrongType) {
  EXPECT_EQ(Refusal("configmaps", R"({"data":"text"})"),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal "
            "string into Go struct "
            "field ConfigMap.data of type map[string]string");
  EXPECT_EQ(Refusal("configmaps", R"({"data":{"a":1}})"),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal "
            "number into Go struct "
            "field ConfigMap.data of type string");
  EXPECT_NE(Refusal("secrets", R"({"data":{"a":"%%"}})"), "accepted");
  EXPECT_NE(Refusal("pods", R"({"spec":{"terminationGracePeriodSeconds":1.5}})"), "accepted");
}

TEST_F(CodecTest, ReportsUnknownAndDuplicateFields) {
  const std::string body = R"({"metadata":{"name":"a","x":1},"data":{"k":"1","k":"2"},"nope":[]})";
  auto decoded = Decode("", "configmaps", body);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->warnings,
            (std::vector<std::string>{"duplicate field \"data.k\"", "unknown field \"metadata.x\"",
                                      "unknown field \"nope\""}));
  EXPECT_TRUE(Decode("", "configmaps", body, FieldValidation::kIgnore)->warnings.empty());
  EXPECT_NE(Refusal("configmaps", body, FieldValidation::kStrict)
                .find("strict decoding error: duplicate field \"data.k\""),
            std::string::npos);
  auto pod = Decode("", "pods",
                    R"({"spec":{"containers":[{"name":"c"},{"name":"d","imagePolicy":"x"}]}})");
  EXPECT_EQ(pod->warnings,
            std::vector<std::string>{"unknown field \"spec.containers[1].imagePolicy\""});
}

TEST_F(CodecTest, MakesValuesCanonical) {
  auto claim = Decode("", "persistentvolumeclaims",
                      R"({"spec":{"resources":{"requests":{"storage":"1024Mi"}}}})");
  ASSERT_TRUE(claim.ok()) << claim.error().message;
  EXPECT_EQ(StringAt(claim->object, "spec.resources.requests.storage"), "1Gi");
  auto lease = Decode("coordination.k8s.io", "leases",
                      R"({"spec":{"renewTime":"2026-01-01T01:00:00.5+01:00"}})");
  ASSERT_TRUE(lease.ok()) << lease.error().message;
  EXPECT_EQ(StringAt(lease->object, "spec.renewTime"), "2026-01-01T00:00:00.500000Z");
}

TEST_F(CodecTest, KeepsGivenZerosOfPointers) {
  auto deployment = Decode("apps", "deployments",
                           R"({"spec":{"replicas":0,"minReadySeconds":0,"paused":false}})");
  ASSERT_TRUE(deployment.ok()) << deployment.error().message;
  EXPECT_NE(Find(deployment->object, "spec.replicas"), nullptr);
  EXPECT_EQ(Find(deployment->object, "spec.minReadySeconds"), nullptr);
  EXPECT_EQ(Find(deployment->object, "spec.paused"), nullptr);
}

TEST_F(CodecTest, ReadsYaml) {
  auto decoded = Decode("", "configmaps", "metadata: {name: a}\ndata: {k: '1'}\n",
                        FieldValidation::kStrict, BodyFormat::kYaml);
  ASSERT_TRUE(decoded.ok()) << decoded.error().message;
  EXPECT_EQ(StringAt(decoded->object, "data.k"), "1");
}

TEST_F(CodecTest, ReadsProtobuf) {
  // {name: "c"}, data {k: v}, in the envelope that client-go writes.
  const std::string meta(
      "\x0a\x01"
      "c",
      3);
  const std::string entry(
      "\x0a\x01"
      "k"
      "\x12\x01"
      "v",
      6);
  const std::string raw = std::string("\x0a\x03", 2) + meta + std::string("\x12\x06", 2) + entry;
  const std::string type = std::string(
      "\x0a\x02"
      "v1"
      "\x12\x09"
      "ConfigMap",
      15);
  const std::string body = std::string("k8s\0", 4) + std::string("\x0a\x0f", 2) + type + "\x12" +
                           static_cast<char>(raw.size()) + raw;
  auto decoded = Decode("", "configmaps", body, FieldValidation::kWarn, BodyFormat::kProtobuf);
  ASSERT_TRUE(decoded.ok()) << decoded.error().message;
  EXPECT_EQ(StringAt(decoded->object, "metadata.name"), "c");
  EXPECT_EQ(StringAt(decoded->object, "data.k"), "v");
  EXPECT_FALSE(
      Decode("", "configmaps", body.substr(0, 20), FieldValidation::kWarn, BodyFormat::kProtobuf)
          .ok());
}

TEST_F(CodecTest, ConvertsEventsBothWays) {
  const auto core = kinds_.FindResource("", "events");
  const auto other = kinds_.FindResource("events.k8s.io", "events");
  auto event = ParseJson(
      R"({"apiVersion":"v1","kind":"Event","involvedObject":{"name":"p"},"message":"m","count":2})");
  const Json converted = ConvertObject(*core, *other, "v1", *event);
  EXPECT_EQ(StringAt(converted, "apiVersion"), "events.k8s.io/v1");
  EXPECT_EQ(StringAt(converted, "regarding.name"), "p");
  EXPECT_EQ(StringAt(converted, "note"), "m");
  EXPECT_EQ(ConvertObject(*other, *core, "v1", converted), *event);
}

}  // namespace
}  // namespace thinsnap::schema
