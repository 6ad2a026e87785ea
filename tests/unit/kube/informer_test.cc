#include "base/kube/informer.h"

#include <algorithm>
#include <atomic>

#include "tests/unit/kube/forwarding_client.h"
#include "tests/unit/kube/server_fixture.h"
#include "tests/virtual_time.h"

namespace thinsnap::kube {
namespace {

using std::chrono_literals::operator""min;

class InformerTest : public ServerTest {
 protected:
  // Waits until the condition holds, woken by the informer's own changes.
  template <typename Condition>
  void Until(Condition condition) {
    for (;;) {
      const auto seen = changed_->Seen();
      if (condition()) return;
      ASSERT_TRUE(changed_->Wait(seen, Deadline()).ok()) << "waited in vain";
    }
  }

  std::unique_ptr<EventCount> changed_ = runtime_.NewEventCount();
};

TEST_F(InformerTest, FollowsAdditionsChangesAndRemovals) {
  Make("before");
  Informer informer(runtime_, *client_, types::kConfigMap, "default");
  std::atomic<int> added{0}, removed{0};
  informer.AddHandler([&](const ObjectPtr& old, const ObjectPtr& current) {
    if (old == nullptr) ++added;
    if (current == nullptr) ++removed;
    changed_->Notify();
  });
  TaskGroup group(runtime_);
  informer.Start(group);
  ASSERT_TRUE(informer.WaitForSync(Deadline()).ok());
  EXPECT_NE(informer.Get({"default", "before"}), nullptr);

  const Json made = Make("after");
  Until([&] { return informer.Get({"default", "after"}) != nullptr; });
  Json changed = made;
  Set(changed, "data.value", "2");
  ASSERT_TRUE(client_->Update(types::kConfigMap, changed).ok());
  Until([&] { return StringAt(*informer.Get({"default", "after"}), "data.value") == "2"; });
  ASSERT_TRUE(client_->Delete(types::kConfigMap, {"default", "after"}).ok());
  Until([&] { return informer.Get({"default", "after"}) == nullptr && removed == 1; });
  EXPECT_GE(added, 2);
}

// Objects from lists carry their type, as those from watches do.
TEST_F(InformerTest, ListedObjectsHaveKindAndVersion) {
  Make("a");
  Informer informer(runtime_, *client_, types::kConfigMap, "default");
  TaskGroup group(runtime_);
  informer.Start(group);
  ASSERT_TRUE(informer.WaitForSync(Deadline()).ok());
  EXPECT_EQ(StringAt(*informer.Get({"default", "a"}), "kind"), "ConfigMap");
}

TEST_F(InformerTest, StopEndsItWhileItWatches) {
  Informer informer(runtime_, *client_, types::kConfigMap);
  TaskGroup group(runtime_);
  informer.Start(group);
  ASSERT_TRUE(informer.WaitForSync(Deadline()).ok());
  group.Stop();
  group.Join();
}

// Answers what it is told to, so many times, to each verb; then the server does.
class TroubledClient final : public ForwardingClient {
 public:
  using ForwardingClient::ForwardingClient;
  std::map<std::string, std::deque<Error>, std::less<>> troubles;

 private:
  Status Travel(std::string_view verb) override {
    const auto found = troubles.find(verb);
    if (found == troubles.end() || found->second.empty()) return {};
    const Error trouble = found->second.front();
    found->second.pop_front();
    return trouble;
  }
};

class InformerOnVirtualTime : public ::testing::Test {
 protected:
  void Run(const std::function<void()>& body) {
    RunWell(runtime_, [&] {
      apiserver::Options options;
      options.without_http = true;
      server_ = *apiserver::ApiServer::Start(runtime_, random_, options);
      admin_ = apiserver::MakeInProcessKubeClient(*server_, "admin", {"system:masters"});
      body();
      admin_.reset();
      server_.reset();
    });
  }
  static std::ptrdiff_t Warnings(const std::string& log) {
    std::ptrdiff_t count = 0;
    for (auto at = log.find(" warning "); at != log.npos; at = log.find(" warning ", at + 1))
      ++count;
    return count;
  }

  FiberRuntime runtime_{1};
  SeededRandom random_{1};
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<KubeClient> admin_;
};

// What it may not list is not what is not there.
TEST_F(InformerOnVirtualTime, SaysOnceWhyItKnowsNothingAndGoesOnAsking) {
  testing::internal::CaptureStderr();
  Run([&] {
    const auto nobody = apiserver::MakeInProcessKubeClient(*server_, "nobody", {});
    Informer informer(runtime_, *nobody, types::kSecret, "default");
    TaskGroup group(runtime_);
    informer.Start(group);
    const Status waited = informer.WaitForSync(runtime_.clock().MonoNow() + 30min);
    ASSERT_TRUE(waited.Is(Code::kDeadlineExceeded));
    const Status synced = informer.CheckSynced();
    ASSERT_TRUE(synced.Is(Code::kUnavailable));
    for (const auto& said : {waited.error().message(), synced.error().message()}) {
      EXPECT_NE(said.find("the secrets of default could not be listed yet"), std::string::npos)
          << said;
      EXPECT_NE(said.find("\"nobody\" cannot list"), std::string::npos) << said;
    }
    Json role = NewObject(
        {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false},
        {"", "let-nobody"});
    Set(role, "roleRef",
        JsonObject({{"apiGroup", "rbac.authorization.k8s.io"},
                    {"kind", "ClusterRole"},
                    {"name", "cluster-admin"}}));
    Set(role, "subjects",
        JsonArray({JsonObject(
            {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "User"}, {"name", "nobody"}})}));
    const auto bound = admin_->Create(
        {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false},
        role);
    ASSERT_TRUE(bound.ok()) << bound.error().ToString();
    EXPECT_TRUE(informer.WaitForSync(runtime_.clock().MonoNow() + 1min).ok());
    EXPECT_TRUE(informer.CheckSynced().ok());
  });
  EXPECT_EQ(Warnings(testing::internal::GetCapturedStderr()), 1);
}

TEST_F(InformerOnVirtualTime, EachOtherReasonIsToldAndOnlyItsOwnStopEndsIt) {
  testing::internal::CaptureStderr();
  Run([&] {
    TroubledClient client(*admin_);
    const Error refused(Code::kPermissionDenied, "no");
    const Error cancelled(Code::kCancelled, "the peer gave up");
    client.troubles["list"] = {refused, refused, refused, cancelled, cancelled};
    client.troubles["watch"] = {refused, refused, cancelled};
    Informer informer(runtime_, client, types::kSecret);
    TaskGroup group(runtime_);
    informer.Start(group);
    ASSERT_TRUE(informer.WaitForSync(runtime_.clock().MonoNow() + 30min).ok());
    ASSERT_TRUE(runtime_.SleepFor(10min).ok());
    Json secret = NewObject(types::kSecret, {"default", "late"});
    ASSERT_TRUE(admin_->Create(types::kSecret, secret).ok());
    ASSERT_TRUE(runtime_.SleepFor(1min).ok());
    EXPECT_NE(informer.Get({"default", "late"}), nullptr);
  });
  EXPECT_EQ(Warnings(testing::internal::GetCapturedStderr()), 4);
}

}  // namespace
}  // namespace thinsnap::kube
