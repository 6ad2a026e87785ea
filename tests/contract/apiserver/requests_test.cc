// Requests beside the recorded ones, each with the answer that a real kube-apiserver (1.36) was
// seen to give.
#include <gtest/gtest.h>

#include "tests/contract/apiserver/server_fixture.h"

namespace thinsnap::apiserver {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kPods = "/api/v1/namespaces/default/pods";
const std::string kDeployments = "/apis/apps/v1/namespaces/default/deployments";
constexpr const char* kPod =
    R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})";
constexpr const char* kDeployment =
    R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{
    "metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})";

class RequestsTest : public ServerTest {
 protected:
  Answer Apply(const std::string& path, const std::string& body, const std::string& manager) {
    return Call("PATCH", path + "?fieldManager=" + manager, body,
                {{"Content-Type", "application/apply-patch+yaml"}});
  }
  static std::string FieldsOf(const Answer& answer, const std::string& manager) {
    for (const Json& entry : ArrayAt(answer.body, "metadata.managedFields")) {
      if (StringAt(entry, "manager") == manager) return ToJson(*Find(entry, "fieldsV1"));
    }
    return "none";
  }
};

TEST_F(RequestsTest, WritesNeedTheRightName) {
  Start();
  ASSERT_EQ(Call("POST", kMaps, R"({"metadata":{"name":"a"}})").status, 201);
  EXPECT_EQ(Call("PUT", kMaps + "/a", R"({"data":{"k":"v"}})").status, 400);
  EXPECT_EQ(Call("PUT", kMaps + "/a", R"({"metadata":{"name":"b"}})").status, 400);
  EXPECT_EQ(Merge(kMaps + "/a", R"({"metadata":{"uid":"x"}})").status, 422);
  EXPECT_EQ(Call("PUT", kMaps + "/a", R"({"metadata":{"name":"a","uid":"x"}})").status, 409);
  EXPECT_EQ(Call("POST", kMaps, R"({"metadata":{"name":"z","resourceVersion":"0"}})").status, 201);
  EXPECT_EQ(Call("POST", kMaps + "?dryRun=", R"({"metadata":{"name":"y"}})").status, 422);
  EXPECT_EQ(Call("POST", kMaps + "?dryRun=All", R"({"metadata":{"generateName":"y-"}})").status,
            201);
  EXPECT_EQ(Call("POST", kMaps, R"({"metadata":{"generateName":"Y_"}})").status, 422);
}

TEST_F(RequestsTest, PathsMustFitTheirKind) {
  Start();
  EXPECT_EQ(Call("GET", "/api/v1/namespaces/default/nodes").status, 404);
  EXPECT_EQ(Call("GET", "/api/v1/configmaps/x").status, 404);
  EXPECT_EQ(Call("POST", "/api/v1/configmaps", R"({"metadata":{"name":"a"}})").status, 405);
  EXPECT_EQ(Call("GET", "/api/v1/configmaps").status, 200);
}

TEST_F(RequestsTest, PodsAreNotMovedByPatches) {
  Start();
  ASSERT_EQ(Call("POST", kPods, kPod).status, 201);
  EXPECT_EQ(Merge(kPods + "/p", R"({"spec":{"nodeName":"n"}})").status, 422);
  const auto added =
      Call("PATCH", kPods + "/p", R"({"spec":{"containers":[{"name":"d","image":"i"}]}})",
           {{"Content-Type", "application/strategic-merge-patch+json"}});
  EXPECT_EQ(added.status, 422);
  EXPECT_NE(added.text.find("may not add or remove containers"), std::string::npos);
}

TEST_F(RequestsTest, AppliersOwnWhatTheySaid) {
  Start();
  ASSERT_EQ(Call("POST", kDeployments, kDeployment).status, 201);
  const auto applied = Apply(
      kDeployments + "/d",
      R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":3}})",
      "m");
  EXPECT_EQ(applied.status, 409) << "somebody else has set the replicas";
  const auto image = Apply(
      kDeployments + "/d",
      R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"template":{"spec":{
      "containers":[{"name":"c","env":[{"name":"A","value":"1"}]}]}}}})",
      "m");
  ASSERT_EQ(image.status, 200) << image.text;
  EXPECT_EQ(
      FieldsOf(image, "m"),
      R"({"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},)"
      R"("f:env":{"k:{\"name\":\"A\"}":{".":{},"f:name":{},"f:value":{}}},"f:name":{}}}}}}})");
}

