// What the kubelet writes to disk: logs, and the files of configMap and secret volumes.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/file.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "simulator/containers/log_file.h"
#include "simulator/containers/remove_tree.h"
#include "simulator/kubelet/frames.h"
#include "simulator/kubelet/fs_group.h"
#include "simulator/kubelet/local_volumes.h"
#include "simulator/kubelet/payload.h"

namespace thinsnap::kubelet {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/kubelet-files-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { containers::RemoveTree(folder_); }

  std::string Read(const std::string& path, const containers::LogReadOptions& options = {}) {
    std::string text;
    const Status done =
        containers::ReadLog(path, options, nullptr, [&](std::string_view piece) -> Status {
          text += piece;
          return {};
        });
    EXPECT_TRUE(done.ok());
    return text;
  }

  std::string folder_;
  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
};

// Whose attributes changed in a folder, in order: entries by name, the folder itself as ".".
class AttributeWatch {
 public:
  explicit AttributeWatch(const std::string& folder)
      : fd_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    EXPECT_GE(inotify_add_watch(fd_.get(), folder.c_str(), IN_ATTRIB), 0);
  }
  std::vector<std::string> Changed() {
    std::vector<std::string> names;
    alignas(inotify_event) char buffer[16384];
    for (;;) {
      const ssize_t size = read(fd_.get(), buffer, sizeof buffer);
      if (size <= 0) return names;
      for (ssize_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        names.emplace_back(event->len == 0 ? "." : event->name);
        at += static_cast<ssize_t>(sizeof *event + event->len);
      }
    }
  }

 private:
  const UniqueFd fd_;
};

