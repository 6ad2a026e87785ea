#include "csi/mount/mount_table.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

namespace thinsnap::mount {
namespace {

TEST(MountTableTest, ReadsTheKernelsLines) {
  const auto entries = ParseMountTable(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
      "40 36 7:3 / /a\\040b\\134c ro,relatime - xfs /dev/loop3 rw,attr2\n"
      "41 36 0:5 /loop4 /target rw - devtmpfs udev ro\n");
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].target, "/mnt2");
  EXPECT_EQ(entries[0].root, "/mnt1");
  EXPECT_EQ(entries[0].source, "/dev/root");
  EXPECT_EQ(entries[0].fs_type, "ext3");
  EXPECT_EQ(entries[0].device, makedev(98, 0));
  EXPECT_FALSE(entries[0].read_only);
  EXPECT_EQ(entries[1].target, "/a b\\c");
  EXPECT_TRUE(entries[1].read_only);
  EXPECT_TRUE(entries[2].read_only);
}

TEST(MountTableTest, PassesOverWhatItCannotRead) {
  EXPECT_TRUE(ParseMountTable("").empty());
  EXPECT_TRUE(ParseMountTable("garbage\n1 2 3\n- - - - - - - - -\n").empty());
  EXPECT_TRUE(ParseMountTable("1 2 x:y / / rw - ext4 /dev/x rw\n").empty());
  EXPECT_TRUE(ParseMountTable("1 2 3:4 / / rw - ext4\n").empty());
}

TEST(MountTableTest, OptionWordsBecomeFlagsAndData) {
  const MountOptions options =
      ParseMountOptions({"ro", "noatime,nodev", "data=ordered", "rw", "nouuid", "defaults", ""});
  EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_NOATIME | MS_NODEV));
  EXPECT_EQ(options.data, "data=ordered,nouuid");
}

}  // namespace
}  // namespace thinsnap::mount
