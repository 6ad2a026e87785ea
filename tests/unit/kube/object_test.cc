#include "base/kube/object.h"

#include <gtest/gtest.h>

namespace thinsnap::kube {
namespace {

TEST(ObjectTest, FinalizersAndOwnersAreAddedOnce) {
  Json object = NewObject(types::kConfigMap, {"demo", "a"});
  AddFinalizer(object, "x/y");
  AddFinalizer(object, "x/y");
  EXPECT_EQ(ArrayAt(object, "metadata.finalizers").size(), 1U);
  RemoveFinalizer(object, "x/y");
  RemoveFinalizer(object, "x/y");
  EXPECT_FALSE(HasFinalizer(object, "x/y"));

  Json owner = NewObject(types::kJob, {"demo", "owner"});
  Set(owner, "metadata.uid", "u1");
  AddOwnerReference(object, OwnerReference(owner));
  AddOwnerReference(object, OwnerReference(owner));
  EXPECT_EQ(ArrayAt(object, "metadata.ownerReferences").size(), 1U);
  EXPECT_EQ(StringAt(*ControllerOf(object), "kind"), "Job");
}

TEST(ObjectTest, AConditionsTimeChangesWithItsStatusOnly) {
  Json object = JsonObject();
  const WallTime early = FromUnixSeconds(1'800'000'000), late = FromUnixSeconds(1'800'000'060);
  EXPECT_TRUE(SetCondition(object, "Ready", false, "Waiting", "not yet", early));
  EXPECT_FALSE(SetCondition(object, "Ready", false, "Waiting", "not yet", late));
  EXPECT_TRUE(SetCondition(object, "Ready", false, "Waiting", "still not", late));
  EXPECT_EQ(StringAt(*FindCondition(object, "Ready"), "lastTransitionTime"), FormatRfc3339(early));
  EXPECT_TRUE(SetCondition(object, "Ready", true, "Done", "", late));
  EXPECT_EQ(StringAt(*FindCondition(object, "Ready"), "lastTransitionTime"), FormatRfc3339(late));
  EXPECT_TRUE(ConditionIs(object, "Ready"));
}

TEST(ObjectTest, KeysWithDotsAreReached) {
  Json object = NewObject(types::kNode, {"", "n"});
  SetLabel(object, "kubernetes.io/hostname", "n");
  SetAnnotation(object, "a.b/c", "d");
  EXPECT_EQ(LabelOf(object, "kubernetes.io/hostname"), "n");
  EXPECT_EQ(AnnotationOf(object, "a.b/c"), "d");
  EXPECT_EQ(KeyOf(object).ToString(), "n");
}

}  // namespace
}  // namespace thinsnap::kube
