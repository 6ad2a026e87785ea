// What is particular to stores in folders; the rest is in the contract.
#include "snapshotter/store/directory_store.h"

#include <atomic>
#include <filesystem>
#include <gmock/gmock.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/core/runtime.h"

namespace thinsnap::store {
namespace {

namespace fs = std::filesystem;

class DirectoryStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / "thinsnap-directory-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    store_ = Open();
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::unique_ptr<ObjectStore> Open() {
    auto store = DirectoryObjectStore::Open(clock_, random_, folder_);
    EXPECT_TRUE(store.ok());
    return std::move(store).value();
  }
  std::vector<std::string> OwnFiles(const std::string& start) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ + "/.thinsnap-store")) {
      if (entry.path().filename().string().starts_with(start)) names.push_back(entry.path());
    }
    return names;
  }

  SystemClock clock_;
  SystemRandom random_;
  std::string folder_;
  std::unique_ptr<ObjectStore> store_;
};

TEST_F(DirectoryStoreTest, KeepsReadableFiles) {
  ASSERT_TRUE(store_->Put("a/b.yaml", AsBytes("kind: x\n")).ok());
  EXPECT_EQ(*ReadFile(folder_ + "/a/b.yaml"), "kind: x\n");
  EXPECT_TRUE(OwnFiles("put-").empty());
}

TEST_F(DirectoryStoreTest, LookingMakesNothing) {
  folder_ += "/not/there";
  const auto store = Open();
  EXPECT_TRUE(store->Get("a").Is(Code::kNotFound));
  EXPECT_TRUE(store->Delete("a").ok());
  EXPECT_TRUE(store->List("")->objects.empty());
  EXPECT_FALSE(fs::exists(fs::path(folder_).parent_path()));
  ASSERT_TRUE(store->Put("a", AsBytes("1")).ok());
  EXPECT_EQ(store->List("")->objects.size(), 1U);
  folder_ = fs::path(folder_).parent_path().parent_path();
}

TEST_F(DirectoryStoreTest, AFileIsNoStore) {
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/file", "").ok());
  const auto store = DirectoryObjectStore::Open(clock_, random_, folder_ + "/file");
  ASSERT_TRUE(store.Is(Code::kInvalidArgument));
  EXPECT_NE(store.error().message().find("is not a folder"), std::string::npos);
}

TEST_F(DirectoryStoreTest, PrunesEmptyFolders) {
  ASSERT_TRUE(store_->Put("a/b/c/d", AsBytes("1")).ok());
  ASSERT_TRUE(store_->Put("a/e", AsBytes("1")).ok());
  ASSERT_TRUE(store_->Delete("a/b/c/d").ok());
  EXPECT_FALSE(fs::exists(folder_ + "/a/b"));
  EXPECT_TRUE(fs::exists(folder_ + "/a/e"));
  ASSERT_TRUE(store_->Delete("a/e").ok());
  EXPECT_FALSE(fs::exists(folder_ + "/a"));
  EXPECT_TRUE(fs::exists(folder_));
}

TEST_F(DirectoryStoreTest, RefusesKeysThatCannotBePaths) {
  ASSERT_TRUE(store_->Put("a/b", AsBytes("1")).ok());
  EXPECT_TRUE(store_->Put("a", AsBytes("1")).Is(Code::kInvalidArgument));
  EXPECT_TRUE(store_->Put("a", AsBytes("1"), {.if_absent = true}).Is(Code::kInvalidArgument));
  EXPECT_FALSE(store_->Put("a/b/c", AsBytes("1")).ok());
  EXPECT_TRUE(store_->Put(std::string(256, 'x'), AsBytes("1")).Is(Code::kInvalidArgument));
  EXPECT_TRUE(store_->Put(".thinsnap-store/x", AsBytes("1")).Is(Code::kInvalidArgument));
  EXPECT_TRUE(store_->Get("a").Is(Code::kNotFound));
  EXPECT_TRUE(store_->Get("a/b/c").Is(Code::kNotFound));
  EXPECT_TRUE(store_->Delete("a/b/c").ok());
  EXPECT_TRUE(store_->Delete("a").ok());
  EXPECT_TRUE(store_->Head("a/b").ok());
}