TEST_F(FilesTest, TheRootOfAVolumeGetsItsGroupLast) {
  const std::string volume = folder_ + "/volume", outside = folder_ + "/outside";
  fs::create_directories(volume + "/a/b/c");
  for (const char* name : {"/file", "/a/file", "/a/b/c/file"}) std::ofstream(volume + name) << "x";
  std::ofstream(outside) << "x";
  chmod(outside.c_str(), 0600);
  fs::create_symlink(outside, volume + "/a/link");
  fs::create_directory_symlink("/", volume + "/all");
  AttributeWatch root(volume), below(volume + "/a");
  const Status given = GiveToGroup(volume, getegid(), 0660);
  ASSERT_TRUE(given.ok()) << given.error().ToString();
  for (AttributeWatch* watch : {&root, &below}) {
    const std::vector<std::string> changed = watch->Changed();
    const auto self = std::find(changed.begin(), changed.end(), ".");
    EXPECT_GT(self - changed.begin(), 2);
    EXPECT_TRUE(std::all_of(self, changed.end(), [](const auto& name) { return name == "."; }))
        << testing::PrintToString(changed);
  }
  struct stat info = {};
  ASSERT_EQ(stat((volume + "/a/b/c/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0660, 0660U);
  ASSERT_EQ(stat(volume.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & (S_ISGID | 0770), S_ISGID | 0770U);
  ASSERT_EQ(stat(outside.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
}

TEST_F(FilesTest, LogsAreReadAsTheyWereWritten) {
  const std::string path = folder_ + "/0.log";
  const auto log = *containers::LogFile::Open(runtime_, path);
  log->Write("stdout", "one\ntw");
  log->Write("stderr", "oops\n");
  log->Write("stdout", "o\nlast without end");
  log->Close();
  EXPECT_EQ(Read(path), "one\noops\ntwo\nlast without end");
  containers::LogReadOptions tail;
  tail.tail_lines = 2;
  EXPECT_EQ(Read(path, tail), "two\nlast without end");
  containers::LogReadOptions limit;
  limit.limit_bytes = 5;
  EXPECT_EQ(Read(path, limit), "one\no");
  containers::LogReadOptions stamped;
  stamped.timestamps = true;
  EXPECT_THAT(Read(path, stamped), HasSubstr("Z one\n"));
  containers::LogReadOptions since;
  since.since = clock_.Now() + std::chrono::hours(1);
  EXPECT_EQ(Read(path, since), "");
}

TEST_F(FilesTest, LongLinesStayOneLine) {
  const std::string path = folder_ + "/0.log";
  const auto log = *containers::LogFile::Open(runtime_, path);
  const std::string line(100'000, 'x');
  log->Write("stdout", line + "\nnext\n");
  log->Close();
  EXPECT_EQ(Read(path), line + "\nnext\n");
}

TEST_F(FilesTest, FollowingEndsWithTheContainer) {
  const std::string path = folder_ + "/0.log";
  const auto log = *containers::LogFile::Open(runtime_, path);
  log->Write("stdout", "before\n");
  TaskGroup group(runtime_);
  std::string text;
  group.Spawn("reader", [&] {
    containers::LogReadOptions follow;
    follow.follow = true;
    const Status done =
        containers::ReadLog(path, follow, log.get(), [&](std::string_view piece) -> Status {
          // The reader has the first line: now the rest may come.
          if (text.empty()) {
            log->Write("stdout", "after\n");
            log->Close();
          }
          text += piece;
          return {};
        });
    EXPECT_TRUE(done.ok());
  });
  group.Join();
  EXPECT_EQ(text, "before\nafter\n");
}

TEST_F(FilesTest, RotatedLogsAreReadInOrder) {
  const std::string path = folder_ + "/0.log";
  const auto log = *containers::LogFile::Open(runtime_, path);
  const std::string line(10'000, 'y');
  for (int i = 0; i < 3000; ++i) log->Write("stdout", line + "\n");
  log->Write("stdout", "the end\n");
  log->Close();
  EXPECT_TRUE(fs::exists(path + ".1"));
  containers::LogReadOptions tail;
  tail.tail_lines = 1;
  EXPECT_EQ(Read(path, tail), "the end\n");
  EXPECT_EQ(Read(path).size(), 3000 * 10'001 + 8);
}

TEST_F(FilesTest, APayloadIsReplacedAsAWhole) {
  Payload payload{{"a", {"1", 0644}}, {"sub/b", {"2", 0600}}};
  ASSERT_TRUE(WritePayload(folder_, payload, clock_.Now()).ok());
  EXPECT_EQ(*ReadFile(folder_ + "/a"), "1");
  EXPECT_EQ(*ReadFile(folder_ + "/sub/b"), "2");
  const fs::path version = fs::read_symlink(folder_ + "/..data");
  ASSERT_TRUE(WritePayload(folder_, payload, clock_.Now()).ok());
  EXPECT_EQ(fs::read_symlink(folder_ + "/..data"), version)
      << "nothing changed, nothing is written";
  payload = {{"a", {"3", 0644}}};
  ASSERT_TRUE(WritePayload(folder_, payload, clock_.Now()).ok());
  EXPECT_EQ(*ReadFile(folder_ + "/a"), "3");
  EXPECT_FALSE(fs::exists(fs::symlink_status(folder_ + "/sub")));
  EXPECT_FALSE(fs::exists(folder_ + "/" + version.string()));
}

TEST(PayloadTest, ProjectsSeveralSources) {
  const Json pod = *ParseJson(R"({"metadata": {"name": "p", "namespace": "n"}})");
  const Json volume = *ParseJson(R"({"name": "v", "projected": {"sources": [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
    {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}})");
  PayloadSources sources;
  sources.config_map = [](const std::string&) -> Result<Json> {
    return *ParseJson(R"({"data": {"ca.crt": "PEM"}})");
  };
  sources.token = [](const std::string&, std::int64_t seconds) -> Result<std::string> {
    return "token-for-" + std::to_string(seconds);
  };
  const Result<Payload> payload = BuildPayload(pod, volume, sources);
  ASSERT_TRUE(payload.ok()) << payload.error().ToString();
  EXPECT_EQ(payload->at("token").content, "token-for-3607");
  EXPECT_EQ(payload->at("ca.crt").content, "PEM");
  EXPECT_EQ(payload->at("namespace").content, "n");
}

TEST(PayloadTest, PathsThatClimbAreRefused) {
  const Json volume = *ParseJson(
      R"({"configMap": {"name": "c", "items": [{"key": "k", "path": "../../etc/passwd"}]}})");
  PayloadSources sources;
  sources.config_map = [](const std::string&) -> Result<Json> {
    return *ParseJson(R"({"data": {"k": "v"}})");
  };
  EXPECT_TRUE(BuildPayload(Json(JsonObject{}), volume, sources).Is(Code::kInvalidArgument));
}

TEST_F(FilesTest, FramesCrossASocketWithALongName) {
  const std::string deep = folder_ + "/" + std::string(150, 'd');
  ASSERT_TRUE(MakeFolders(deep).ok());
  const Result<UniqueFd> listener = ListenUnix(deep + "/s.sock");
  ASSERT_TRUE(listener.ok()) << listener.error().ToString();
  const Result<UniqueFd> client = ConnectUnix(deep + "/s.sock");
  ASSERT_TRUE(client.ok()) << client.error().ToString();
  ASSERT_TRUE(WriteFrame(client->get(), FrameType::kStdin, "hello").ok());
}

mode_t ModeOf(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
}

TEST_F(FilesTest, AGroupMayReadItsPayload) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const Payload payload{{"deep/key", {"value", 0400}}};
  ASSERT_TRUE(WritePayload(folder_ + "/secret", payload, clock_.Now(), 4711).ok());
  struct stat info = {};
  ASSERT_EQ(stat((folder_ + "/secret/deep/key").c_str(), &info), 0);
  EXPECT_EQ(info.st_gid, 4711U);
  EXPECT_EQ(info.st_mode & 07777, 0440U);
  EXPECT_EQ(ModeOf(folder_ + "/secret/..data/deep") & 02050, 02050U);
}

TEST_F(FilesTest, AHostPathIsTheNodesUnlessItIsLent) {
  const std::string lent = folder_ + "/lent", other = folder_ + "/other";
  ASSERT_TRUE(MakeFolders(lent).ok() && MakeFolders(other).ok());
  const HostPaths paths{folder_ + "/root", {lent}};
  const auto place = [&](const std::string& path, const std::string& type) -> std::string {
    const Result<UniqueFd> made = MakeHostPath(JsonObject{{"path", path}, {"type", type}}, paths);
    if (!made.ok()) return made.error().message();
    return fs::read_symlink("/proc/self/fd/" + std::to_string(made->get())).string();
  };
  EXPECT_EQ(place(lent, "Directory"), lent);
  EXPECT_EQ(place(lent + "/file", "FileOrCreate"), lent + "/file");
  // The same names below the node's own root, with nothing in it.
  EXPECT_EQ(place("/", ""), paths.root);
  EXPECT_EQ(place(other, ""), paths.root + other);
  EXPECT_EQ(place(lent + "/../other", "DirectoryOrCreate"), paths.root + other);
  EXPECT_EQ(place(other + "/made", "FileOrCreate"), paths.root + other + "/made");
  EXPECT_EQ(place(lent + "er", "DirectoryOrCreate"), paths.root + lent + "er");
  EXPECT_THAT(place("/etc/shadow", "File"), HasSubstr("up --host-path /etc/shadow"));
  EXPECT_THAT(place(lent, "Socket"), testing::EndsWith("is not of type Socket"));
  // A pod that has the node's root mounted may put links there.
  fs::create_directory_symlink(folder_, paths.root + "/link");
  EXPECT_EQ(place("/link/other", "DirectoryOrCreate"), paths.root + other);
  EXPECT_TRUE(fs::is_empty(other));
}

TEST_F(FilesTest, PlacesBelowAVolumeAreAsOpenAsItAndStayInside) {
  const std::string volume = folder_ + "/volume";
  ASSERT_TRUE(MakeFolders(volume).ok());
  ASSERT_EQ(chmod(volume.c_str(), 0777), 0);
  const Result<UniqueFd> made = PlaceBelow(volume, "a/b");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(ModeOf(volume + "/a/b"), 0777U);
  // What a pod puts in its place later is not what was found.
  const fs::path held = "/proc/self/fd/" + std::to_string(made->get());
  fs::rename(volume + "/a/b", volume + "/a/c");
  fs::create_directory_symlink("/tmp", volume + "/a/b");
  EXPECT_EQ(fs::read_symlink(held), fs::canonical(volume + "/a/c"));
  EXPECT_TRUE(PlaceBelow(volume, "a/b").Is(Code::kPermissionDenied));
  EXPECT_TRUE(PlaceBelow(volume, "a/b/x").Is(Code::kPermissionDenied));
  // A file may be mounted, and links inside may be followed.
  std::ofstream(volume + "/a/file") << "x";
  fs::create_symlink("file", volume + "/a/link");
  EXPECT_TRUE(PlaceBelow(volume, "a/link").ok());
  fs::create_directory_symlink("/tmp", volume + "/out");
  EXPECT_TRUE(PlaceBelow(volume, "out/x").Is(Code::kPermissionDenied));
  EXPECT_FALSE(PlaceBelow(volume, "../x").ok());
  EXPECT_FALSE(PlaceBelow(volume, "/etc").ok());
}

}  // namespace
}  // namespace thinsnap::kubelet
