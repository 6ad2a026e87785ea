// What the recorded requests do not reach: identities, quotas, initial events, paging, restarts.
#include <cstdlib>
#include <gtest/gtest.h>

#include "base/core/command.h"
#include "base/kube/object.h"
#include "tests/contract/apiserver/server_fixture.h"

namespace thinsnap::apiserver {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kClaims = "/api/v1/namespaces/default/persistentvolumeclaims";

std::string Claim(const std::string& name, const std::string& size,
                  const std::string& storage_class = "") {
  std::string text =
      R"({"metadata":{"name":")" + name +
      R"("},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":")" + size +
      R"("}})";
  if (!storage_class.empty()) text += R"(,"storageClassName":")" + storage_class + "\"";
  return text + "}}";
}

TEST_F(ServerTest, KnowsWhoIsAsking) {
  Start();
  const auto stranger = NewStranger();
  EXPECT_EQ(Call("GET", "/healthz", "", {}, stranger.get()).status, 200);
  EXPECT_EQ(Call("GET", "/api/v1/namespaces", "", {}, stranger.get()).status, 403);
  EXPECT_EQ(
      Call("GET", "/api/v1/namespaces", "", {{"Authorization", "Bearer nonsense"}}, stranger.get())
          .status,
      401);
  const auto token = server_->IssueToken("default", "default", std::chrono::hours(1));
  ASSERT_TRUE(token.ok()) << token.error().ToString();
  const std::string bearer = "Bearer " + std::string(token->token.Reveal());
  const auto refused = Call("GET", "/api/v1/namespaces/default/pods", "",
                            {{"Authorization", bearer}}, stranger.get());
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(StringAt(refused.body, "message"),
            "pods is forbidden: User \"system:serviceaccount:default:default\" cannot list "
            "resource \"pods\" in API "
            "group \"\" in the namespace \"default\"");
  EXPECT_EQ(Call("GET", "/apis", "", {{"Authorization", bearer}}, stranger.get()).status, 200);
  // The token goes with its account.
  ASSERT_EQ(Call("DELETE", "/api/v1/namespaces/default/serviceaccounts/default").status, 200);
  EXPECT_EQ(Call("GET", "/apis", "", {{"Authorization", bearer}}, stranger.get()).status, 401);
  EXPECT_EQ(Call("GET", "/api/v1/namespaces/default/serviceaccounts/default").status, 200)
      << "it is made again";
}

TEST_F(ServerTest, BindsTokensToTheirPod) {
  Start();
  const auto pod =
      Call("POST", "/api/v1/namespaces/default/pods",
           R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  ASSERT_EQ(pod.status, 201) << pod.text;
  const auto token = server_->IssueToken("default", "default", std::chrono::hours(1), "p",
                                         StringAt(pod.body, "metadata.uid"));
  ASSERT_TRUE(token.ok());
  const std::string review = R"({"spec":{"token":")" + std::string(token->token.Reveal()) + "\"}}";
  const std::string path = "/apis/authentication.k8s.io/v1/tokenreviews";
  EXPECT_EQ(StringAt(Call("POST", path, review).body, "status.user.username"),
            "system:serviceaccount:default:default");
  ASSERT_EQ(Call("DELETE", "/api/v1/namespaces/default/pods/p").status, 200);
  EXPECT_FALSE(BoolAt(Call("POST", path, review).body, "status.authenticated"));
}

TEST_F(ServerTest, ActsForOthersIfAllowed) {
  Start();
  EXPECT_EQ(Call("GET", kMaps, "", {{"Impersonate-User", "bob"}}).status, 403);
  EXPECT_EQ(
      Call("GET", kMaps, "", {{"Impersonate-User", "bob"}, {"Impersonate-Group", "system:masters"}})
          .status,
      200);
  const auto bob = ClientFor(*server_->KubeconfigFor({"bob", {}}));
  EXPECT_EQ(Call("GET", kMaps, "", {{"Impersonate-User", "admin"}}, bob.get()).status, 403);
}

