// What every KubeClient must do, tried on the in-process client and on the HTTPS one against the
// same server.
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client_config.h"
#include "base/kube/http_kube_client.h"
#include "base/kube/object.h"
#include "simulator/apiserver/api_server.h"

namespace thinsnap::kube {
namespace {

using apiserver::ApiServer;

enum class Way { kInProcess, kHttp };

class KubeClientTest : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    apiserver::Options options;
    options.watch_history = 8;
    auto server = ApiServer::Start(runtime_, random_, options);
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = std::move(*server);
    client_ = NewClient("admin", {"system:masters"});
  }

  std::unique_ptr<KubeClient> NewClient(const std::string& user,
                                        const std::vector<std::string>& groups) {
    if (GetParam() == Way::kInProcess)
      return apiserver::MakeInProcessKubeClient(*server_, user, groups);
    auto kubeconfig = server_->KubeconfigFor({user, groups});
    EXPECT_TRUE(kubeconfig.ok());
    auto config = ParseKubeconfig(*kubeconfig, "");
    EXPECT_TRUE(config.ok()) << config.error().ToString();
    return MakeHttpKubeClient(std::move(*config), "contract/1.0");
  }

  static Json ConfigMap(const std::string& name, const std::string& value,
                        const std::string& label = "") {
    Json object = NewObject(types::kConfigMap, {"default", name});
    Set(object, "data.k", value);
    if (!label.empty()) SetLabel(object, "l", label);
    return object;
  }

