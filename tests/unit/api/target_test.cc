#include "snapshotter/api/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/yaml.h"
#include "base/kube/object.h"

namespace thinsnap::backup {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Json Yaml(const std::string& text) {
  auto parsed = ParseYaml(text);
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message());
  return parsed.ok() ? *parsed : Json();
}

TEST(TargetTest, AClaimIsOneComponent) {
  const auto components = ComponentsOf(
      Yaml("{kind: PersistentVolumeClaim, metadata: {name: source-pvc, namespace: demo}}"));
  ASSERT_TRUE(components.ok());
  ASSERT_EQ(components->size(), 1u);
  EXPECT_EQ((*components)[0].name, "volumesnapshot");
  EXPECT_EQ((*components)[0].volumes[0].claim, "source-pvc");
  EXPECT_EQ((*components)[0].volumes[0].host_path, "");
}

TEST(TargetTest, ADeploymentHasItsClaimsInOrderWithTheirPaths) {
  const auto components = ComponentsOf(Yaml(R"(
kind: Deployment
metadata: {name: d, namespace: demo}
spec:
  template:
    spec:
      containers:
        - volumeMounts:
            - {name: config, mountPath: /source/config}
            - {name: data, mountPath: /source/data}
      volumes:
        - {name: data, persistentVolumeClaim: {claimName: source-data}}
        - {name: tmp, emptyDir: {}}
        - {name: config, persistentVolumeClaim: {claimName: source-config}}
)"));
  ASSERT_TRUE(components.ok());
  ASSERT_EQ(components->size(), 1u);
  const auto& volumes = (*components)[0].volumes;
  ASSERT_EQ(volumes.size(), 2u);
  EXPECT_EQ(volumes[0].claim, "source-data");
  EXPECT_EQ(volumes[0].host_path, "/source/data");
  EXPECT_EQ(volumes[1].claim, "source-config");
}

TEST(TargetTest, AStatefulSetHasOneComponentForEachPod) {
  const auto components = ComponentsOf(Yaml(R"(
kind: StatefulSet
metadata: {name: kubestash-demo, namespace: demo}
spec:
  replicas: 3
  volumeClaimTemplates: [{metadata: {name: source-data}}]
  template:
    spec:
      containers: [{volumeMounts: [{name: source-data, mountPath: /source/data}]}]
)"));
  ASSERT_TRUE(components.ok());
  ASSERT_EQ(components->size(), 3u);
  EXPECT_EQ((*components)[2].name, "volumesnapshot-pod-2");
  EXPECT_EQ((*components)[2].volumes[0].claim, "source-data-kubestash-demo-2");
  EXPECT_EQ((*components)[2].volumes[0].host_path, "/source/data");
}

TEST(TargetTest, RefusesAWorkloadWithoutClaims) {
  const auto components =
      ComponentsOf(Yaml("{kind: Deployment, metadata: {name: d, namespace: demo}, spec: {}}"));
  ASSERT_FALSE(components.ok());
  EXPECT_THAT(components.error().message(),
              AllOf(HasSubstr("Deployment demo/d"), HasSubstr("no claims")));
}

class ClassTest : public testing::Test {
 protected:
  ClassTest() {
    question_.ns = "demo";
    question_.wanted = "csi-snapshot-class";
    question_.drivers = {{"source-pvc", "csi.thinsnap.io"}};
    question_.our_driver = "csi.thinsnap.io";
    question_.repositories = {"id2", "id1"};
    question_.owners = {{"id1", "demo/a"}, {"id2", "demo/b"}, {"id9", "other/theirs"}};
    classes_ = {
        Yaml(R"(
metadata: {name: csi-snapshot-class, annotations: {snapshot.storage.kubernetes.io/is-default-class: "true"}}
driver: csi.thinsnap.io
deletionPolicy: Delete
parameters: {localCopies: "2"}
)"),
        Yaml("{metadata: {name: foreign}, driver: pd.csi.storage.gke.io, deletionPolicy: Delete}")};
  }

  std::string Refusal() {
    const auto answer = ChooseClass(question_, classes_);
    return answer.ok() ? "" : answer.error().message();
  }

  ClassQuestion question_;
  std::vector<Json> classes_;
};

TEST_F(ClassTest, DerivesOneThatNamesTheRepositories) {
  const auto answer = ChooseClass(question_, classes_);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->name, DerivedClassName("csi-snapshot-class", {"id1", "id2"}));
  EXPECT_EQ(answer->name.size(), std::string("thinsnap-").size() + 16);
  EXPECT_EQ(StringIn(answer->derived, "parameters", "repositories"), "id2,id1");
  EXPECT_EQ(StringIn(answer->derived, "parameters", "localCopies"), "2");
  EXPECT_EQ(StringAt(answer->derived, "driver"), "csi.thinsnap.io");
  EXPECT_EQ(Find(answer->derived, "metadata.annotations"), nullptr);
  EXPECT_EQ(Find(answer->derived, "metadata.ownerReferences"), nullptr);
}

TEST_F(ClassTest, DerivedNamesDependOnClassAndSetOnly) {
  EXPECT_EQ(DerivedClassName("c", {"a", "b"}), DerivedClassName("c", {"b", "a", "b"}));
  EXPECT_NE(DerivedClassName("c", {"a"}), DerivedClassName("c", {"b"}));
  EXPECT_NE(DerivedClassName("c", {"a"}), DerivedClassName("d", {"a"}));
}

TEST_F(ClassTest, TakesTheDefaultOfTheDriver) {
  question_.wanted = "";
  EXPECT_EQ(Refusal(), "");
  classes_.erase(classes_.begin());
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("volumeSnapshotClassName"), HasSubstr("0 default")));
}

TEST_F(ClassTest, LeavesClassesOfOtherDriversAsTheyAre) {
  question_.wanted = "foreign";
  question_.drivers = {{"source-pvc", "pd.csi.storage.gke.io"}};
  const auto answer = ChooseClass(question_, classes_);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->name, "foreign");
  EXPECT_TRUE(answer->derived.is_null());
}

TEST_F(ClassTest, RefusesWhatCannotWork) {
  question_.wanted = "nothing";
  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("VolumeSnapshotClass nothing"), HasSubstr("csi-snapshot-class")));
  question_.wanted = "foreign";
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("pd.csi.storage.gke.io"), HasSubstr("csi.thinsnap.io")));
  question_.wanted = "csi-snapshot-class";
  question_.drivers["hostpath"] = "";
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("demo/hostpath"), HasSubstr("CSI driver")));
  question_.drivers["hostpath"] = "pd.csi.storage.gke.io";
  EXPECT_THAT(Refusal(), HasSubstr("one driver"));
}

TEST_F(ClassTest, RefusesAnotherTenantsRepository) {
  classes_.push_back(
      Yaml("{metadata: {name: sly}, driver: csi.thinsnap.io, parameters: {repositories: "
           "'id1,id2,id9'}}"));
  question_.wanted = "sly";
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("VolumeSnapshotClass sly, parameters.repositories"),
                               HasSubstr("id9"), HasSubstr("other/theirs"), HasSubstr("id2, id1")));
  classes_.back() =
      Yaml("{metadata: {name: sly}, driver: csi.thinsnap.io, parameters: {repositories: 'id1'}}");
  EXPECT_THAT(Refusal(), HasSubstr("also writes to id2"));
  classes_.back() = Yaml(
      "{metadata: {name: sly}, driver: csi.thinsnap.io, parameters: {repositories: 'id1, id2'}}");
  const auto answer = ChooseClass(question_, classes_);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->name, "sly");
}

}  // namespace
}  // namespace thinsnap::backup
