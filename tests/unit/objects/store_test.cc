// The versioned store's file on a disk that is full.
#include "simulator/objects/store.h"

#include <cstdlib>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/core/file.h"
#include "base/data/json.h"

namespace thinsnap::objects {
namespace {

using testing::HasSubstr;

// A disk of 2 MiB in a mount namespace of its own.
class FullDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      GTEST_SKIP() << "no mount namespace is to be had";
    }
    char name[] = "/tmp/store-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    ASSERT_EQ(mount("none", name, "tmpfs", 0, "size=2m"), 0);
  }
  void TearDown() override {
    if (folder_.empty()) return;
    umount(folder_.c_str());
    rmdir(folder_.c_str());
  }

  Result<std::unique_ptr<VersionedStore>> Open() {
    StoreOptions options;
    options.path = folder_ + "/objects.db";
    return VersionedStore::Open(std::move(options));
  }
  static StoreKey Key(int number) { return {"things", "", "thing-" + std::to_string(number)}; }
  static Json Thing() {
    return JsonObject{{"metadata", JsonObject()}, {"text", std::string(10'000, 'x')}};
  }

  std::string folder_;
};

TEST_F(FullDiskTest, NothingAcknowledgedIsLostAndRoomIsEnough) {
  const std::string filler = folder_ + "/filler";
  ASSERT_TRUE(WriteFileAtomic(filler, std::string(kMiB, 'f')).ok());
  auto store = Open();
  ASSERT_TRUE(store.ok()) << store.error().ToString();
  int made = 0;
  Status refused;
  while (refused.ok() && made < 1000) {
    const auto created = (*store)->Create(Key(made), Thing());
    if (created.ok()) {
      ++made;
    } else {
      refused = created.error();
    }
  }
  ASSERT_GT(made, 0);
  // An answer that makes clients wait and try again would hide it from whoever can make room.
  ASSERT_TRUE(refused.Is(Code::kInternal)) << refused.error().ToString();
  EXPECT_THAT(refused.error().message(), HasSubstr(folder_ + "/objects.db: "));
  EXPECT_THAT(refused.error().message(), HasSubstr("full"));
  EXPECT_EQ((*store)->Get(Key(made)), nullptr);

  ASSERT_EQ(unlink(filler.c_str()), 0);
  EXPECT_TRUE((*store)->Create(Key(made), Thing()).ok());
  EXPECT_TRUE((*store)->Delete(Key(0), 0).ok());
  const Revision revision = (*store)->revision();
  store->reset();
  store = Open();
  ASSERT_TRUE(store.ok()) << store.error().ToString();
  EXPECT_EQ((*store)->revision(), revision);
  EXPECT_EQ((*store)->Count("things"), static_cast<std::size_t>(made));
  EXPECT_NE((*store)->Get(Key(made)), nullptr);
}

}  // namespace
}  // namespace thinsnap::objects