TEST_F(ServerTest, ListsInPagesOfOneMoment) {
  Options options;
  options.watch_history = 16;
  options.service_accounts = false;
  Start(options);
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_EQ(Call("POST", kMaps, std::string(R"({"metadata":{"name":")") + name + "\"}}").status,
              201);
  }
  const auto first = Call("GET", kMaps + "?limit=2");
  ASSERT_EQ(ArrayAt(first.body, "items").size(), 2U);
  const std::string token = StringAt(first.body, "metadata.continue");
  ASSERT_FALSE(token.empty());
  EXPECT_EQ(IntAt(first.body, "metadata.remainingItemCount"), 1);
  ASSERT_EQ(Call("DELETE", kMaps + "/c").status, 200);
  const auto second = Call("GET", kMaps + "?limit=2&continue=" + token);
  ASSERT_EQ(ArrayAt(second.body, "items").size(), 1U) << second.text;
  EXPECT_EQ(StringAt(second.body, "metadata.resourceVersion"),
            StringAt(first.body, "metadata.resourceVersion"));
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(Merge(kMaps + "/a", R"({"data":{"i":")" + std::to_string(i) + "\"}}").status, 200);
  }
  const auto gone = Call("GET", kMaps + "?limit=2&continue=" + token);
  EXPECT_EQ(gone.status, 410);
  EXPECT_EQ(StringAt(gone.body, "reason"), "Expired");
}

TEST_F(ServerTest, SendsInitialEventsAndSaysWhereTheyEnd) {
  Options options;
  options.service_accounts = false;
  Start(options);
  ASSERT_EQ(Call("POST", kMaps, R"({"metadata":{"name":"a"}})").status, 201);
  const auto watched =
      Call("GET", kMaps +
                      "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
                      "&allowWatchBookmarks=true&timeoutSeconds=1");
  ASSERT_EQ(watched.status, 200);
  std::vector<Json> events;
  std::string_view rest = watched.text;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    events.push_back(*ParseJson(rest.substr(0, end)));
    rest.remove_prefix(end + 1);
  }
  ASSERT_GE(events.size(), 2U) << watched.text;
  EXPECT_EQ(StringAt(events[0], "type"), "ADDED");
  EXPECT_EQ(StringAt(events[0], "object.metadata.name"), "a");
  EXPECT_EQ(StringAt(events[1], "type"), "BOOKMARK");
  EXPECT_EQ(StringIn(events[1].at("object"), "metadata.annotations", "k8s.io/initial-events-end"),
            "true");
  EXPECT_FALSE(StringAt(events[1], "object.metadata.resourceVersion").empty());
}

