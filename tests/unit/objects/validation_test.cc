#include "simulator/objects/validation.h"

#include "simulator/objects/rules.h"
#include "simulator/schema/codec.h"
#include "tests/unit/schema/values.h"

namespace thinsnap::objects {
namespace {

// What a request to create it is told.
std::string Created(std::string_view group, std::string_view resource, std::string_view text) {
  const schema::KindRef kind = BuiltinKind(group, resource);
  const schema::KindVersion& version = kind->versions.front();
  auto decoded = schema::DecodeObject(*kind, version, text, schema::BodyFormat::kJson,
                                      schema::FieldValidation::kStrict);
  if (!decoded.ok()) return decoded.error().message;
  schema::ApplyDefaults(*kind, version, decoded->object);
  return Told(ValidateCreate(*kind, version, decoded->object));
}

std::string Pod(std::string_view spec) {
  return Created("", "pods", R"({"metadata":{"name":"p"},"spec":)" + std::string(spec) + "}");
}

// A pod of one container with these members beside name and image.
std::string Container(std::string_view members, std::string_view rest = "") {
  return Pod(R"({"containers":[{"name":"c","image":"i",)" + std::string(members) + "}]" +
             std::string(rest) + "}");
}

std::string Deployment(std::string_view members) {
  return Created("apps", "deployments",
                 R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},
      "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}})" +
                     std::string(members) + "}}");
}

TEST(MetadataTest, KeepsNamesAndLabelsInShape) {
  const auto map = [](std::string_view metadata) {
    return Created("", "configmaps", R"({"metadata":)" + std::string(metadata) + "}");
  };
  EXPECT_EQ(map(R"({"name":"a.b-c","labels":{"x.y/z":"1"},"finalizers":["x.y/z"]})"), "");
  EXPECT_EQ(map(R"({})"), "metadata.name FieldValueRequired");
  EXPECT_EQ(map(R"({"name":"A"})"), "metadata.name FieldValueInvalid");
  EXPECT_EQ(map(R"({"name":"a","labels":{"a b":"c"}})"), "metadata.labels FieldValueInvalid");
  EXPECT_EQ(map(R"({"name":"a","finalizers":["plain"]})"),
            "metadata.finalizers[0] FieldValueInvalid");
  EXPECT_EQ(map(R"({"name":"a","ownerReferences":[
      {"apiVersion":"v1","kind":"Event","name":"x","uid":"u"}]})"),
            "metadata.ownerReferences FieldValueInvalid");
}

TEST(PodTest, AcceptsWhatPeopleWrite) {
  EXPECT_EQ(
      Container(R"("ports":[{"containerPort":80,"name":"web"}],
      "env":[{"name":"A","value":"1"},{"name":"B","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
             {"name":"C","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}],
      "resources":{"requests":{"cpu":"100m","memory":"1Gi"},"limits":{"cpu":1,"example.com/gpu":"1"}},
      "livenessProbe":{"httpGet":{"path":"/","port":"web"}},"readinessProbe":{"exec":{"command":["true"]}},
      "volumeMounts":[{"name":"v","mountPath":"/v"},{"name":"v","mountPath":"/w","subPath":"x"}])",
                R"(,"volumes":[{"name":"v"},{"name":"p","persistentVolumeClaim":{"claimName":"x"}}],
      "tolerations":[{"operator":"Exists"}],"nodeSelector":{"a":"b"},"hostname":"h")"),
      "");
}

TEST(PodTest, ChecksContainers) {
  EXPECT_EQ(Pod(R"({"containers":[]})"), "spec.containers FieldValueRequired");
  EXPECT_EQ(Pod(R"({"containers":[{"name":"c"}]})"), "spec.containers[0].image FieldValueRequired");
  EXPECT_EQ(Pod(R"({"containers":[{"name":"c","image":"i"},{"name":"c","image":"i"}]})"),
            "spec.containers[1].name FieldValueDuplicate");
  EXPECT_EQ(Container(R"("imagePullPolicy":"Sometimes")"),
            "spec.containers[0].imagePullPolicy FieldValueNotSupported");
  EXPECT_EQ(Container(R"("ports":[{"containerPort":0}])"),
            "spec.containers[0].ports[0].containerPort FieldValueRequired");
  EXPECT_EQ(Container(R"("ports":[{"containerPort":70000}])"),
            "spec.containers[0].ports[0].containerPort FieldValueInvalid");
  EXPECT_EQ(Container(R"("ports":[{"containerPort":1,"protocol":"X"}])"),
            "spec.containers[0].ports[0].protocol FieldValueNotSupported");
}

TEST(PodTest, ChecksVariables) {
  EXPECT_EQ(Container(R"("env":[{"name":""}])"),
            "spec.containers[0].env[0].name FieldValueRequired");
  EXPECT_EQ(Container(R"("env":[{"name":"a=b"}])"),
            "spec.containers[0].env[0].name FieldValueInvalid");
  EXPECT_EQ(
      Container(
          R"("env":[{"name":"A","value":"x","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}])"),
      "spec.containers[0].env[0].valueFrom FieldValueInvalid");
  EXPECT_EQ(
      Container(
          R"("env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.nothing"}}}])"),
      "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath FieldValueInvalid");
}

