#include "simulator/containers/container_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/json.h"

namespace thinsnap::containers {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Json Parse(const std::string& text) {
  Result<Json> json = ParseJson(text);
  EXPECT_TRUE(json.ok()) << text;
  return json.ok() ? *json : Json();
}

RootPlan Busybox() {
  RootPlan plan;
  plan.read_only_binds = {{"/images/busybox/bin", "/bin"}};
  plan.default_command = {"sh"};
  return plan;
}

Result<Json> Build(const std::string& container_text,
                   const std::string& pod_text = R"({"spec": {}})") {
  const Json pod = Parse(pod_text);
  const Json container = Parse(container_text);
  const RootPlan image = Busybox();
  return BuildContainerConfig({.pod = pod,
                               .container = container,
                               .image = image,
                               .root = "/r",
                               .cgroup = "/c",
                               .hostname = "p",
                               .environment = {{"WHO", "world"}},
                               .mounts = {{"/v/a/b", "/data/sub", false}, {"/v/a", "/data", true}},
                               .devices = {{"/dev/xvda", 7, 3}},
                               .pid_namespace = {}});
}

std::vector<std::string> Strings(const Json& json, const char* path) {
  std::vector<std::string> out;
  for (const Json& item : ArrayAt(json, path)) out.emplace_back(item.get_string());
  return out;
}

TEST(ContainerConfigTest, CommandAndArgsReplaceTheImagesDefault) {
  EXPECT_THAT(Strings(*Build(R"({"name": "c"})"), "process.args"), ElementsAre("sh"));
  EXPECT_THAT(
      Strings(*Build(R"json({"name": "c", "command": ["echo"], "args": ["hello $(WHO)"]})json"),
              "process.args"),
      ElementsAre("echo", "hello world"));
}

TEST(ContainerConfigTest, OuterMountsComeBeforeInnerOnes) {
  const Json config = *Build(R"({"name": "c"})");
  std::vector<std::string> destinations;
  for (const Json& mount : ArrayAt(config, "mounts"))
    destinations.push_back(StringAt(mount, "destination"));
  const auto outer = std::find(destinations.begin(), destinations.end(), "/data");
  const auto inner = std::find(destinations.begin(), destinations.end(), "/data/sub");
  ASSERT_NE(outer, destinations.end());
  ASSERT_NE(inner, destinations.end());
  EXPECT_LT(outer, inner);
  for (const Json& mount : ArrayAt(config, "mounts")) {
    const std::string destination = StringAt(mount, "destination");
    const bool read_only = destination == "/data" || destination == "/bin";
    if (!read_only && destination != "/data/sub") continue;
    EXPECT_THAT(Strings(mount, "options"), testing::Contains(read_only ? "rro" : "rw"))
        << destination;
  }
}

TEST(ContainerConfigTest, RawVolumesBecomeDevices) {
  const Json config = *Build(R"({"name": "c"})");
  const JsonArray& devices = ArrayAt(config, "linux.devices");
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_EQ(StringAt(devices[0], "path"), "/dev/xvda");
  EXPECT_EQ(IntAt(devices[0], "minor"), 3);
}

TEST(ContainerConfigTest, CapabilitiesAreDroppedAndAdded) {
  const Json config = *Build(
      R"({"name": "c", "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}})");
  EXPECT_THAT(Strings(config, "process.capabilities.effective"), ElementsAre("CAP_NET_ADMIN"));
}

TEST(ContainerConfigTest, AnotherUserHasNoEffectiveCapabilities) {
  const Json config = *Build(R"({"name": "c", "securityContext": {"runAsUser": 1000}})",
                             R"({"spec": {"securityContext": {"runAsUser": 7, "fsGroup": 2000}}})");
  EXPECT_EQ(IntAt(config, "process.user.uid"), 1000);
  EXPECT_EQ(ArrayAt(config, "process.user.additionalGids").size(), 1U);
  EXPECT_EQ(Find(config, "process.capabilities.effective"), nullptr);
}

TEST(ContainerConfigTest, RunAsNonRootRefusesRoot) {
  const Result<Json> config = Build(R"({"name": "c", "securityContext": {"runAsNonRoot": true}})");
  ASSERT_TRUE(config.Is(Code::kInvalidArgument));
  EXPECT_THAT(config.error().message(), HasSubstr("runAsNonRoot"));
}

TEST(ContainerConfigTest, LimitsReachTheControlGroup) {
  const Json pod = Parse(R"({"spec": {"containers": [
    {"name": "c", "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}}]}})");
  const Json& container = ArrayAt(pod, "spec.containers")[0];
  const RootPlan image = Busybox();
  const Result<Json> config = BuildContainerConfig({.pod = pod,
                                                    .container = container,
                                                    .image = image,
                                                    .root = "/r",
                                                    .cgroup = "/c",
                                                    .hostname = "p",
                                                    .environment = {},
                                                    .mounts = {},
                                                    .devices = {},
                                                    .pid_namespace = {}});
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(IntAt(*config, "linux.resources.memory.limit"), 64 * 1048576);
  EXPECT_EQ(IntAt(*config, "linux.resources.cpu.quota"), 50000);
}

TEST(ImageTest, NamesAreUnderstood) {
  EXPECT_EQ(ShortImageName("busybox"), "busybox");
  EXPECT_EQ(ShortImageName("docker.io/library/busybox:1.36@sha256:00"), "busybox");
  EXPECT_EQ(ShortImageName("localhost:5000/x/thinsnap:dev"), "thinsnap");
  EXPECT_EQ(ChooseImage("alpine:3", {}).kind, ImageKind::kBusybox);
  EXPECT_EQ(ChooseImage("ghcr.io/thinsnap/thinsnap:v1", {}).kind, ImageKind::kOwn);
  EXPECT_EQ(ChooseImage("nginx", {}).kind, ImageKind::kHost);
  const ImageOptions mapped{
      .cache_folder = "", .program_folder = "", .folders = {{"nginx", "/srv/nginx"}}};
  EXPECT_EQ(ChooseImage("docker.io/library/nginx:1.25", mapped).folder, "/srv/nginx");
}

}  // namespace
}  // namespace thinsnap::containers
