#include "csi/mount/filesystem.h"

#include <deque>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vector>

#include "base/core/bytes.h"

namespace thinsnap::mount {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

// Answers what it was told to, in order, and keeps what it was asked.
class ScriptedRunner final : public CommandRunner {
 public:
  void Say(int exit_code, std::string out = "", std::string err = "") {
    answers_.push_back({exit_code, std::move(out), std::move(err)});
  }
  Result<CommandOutput> Run(const Command& command) override {
    asked.push_back(command.argv);
    if (answers_.empty()) return CommandOutput();
    CommandOutput answer = answers_.front();
    answers_.pop_front();
    return answer;
  }
  std::vector<std::vector<std::string>> asked;

 private:
  std::deque<CommandOutput> answers_;
};

TEST(FilesystemTest, ProbeTellsBlankFromFullFromContradiction) {
  ScriptedRunner runner;
  Filesystem filesystem(runner);
  runner.Say(2);
  EXPECT_EQ(*filesystem.Probe("/dev/x"), "");
  runner.Say(0, "DEVNAME=/dev/x\nUUID=1\nTYPE=xfs\n");
  EXPECT_EQ(*filesystem.Probe("/dev/x"), "xfs");
  runner.Say(0, "DEVNAME=/dev/x\nPTTYPE=gpt\n");
  EXPECT_EQ(*filesystem.Probe("/dev/x"), "partition table gpt");
  runner.Say(8);
  EXPECT_TRUE(filesystem.Probe("/dev/x").Is(Code::kFailedPrecondition));
  // A device that cannot be read is not blank.
  runner.Say(2, "", "blkid: error: /dev/x: No such device\n");
  EXPECT_TRUE(filesystem.Probe("/dev/x").Is(Code::kInternal));
}

TEST(FilesystemTest, BlankDevicesGetNoZeros) {
  ScriptedRunner runner;
  Filesystem filesystem(runner);
  ASSERT_TRUE(filesystem.Make("/dev/x", "ext4", true).ok());
  EXPECT_THAT(runner.asked[0], Contains(HasSubstr("assume_storage_prezeroed=1")));
  // Whatever the size of the device: its bytes may come to lie on one with 4 KiB sectors.
  EXPECT_THAT(runner.asked[0], IsSupersetOf({"-b", "4096"}));
  ASSERT_TRUE(filesystem.Make("/dev/x", "ext4", false).ok());
  EXPECT_THAT(runner.asked[1], Not(Contains(HasSubstr("prezeroed"))));
  ASSERT_TRUE(filesystem.Make("/dev/x", "xfs", true).ok());
  EXPECT_THAT(runner.asked[2], Contains("-K"));
  EXPECT_TRUE(filesystem.Make("/dev/x", "btrfs", true).Is(Code::kInvalidArgument));
  runner.Say(1, "", "first\nthe device is too small\n");
  EXPECT_THAT(filesystem.Make("/dev/x", "xfs", true).error().message(),
              HasSubstr("the device is too small"));
}

TEST(FilesystemTest, WhatMkfsSaysIsToldWithoutItsUsage) {
  ScriptedRunner runner;
  Filesystem filesystem(runner);
  runner.Say(1, "",
             "Filesystem must be larger than 300MB.\nUsage: mkfs.xfs\n/* options */\n"
             "<value> is xxx (512 byte blocks).\n");
  const std::string message = filesystem.Make("/dev/x", "xfs", true).error().message();
  EXPECT_THAT(message, HasSubstr("Filesystem must be larger than 300MB."));
  EXPECT_THAT(message, Not(HasSubstr("<value>")));
  runner.Say(1);
  EXPECT_THAT(filesystem.Make("/dev/x", "xfs", true).error().message(),
              HasSubstr("does not say why"));
}

TEST(FilesystemTest, DamageAndTroubleOfTheCheckerAreNotTheSame) {
  ScriptedRunner runner;
  Filesystem filesystem(runner);
  for (const int fine : {0, 1, 2, 3}) {
    runner.Say(fine);
    EXPECT_TRUE(filesystem.Check("/dev/x", "ext4").ok()) << fine;
  }
  for (const int damaged : {4, 5, 6, 7}) {
    runner.Say(damaged, "UNEXPECTED INCONSISTENCY\n");
    EXPECT_TRUE(filesystem.Check("/dev/x", "ext4").Is(Code::kFailedPrecondition)) << damaged;
  }
  for (const int trouble : {8, 12, 16, 32, 128}) {
    runner.Say(trouble, "", "No such device\n");
    const Status checked = filesystem.Check("/dev/x", "ext4");
    EXPECT_TRUE(checked.Is(Code::kInternal)) << trouble;
    EXPECT_THAT(checked.error().message(), Not(HasSubstr("damaged")));
    EXPECT_THAT(checked.error().message(), HasSubstr("No such device"));
  }
}

TEST(FilesystemTest, CheckTakesRepairsAndStopsAtDamage) {
  ScriptedRunner runner;
  Filesystem filesystem(runner);
  ASSERT_TRUE(filesystem.Check("/dev/x", "xfs").ok());
  EXPECT_TRUE(runner.asked.empty());
  runner.Say(1);
  EXPECT_TRUE(filesystem.Check("/dev/x", "ext4").ok());
  runner.Say(4, "RUN fsck MANUALLY\n");
  EXPECT_TRUE(filesystem.Check("/dev/x", "ext4").Is(Code::kFailedPrecondition));
}

TEST(FilesystemTest, Ext4GrowsBeforeItIsMountedAndOnlyIfItIsSmaller) {
  ScriptedRunner runner;
  Filesystem filesystem(runner);
  const std::string header = "Block count:              256\nBlock size:               4096\n";
  runner.Say(0, header);
  ASSERT_TRUE(filesystem.GrowUnmounted("/dev/x", "ext4", kMiB + 100).ok());
  EXPECT_EQ(runner.asked.size(), 1U);
  runner.Say(0, header);
  ASSERT_TRUE(filesystem.GrowUnmounted("/dev/x", "ext4", 2 * kMiB).ok());
  ASSERT_EQ(runner.asked.size(), 4U);
  EXPECT_THAT(runner.asked[2], ElementsAre("e2fsck", "-f", "-p", "/dev/x"));
  EXPECT_THAT(runner.asked[3], ElementsAre("resize2fs", "/dev/x"));
  ASSERT_TRUE(filesystem.GrowUnmounted("/dev/x", "xfs", 2 * kMiB).ok());
  EXPECT_EQ(runner.asked.size(), 4U);
}

TEST(FilesystemTest, MountedGrowthSaysWhatIsMissing) {
  ScriptedRunner runner;
  Filesystem filesystem(runner);
  ASSERT_TRUE(filesystem.Grow("/dev/x", "xfs", "/mnt").ok());
  EXPECT_THAT(runner.asked[0], ElementsAre("xfs_growfs", "/mnt"));
  runner.Say(1, "", "resize2fs: Permission denied to resize filesystem\n");
  const Status refused = filesystem.Grow("/dev/x", "ext4", "/mnt");
  EXPECT_TRUE(refused.Is(Code::kFailedPrecondition));
  EXPECT_THAT(refused.error().message(), HasSubstr("CAP_SYS_RESOURCE"));
}

}  // namespace
}  // namespace thinsnap::mount
