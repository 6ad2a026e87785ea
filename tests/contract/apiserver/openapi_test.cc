// The documents from which clients learn types: both versions name the same kinds, and every
// reference in them leads somewhere.
#include <algorithm>
#include <gtest/gtest.h>

#include "tests/contract/apiserver/server_fixture.h"

namespace thinsnap::apiserver {
namespace {

constexpr const char* kDefinitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
constexpr const char* kProtobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

using OpenApiTest = ServerTest;

void ExpectReferencesLead(std::string_view text, const std::string& where,
                          const JsonObject& schemas) {
  const std::string start = "\"#/" + where + "/";
  for (auto at = text.find(start); at != std::string_view::npos; at = text.find(start)) {
    text.remove_prefix(at + start.size());
    const std::string name(text.substr(0, text.find('"')));
    EXPECT_TRUE(schemas.contains(name)) << name;
  }
}

TEST_F(OpenApiTest, DescribesEachGroupVersion) {
  Start();
  const auto index = Call("GET", "/openapi/v3");
  const Json* apps = index.body.at("paths").as_object().if_contains("apis/apps/v1");
  ASSERT_NE(apps, nullptr);
  const auto document = Call("GET", StringAt(*apps, "serverRelativeURL"));
  ASSERT_EQ(document.status, 200);
  const JsonObject& schemas = document.body.at("components").at("schemas").as_object();
  ASSERT_TRUE(schemas.contains("io.k8s.api.apps.v1.Deployment"));
  ExpectReferencesLead(document.text, "components/schemas", schemas);
  EXPECT_EQ(Call("GET", "/openapi/v3/apis/none/v1").status, 404);
}

TEST_F(OpenApiTest, DescribesEverythingInVersion2) {
  Start();
  const auto document = Call("GET", "/openapi/v2");
  ASSERT_EQ(document.status, 200);
  EXPECT_EQ(document.headers.Get("Content-Type"), "application/json");
  const JsonObject& schemas = document.body.at("definitions").as_object();
  ExpectReferencesLead(document.text, "definitions", schemas);
  // One type, two versions.
  EXPECT_EQ(schemas.at("io.k8s.api.batch.v1.CronJob")
                .at("x-kubernetes-group-version-kind")
                .as_array()
                .size(),
            2U);
  // How kubectl up to 1.28 learns that a dry run is understood, and which patches are.
  const Json& patch =
      document.body.at("paths").at("/api/v1/namespaces/{namespace}/pods/{name}").at("patch");
  EXPECT_NE(ToJson(patch).find("dryRun"), std::string::npos);
  EXPECT_NE(ToJson(patch.at("consumes")).find("strategic-merge-patch"), std::string::npos);
}

TEST_F(OpenApiTest, AnswersVersion2InProtobuf) {
  Start();
  const auto document = Call("GET", "/openapi/v2", "", {{"Accept", kProtobuf}});
  ASSERT_EQ(document.status, 200);
  EXPECT_EQ(document.headers.Get("Content-Type"),
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
  EXPECT_TRUE(
      document.text.starts_with("\x0a\x03"
                                "2.0"));
  const std::string etag(document.headers.Get("ETag"));
  EXPECT_EQ(Call("GET", "/openapi/v2", "", {{"Accept", kProtobuf}, {"If-None-Match", etag}}).status,
            304);
}

TEST_F(OpenApiTest, LeavesOpenInVersion2WhatItCannotSay) {
  Start();
  ASSERT_EQ(Call("POST", kDefinitions, R"({"metadata":{"name":"things.example.com"},"spec":{
      "group":"example.com","scope":"Cluster","names":{"plural":"things","kind":"Thing"},
      "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{
      "type":"object","properties":{"spec":{"type":"object","properties":{
        "port":{"x-kubernetes-int-or-string":true},
        "maybe":{"type":"string","nullable":true},
        "free":{"type":"object","x-kubernetes-preserve-unknown-fields":true,
                "properties":{"known":{"type":"string"}}},
        "size":{"type":"integer","minimum":1}}}}}}}]}})")
                .status,
            201);
  const auto document = Call("GET", "/openapi/v2");
  const Json& spec =
      document.body.at("definitions").at("com.example.v1.Thing").at("properties").at("spec");
  const Json& properties = spec.at("properties");
  for (const char* open : {"port", "maybe", "free"}) {
    EXPECT_TRUE(properties.at(open).as_object().empty()) << ToJson(properties.at(open));
  }
  EXPECT_EQ(properties.at("size").at("type"), Json("integer"));
}

}  // namespace
}  // namespace thinsnap::apiserver
