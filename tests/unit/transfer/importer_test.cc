// Restores on virtual time whose bucket changes its mind while they run.
#include "csi/transfer/importer.h"

#include <gtest/gtest.h>

#include "base/core/bytes.h"
#include "csi/pool/handle.h"
#include "csi/pool/tags.h"
#include "simulator/pool/sim_thin_pool.h"
#include "tests/contract/pool/leased_device.h"
#include "tests/unit/transfer/buckets.h"
#include "tests/virtual_time.h"

namespace thinsnap::transfer {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint64_t kSize = 64 * kMiB;
constexpr char kSnapshot[] = "01j00000000000000000000000";

class ImporterTest : public ::testing::Test {
 protected:
  // Runs `body` with an importer over an empty pool and a bucket that holds one point of 64 MiB.
  void With(const std::function<void(Importer&, Bucket&)>& body) {
    FiberRuntime runtime(11);
    RunWell(runtime, [&] {
      runtime_ = &runtime;
      pool_ = pool::OpenSimThinPool(pool::NewSimPoolImage(random_, 16 * kGiB), runtime.clock(),
                                    random_);
      Bucket& bucket = buckets_.Add(runtime, random_);
      Repositories repositories(runtime, random_, buckets_, buckets_.Opener(runtime));
      FillBucket(repositories, bucket);
      TaskGroup group(runtime);
      Importer importer(runtime, group, random_, *pool_, repositories, {.at_once = 2});
      body(importer, bucket);
      group.Stop();
      group.Join();
    });
  }

  void FillBucket(Repositories& repositories, Bucket& bucket) {
    from_ = {pool::PoolId("elsewhere"), pool::VolumeId("v"), pool::SnapshotId(kSnapshot),
             bucket.id};
    pool::CreateRequest create;
    create.name = "source";
    create.size_bytes = kSize;
    const auto source = pool_->Create(create);
    ASSERT_TRUE(source.ok());
    auto device = pool::OpenVolume(*pool_, source->id);
    ASSERT_TRUE(device.ok());
    content_.resize(kSize);
    SeededRandom bytes(5);
    bytes.Fill(content_);
    ASSERT_TRUE((*device)->WriteAt(0, content_).ok());
    const auto repository = repositories.Open(bucket.id);
    ASSERT_TRUE(repository.ok());
    mover::ExportRequest request;
    request.series = from_.series();
    request.snapshot = kSnapshot;
    request.cut = runtime_->clock().Now();
    request.device_identity = "source";
    request.source = device->get();
    const auto point = mover::ExportBlocks(**repository, *runtime_, random_, request);
    ASSERT_TRUE(point.ok()) << point.error().ToString();
    device->reset();
    ASSERT_TRUE(pool_->RemoveVolume(source->id).ok());
  }

  pool::VolumeId Begin(Importer& importer, const std::string& name) {
    pool::CreateRequest create;
    create.name = name;
    create.size_bytes = kSize;
    create.tags[tags::kImporting] = from_.ToString();
    create.tags[tags::kImportBytes] = std::to_string(kSize);
    const auto volume = pool_->Create(create);
    EXPECT_TRUE(volume.ok());
    importer.Start(*volume, from_, true);
    return volume->id;
  }

  bool IsFilled(const pool::VolumeId& volume) {
    const auto info = pool_->GetVolume(volume);
    return info.ok() && !tags::Has(info->tags, tags::kImporting);
  }
  void ExpectContent(const pool::VolumeId& volume) {
    const auto device = pool::OpenVolume(*pool_, volume);
    ASSERT_TRUE(device.ok());
    Bytes read(kSize);
    ASSERT_TRUE((*device)->ReadAt(0, read).ok());
    EXPECT_TRUE(read == content_);
  }
  void Pass(Duration time) { ASSERT_TRUE(runtime_->SleepFor(time).ok()); }

  SeededRandom random_{3};
  Runtime* runtime_ = nullptr;
  std::unique_ptr<pool::ThinPool> pool_;
  Buckets buckets_;
  pool::SnapshotHandle from_;
  Bytes content_;
};

// A token that expires, a policy, a bucket that is not there for a while: what was restored stays.
TEST_F(ImporterTest, AStoreThatRefusesInTheMiddleTakesNoVolume) {
  for (const Code code : {Code::kUnauthenticated, Code::kPermissionDenied,
                          Code::kFailedPrecondition, Code::kInvalidArgument}) {
    With([&](Importer& importer, Bucket& bucket) {
      SCOPED_TRACE(CodeName(code));
      bucket.manners.pause = seconds(2);
      const pool::VolumeId volume = Begin(importer, "r");
      Pass(seconds(7));
      ASSERT_FALSE(IsFilled(volume));
      bucket.manners.refuses = code;
      Pass(minutes(10));
      ASSERT_TRUE(pool_->GetVolume(volume).ok());
      EXPECT_FALSE(importer.TakeFailure("r"));
      const Status waited = importer.Wait(volume, runtime_->clock().MonoNow() + seconds(1));
      EXPECT_TRUE(waited.Is(Code::kAborted));
      bucket.manners.refuses.reset();
      Pass(minutes(10));
      ASSERT_TRUE(IsFilled(volume));
      ExpectContent(volume);
    });
  }
}

TEST_F(ImporterTest, APoolThatCeasesToServeIsNotWrittenTo) {
  With([&](Importer& importer, Bucket& bucket) {
    bucket.manners.pause = seconds(2);
    const pool::VolumeId volume = Begin(importer, "r");
    Pass(seconds(7));
    importer.SetServing(false);
    Pass(minutes(30));
    EXPECT_FALSE(IsFilled(volume));
    importer.SetServing(true);
    Pass(minutes(30));
    ASSERT_TRUE(IsFilled(volume));
    ExpectContent(volume);
  });
}

TEST_F(ImporterTest, ManyTakeTurnsAndAllEnd) {
  With([&](Importer& importer, Bucket& bucket) {
    bucket.manners.pause = seconds(1);
    std::vector<pool::VolumeId> volumes;
    for (int i = 0; i < 12; ++i) volumes.push_back(Begin(importer, "r" + std::to_string(i)));
    Pass(minutes(60));
    for (const pool::VolumeId& volume : volumes) EXPECT_TRUE(IsFilled(volume));
  });
}

}  // namespace
}  // namespace thinsnap::transfer