  Json MustCreate(const ResourceType& type, const Json& object) {
    auto created = client_->Create(type, object);
    EXPECT_TRUE(created.ok()) << created.error().ToString();
    return created.ok() ? *created : Json();
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SystemRandom random_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<KubeClient> client_;
};

TEST_P(KubeClientTest, CreatesGetsUpdatesAndDeletes) {
  const Json created = MustCreate(types::kConfigMap, ConfigMap("a", "1"));
  EXPECT_FALSE(UidOf(created).empty());
  EXPECT_EQ(StringAt(created, "apiVersion"), "v1");
  EXPECT_EQ(StringAt(created, "kind"), "ConfigMap");

  Json changed = created;
  Set(changed, "data.k", "2");
  const auto updated = client_->Update(types::kConfigMap, changed);
  ASSERT_TRUE(updated.ok()) << updated.error().ToString();
  EXPECT_NE(ResourceVersionOf(*updated), ResourceVersionOf(created));
  EXPECT_EQ(StringAt(*client_->Get(types::kConfigMap, {"default", "a"}), "data.k"), "2");

  ASSERT_TRUE(client_->Delete(types::kConfigMap, {"default", "a"}).ok());
  EXPECT_TRUE(client_->Get(types::kConfigMap, {"default", "a"}).Is(Code::kNotFound));
  EXPECT_TRUE(client_->Delete(types::kConfigMap, {"default", "a"}).Is(Code::kNotFound));
}

TEST_P(KubeClientTest, TellsFailuresApart) {
  const Json created = MustCreate(types::kConfigMap, ConfigMap("a", "1"));
  EXPECT_TRUE(client_->Create(types::kConfigMap, ConfigMap("a", "1")).Is(Code::kAlreadyExists));
  Json stale = created;
  Set(stale, "data.k", "2");
  ASSERT_TRUE(client_->Update(types::kConfigMap, stale).ok());
  Set(stale, "data.k", "3");
  const auto conflict = client_->Update(types::kConfigMap, stale);
  ASSERT_TRUE(conflict.Is(Code::kAborted));
  EXPECT_NE(conflict.error().message().find("the object has been modified"), std::string::npos);
  EXPECT_TRUE(
      client_->Create(types::kConfigMap, ConfigMap("Bad_Name", "1")).Is(Code::kInvalidArgument));
  const ResourceType unknown{"none.example.com", "v1", "things", "Thing", true};
  EXPECT_TRUE(client_->Get(unknown, {"default", "a"}).Is(Code::kNotFound));
  Json elsewhere = ConfigMap("b", "1");
  Set(elsewhere, "metadata.namespace", "missing");
  EXPECT_TRUE(client_->Create(types::kConfigMap, elsewhere).Is(Code::kNotFound));
}

TEST_P(KubeClientTest, DoesNotCountWritesThatChangeNothing) {
  const Json created = MustCreate(types::kConfigMap, ConfigMap("a", "1"));
  const auto updated = client_->Update(types::kConfigMap, created);
  ASSERT_TRUE(updated.ok());
  EXPECT_EQ(ResourceVersionOf(*updated), ResourceVersionOf(created));
}

TEST_P(KubeClientTest, ListsBySelectors) {
  MustCreate(types::kConfigMap, ConfigMap("a", "1", "x"));
  MustCreate(types::kConfigMap, ConfigMap("b", "1", "y"));
  ListOptions by_label;
  by_label.label_selector = "l in (x,z)";
  const auto list = client_->List(types::kConfigMap, "default", by_label);
  ASSERT_TRUE(list.ok()) << list.error().ToString();
  ASSERT_EQ(list->items.size(), 1U);
  EXPECT_EQ(NameOf(list->items[0]), "a");
  EXPECT_EQ(StringAt(list->items[0], "kind"), "ConfigMap");
  EXPECT_EQ(StringAt(list->items[0], "apiVersion"), "v1");
  EXPECT_FALSE(list->resource_version.empty());
  ListOptions by_field;
  by_field.field_selector = "metadata.name=b";
  const auto all_namespaces = client_->List(types::kConfigMap, "", by_field);
  ASSERT_TRUE(all_namespaces.ok());
  ASSERT_EQ(all_namespaces->items.size(), 1U);
  by_field.field_selector = "data.k=1";
  EXPECT_TRUE(client_->List(types::kConfigMap, "", by_field).Is(Code::kInvalidArgument));
}

TEST_P(KubeClientTest, ListsEverythingInPages) {
  for (int i = 0; i < 7; ++i)
    MustCreate(types::kConfigMap, ConfigMap("a" + std::to_string(i), "1", "x"));
  ListOptions options;
  options.label_selector = "l=x";
  options.limit = 2;
  const auto list = client_->List(types::kConfigMap, "default", options);
  ASSERT_TRUE(list.ok()) << list.error().ToString();
  EXPECT_EQ(list->items.size(), 7U);
}

TEST_P(KubeClientTest, WatchesFromAVersion) {
  const Json first = MustCreate(types::kConfigMap, ConfigMap("a", "1", "x"));
  Json changed = first;
  Set(changed, "data.k", "2");
  ASSERT_TRUE(client_->Update(types::kConfigMap, changed).ok());
  ASSERT_TRUE(client_->Delete(types::kConfigMap, {"default", "a"}).ok());
  WatchOptions options;
  options.resource_version = ResourceVersionOf(first);
  options.label_selector = "l=x";
  options.timeout_seconds = 30;
  std::vector<WatchEvent::Type> seen;
  const auto status =
      client_->Watch(types::kConfigMap, "default", options, [&](const WatchEvent& event) -> Status {
        EXPECT_EQ(StringAt(event.object, "kind"), "ConfigMap");
        if (event.type == WatchEvent::Type::kBookmark) return {};
        seen.push_back(event.type);
        if (seen.size() == 2) return Error(Code::kOutOfRange, "enough");
        return {};
      });
  EXPECT_TRUE(status.Is(Code::kOutOfRange));
  EXPECT_EQ(seen, (std::vector{WatchEvent::Type::kModified, WatchEvent::Type::kDeleted}));
}

TEST_P(KubeClientTest, WatchesThroughSelections) {
  const Json object = MustCreate(types::kConfigMap, ConfigMap("a", "1", "x"));
  Json other = object;
  SetLabel(other, "l", "y");
  const auto moved = client_->Update(types::kConfigMap, other);
  ASSERT_TRUE(moved.ok());
  Json back = *moved;
  SetLabel(back, "l", "x");
  ASSERT_TRUE(client_->Update(types::kConfigMap, back).ok());
  WatchOptions options;
  options.resource_version = ResourceVersionOf(object);
  options.label_selector = "l=x";
  options.timeout_seconds = 30;
  std::vector<WatchEvent> seen;
  const auto status =
      client_->Watch(types::kConfigMap, "default", options, [&](const WatchEvent& event) -> Status {
        if (event.type == WatchEvent::Type::kBookmark) return {};
        seen.push_back(event);
        if (seen.size() == 2) return Error(Code::kCancelled, "enough");
        return {};
      });
  EXPECT_TRUE(status.Is(Code::kCancelled));
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].type, WatchEvent::Type::kDeleted);
  EXPECT_EQ(LabelOf(seen[0].object, "l"), "x");
  EXPECT_EQ(ResourceVersionOf(seen[0].object), ResourceVersionOf(*moved));
  EXPECT_EQ(seen[1].type, WatchEvent::Type::kAdded);
}

