#include "base/core/file.h"

#include <cerrno>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace thinsnap {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(MakeFolders(folder_).ok()); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  const std::string folder_ = testing::TempDir() + "thinsnap-file-test";
};

TEST_F(FileTest, WritesEntirelyAndReplaces) {
  const std::string path = folder_ + "/a";
  ASSERT_TRUE(WriteFileAtomic(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomic(path, "two", 0600).ok());
  EXPECT_EQ(*ReadFile(path), "two");
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

// Another caller's reason is nobody's: a driver would answer it with a code that the orchestrator
// takes for its own.
TEST(ErrnoErrorTest, ACodeIsForWhoAsked) {
  for (const int number :
       {ENOENT, ENODEV, EEXIST, EACCES, EPERM, EROFS, ENOSPC, EDQUOT, ENOMEM, EBUSY, EIO, EAGAIN}) {
    EXPECT_EQ(ErrnoError(number, "open x").code(), Code::kInternal) << number;
  }
  EXPECT_EQ(ErrnoError(ENOENT, "x", kMissing).code(), Code::kNotFound);
  EXPECT_EQ(ErrnoError(ENODEV, "x", kMissing).code(), Code::kInternal);
  EXPECT_EQ(ErrnoError(EROFS, "x", kMissing | kForbidden).code(), Code::kPermissionDenied);
  EXPECT_EQ(ErrnoError(ENOSPC, "x", kForbidden).code(), Code::kInternal);
  EXPECT_EQ(ErrnoError(EDQUOT, "x", kNoRoom).code(), Code::kResourceExhausted);
  EXPECT_EQ(ErrnoError(ENOMEM, "x", kNoRoom).code(), Code::kInternal);
  EXPECT_EQ(ErrnoError(ENOENT, "open x").message(), "open x: No such file or directory");
}

TEST_F(FileTest, SaysWhatIsWrong) {
  EXPECT_TRUE(ReadFile(folder_ + "/none").Is(Code::kNotFound));
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/big", std::string(2000, 'x')).ok());
  EXPECT_TRUE(ReadFile(folder_ + "/big", 1000).Is(Code::kOutOfRange));
  EXPECT_TRUE(WriteFileAtomic(folder_ + "/none/a", "x").Is(Code::kInternal));
  EXPECT_TRUE(WriteFileAtomic(folder_ + "/none/a", "x", 0644, kMissing).Is(Code::kNotFound));
  EXPECT_TRUE(MakeFolders(folder_ + "/big").Is(Code::kAlreadyExists));
}

}  // namespace
}  // namespace thinsnap