TEST_F(DirectoryStoreTest, FollowsNoLinks) {
  fs::create_directory(folder_ + "/.thinsnap-store");
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/.thinsnap-store/secret", "secret").ok());
  fs::create_symlink(folder_ + "/.thinsnap-store/secret", folder_ + "/link");
  EXPECT_FALSE(store_->Get("link").ok());
  EXPECT_TRUE(store_->List("")->objects.empty());
  EXPECT_TRUE(store_->List("../")->objects.empty());
  EXPECT_TRUE(store_->List(".thinsnap-store/")->objects.empty());
}

TEST_F(DirectoryStoreTest, RemovesWhatAKilledWriterLeft) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Writes until it is killed.
    for (const std::string body(1 << 20, 'x');;) (void)store_->Put("key", AsBytes(body));
  }
  while (!fs::exists(folder_ + "/key")) ::sched_yield();
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  store_ = Open();
  EXPECT_TRUE(OwnFiles("put-").empty());
  EXPECT_EQ(store_->Head("key")->size, 1U << 20);
}

TEST_F(DirectoryStoreTest, CountsExactlyAmongProcesses) {
  ASSERT_TRUE(store_->Put("counter", AsBytes("0")).ok());
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int done = 0; done < 20;) {
        const auto now = store_->Get("counter");
        if (!now.ok()) ::_exit(1);
        const std::string next = std::to_string(std::stoi(std::string(AsText(now->bytes))) + 1);
        const auto put = store_->Put("counter", AsBytes(next), {.if_match = now->info.etag});
        if (put.ok()) ++done;
        if (!put.ok() && !put.Is(Code::kFailedPrecondition)) ::_exit(2);
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(AsText(store_->Get("counter")->bytes), "60");
}

TEST_F(DirectoryStoreTest, PutsAndDeletesInOneFolderAtOnce) {
  ThreadRuntime runtime(clock_);
  TaskGroup group(runtime);
  std::atomic<int> failures = 0;
  for (int i = 0; i < 4; ++i) {
    group.Spawn("churn", [&, i] {
      const std::string key = "deep/er/" + std::to_string(i);
      for (int round = 0; round < 50; ++round) {
        if (!store_->Put(key, AsBytes("x")).ok()) ++failures;
        if (!store_->Delete(key).ok()) ++failures;
      }
    });
  }
  group.Join();
  EXPECT_EQ(failures, 0);
}

// The calling thread's file system, as exFAT or sshfs: without hard links, and with or without
// RENAME_NOREPLACE. False where the kernel knows no filters.
bool ForbidLinks(bool renames_too) {
  const auto refuse = [](std::uint32_t call, std::uint32_t error) {
    return std::vector<sock_filter>{
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
    };
  };
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  const auto add = [&program](const std::vector<sock_filter>& more) {
    program.insert(program.end(), more.begin(), more.end());
  };
  add(refuse(SYS_linkat, EPERM));
#ifdef SYS_link
  add(refuse(SYS_link, EPERM));
#endif
  if (renames_too) add(refuse(SYS_renameat2, EINVAL));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{.len = static_cast<unsigned short>(program.size()),
                          .filter = program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(DirectoryStoreTest, NeedsNoHardLinks) {
  ThreadRuntime runtime(clock_);
  for (const bool renames_too : {false, true}) {
    const std::string key = renames_too ? "a/second" : "a/first";
    std::atomic<int> forbidden{0}, won{0}, lost{0};
    {
      // A filter is one thread's own and goes with it.
      TaskGroup group(runtime);
      for (int i = 0; i < 8; ++i) {
        group.Spawn("writer", [&, i] {
          if (!ForbidLinks(renames_too)) return;
          ++forbidden;
          const std::string body = "writer " + std::to_string(i);
          const auto put = store_->Put(key, AsBytes(body), {.if_absent = true, .if_match = ""});
          if (put.ok()) {
            ++won;
            EXPECT_EQ(AsText(store_->Get(key)->bytes), body);
            EXPECT_EQ(store_->Head(key)->etag, put->etag);
          } else if (put.Is(Code::kFailedPrecondition)) {
            ++lost;
          } else {
            ADD_FAILURE() << put.error().ToString();
          }
        });
      }
      group.Join();
    }
    if (forbidden == 0) GTEST_SKIP() << "no system call filters here";
    EXPECT_EQ(won, 1);
    EXPECT_EQ(lost, 7);
    EXPECT_TRUE(store_->Put(key, AsBytes("another"), {.if_absent = true, .if_match = ""})
                    .Is(Code::kFailedPrecondition));
    EXPECT_TRUE(OwnFiles("put-").empty());
  }
}

}  // namespace
}  // namespace thinsnap::store
