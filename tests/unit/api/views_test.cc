#include "snapshotter/api/views.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "snapshotter/store/memory_store.h"

namespace thinsnap::backup {
namespace {

using testing::HasSubstr;

class ViewsTest : public testing::Test {
 protected:
  SystemClock clock_;
  store::MemoryObjectStore store_{clock_};
};

TEST_F(ViewsTest, MetadataIsMadeOnceAndEdited) {
  EXPECT_TRUE(ReadMetadata(store_).Is(Code::kNotFound));
  ASSERT_TRUE(InitMetadata(store_, "kubestash.com", "2026-01-01T00:00:00Z").ok());
  ASSERT_TRUE(InitMetadata(store_, "kubestash.com", "2027-01-01T00:00:00Z").ok());
  const auto first = ReadMetadata(store_);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(StringAt(first->content, "creationTimestamp"), "2026-01-01T00:00:00Z");
  EXPECT_EQ(StringAt(first->content, "kind"), "BackendMeta");

  const RepositoryEntry entry{"repo", "demo", "/dir", "1.000 MiB", "01abc", "cluster-uid"};
  ASSERT_TRUE(
      ChangeMetadata(store_, [&](Json& metadata) { return PutEntry(metadata, entry); }).ok());
  auto again = ReadMetadata(store_);
  ASSERT_TRUE(again.ok());
  const auto entries = RepositoriesOf(again->content);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].path, "/dir");
  EXPECT_EQ(entries[0].cluster, "cluster-uid");
  EXPECT_FALSE(PutEntry(again->content, entry));
  EXPECT_TRUE(RemoveEntry(again->content, "demo", "repo"));
  EXPECT_FALSE(RemoveEntry(again->content, "demo", "repo"));
}

TEST_F(ViewsTest, ConcurrentChangesAreNotLost) {
  ASSERT_TRUE(InitMetadata(store_, "thinsnap.io", "now").ok());
  bool first = true;
  const auto changed = ChangeMetadata(store_, [&](Json& metadata) {
    if (first) {
      first = false;
      // Somebody else writes between our read and our write.
      EXPECT_TRUE(ChangeMetadata(store_, [](Json& other) {
                    return PutEntry(other, {"other", "b", "/o", "", "", ""});
                  }).ok());
    }
    return PutEntry(metadata, {"mine", "a", "/m", "", "", ""});
  });
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(RepositoriesOf(ReadMetadata(store_)->content).size(), 2u);
}

TEST_F(ViewsTest, RefusesWhatIsNoMetadata) {
  ASSERT_TRUE(PutText(store_, kMetadataKey, "kind: Something\n").ok());
  EXPECT_TRUE(ReadMetadata(store_).Is(Code::kInvalidArgument));
  ASSERT_TRUE(PutText(store_, kMetadataKey, "[1, 2]").ok());
  EXPECT_TRUE(ReadMetadata(store_).Is(Code::kDataLoss));
  // Something else of this name is not ours to write over.
  ASSERT_TRUE(PutText(store_, kMetadataKey, "kind: Something\n").ok());
  EXPECT_TRUE(
      InitMetadata(store_, "kubestash.com", "2026-01-01T00:00:00Z").Is(Code::kInvalidArgument));
}

TEST_F(ViewsTest, LostMetadataIsWrittenAnewFromWhatTheStoreHolds) {
  ASSERT_TRUE(PutText(store_, "a/owned/repo.json", "{}").ok());
  ASSERT_TRUE(PutText(store_, "a/owned/repository.yaml", R"(
apiVersion: storage.kubestash.com/v1alpha1
kind: Repository
metadata: {name: owned, namespace: demo, annotations: {kubestash.com/cluster: uid-1}}
)")
                  .ok());
  ASSERT_TRUE(PutText(store_, "old/repo.json", "{}").ok());
  ASSERT_TRUE(PutText(store_, "old/repository.yaml",
                      "apiVersion: storage.kubestash.com/v1alpha1\nkind: Repository\n"
                      "metadata: {name: old, namespace: demo}\n")
                  .ok());
  ASSERT_TRUE(PutText(store_, "nameless/repo.json", "{}").ok());
  for (const char* damage : {"", "}{", "[1, 2]"}) {
    ASSERT_TRUE(PutText(store_, kMetadataKey, damage).ok());
    ASSERT_TRUE(InitMetadata(store_, "kubestash.com", "2026-01-01T00:00:00Z").ok());
    const auto metadata = ReadMetadata(store_);
    ASSERT_TRUE(metadata.ok());
    const auto entries = RepositoriesOf(metadata->content);
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[0].path, "/a/owned");
    EXPECT_EQ(entries[0].cluster, "uid-1");
    // Whoever it belongs to: not to the one that happens to look.
    EXPECT_EQ(entries[1].cluster, "unknown");
    EXPECT_EQ(store_.Get(kDamagedMetadataKey)->bytes.size(), std::string(damage).size());
  }
}