TEST(PodTest, ChecksResources) {
  EXPECT_EQ(Container(R"("resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}})"),
            "spec.containers[0].resources.requests FieldValueInvalid");
  EXPECT_EQ(Container(R"("resources":{"requests":{"cpu":"-1"}})"),
            "spec.containers[0].resources.requests[cpu] FieldValueInvalid");
  EXPECT_EQ(Container(R"("resources":{"requests":{"fast":"1"}})"),
            "spec.containers[0].resources.requests[fast] FieldValueInvalid");
}

TEST(PodTest, ChecksProbes) {
  EXPECT_EQ(Container(R"("livenessProbe":{})"),
            "spec.containers[0].livenessProbe FieldValueRequired");
  EXPECT_EQ(Container(R"("livenessProbe":{"exec":{"command":["a"]},"tcpSocket":{"port":1}})"),
            "spec.containers[0].livenessProbe.tcpSocket FieldValueForbidden");
  EXPECT_EQ(Container(R"("livenessProbe":{"tcpSocket":{"port":1},"successThreshold":2})"),
            "spec.containers[0].livenessProbe.successThreshold FieldValueInvalid");
  EXPECT_EQ(
      Pod(R"({"containers":[{"name":"c","image":"i"}],"initContainers":[{"name":"i","image":"i",
      "readinessProbe":{"tcpSocket":{"port":1}}}]})"),
      "spec.initContainers[0].readinessProbe FieldValueForbidden");
}

TEST(PodTest, ChecksVolumes) {
  EXPECT_EQ(Container(R"("volumeMounts":[{"name":"none","mountPath":"/x"}])"),
            "spec.containers[0].volumeMounts[0].name FieldValueNotFound");
  EXPECT_EQ(
      Container(R"("volumeMounts":[{"name":"v","mountPath":"/x"},{"name":"v","mountPath":"/x"}])",
                R"(,"volumes":[{"name":"v","emptyDir":{}}])"),
      "spec.containers[0].volumeMounts[1].mountPath FieldValueInvalid");
  EXPECT_EQ(Container(R"("workingDir":"/")",
                      R"(,"volumes":[{"name":"v","emptyDir":{},"hostPath":{"path":"/"}}])"),
            "spec.volumes[0].hostPath FieldValueForbidden");
  EXPECT_EQ(
      Container(R"("workingDir":"/")", R"(,"volumes":[{"name":"v","persistentVolumeClaim":{}}])"),
      "spec.volumes[0].persistentVolumeClaim.claimName FieldValueRequired");
}

