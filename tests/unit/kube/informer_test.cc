#include "base/kube/informer.h"

#include <atomic>

#include "tests/unit/kube/server_fixture.h"

namespace thinsnap::kube {
namespace {

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

}  // namespace
}  // namespace thinsnap::kube
