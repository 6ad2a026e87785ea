// The format against the outside: a repository that an earlier build made, and a reader that shares
// no code with us.
#include <filesystem>
#include <openssl/evp.h>

#include "base/core/command.h"
#include "base/core/file.h"
#include "snapshotter/mover/verify_blocks.h"
#include "snapshotter/repo/verify.h"
#include "snapshotter/store/directory_store.h"
#include "tests/python.h"
#include "tests/unit/mover/fixture.h"

namespace thinsnap::mover {
namespace {

constexpr const char* kPassphrase = "thinsnap test data";
constexpr const char* kFirst = "42651411ce457977a1b0288a988c1c2203b48aa8e2161630d5e9e056013d3db1";
constexpr const char* kSecond = "acae10d9a21d2bf579d44d4cd10a898e625d95f227a00a3474697362d5dcc441";

std::string Sha256Hex(ByteSpan bytes) {
  Bytes digest(32);
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return HexEncode(digest);
}

// A folder of its own that goes with it.
class ScratchFolder {
 public:
  ScratchFolder() {
    SystemRandom random;
    path_ = std::filesystem::temp_directory_path() / ("thinsnap-format-" + random.Uuid());
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string In(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

class FormatTest : public MoverTest, public ::testing::WithParamInterface<repo::Suite> {
 protected:
  repo::OpenOptions Pass() const {
    repo::OpenOptions options;
    if (GetParam() == repo::Suite::kSealed) options.passphrase = Secret(kPassphrase);
    return options;
  }
  ScratchFolder scratch_;
};

TEST_P(FormatTest, ARepositoryOfVersion1IsRead) {
  const std::string name = GetParam() == repo::Suite::kSealed ? "sealed" : "plain";
  std::filesystem::copy(
      std::filesystem::path(THINSNAP_SOURCE_DIR) / "tests/testdata/repository-1" / name,
      scratch_.In("r"), std::filesystem::copy_options::recursive);
  auto opened_store = store::DirectoryObjectStore::Open(clock_, random_, scratch_.In("r"));
  ASSERT_OK(opened_store);
  auto opened = repo::OpenRepository(**opened_store, runtime_, random_, Pass());
  ASSERT_OK(opened);
  repository_ = std::move(opened).value();
  const auto points = repository_->ListPoints();
  ASSERT_OK(points);
  ASSERT_EQ(points->size(), 2U);  // and a void
  EXPECT_EQ(points->at(1).mode, repo::ExportMode::kReread);
  EXPECT_EQ(StringAt(points->at(1).attributes, "host"), "example");
  const auto first = Restore(points->at(0));
  ASSERT_OK(first);
  EXPECT_EQ(Sha256Hex(*first), kFirst);
  const auto second = Restore(points->at(1));
  ASSERT_OK(second);
  EXPECT_EQ(Sha256Hex(*second), kSecond);
  const auto report = repo::VerifyStructure(*repository_);
  ASSERT_OK(report);
  EXPECT_TRUE(report->problems.empty());
  EXPECT_EQ(report->unnamed_packs, 2U);
  VerifiedRecords verified;
  for (const auto& point : *points) {
    ASSERT_OK(VerifyBlocks(*repository_, runtime_, point.name, verified));
  }
  // And it can be written to.
  MemoryDevice device(*second);
  auto request = Request(device);
  request.series = "test.volume";
  const auto third = Export(request);
  ASSERT_OK(third);
  EXPECT_EQ(third->stored_bytes, 0U);
}

TEST_P(FormatTest, AnIndependentReaderRestoresWhatThisBuildWrites) {
  PosixCommandRunner runner;
  Command probe;
  probe.argv = {kPython, "-c", "from cryptography.hazmat.primitives.ciphers.aead import AESGCM"};
  const auto python = runner.Run(probe);
  if (!python.ok() || python->exit_code != 0) GTEST_SKIP() << "python3-cryptography is missing";

  auto opened = store::DirectoryObjectStore::Open(clock_, random_, scratch_.In("r"));
  ASSERT_OK(opened);
  repo::InitOptions options;
  options.kdf = {256, 2, 1};
  options.passphrase = Pass().passphrase;
  auto made = repo::InitRepository(**opened, runtime_, random_, options);
  ASSERT_OK(made);
  repository_ = std::move(made).value();
  MemoryDevice device(300 * kMiB + 77);
  for (int i = 0; i < 40; ++i) {
    ASSERT_OK(device.WriteAt(random_.Below(300 * kMiB - 100000), SomeBytes(random_, 100000)));
  }
  ASSERT_OK(device.WriteAt(300 * kMiB, SomeBytes(random_, 77)));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  device.Cut();
  ASSERT_OK(device.WriteAt(kMiB + 5, SomeBytes(random_, 2 * kMiB)));
  const auto second = Export(Request(device, &*first));
  ASSERT_OK(second);
  ASSERT_EQ(second->mode, repo::ExportMode::kChanged) << second->mode_reason;

  Command command;
  command.argv = {kPython,
                  std::string(THINSNAP_SOURCE_DIR) + "/tests/unit/mover/independent_reader.py",
                  scratch_.In("r"), second->name.str(), scratch_.In("image")};
  command.env["THINSNAP_PASSPHRASE"] = kPassphrase;
  const auto ran = runner.Run(command);
  ASSERT_OK(ran);
  ASSERT_EQ(ran->exit_code, 0) << ran->err;
  const auto image = ReadFile(scratch_.In("image"), kGiB);
  ASSERT_OK(image);
  EXPECT_TRUE(AsText(device.bytes()) == *image);
}

INSTANTIATE_TEST_SUITE_P(Suites, FormatTest,
                         ::testing::Values(repo::Suite::kPlain, repo::Suite::kSealed),
                         [](const auto& suite) {
                           return suite.param == repo::Suite::kPlain ? "plain" : "sealed";
                         });

}  // namespace
}  // namespace thinsnap::mover