TEST(PodTest, ChecksTheRest) {
  const auto with = [](std::string_view member) {
    return Container(R"("workingDir":"/")", "," + std::string(member));
  };
  EXPECT_EQ(with(R"("restartPolicy":"X")"), "spec.restartPolicy FieldValueNotSupported");
  EXPECT_EQ(with(R"("activeDeadlineSeconds":0)"), "spec.activeDeadlineSeconds FieldValueInvalid");
  EXPECT_EQ(with(R"("hostname":"A_")"), "spec.hostname FieldValueInvalid");
  EXPECT_EQ(with(R"("tolerations":[{"key":"a","operator":"X"}])"),
            "spec.tolerations[0].operator FieldValueNotSupported");
}

TEST(PodTest, StaysAsItIs) {
  const auto told = [](std::string_view before, std::string_view after) {
    schema::FieldErrors errors;
    ValidatePodUpdate(J(before), J(after), errors);
    return Told(errors);
  };
  constexpr std::string_view kOld = R"({"spec":{"containers":[{"name":"c","image":"1"}]}})";
  EXPECT_EQ(told(kOld, R"({"spec":{"containers":[{"name":"c","image":"2"}]}})"), "");
  EXPECT_EQ(told(kOld, R"({"spec":{"containers":[{"name":"c","image":"1","command":["x"]}]}})"),
            "spec FieldValueForbidden");
  EXPECT_EQ(told(kOld, R"({"spec":{"containers":[{"name":"c","image":"1"}],"nodeName":"n"}})"),
            "spec FieldValueForbidden");
  EXPECT_EQ(told(kOld, R"({"spec":{"containers":[]}})"), "spec.containers FieldValueForbidden");
}

TEST(DeploymentTest, ChecksItsStrategy) {
  EXPECT_EQ(Deployment(""), "");
  EXPECT_EQ(Deployment(R"(,"strategy":{"type":"Recreate"})"), "");
  EXPECT_EQ(Deployment(R"(,"strategy":{"type":"Recreate","rollingUpdate":{"maxSurge":1}})"),
            "spec.strategy.rollingUpdate FieldValueForbidden");
  EXPECT_EQ(Deployment(R"(,"strategy":{"type":"Magic"})"), "spec.strategy FieldValueNotSupported");
  EXPECT_EQ(Deployment(R"(,"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":0}})"),
            "spec.strategy.rollingUpdate.maxUnavailable FieldValueInvalid");
  EXPECT_EQ(Deployment(R"(,"strategy":{"rollingUpdate":{"maxSurge":"a%"}})"),
            "spec.strategy.rollingUpdate.maxSurge FieldValueInvalid");
  EXPECT_EQ(Deployment(R"(,"minReadySeconds":9,"progressDeadlineSeconds":5)"),
            "spec.progressDeadlineSeconds FieldValueInvalid");
  EXPECT_EQ(Deployment(R"(,"replicas":-1)"), "spec.replicas FieldValueInvalid");
}

TEST(SecretTest, HasWhatItsTypePromises) {
  const auto secret = [](std::string_view members) {
    return Created("", "secrets", R"({"metadata":{"name":"s"},)" + std::string(members) + "}");
  };
  EXPECT_EQ(secret(R"("data":{"a":"eA=="})"), "");
  EXPECT_EQ(secret(R"("type":"kubernetes.io/tls","data":{"tls.crt":""})"),
            "data[tls.key] FieldValueRequired");
  EXPECT_EQ(secret(R"("type":"kubernetes.io/basic-auth","data":{"username":"eA=="})"), "");
  EXPECT_EQ(
      secret(R"("type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":"eA=="})"),
      "data[.dockerconfigjson] FieldValueInvalid");
}

TEST(ConfigMapTest, HasAKeyOnceAndALimit) {
  EXPECT_EQ(Created("", "configmaps",
                    R"({"metadata":{"name":"c"},"data":{"k":"v"},"binaryData":{"k":"eA=="}})"),
            "data[k] FieldValueInvalid");
  EXPECT_EQ(
      Created("", "configmaps",
              R"({"metadata":{"name":"c"},"data":{"k":")" + std::string(1100000, 'x') + "\"}}"),
      " FieldValueTooLong");
}

}  // namespace
}  // namespace thinsnap::objects