TEST_P(KubeClientTest, SaysWhenAVersionIsTooOld) {
  const Json first = MustCreate(types::kConfigMap, ConfigMap("a", "0"));
  for (int i = 1; i < 30; ++i) {
    Json patch = JsonObject{{"data", JsonObject{{"k", std::string_view(std::to_string(i))}}}};
    ASSERT_TRUE(client_->Patch(types::kConfigMap, {"default", "a"}, PatchType::kMerge, patch).ok());
  }
  WatchOptions options;
  options.resource_version = ResourceVersionOf(first);
  const auto status = client_->Watch(types::kConfigMap, "default", options,
                                     [](const WatchEvent&) -> Status { return {}; });
  EXPECT_TRUE(status.Is(Code::kOutOfRange));
}

TEST_P(KubeClientTest, EndsAWatchInTime) {
  WatchOptions options;
  options.resource_version = client_->List(types::kConfigMap, "default")->resource_version;
  options.timeout_seconds = 1;
  const auto status = client_->Watch(types::kConfigMap, "default", options,
                                     [](const WatchEvent&) -> Status { return {}; });
  EXPECT_TRUE(status.ok()) << status.error().ToString();
}

TEST_P(KubeClientTest, EndsAWatchWhenItsGroupIsStopped) {
  auto begun = runtime_.NewEventCount();
  Status status;
  {
    TaskGroup group(runtime_);
    group.Spawn("watch", [&] {
      WatchOptions options;
      options.resource_version = "0";
      status = client_->Watch(types::kNamespace, "", options, [&](const WatchEvent&) -> Status {
        begun->Notify();
        return {};
      });
    });
    ASSERT_TRUE(begun->Wait(0).ok());
    group.Stop();
    group.Join();
  }
  EXPECT_TRUE(status.Is(Code::kCancelled));
}

TEST_P(KubeClientTest, Patches) {
  MustCreate(types::kConfigMap, ConfigMap("a", "1"));
  const ObjectKey key{"default", "a"};
  auto merged = client_->Patch(types::kConfigMap, key, PatchType::kMerge, {{"data", {{"m", "1"}}}});
  ASSERT_TRUE(merged.ok()) << merged.error().ToString();
  JsonArray operations;
  operations.emplace_back(JsonObject{{"op", "remove"}, {"path", "/data/k"}});
  auto json = client_->Patch(types::kConfigMap, key, PatchType::kJson, operations);
  ASSERT_TRUE(json.ok()) << json.error().ToString();
  EXPECT_EQ(StringAt(*json, "data.k"), "");
  EXPECT_EQ(StringAt(*json, "data.m"), "1");
  auto failed = client_->Patch(types::kConfigMap, key, PatchType::kJson, operations);
  EXPECT_TRUE(failed.Is(Code::kInvalidArgument));
  EXPECT_TRUE(client_->Patch(types::kConfigMap, {"default", "b"}, PatchType::kMerge, JsonObject())
                  .Is(Code::kNotFound));
}

TEST_P(KubeClientTest, AppliesWithOwnership) {
  const ObjectKey key{"default", "applied"};
  Json wanted = NewObject(types::kConfigMap, key);
  Set(wanted, "data.k", "1");
  PatchOptions one{"", "one", false}, two{"", "two", false};
  auto applied = client_->Patch(types::kConfigMap, key, PatchType::kApply, wanted, one);
  ASSERT_TRUE(applied.ok()) << applied.error().ToString();
  Set(wanted, "data.k", "2");
  EXPECT_TRUE(
      client_->Patch(types::kConfigMap, key, PatchType::kApply, wanted, two).Is(Code::kAborted));
  two.force = true;
  EXPECT_TRUE(client_->Patch(types::kConfigMap, key, PatchType::kApply, wanted, two).ok());
  EXPECT_EQ(StringAt(*client_->Get(types::kConfigMap, key), "data.k"), "2");
}

TEST_P(KubeClientTest, KeepsStatusApart) {
  Json pv = NewObject(types::kPersistentVolume, {"", "pv"});
  Set(pv, "spec.capacity.storage", "1Gi");
  Set(pv, "spec.accessModes", JsonArray{"ReadWriteOnce"});
  Set(pv, "spec.csi", {{"driver", "d.example.com"}, {"volumeHandle", "h"}});
  Json made = MustCreate(types::kPersistentVolume, pv);
  Set(made, "status.phase", "Available");
  const auto main = client_->Update(types::kPersistentVolume, made);
  ASSERT_TRUE(main.ok()) << main.error().ToString();
  EXPECT_NE(StringAt(*main, "status.phase"), "Available");
  made = *main;
  Set(made, "status.phase", "Available");
  const auto status = client_->Update(types::kPersistentVolume, made, "status");
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(StringAt(*status, "status.phase"), "Available");
}