TEST_F(RequestsTest, AppliedObjectsMustBeTyped) {
  Start();
  EXPECT_EQ(Apply(kMaps + "/a", R"({"metadata":{"name":"a"}})", "m").status, 400);
  EXPECT_EQ(
      Apply(kMaps + "/a",
            R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"nonsense":1})", "m")
          .status,
      400);
  EXPECT_EQ(Apply(kPods + "/p",
                  R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[
            {"name":"c","image":"i"},{"name":"c","image":"i"}]}})",
                  "m")
                .status,
            400);
}

TEST_F(RequestsTest, AcrossNamespacesNothingIsDeleted) {
  Start();
  ASSERT_EQ(Call("POST", kMaps, R"({"metadata":{"name":"a"}})").status, 201);
  EXPECT_EQ(Call("DELETE", "/api/v1/configmaps").status, 405);
  EXPECT_EQ(Call("GET", kMaps + "/a").status, 200);
  EXPECT_EQ(Call("GET", "/api/v1/namespaces/default/namespaces").status, 404);
  for (const char* name : {"default", "kube-system", "kube-public"}) {
    EXPECT_EQ(Call("DELETE", std::string("/api/v1/namespaces/") + name).status, 403) << name;
  }
  EXPECT_EQ(Call("GET", "/readyz/ping").status, 200);
  EXPECT_EQ(Call("GET", "/readyz/nothing").status, 404);
  EXPECT_EQ(Call("GET", "/livez?verbose&exclude=etcd").text,
            "[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\nlivez check passed\n");
}

TEST_F(RequestsTest, PodsChangeOnlyWhereTheyMay) {
  Start();
  ASSERT_EQ(Call("POST", kPods, kPod).status, 201);
  const std::string pod = kPods + "/p";
  EXPECT_EQ(Merge(pod, R"({"spec":{"activeDeadlineSeconds":100}})").status, 200);
  EXPECT_EQ(Merge(pod, R"({"spec":{"activeDeadlineSeconds":200}})").status, 422);
  EXPECT_EQ(Merge(pod, R"({"spec":{"activeDeadlineSeconds":null}})").status, 422);
  EXPECT_EQ(Merge(pod, R"({"spec":{"terminationGracePeriodSeconds":1}})").status, 422);
  // Those that every pod gets come back.
  const auto tolerant = Merge(pod, R"({"spec":{"tolerations":[{"key":"a","operator":"Exists"}]}})");
  EXPECT_EQ(tolerant.status, 200);
  EXPECT_EQ(ArrayAt(tolerant.body, "spec.tolerations").size(), 3U);

  const char* strategic = "application/strategic-merge-patch+json";
  const auto part = [&](const std::string& subresource, const std::string& containers) {
    return Call("PATCH", pod + "/" + subresource, R"({"spec":)" + containers + "}",
                {{"Content-Type", strategic}});
  };
  const auto resized = part("resize", R"({"containers":[{"name":"c","image":"other"}]})");
  EXPECT_EQ(resized.status, 200);
  EXPECT_EQ(StringAt(ArrayAt(resized.body, "spec.containers")[0], "image"), "i");
  EXPECT_EQ(
      part("resize", R"({"containers":[{"name":"c","resources":{"limits":{"cpu":"1"}}}]})").status,
      422);
  const std::string list = "ephemeralcontainers";
  EXPECT_EQ(part(list, R"({"ephemeralContainers":[{"name":"e","image":"i"}]})").status, 200);
  EXPECT_EQ(part(list, R"({"ephemeralContainers":[{"name":"e","image":"j"}]})").status, 422);
  EXPECT_EQ(part(list, R"({"ephemeralContainers":null})").status, 422);
  EXPECT_EQ(part(list, R"({"ephemeralContainers":[{"name":"c","image":"i"}]})").status, 422);
  EXPECT_EQ(part(list, R"({"ephemeralContainers":[
                     {"name":"f","image":"i","targetContainerName":"none"}]})")
                .status,
            422);
}

TEST_F(RequestsTest, EvictionsMayBeTried) {
  Start();
  ASSERT_EQ(Call("POST", kPods, kPod).status, 201);
  const std::string eviction = kPods + "/p/eviction";
  EXPECT_EQ(Call("POST", eviction, R"({"metadata":{"name":"q"}})").status, 400);
  EXPECT_EQ(Call("POST", eviction, R"({"metadata":{"name":"p","namespace":"q"}})").status, 400);
  EXPECT_EQ(
      Call("POST", eviction, R"({"metadata":{"name":"p"},"deleteOptions":{"dryRun":["All"]}})")
          .status,
      201);
  EXPECT_EQ(Call("GET", kPods + "/p").status, 200);
  EXPECT_EQ(Call("POST", kPods + "/p/binding", R"({"metadata":{"name":"q"},"target":{"name":"n"}})")
                .status,
            400);
}