TEST_F(ServerTest, WatchesTablesAndMetadata) {
  Options options;
  options.service_accounts = false;
  Start(options);
  ASSERT_EQ(Call("POST", kMaps, R"({"metadata":{"name":"a"},"data":{"k":"v"}})").status, 201);
  const auto table = Call("GET", kMaps + "?watch=1&timeoutSeconds=1", "",
                          {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}});
  const auto event = ParseJson(table.text.substr(0, table.text.find('\n')));
  ASSERT_TRUE(event.ok()) << table.text;
  EXPECT_EQ(StringAt(*event, "object.kind"), "Table");
  EXPECT_FALSE(ArrayAt(*event, "object.columnDefinitions").empty());
  const auto metadata =
      Call("GET", kMaps + "?watch=1&timeoutSeconds=1", "",
           {{"Accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}});
  EXPECT_NE(metadata.text.find("PartialObjectMetadata"), std::string::npos);
  EXPECT_EQ(metadata.text.find("\"data\""), std::string::npos);
}

TEST_F(ServerTest, KeepsQuotas) {
  Start();
  ASSERT_EQ(
      Call(
          "POST", "/api/v1/namespaces/default/resourcequotas",
          R"({"metadata":{"name":"q"},"spec":{"hard":{"requests.storage":"3Gi","persistentvolumeclaims":"2"}}})")
          .status,
      201);
  ASSERT_EQ(Call("POST", kClaims, Claim("a", "2Gi")).status, 201);
  const auto refused = Call("POST", kClaims, Claim("b", "2Gi"));
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(StringAt(refused.body, "message")
                .find("exceeded quota: q, requested: requests.storage=2Gi, used: "
                      "requests.storage=2Gi, limited: "
                      "requests.storage=3Gi"),
            std::string::npos)
      << refused.text;
  EXPECT_EQ(Call("POST", kClaims, Claim("b", "1Gi")).status, 201);
  const auto quota = Call("GET", "/api/v1/namespaces/default/resourcequotas/q");
  EXPECT_EQ(StringIn(quota.body, "status.used", "requests.storage"), "3Gi");
}

TEST_F(ServerTest, GrowsClaimsOnlyWhereTheClassAllowsIt) {
  Start();
  const std::string classes = "/apis/storage.k8s.io/v1/storageclasses";
  ASSERT_EQ(Call("POST", classes, R"({"metadata":{"name":"fixed"},"provisioner":"p.example.com"})")
                .status,
            201);
  ASSERT_EQ(
      Call(
          "POST", classes,
          R"({"metadata":{"name":"elastic","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},
                     "provisioner":"p.example.com","allowVolumeExpansion":true})")
          .status,
      201);
  const auto claim = Call("POST", kClaims, Claim("a", "1Gi"));
  EXPECT_EQ(StringAt(claim.body, "spec.storageClassName"), "elastic");
  ASSERT_EQ(Call("POST", kClaims, Claim("b", "1Gi", "fixed")).status, 201);
  const std::string grow = R"({"spec":{"resources":{"requests":{"storage":"2Gi"}}}})";
  for (const char* name : {"a", "b"}) {
    auto bound = Call("GET", kClaims + "/" + name);
    ASSERT_EQ(Merge(kClaims + "/" + name, R"({"spec":{"volumeName":"pv"}})").status, 200);
    ASSERT_EQ(Merge(kClaims + "/" + name + "/status", R"({"status":{"phase":"Bound"}})").status,
              200);
  }
  EXPECT_EQ(Merge(kClaims + "/a", grow).status, 200);
  const auto refused = Merge(kClaims + "/b", grow);
  EXPECT_EQ(refused.status, 403) << refused.text;
}

TEST_F(ServerTest, EndsDefinitionsAfterTheirInstances) {
  Start();
  const std::string definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  ASSERT_EQ(Call("POST", definitions,
                 R"({"metadata":{"name":"things.example.com"},"spec":{"group":"example.com",
      "scope":"Cluster","names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,
      "storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}})")
                .status,
            201);
  const std::string things = "/apis/example.com/v1/things";
  ASSERT_EQ(
      Call("POST", things, R"({"metadata":{"name":"a","finalizers":["example.com/hold"]}})").status,
      201);
  ASSERT_EQ(Call("POST", things, R"({"metadata":{"name":"b"}})").status, 201);
  ASSERT_EQ(Call("DELETE", definitions + "/things.example.com").status, 200);
  EXPECT_EQ(Call("GET", things + "/b").status, 404);
  EXPECT_EQ(Call("POST", things, R"({"metadata":{"name":"c"}})").status, 405);
  EXPECT_EQ(Call("GET", definitions + "/things.example.com").status, 200) << "one instance is held";
  ASSERT_EQ(Merge(things + "/a", R"({"metadata":{"finalizers":null}})").status, 200);
  EXPECT_EQ(Call("GET", definitions + "/things.example.com").status, 404);
  EXPECT_EQ(Call("GET", things).status, 404);
}