TEST_F(ViewsTest, ObjectsComeBackForThisClusterFromEitherDomain) {
  const Kinds ours("thinsnap.io");
  const auto storage = *ParseYaml("metadata: {name: importer, namespace: backups}");
  const auto view = *ParseYaml(R"(
apiVersion: storage.kubestash.com/v1alpha1
kind: Repository
metadata:
  name: repo
  namespace: demo
  uid: old-uid
  resourceVersion: "17"
  finalizers: [kubestash.com/cleanup]
  labels: {kubestash.com/app: x, plain: y}
  managedFields: [{manager: m}]
spec:
  storageRef: {name: there, namespace: elsewhere}
  path: /dir
  encryptionSecret: {name: e, namespace: demo}
status: {phase: Ready, repositoryID: id, snapshotCount: 3}
)");
  EXPECT_THAT(ViewOf(view), testing::Not(HasSubstr("managedFields")));
  const auto repository =
      ImportRepository(view, ours, storage, {"repo", "demo", "/dir", "", "", ""});
  ASSERT_TRUE(repository.ok()) << repository.error().message();
  EXPECT_EQ(StringAt(*repository, "apiVersion"), "storage.thinsnap.io/v1alpha1");
  EXPECT_EQ(kube::UidOf(*repository), "");
  EXPECT_EQ(kube::ResourceVersionOf(*repository), "");
  EXPECT_TRUE(kube::HasFinalizer(*repository, "thinsnap.io/cleanup"));
  EXPECT_FALSE(kube::HasFinalizer(*repository, "kubestash.com/cleanup"));
  EXPECT_EQ(kube::LabelOf(*repository, "thinsnap.io/app"), "x");
  EXPECT_EQ(kube::LabelOf(*repository, "plain"), "y");
  EXPECT_EQ(StringAt(*repository, "spec.storageRef.name"), "importer");
  EXPECT_EQ(StringAt(*repository, "spec.encryptionSecret.name"), "e");
  EXPECT_EQ(StringAt(*repository, "status.phase"), "NotReady");
  EXPECT_EQ(Find(*repository, "status.repositoryID"), nullptr);
  EXPECT_EQ(IntAt(*repository, "status.snapshotCount"), 3);

  auto owner = *repository;
  Set(owner, "metadata.uid", "new-uid");
  const auto snapshot_view = *ParseYaml(R"(
apiVersion: storage.thinsnap.io/v1alpha1
kind: Snapshot
metadata: {name: s1, namespace: other}
spec: {repository: another, deletionPolicy: WipeOut, snapshotID: x}
status: {phase: Succeeded}
)");
  const auto snapshot = ImportSnapshot(snapshot_view, ours, owner);
  ASSERT_TRUE(snapshot.ok());
  EXPECT_EQ(kube::NamespaceOf(*snapshot), "demo");
  EXPECT_EQ(StringAt(*snapshot, "spec.repository"), "repo");
  EXPECT_EQ(StringAt(*snapshot, "spec.deletionPolicy"), "Delete");
  EXPECT_TRUE(kube::IsOwnedBy(*snapshot, "new-uid"));
  EXPECT_EQ(StringAt(*snapshot, "status.phase"), "Succeeded");
}

TEST_F(ViewsTest, RefusesViewsOfOtherKinds) {
  const Kinds ours("thinsnap.io");
  const auto storage = *ParseYaml("metadata: {name: importer, namespace: backups}");
  for (const char* text :
       {"apiVersion: v1\nkind: Secret\nmetadata: {name: x}",
        "apiVersion: storage.evil.example/v1alpha1\nkind: Repository\nmetadata: {name: x}",
        "kind: Repository"}) {
    EXPECT_FALSE(
        ImportRepository(*ParseYaml(text), ours, storage, {"x", "demo", "/x", "", "", ""}).ok())
        << text;
  }
}

}  // namespace
}  // namespace thinsnap::backup
