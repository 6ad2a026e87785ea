// The Addons and Functions that the operator writes when it starts.
#include <gtest/gtest.h>
#include <string>

#include "snapshotter/api/crds.h"
#include "snapshotter/operator/operator.h"
#include "tests/unit/operator/fixture.h"

namespace thinsnap::backup {
namespace {

class CatalogTest : public testing::Test {
 protected:
  // Nothing of the catalog is there yet.
  void SetUp() override {
    ASSERT_OK(cluster_.Start());
    for (const kube::ResourceType* type : {&kinds().addon, &kinds().function}) {
      for (const Json& object : cluster_.List(*type)) {
        cluster_.Delete(*type, "", kube::NameOf(object));
      }
    }
  }

  const Kinds& kinds() const { return cluster_.kinds; }
  Status Install() { return InstallCatalog(runtime_, cluster_.client(), kinds()); }
  Json Function() { return cluster_.Get(kinds().function, "", kFunction); }
  // The Function of an operator of another version.
  Json OtherVersion(const std::string& spec) {
    return Yaml("{apiVersion: addons.kubestash.com/v1alpha1, kind: Function, metadata: {name: " +
                std::string(kFunction) + "}, spec: " + spec + "}");
  }
  void ApplyAs(const std::string& manager, const Json& object) {
    kube::PatchOptions options;
    options.field_manager = manager;
    ASSERT_OK(cluster_.client().Patch(kinds().function, kube::KeyOf(object),
                                      kube::PatchType::kApply, object, options));
  }
  // Everything of the catalog is there, and is what this version has.
  void ExpectCatalog() {
    std::size_t count = 0;
    for (const Json& object : CatalogObjects(kinds().domain)) {
      for (const kube::ResourceType* type : {&kinds().addon, &kinds().function}) {
        if (type->kind != StringAt(object, "kind")) continue;
        ++count;
        EXPECT_EQ(cluster_.Get(*type, "", kube::NameOf(object)).at("spec"), object.at("spec"));
      }
    }
    EXPECT_GT(count, 3U);
  }

  static constexpr char kFunction[] = "volumesnapshot-backup";
  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SeededRandom random_{7};
  TestStorage storage_{clock_};
  TestCluster cluster_{runtime_, random_, storage_};
};

TEST_F(CatalogTest, IsWrittenOnce) {
  ASSERT_OK(Install());
  ExpectCatalog();
  const std::string version = kube::ResourceVersionOf(Function());
  ASSERT_OK(Install());
  EXPECT_EQ(kube::ResourceVersionOf(Function()), version);
}

TEST_F(CatalogTest, FollowsTheVersionOfTheOperator) {
  ApplyAs("thinsnap-operator", OtherVersion("{args: [old, --flag], image: old}"));
  ASSERT_OK(Install());
  ExpectCatalog();
}

TEST_F(CatalogTest, LeavesWhatSomebodyElseSet) {
  ASSERT_OK(Install());
  cluster_.Edit(kinds().function, "", kFunction, [](Json& object) {
    Set(object, "spec.image", "mine");
    Set(object, "spec.args", JsonArray{"my-own", "words"});
  });
  ASSERT_OK(Install());
  EXPECT_EQ(StringAt(Function(), "spec.image"), "mine");
  EXPECT_EQ(ArrayAt(Function(), "spec.args").size(), 2U);
  // Of the rest nothing is missing.
  cluster_.Delete(kinds().function, "", kFunction);
  ASSERT_OK(Install());
  ExpectCatalog();
}

TEST_F(CatalogTest, WaitsForAnApiServerThatRefuses) {
  cluster_.Delete(kube::types::kCustomResourceDefinition, "",
                  kinds().function.resource + "." + kinds().function.group);
  TaskGroup group(runtime_);
  Status installed;
  group.Spawn("install", [&] { installed = Install(); });
  ASSERT_OK(runtime_.SleepFor(std::chrono::milliseconds(50)));
  group.Stop();
  group.Join();
  EXPECT_TRUE(installed.Is(Code::kCancelled));
}

}  // namespace
}  // namespace thinsnap::backup