TEST_F(RequestsTest, PriorityComesFromItsClass) {
  Start();
  const auto pod = [&](const std::string& member) {
    return Call("POST", kPods + "?dryRun=All",
                R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}],)" +
                    member + "}}")
        .status;
  };
  EXPECT_EQ(pod(R"("priority":0)"), 201);
  EXPECT_EQ(pod(R"("priority":5)"), 403);
  EXPECT_EQ(pod(R"("preemptionPolicy":"Never")"), 403);
}

TEST_F(RequestsTest, WhatTheServerAddsIsNobodys) {
  Start();
  const auto made = Call("POST", kPods, kPod, {{"User-Agent", "me/1"}});
  ASSERT_EQ(made.status, 201);
  const std::string fields = FieldsOf(made, "me");
  EXPECT_NE(fields.find("f:containers"), std::string::npos);
  EXPECT_EQ(fields.find("f:priority"), std::string::npos) << fields;
  EXPECT_EQ(fields.find("f:tolerations"), std::string::npos) << fields;
  // Where only the status is written, a spec is neither owned nor in conflict.
  ASSERT_EQ(Call("POST", kDeployments, kDeployment).status, 201);
  const auto applied = Apply(
      kDeployments + "/d/status",
      R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":9}})",
      "s");
  EXPECT_EQ(applied.status, 200) << applied.text;
  EXPECT_EQ(IntAt(applied.body, "spec.replicas"), 1);
}

TEST_F(RequestsTest, SettledFieldsStay) {
  Start();
  const auto settled = [&](const std::string& path, const std::string& name,
                           const std::string& members, const std::string& change) {
    const auto made =
        Call("POST", path, R"({"metadata":{"name":")" + name + R"("},)" + members + "}");
    EXPECT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(Merge(path + "/" + name, change).status, 422) << path;
  };
  const std::string storage = "/apis/storage.k8s.io/v1/";
  settled("/apis/scheduling.k8s.io/v1/priorityclasses", "a", R"("value":5)", R"({"value":6})");
  settled(storage + "volumeattachments", "a",
          R"("spec":{"attacher":"a","nodeName":"n","source":{"persistentVolumeName":"p"}})",
          R"({"spec":{"nodeName":"z"}})");
  settled(storage + "csidrivers", "a", R"("spec":{})", R"({"spec":{"attachRequired":false}})");
  settled("/apis/apps/v1/namespaces/default/controllerrevisions", "a",
          R"("data":{"a":"b"},"revision":1)", R"({"data":{"a":"c"}})");
  settled("/apis/batch/v1/namespaces/default/jobs", "a",
          R"("spec":{"suspend":true,"template":{"spec":{"restartPolicy":"Never","containers":[
          {"name":"c","image":"i"}]}}})",
          R"({"spec":{"template":{"spec":{"restartPolicy":"OnFailure"}}}})");
  settled("/api/v1/nodes", "a", R"("spec":{"providerID":"x","podCIDR":"10.1.0.0/24"})",
          R"({"spec":{"providerID":"y"}})");
}

TEST_F(RequestsTest, ScalesAreNamedAndShown) {
  Start();
  ASSERT_EQ(Call("POST", kDeployments, kDeployment).status, 201);
  const std::string scale = kDeployments + "/d/scale";
  EXPECT_EQ(Call("PUT", scale, R"({"metadata":{"name":"other"},"spec":{"replicas":2}})").status,
            400);
  EXPECT_EQ(Call("PUT", scale, R"({"metadata":{"name":"d"},"spec":{"replicas":2}})").status, 200);
  const auto table =
      Call("GET", scale, "", {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}});
  EXPECT_EQ(StringAt(table.body, "kind"), "Table");
  const JsonArray& cells = ArrayAt(ArrayAt(table.body, "rows").at(0), "cells");
  EXPECT_EQ(cells.at(0), Json("d"));
  EXPECT_EQ(cells.at(1), Json(2));
}

