#include "base/core/file.h"

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

TEST_F(FileTest, SaysWhatIsWrong) {
  EXPECT_TRUE(ReadFile(folder_ + "/none").Is(Code::kNotFound));
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/big", std::string(2000, 'x')).ok());
  EXPECT_TRUE(ReadFile(folder_ + "/big", 1000).Is(Code::kOutOfRange));
  EXPECT_FALSE(WriteFileAtomic(folder_ + "/none/a", "x").ok());
  EXPECT_TRUE(MakeFolders(folder_ + "/big").Is(Code::kAlreadyExists));
}

}  // namespace
}  // namespace thinsnap
