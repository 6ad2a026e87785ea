#include "snapshotter/cli/commands.h"

#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"
#include "base/data/json.h"
#include "snapshotter/cli/host_path.h"
#include "snapshotter/cli/passphrase.h"
#include "snapshotter/cli/point_choice.h"
#include "snapshotter/repo/point.h"
#include "snapshotter/store/memory_store.h"

namespace thinsnap::cli {
namespace {

#define ASSERT_OK(expression)                                      \
  do {                                                             \
    const auto& assert_ok_ = (expression);                         \
    ASSERT_TRUE(assert_ok_.ok()) << assert_ok_.error().ToString(); \
  } while (false)

class CommandsTest : public ::testing::Test {
 protected:
  CommandsTest() {
    SystemRandom system;
    folder_ = std::filesystem::temp_directory_path() / ("thinsnap-cli-" + system.Uuid());
    std::filesystem::create_directories(folder_);
    InitCommand init;
    init.passphrase = Secret("p");
    init.kdf = {64, 1, 1};
    EXPECT_TRUE(RunInit(context_, init).ok());
    auto opened = repo::OpenRepository(store_, runtime_, random_, {Secret("p"), "", std::nullopt});
    EXPECT_TRUE(opened.ok());
    repository_ = std::move(opened).value();
    out_.clear();
  }
  ~CommandsTest() override { std::filesystem::remove_all(folder_); }

  std::string In(const std::string& name) const { return folder_ / name; }

  std::string MakeImage(const std::string& name, std::size_t size) {
    Bytes bytes(size);
    random_.Fill(bytes);
    EXPECT_TRUE(WriteFileAtomic(In(name), AsText(bytes)).ok());
    return In(name);
  }

