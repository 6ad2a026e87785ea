#include "simulator/containers/environment.h"

#include <gtest/gtest.h>

#include "base/core/bytes.h"
#include "base/data/json.h"

namespace thinsnap::containers {
namespace {

Json Parse(const char* text) {
  Result<Json> json = ParseJson(text);
  EXPECT_TRUE(json.ok()) << text;
  return json.ok() ? *json : Json();
}

EnvironmentSources Sources() {
  EnvironmentSources sources;
  sources.config_map = [](const std::string& name) -> Result<Json> {
    if (name != "settings") return Error(Code::kNotFound, "not found");
    return Parse(R"({"data": {"color": "red", "bad name": "x"}})");
  };
  sources.secret = [](const std::string& name) -> Result<Json> {
    if (name != "keys") return Error(Code::kNotFound, "not found");
    return Parse(R"({"data": {"password": "czNjcjN0"}})");
  };
  return sources;
}

const char kPod[] =
    R"({"metadata": {"name": "p", "namespace": "ns", "uid": "u1", "labels": {"app.io/x": "y"}},
  "spec": {"nodeName": "n1", "containers": [{"name": "c", "resources": {"limits": {"memory": "64Mi", "cpu": "250m"}}}]}})";

TEST(EnvironmentTest, ExpandsReferences) {
  const Variables variables = {{"A", "1"}, {"B", "two"}};
  EXPECT_EQ(ExpandReferences("$(A)-$(B)", variables), "1-two");
  EXPECT_EQ(ExpandReferences("$(C)", variables), "$(C)");
  EXPECT_EQ(ExpandReferences("$$(A)", variables), "$(A)");
  EXPECT_EQ(ExpandReferences("$A ${A} $(A", variables), "$A ${A} $(A");
  EXPECT_EQ(ExpandReferences("$", variables), "$");
}

TEST(EnvironmentTest, LaterVariablesSeeEarlierOnesAndWin) {
  const Json container =
      Parse(R"json({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"},
    {"name": "A", "value": "3"}]})json");
  const Result<Variables> variables = BuildEnvironment(Parse(kPod), container, Sources());
  ASSERT_TRUE(variables.ok());
  EXPECT_EQ(*FindVariable(*variables, "A"), "3");
  EXPECT_EQ(*FindVariable(*variables, "B"), "12");
}

TEST(EnvironmentTest, TakesValuesFromEverywhere) {
  const Json container = Parse(R"({"name": "c", "env": [
    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app.io/x']"}}},
    {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
    {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
    {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "other", "optional": true}}}]})");
  const Result<Variables> variables = BuildEnvironment(Parse(kPod), container, Sources());
  ASSERT_TRUE(variables.ok()) << variables.error().ToString();
  EXPECT_EQ(*FindVariable(*variables, "NODE"), "n1");
  EXPECT_EQ(*FindVariable(*variables, "LABEL"), "y");
  EXPECT_EQ(*FindVariable(*variables, "MEMORY"), "64");
  EXPECT_EQ(*FindVariable(*variables, "CPU"), "1");
  EXPECT_EQ(*FindVariable(*variables, "COLOR"), "red");
  EXPECT_EQ(*FindVariable(*variables, "PASSWORD"), "s3cr3t");
  EXPECT_EQ(FindVariable(*variables, "NONE"), nullptr);
}

TEST(EnvironmentTest, AMissingSecretIsNamed) {
  const Json container = Parse(
      R"({"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "k"}}}]})");
  const Result<Variables> variables = BuildEnvironment(Parse(kPod), container, Sources());
  ASSERT_TRUE(variables.Is(Code::kNotFound));
  EXPECT_EQ(variables.error().message(), "environment variable P: secret gone does not exist");
}

TEST(EnvironmentTest, EnvFromTakesAllKeysWithAPrefix) {
  const Json container =
      Parse(R"({"envFrom": [{"prefix": "C_", "configMapRef": {"name": "settings"}},
    {"configMapRef": {"name": "gone", "optional": true}}]})");
  const Result<Variables> variables = BuildEnvironment(Parse(kPod), container, Sources());
  ASSERT_TRUE(variables.ok());
  ASSERT_EQ(variables->size(), 1U);  // "bad name" can be no variable
  EXPECT_EQ(*FindVariable(*variables, "C_color"), "red");
}

TEST(EnvironmentTest, AnUnknownFieldIsRefused) {
  EXPECT_TRUE(PodField(Parse(kPod), "spec.hostname").Is(Code::kInvalidArgument));
}

}  // namespace
}  // namespace thinsnap::containers