TEST_P(KubeClientTest, DeletesWithPreconditionsAndFinalizers) {
  Json object = ConfigMap("a", "1");
  AddFinalizer(object, "example.com/hold");
  const Json made = MustCreate(types::kConfigMap, object);
  DeleteOptions wrong;
  wrong.uid = "another";
  EXPECT_TRUE(client_->Delete(types::kConfigMap, {"default", "a"}, wrong).Is(Code::kAborted));
  DeleteOptions right;
  right.uid = UidOf(made);
  const auto marked = client_->Delete(types::kConfigMap, {"default", "a"}, right);
  ASSERT_TRUE(marked.ok()) << marked.error().ToString();
  EXPECT_TRUE(IsDeleting(*marked));
  Json released = *client_->Get(types::kConfigMap, {"default", "a"});
  RemoveFinalizer(released, "example.com/hold");
  ASSERT_TRUE(client_->Update(types::kConfigMap, released).ok());
  EXPECT_TRUE(client_->Get(types::kConfigMap, {"default", "a"}).Is(Code::kNotFound));
}

TEST_P(KubeClientTest, RefusesWhatTheUserMayNotDo) {
  const auto nobody = NewClient("nobody", {});
  const auto refused = nobody->List(types::kSecret, "default");
  ASSERT_TRUE(refused.Is(Code::kPermissionDenied));
  EXPECT_NE(refused.error().message().find("User \"nobody\" cannot list resource \"secrets\""),
            std::string::npos);
  Json role = NewObject(types::kRole, {"default", "r"});
  Set(role, "rules",
      JsonArray{JsonObject{{"apiGroups", JsonArray{""}},
                           {"resources", JsonArray{"secrets"}},
                           {"verbs", JsonArray{"list"}}}});
  MustCreate(types::kRole, role);
  Json binding = NewObject(types::kRoleBinding, {"default", "r"});
  Set(binding, "roleRef",
      {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "Role"}, {"name", "r"}});
  Set(binding, "subjects",
      JsonArray{JsonObject{
          {"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "User"}, {"name", "nobody"}}});
  MustCreate(types::kRoleBinding, binding);
  EXPECT_TRUE(nobody->List(types::kSecret, "default").ok());
  EXPECT_TRUE(nobody->List(types::kSecret, "kube-system").Is(Code::kPermissionDenied));
}

TEST_P(KubeClientTest, CreatesSubresources) {
  Json request = JsonObject{
      {"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", JsonObject()}};
  const auto token =
      client_->CreateSubresource(types::kServiceAccount, {"default", "default"}, "token", request);
  ASSERT_TRUE(token.ok()) << token.error().ToString();
  EXPECT_FALSE(StringAt(*token, "status.token").empty());

  const ResourceType review{"authorization.k8s.io", "v1", "selfsubjectaccessreviews",
                            "SelfSubjectAccessReview", false};
  Json question =
      JsonObject{{"apiVersion", "authorization.k8s.io/v1"}, {"kind", "SelfSubjectAccessReview"}};
  Set(question, "spec.resourceAttributes", {{"verb", "get"}, {"resource", "pods"}});
  const auto answer = client_->CreateSubresource(review, {}, "", question);
  ASSERT_TRUE(answer.ok()) << answer.error().ToString();
  EXPECT_TRUE(BoolAt(*answer, "status.allowed"));
}

TEST_P(KubeClientTest, BindsPods) {
  Json pod = NewObject(types::kPod, {"default", "p"});
  Set(pod, "spec.containers", JsonArray{JsonObject{{"name", "c"}, {"image", "i"}}});
  const Json made = MustCreate(types::kPod, pod);
  EXPECT_EQ(StringAt(made, "spec.serviceAccountName"), "default");
  Json binding = JsonObject{{"apiVersion", "v1"}, {"kind", "Binding"}};
  Set(binding, "metadata.name", "p");
  Set(binding, "target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", "n1"}});
  const auto bound = client_->CreateSubresource(types::kPod, {"default", "p"}, "binding", binding);
  ASSERT_TRUE(bound.ok()) << bound.error().ToString();
  EXPECT_EQ(StringAt(*client_->Get(types::kPod, {"default", "p"}), "spec.nodeName"), "n1");
  EXPECT_TRUE(client_->CreateSubresource(types::kPod, {"default", "p"}, "binding", binding)
                  .Is(Code::kAborted));
}

INSTANTIATE_TEST_SUITE_P(Ways, KubeClientTest, ::testing::Values(Way::kInProcess, Way::kHttp),
                         [](const auto& way) {
                           return way.param == Way::kHttp ? "Http" : "InProcess";
                         });

}  // namespace
}  // namespace thinsnap::kube