  Status Backup(const std::string& path, const std::string& series = "") {
    return RunBackup(context_, *repository_, {path, series, false});
  }
  Status Restore(const std::string& point, const std::string& target, bool force = false) {
    return RunRestore(context_, *repository_, {{point, ""}, target, force});
  }
  std::string Content(const std::string& path) {
    auto text = ReadFile(path, kGiB);
    return text.ok() ? *text : "unreadable";
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SeededRandom random_{3};
  store::MemoryObjectStore store_{clock_};
  std::string out_;
  std::string err_;
  Console console_{clock_, [this](std::string_view text) { out_ += text; },
                   [this](std::string_view text) { err_ += text; }};
  Context context_{store_, runtime_, random_, console_, "host"};
  std::filesystem::path folder_;
  std::unique_ptr<repo::Repository> repository_;
};

TEST_F(CommandsTest, BacksUpListsShowsAndRestores) {
  const std::string image = MakeImage("image", 3 * kMiB + 77);
  ASSERT_OK(Backup(image));
  ASSERT_OK(RunList(context_, *repository_, {}));
  EXPECT_NE(out_.find("host:" + image), std::string::npos) << out_;
  ASSERT_OK(RunShow(context_, *repository_, {"latest", ""}));
  EXPECT_NE(out_.find("3145805 bytes"), std::string::npos) << out_;
  ASSERT_OK(Restore("latest", In("copy")));
  EXPECT_EQ(Content(In("copy")), Content(image));
  ASSERT_OK(RunVerify(context_, *repository_, {true}));
}

TEST_F(CommandsTest, AnEmptyImageRoundTrips) {
  ASSERT_OK(WriteFileAtomic(In("empty"), ""));
  ASSERT_OK(Backup(In("empty")));
  ASSERT_OK(Restore("latest", In("copy")));
  EXPECT_EQ(Content(In("copy")), "");
}

TEST_F(CommandsTest, TheSeriesFollowsFromHostAndPath) {
  const std::string image = MakeImage("image", kMiB);
  std::filesystem::create_symlink(image, In("link"));
  ASSERT_OK(Backup(image));
  ASSERT_OK(Backup(In("link")));
  auto points = repository_->ListPoints();
  ASSERT_OK(points);
  ASSERT_EQ(points->size(), 2U);
  EXPECT_EQ(points->at(0).series, points->at(1).series);
  EXPECT_EQ(points->at(1).stored_bytes, 0U);
  ASSERT_OK(Backup(image, "named"));
  EXPECT_EQ(repository_->ListPoints("named")->size(), 1U);
  EXPECT_TRUE(Backup(image, "not/one").Is(Code::kInvalidArgument));
}

TEST_F(CommandsTest, SourcesThatAreNoneAreRefusedInWords) {
  const Status folder = Backup(folder_);
  ASSERT_TRUE(folder.Is(Code::kInvalidArgument));
  EXPECT_NE(folder.error().message().find("is a folder"), std::string::npos);
  EXPECT_TRUE(Backup(In("missing")).Is(Code::kNotFound));
  EXPECT_TRUE(Backup("/dev/null").Is(Code::kInvalidArgument));
  const Status nameless = Backup("");
  ASSERT_TRUE(nameless.Is(Code::kInvalidArgument));
  EXPECT_NE(nameless.error().message().find("the path is empty"), std::string::npos);
  // It has no size and some content.
  EXPECT_TRUE(Backup("/proc/version").Is(Code::kInvalidArgument));
  EXPECT_TRUE(repository_->ListPoints()->empty());
}

TEST_F(CommandsTest, TargetsAreNotOverwrittenByMistake) {
  const std::string image = MakeImage("image", kMiB);
  ASSERT_OK(Backup(image));
  const std::string precious = MakeImage("precious", 2 * kMiB);
  const std::string before = Content(precious);
  EXPECT_TRUE(Restore("latest", precious).Is(Code::kFailedPrecondition));
  EXPECT_EQ(Content(precious), before);
  EXPECT_TRUE(Restore("latest", folder_).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Restore("latest", In("no/such/folder")).Is(Code::kNotFound));
  ASSERT_OK(WriteFileAtomic(In("blank"), ""));
  ASSERT_OK(Restore("latest", In("blank")));
  ASSERT_OK(Restore("latest", precious, true));
  EXPECT_EQ(Content(precious), Content(image));
}

// With nothing left to fetch: whoever fetched would find damage.
TEST_F(CommandsTest, ATargetThatCannotBeReplacedIsToldBeforeAnythingIsFetched) {
  ASSERT_OK(Backup(MakeImage("image", kMiB)));
  ASSERT_OK(store::ListAll(store_, "packs/data/",
                           [&](const auto& info) { return store_.Delete(info.key); }));
  std::filesystem::create_symlink("nowhere", In("dangling"));
  const Status dangling = Restore("latest", In("dangling"));
  ASSERT_TRUE(dangling.Is(Code::kNotFound)) << dangling.error().ToString();
  EXPECT_NE(dangling.error().message().find("is a link to nowhere, which is not there"),
            std::string::npos);
  EXPECT_TRUE(std::filesystem::is_symlink(In("dangling")));

  const std::string fixed = MakeImage("fixed", kMiB);
  const UniqueFd file(::open(fixed.c_str(), O_RDONLY | O_CLOEXEC));
  for (const auto& [flag, words] : {std::pair(FS_IMMUTABLE_FL, "is immutable"),
                                    std::pair(FS_APPEND_FL, "is for appending only")}) {
    int flags = 0;
    if (::ioctl(file.get(), FS_IOC_GETFLAGS, &flags) != 0) GTEST_SKIP() << "no attributes here";
    int changed = flags | flag;
    if (::ioctl(file.get(), FS_IOC_SETFLAGS, &changed) != 0) GTEST_SKIP() << "not allowed to";
    const Status refused = Restore("latest", fixed, true);
    ASSERT_EQ(::ioctl(file.get(), FS_IOC_SETFLAGS, &flags), 0);
    ASSERT_TRUE(refused.Is(Code::kFailedPrecondition)) << refused.error().ToString();
    EXPECT_NE(refused.error().message().find(words), std::string::npos)
        << refused.error().message();
  }
}

TEST_F(CommandsTest, AFailedRestoreLeavesNoHalfImage) {
  const std::string image = MakeImage("image", kMiB);
  ASSERT_OK(Backup(image));
  std::string pack;
  ASSERT_OK(store::ListAll(store_, "packs/data/", [&](const auto& info) {
    pack = info.key;
    return Status();
  }));
  auto object = store_.Get(pack);
  ASSERT_OK(object);
  object->bytes[1000] ^= 1;
  ASSERT_OK(store_.Put(pack, object->bytes));
  EXPECT_TRUE(Restore("latest", In("copy")).Is(Code::kDataLoss));
  EXPECT_FALSE(std::filesystem::exists(In("copy")));
  const Status verified = RunVerify(context_, *repository_, {false});
  EXPECT_TRUE(verified.Is(Code::kDataLoss));
  EXPECT_NE(out_.find(pack), std::string::npos) << out_;
  EXPECT_EQ(ExitCode(verified), 5);
}

TEST_F(CommandsTest, ForgetTakesANameAndNothingElse) {
  const std::string image = MakeImage("image", kMiB);
  ASSERT_OK(Backup(image));
  ASSERT_OK(Backup(image));
  EXPECT_TRUE(RunForget(context_, *repository_, {"latest", ""}).Is(Code::kInvalidArgument));
  const auto points = repository_->ListPoints();
  ASSERT_OK(points);
  ASSERT_OK(RunForget(context_, *repository_, {points->front().name.str(), ""}));
  EXPECT_EQ(repository_->ListPoints()->size(), 1U);
  EXPECT_TRUE(
      RunForget(context_, *repository_, {points->front().name.str(), ""}).Is(Code::kNotFound));
}

TEST_F(CommandsTest, JsonIsOneDocument) {
  console_.json = true;
  const std::string image = MakeImage("image", kMiB);
  const auto document = [&](const Status& status) {
    console_.Finish("verb", status, ExitCode(status), "");
    auto parsed = ParseJson(std::exchange(out_, ""));
    EXPECT_TRUE(parsed.ok());
    return parsed.ok() ? *parsed : Json();
  };
  EXPECT_EQ(IntAt(document(Backup(image)), "sizeBytes"), 1048576);
  const Json list = document(RunList(context_, *repository_, {}));
  EXPECT_EQ(ArrayAt(list, "points").size(), 1U);
  EXPECT_EQ(ArrayAt(list, "damaged").size(), 0U);
  EXPECT_EQ(StringAt(list, "suite"), "sealed");
  EXPECT_EQ(BoolAt(document(RunVerify(context_, *repository_, {true})), "data"), true);
  EXPECT_EQ(err_, "");
}

TEST_F(CommandsTest, ErrorsAndWarningsAreInTheDocument) {
  console_.json = true;
  console_.Warn("mind the gap");
  console_.Finish("list", Error(Code::kNotFound, "no such point"), 3, "look again");
  auto parsed = ParseJson(out_);
  ASSERT_OK(parsed);
  EXPECT_EQ(StringAt(*parsed, "error.code"), "NOT_FOUND");
  EXPECT_EQ(StringAt(*parsed, "error.message"), "no such point");
  EXPECT_EQ(IntAt(*parsed, "error.exitCode"), 3);
  EXPECT_EQ(StringAt(*parsed, "error.hint"), "look again");
  EXPECT_EQ(ArrayAt(*parsed, "warnings").size(), 1U);
  EXPECT_EQ(err_, "");
}

TEST_F(CommandsTest, PeopleGetErrorsOnStandardError) {
  console_.Finish("list", Error(Code::kNotFound, "no such point"), 3, "look again");
  EXPECT_EQ(out_, "");
  EXPECT_EQ(err_, "thinsnap: list: no such point\nlook again\n");
}

TEST_F(CommandsTest, AnOverwrittenFileKeepsItsModeAndIsWholeOrOld) {
  const std::string image = MakeImage("image", kMiB);
  ASSERT_OK(Backup(image));
  const std::string target = MakeImage("target", 2 * kMiB);
  const std::string before = Content(target);
  ASSERT_EQ(::chmod(target.c_str(), 0640), 0);
  // What a killed restore left is no obstacle.
  ASSERT_OK(WriteFileAtomic(In(".target.thinsnap-restore"), "half"));
  ASSERT_OK(Restore("latest", target, true));
  EXPECT_EQ(Content(target), Content(image));
  struct stat stat = {};
  ASSERT_EQ(::stat(target.c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 0777U, 0640U);
  ASSERT_OK(WriteFileAtomic(target, before));
  ASSERT_OK(store::ListAll(store_, "packs/data/",
                           [&](const auto& info) { return store_.Delete(info.key); }));
  EXPECT_TRUE(Restore("latest", target, true).Is(Code::kDataLoss));
  EXPECT_EQ(Content(target), before);
  EXPECT_FALSE(std::filesystem::exists(In(".target.thinsnap-restore")));
}

TEST_F(CommandsTest, ProgressIsDrawnOnTerminalsOnly) {
  console_.Progress("backup", 1, 2);
  EXPECT_EQ(err_, "");
  console_.terminal = true;
  console_.Progress("backup", 1, 2);
  EXPECT_NE(err_.find("50 %"), std::string::npos) << err_;
  // However narrow it is, and it wraps as before afterwards.
  EXPECT_TRUE(err_.starts_with("\r\x1b[?7l") && err_.ends_with("\x1b[?7h")) << err_;
  console_.EndProgress();
  EXPECT_EQ(err_.back(), '\n');
}

class PointChoiceTest : public CommandsTest {
 protected:
  PointChoiceTest() {
    image_ = MakeImage("image", kMiB);
    for (const char* series : {"a", "a", "b"}) EXPECT_TRUE(Backup(image_, series).ok());
    points_ = *repository_->ListPoints();
  }
  Result<repo::PointInfo> Choose(const std::string& point, const std::string& series = "") {
    return ChoosePoint(context_, *repository_, {point, series});
  }
  void Damage(const repo::PointName& name) {
    auto object = store_.Get(repo::PointKey(name));
    ASSERT_OK(object);
    object->bytes[60] ^= 1;
    ASSERT_OK(store_.Put(repo::PointKey(name), object->bytes));
  }

  std::string image_;
  std::vector<repo::PointInfo> points_;  // oldest first: a, a, b
};

TEST_F(PointChoiceTest, TakesNamesPrefixesAndLatest) {
  ASSERT_EQ(points_.size(), 3U);
  EXPECT_EQ(Choose("latest")->name, points_[2].name);
  EXPECT_EQ(Choose("latest", "a")->name, points_[1].name);
  EXPECT_EQ(Choose(points_[0].name.str())->name, points_[0].name);
  EXPECT_EQ(Choose("b")->name, points_[2].name);
  EXPECT_EQ(Choose(points_[1].snapshot)->name, points_[1].name);
  const auto unclear = Choose("a/");
  ASSERT_TRUE(unclear.Is(Code::kInvalidArgument));
  EXPECT_NE(unclear.error().message().find(points_[1].name.str()), std::string::npos);
  EXPECT_TRUE(Choose("").Is(Code::kInvalidArgument));
  EXPECT_TRUE(Choose("zzz").Is(Code::kNotFound));
  EXPECT_TRUE(Choose("latest", "c").Is(Code::kNotFound));
  EXPECT_TRUE(Choose("latest", "../a").Is(Code::kInvalidArgument));
}

TEST_F(PointChoiceTest, WhatWasForgottenIsNoCandidate) {
  ASSERT_OK(repository_->Forget(points_[1].name));
  EXPECT_EQ(Choose("a")->name, points_[0].name);
  EXPECT_EQ(Choose("latest", "a")->name, points_[0].name);
  const auto gone = Choose(points_[1].name.str());
  ASSERT_TRUE(gone.Is(Code::kNotFound));
  EXPECT_NE(gone.error().message().find("forgotten"), std::string::npos);
}

TEST_F(PointChoiceTest, AnOlderPointNeverStandsInForADamagedLatest) {
  Damage(points_[1].name);
  const auto latest = Choose("latest", "a");
  ASSERT_TRUE(latest.Is(Code::kDataLoss));
  EXPECT_NE(latest.error().message().find(points_[1].name.str()), std::string::npos);
  EXPECT_TRUE(Choose(points_[1].name.str()).Is(Code::kDataLoss));
  EXPECT_EQ(Choose("latest")->name, points_[2].name);
  EXPECT_EQ(Choose(points_[0].name.str())->name, points_[0].name);
  ASSERT_OK(RunForget(context_, *repository_, {points_[1].name.str(), ""}));
  EXPECT_EQ(Choose("latest", "a")->name, points_[0].name);
}

TEST(PassphraseTest, ComesFromTheFileThenTheEnvironment) {
  SystemRandom system;
  const std::string file =
      std::filesystem::temp_directory_path() / ("thinsnap-pass-" + system.Uuid());
  ASSERT_OK(WriteFileAtomic(file, "from the file\nsecond line\n"));
  auto found = FindPassphrase({"from outside", file, false}, true, false);
  ASSERT_OK(found);
  EXPECT_EQ((*found)->Reveal(), "from the file\n");
  found = FindPassphrase({"from outside", "", false}, true, false);
  ASSERT_OK(found);
  EXPECT_EQ((*found)->Reveal(), "from outside");
  found = FindPassphrase({std::nullopt, "", false}, true, false);
  ASSERT_OK(found);
  EXPECT_FALSE(found->has_value());
  ASSERT_OK(WriteFileAtomic(file, "\n"));
  EXPECT_TRUE(FindPassphrase({std::nullopt, file, false}, true, false).Is(Code::kInvalidArgument));
  std::filesystem::remove(file);
  EXPECT_TRUE(FindPassphrase({std::nullopt, file, false}, true, false).Is(Code::kNotFound));
}

TEST(ExitCodeTest, SaysWhatAScriptNeeds) {
  EXPECT_EQ(ExitCode({}), 0);
  EXPECT_EQ(ExitCode(Error(Code::kInternal, "")), 1);
  EXPECT_EQ(ExitCode(Error(Code::kInvalidArgument, "")), 2);
  EXPECT_EQ(ExitCode(Error(Code::kNotFound, "")), 3);
  EXPECT_EQ(ExitCode(Error(Code::kUnauthenticated, "")), 4);
  EXPECT_EQ(ExitCode(Error(Code::kDataLoss, "")), 5);
  EXPECT_EQ(ExitCode(Error(Code::kUnavailable, "")), 6);
  EXPECT_EQ(ExitCode(Error(Code::kCancelled, "")), 130);
}

}  // namespace
}  // namespace thinsnap::cli