TEST_F(RequestsTest, WatchesAreAskedForProperly) {
  Start();
  ASSERT_EQ(Call("POST", kMaps, R"({"metadata":{"name":"a"}})").status, 201);
  // A name makes it a read.
  EXPECT_EQ(StringAt(Call("GET", kMaps + "/a?watch=1").body, "kind"), "ConfigMap");
  const std::string watch = kMaps + "?watch=1&timeoutSeconds=1";
  EXPECT_EQ(Call("GET", watch + "&sendInitialEvents=true").status, 422);
  EXPECT_EQ(Call("GET", watch + "&sendInitialEvents=false&resourceVersion=0").status, 422);
  EXPECT_EQ(Call("GET", watch + "&resourceVersionMatch=NotOlderThan").status, 422);
  // Without bookmarks nothing ends the initial events; that is what was asked for.
  EXPECT_EQ(Call("GET", watch + "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan").status,
            200);
  EXPECT_EQ(Call("GET", kMaps + "?timeoutSeconds=soon").status, 400);
}

TEST_F(RequestsTest, BodiesHaveALimit) {
  Start();
  const std::string large(4'000'000, 'a');
  const auto answer =
      Call("POST", kMaps, R"({"metadata":{"name":"a"},"data":{"k":")" + large + "\"}}");
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(StringAt(answer.body, "reason"), "RequestEntityTooLarge");
  EXPECT_EQ(StringAt(answer.body, "message"), "Request entity too large: limit is 3145728");
}

TEST_F(RequestsTest, ReviewsSayWhy) {
  Start();
  for (const std::string kind : {"selfsubjectaccessreviews", "subjectaccessreviews"}) {
    const auto answer = Call("POST", "/apis/authorization.k8s.io/v1/" + kind,
                             R"({"spec":{"user":"u","resourceAttributes":{"verb":"get"},
                             "nonResourceAttributes":{"verb":"get","path":"/"}}})");
    EXPECT_EQ(answer.status, 422) << kind;
  }
  EXPECT_EQ(Call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"spec":{}})").status,
            400);
  const std::string rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/";
  ASSERT_EQ(Call("POST", rbac + "roles", R"({"metadata":{"name":"r"},
      "rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}]})")
                .status,
            201);
  ASSERT_EQ(Call("POST", rbac + "rolebindings", R"({"metadata":{"name":"b"},
      "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},
      "subjects":[{"kind":"ServiceAccount","name":"bot","namespace":"default"}]})")
                .status,
            201);
  const std::string reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
  const auto allowed = Call("POST", reviews, R"({"spec":{"user":"system:serviceaccount:default:bot",
      "resourceAttributes":{"verb":"list","resource":"pods","namespace":"default"}}})");
  EXPECT_EQ(StringAt(allowed.body, "status.reason"),
            "RBAC: allowed by RoleBinding \"b/default\" of Role \"r\" to ServiceAccount "
            "\"bot/default\"");
  EXPECT_EQ(
      Call("POST", reviews, R"({"spec":{"resourceAttributes":{"verb":"list","resource":"pods"}}})")
          .status,
      422);
  const auto token = Call("POST", "/apis/authentication.k8s.io/v1/tokenreviews",
                          R"({"spec":{"token":"nobody's"}})");
  EXPECT_EQ(Find(token.body, "status.authenticated"), nullptr);
}

TEST_F(RequestsTest, CustomObjectsAreStoredInTheirStorageVersion) {
  Start();
  ASSERT_EQ(Call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", R"({
      "metadata":{"name":"things.example.com"},"spec":{"group":"example.com","scope":"Namespaced",
      "names":{"plural":"things","singular":"thing","kind":"Thing"},"versions":[
      {"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object",
        "properties":{"spec":{"type":"object","properties":{
          "size":{"type":"string","default":"S","x-kubernetes-validations":[
            {"rule":"self == oldSelf","message":"size is immutable"}]}}}}}}},
      {"name":"v1beta1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object",
        "x-kubernetes-preserve-unknown-fields":true}}}]}})")
                .status,
            201);
  const std::string things = "/namespaces/default/things";
  ASSERT_EQ(Call("POST", "/apis/example.com/v1beta1" + things,
                 R"({"apiVersion":"example.com/v1beta1","kind":"Thing","metadata":{"name":"t"},
                     "spec":{"foo":"bar"}})")
                .status,
            201);
  const auto shown = Call("GET", "/apis/example.com/v1" + things + "/t");
  EXPECT_EQ(*Find(shown.body, "spec"), *ParseJson(R"({"size":"S"})"));
  const auto changed = Merge("/apis/example.com/v1" + things + "/t", R"({"spec":{"size":"M"}})");
  EXPECT_EQ(StringAt(ArrayAt(changed.body, "details.causes")[0], "message"),
            "Invalid value: \"M\": size is immutable");
}

}  // namespace
}  // namespace thinsnap::apiserver
