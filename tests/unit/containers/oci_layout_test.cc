// OCI layouts: layers in order, what they remove, and nothing that is damaged.
#include "simulator/containers/oci_layout.h"

#include <cstdlib>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/core/file.h"
#include "simulator/containers/remove_tree.h"

namespace thinsnap::containers {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class OciLayoutTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    char name[] = "/tmp/oci-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    layout_ = folder_ + "/layout";
    ASSERT_TRUE(MakeFolders(layout_ + "/blobs/sha256").ok());
    Write(layout_ + "/oci-layout", R"({"imageLayoutVersion": "1.0.0"})");
  }
  void TearDown() override {
    if (!folder_.empty()) RemoveTree(folder_);
  }

  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  std::string Shell(const std::string& script) {
    const Result<CommandOutput> output = RunChecked(
        runner_,
        Command{.argv = {"sh", "-ec", "cd " + folder_ + "; " + script}, .env = {}, .input = ""});
    EXPECT_TRUE(output.ok()) << output.error().ToString();
    return output.ok() ? output->out : "";
  }
  // Moves the file to its place and answers its digest.
  std::string Blob(const std::string& file) {
    const std::string hex = Shell("sha256sum " + file).substr(0, 64);
    Shell("mv " + file + " layout/blobs/sha256/" + hex);
    return "sha256:" + hex;
  }
  std::string TextBlob(const std::string& text) {
    Write(folder_ + "/text", text);
    return Blob("text");
  }
  void WriteIndex(const std::string& layers, const std::string& architecture = "amd64") {
    const std::string config = TextBlob(
        R"({"config": {"Env": ["PATH=/x", "A=b=c"], "Entrypoint": ["/entry"], "Cmd": ["run"],
            "WorkingDir": "/srv", "User": "1000:1000"}})");
    const std::string manifest =
        TextBlob(R"({"config": {"digest": ")" + config + R"("}, "layers": [)" + layers + "]}");
    Write(layout_ + "/index.json", R"({"manifests": [{"digest": ")" + manifest +
                                       R"(", "platform": {"os": "linux", "architecture": ")" +
                                       architecture + R"("}}]})");
  }
  Result<OciImage> Open() { return OpenOciLayout(layout_, folder_ + "/cache", runner_); }

  std::string folder_, layout_;
  PosixCommandRunner runner_;
};

TEST_F(OciLayoutTest, UnpacksLayersAndTranslatesWhatTheyRemove) {
  ASSERT_TRUE(IsOciLayout(layout_));
  EXPECT_FALSE(IsOciLayout(folder_));
  Shell(
      "mkdir -p one/bin one/old two/bin two/old; echo 1 > one/bin/a; echo 1 > one/bin/gone; "
      "touch two/bin/.wh.gone two/old/.wh..wh..opq; echo 2 > two/bin/b; "
      "tar -C one -cf 1.tar .; tar -C two -czf 2.tar .");
  const std::string first = Blob("1.tar"), second = Blob("2.tar");
  WriteIndex(R"({"digest": ")" + first + R"("}, {"digest": ")" + second + R"("})");
  for (int turn = 0; turn < 2; ++turn) {
    const Result<OciImage> image = Open();
    ASSERT_TRUE(image.ok()) << image.error().ToString();
    ASSERT_EQ(image->layers.size(), 2U);
    EXPECT_EQ(*ReadFile(image->layers[0] + "/bin/a"), "1\n");
    EXPECT_EQ(*ReadFile(image->layers[1] + "/bin/b"), "2\n");
    struct stat info = {};
    ASSERT_EQ(lstat((image->layers[1] + "/bin/gone").c_str(), &info), 0);
    EXPECT_TRUE(S_ISCHR(info.st_mode));
    EXPECT_EQ(info.st_rdev, makedev(0, 0));
    EXPECT_NE(access((image->layers[1] + "/bin/.wh.gone").c_str(), F_OK), 0);
    EXPECT_THAT(image->entrypoint, ElementsAre("/entry"));
    EXPECT_THAT(image->command, ElementsAre("run"));
    EXPECT_THAT(image->environment, ElementsAre(std::pair<std::string, std::string>("PATH", "/x"),
                                                std::pair<std::string, std::string>("A", "b=c")));
    EXPECT_EQ(image->working_folder, "/srv");
    EXPECT_EQ(image->user, "1000:1000");
  }
}

TEST_F(OciLayoutTest, DamageIsSeen) {
  Shell("mkdir one; echo 1 > one/a; tar -C one -cf 1.tar .");
  const std::string layer = Blob("1.tar");
  WriteIndex(R"({"digest": ")" + layer + R"("})");
  Shell("printf x >> layout/blobs/sha256/" + layer.substr(7));
  const Result<OciImage> image = Open();
  ASSERT_TRUE(image.Is(Code::kDataLoss));
  EXPECT_THAT(image.error().message(), HasSubstr(layer));
}

TEST_F(OciLayoutTest, ADigestCannotLeaveTheLayout) {
  WriteIndex(R"({"digest": "sha256:../../../../etc/passwd"})");
  EXPECT_TRUE(Open().Is(Code::kFailedPrecondition));
}

TEST_F(OciLayoutTest, AnotherMachinesImageIsSaidSo) {
  WriteIndex("", "s390x");
  const Result<OciImage> image = Open();
  ASSERT_TRUE(image.Is(Code::kFailedPrecondition));
  EXPECT_THAT(image.error().message(), HasSubstr("linux/amd64"));
}

}  // namespace
}  // namespace thinsnap::containers