TEST_F(ServerTest, FurnishesNamespaces) {
  Start();
  ASSERT_EQ(Call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"n"}})").status, 201);
  EXPECT_EQ(Call("GET", "/api/v1/namespaces/n/serviceaccounts/default").status, 200);
  const auto root = Call("GET", "/api/v1/namespaces/n/configmaps/kube-root-ca.crt");
  EXPECT_EQ(StringIn(root.body, "data", "ca.crt"), server_->ca_pem());
}

TEST_F(ServerTest, EvictsAndScales) {
  Start();
  ASSERT_EQ(Call("POST", "/api/v1/namespaces/default/pods",
                 R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})")
                .status,
            201);
  EXPECT_EQ(Call("POST", "/api/v1/namespaces/default/pods/p/eviction",
                 R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}})")
                .status,
            201);
  EXPECT_EQ(Call("GET", "/api/v1/namespaces/default/pods/p").status, 404);
}

TEST_F(ServerTest, AnswersInYaml) {
  Start();
  const auto answer =
      Call("GET", "/api/v1/namespaces/default", "", {{"Accept", "application/yaml"}});
  EXPECT_EQ(answer.headers.Get("Content-Type"), "application/yaml");
  EXPECT_NE(answer.text.find("kind: Namespace"), std::string::npos);
}

TEST_F(ServerTest, GoesOnWhereItWas) {
  char pattern[] = "/tmp/thinsnap-apiserver-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern), nullptr);
  const std::string folder = pattern;
  Options options;
  options.data_folder = folder;
  Start(options);
  ASSERT_EQ(Call("POST", kMaps, R"({"metadata":{"name":"a"},"data":{"k":"v"}})").status, 201);
  ASSERT_EQ(
      Call(
          "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
          R"({"metadata":{"name":"things.example.com"},"spec":{"group":"example.com","scope":"Cluster",
      "names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true,
      "schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}})")
          .status,
      201);
  const std::string url = server_->url();
  const std::string kubeconfig = server_->Kubeconfig().ValueOr("");
  const auto before = Call("GET", kMaps + "/a");
  server_.reset();
  Start(options);
  EXPECT_EQ(server_->url(), url);
  client_ = ClientFor(kubeconfig);  // the old one still works
  const auto after = Call("GET", kMaps + "/a");
  EXPECT_EQ(after.text, before.text);
  EXPECT_EQ(Call("POST", "/apis/example.com/v1/things", R"({"metadata":{"name":"t"}})").status,
            201);
  const auto changed = Merge(kMaps + "/a", R"({"data":{"k":"w"}})");
  EXPECT_GT(std::stoull(StringAt(changed.body, "metadata.resourceVersion")),
            std::stoull(StringAt(before.body, "metadata.resourceVersion")));
  server_.reset();
  PosixCommandRunner runner;
  std::ignore = runner.Run({.argv = {"rm", "-rf", folder}, .env = {}, .input = ""});
}

TEST_F(ServerTest, LosesNoWriteAmongManyWriters) {
  Start();
  ASSERT_EQ(Call("POST", kMaps, R"({"metadata":{"name":"a"}})").status, 201);
  constexpr int kWriters = 6, kWrites = 20;
  {
    TaskGroup group(runtime_);
    for (int writer = 0; writer < kWriters; ++writer) {
      group.Spawn("writer", [this, writer] {
        auto client = MakeInProcessKubeClient(*server_, "w" + std::to_string(writer));
        for (int i = 0; i < kWrites; ++i) {
          Json patch = JsonObject{
              {"data", JsonObject{{"k" + std::to_string(writer) + "." + std::to_string(i), "v"}}}};
          const auto done = client->Patch(kube::types::kConfigMap, {"default", "a"},
                                          kube::PatchType::kMerge, patch);
          EXPECT_TRUE(done.ok()) << done.error().ToString();
        }
      });
    }
    group.Join();
  }
  const auto result = Call("GET", kMaps + "/a");
  EXPECT_EQ(result.body.at("data").as_object().size(),
            static_cast<std::size_t>(kWriters * kWrites));
}

}  // namespace
}  // namespace thinsnap::apiserver
