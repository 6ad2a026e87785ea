// Exports among faults and twins: whatever was committed restores bit for bit, and what was not
// leaves no trace that matters.
#include <atomic>

#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/point_store.h"
#include "snapshotter/repo/session.h"
#include "tests/unit/mover/fixture.h"

namespace thinsnap::mover {
namespace {

using Fault = FaultStore::Fault;

class ProtocolTest : public MoverTest {
 protected:
  // Every manifest in the store restores to what its snapshot was.
  void ExpectAllWhole(const std::map<std::string, Bytes>& truth) {
    const auto points = repository_->ListPoints("", [](const auto& name, const Error& error) {
      ADD_FAILURE() << name.str() << ": " << error.ToString();
    });
    ASSERT_OK(points);
    for (const repo::PointInfo& point : *points) {
      ASSERT_TRUE(truth.contains(point.snapshot));
      ExpectRestores(point, truth.at(point.snapshot));
    }
  }

  void PutVoid(const repo::PointName& name) {
    const std::string key = repo::PointKey(name);
    const Bytes object =
        repository_->keyring().SealObject(random_, key, repo::EncodeVoid({"revoked", "s"}));
    ASSERT_OK(store_->Put(key, object, {.if_absent = true, .if_match = {}}));
  }
};

TEST_F(ProtocolTest, OneFaultAnywhereLosesNothing) {
  MemoryDevice device(SomeBytes(random_, 18 * kMiB));
  const auto base = Export(Request(device));
  ASSERT_OK(base);
  std::map<std::string, Bytes> truth{{base->snapshot, device.bytes()}};
  for (const Fault fault :
       {Fault::kNotDone, Fault::kAnswerLost, Fault::kUnknown, Fault::kCutFromHere}) {
    bool beyond = false;
    for (std::int64_t request_number = 0; !beyond; ++request_number) {
      device.Cut();
      ASSERT_OK(device.WriteAt(random_.Below(17 * kMiB), SomeBytes(random_, 300000)));
      // By ranges from the first point on; later ones may not be whole, and must not matter.
      auto request = Request(device);
      truth[request.snapshot] = device.bytes();
      faults_->Arm(request_number, fault);
      const auto broken = Export(request);
      beyond = faults_->requests() <= request_number;
      faults_->Disarm();
      if (broken.ok()) {
        ExpectRestores(*broken, device.bytes());
      } else {
        EXPECT_TRUE(broken.Is(Code::kUnavailable) || broken.Is(Code::kUnknownOutcome))
            << broken.error().ToString();
      }
      // The same call again carries on, whatever happened.
      EXPECT_LE(Keys("sessions/").size(), 1U);
      const auto again = Export(request);
      ASSERT_OK(again);
      ExpectRestores(*again, device.bytes());
      if (broken.ok()) {
        EXPECT_EQ(again->name, broken->name);
      }
      // Sessions that could not be deleted stay for an hour; here each would cost the next round a
      // request.
      for (const std::string& key : Keys("sessions/")) ASSERT_OK(store_->Delete(key));
    }
  }
  ExpectAllWhole(truth);
}

TEST_F(ProtocolTest, AnInterruptedExportGoesOn) {
  MemoryDevice device(SomeBytes(random_, 120 * kMiB));
  const auto request = Request(device);
  // LIST points, LIST sessions, PUT session, LIST gc, then packs.
  faults_->Arm(4 + 4, Fault::kCutFromHere);
  EXPECT_TRUE(Export(request).Is(Code::kUnavailable));
  const std::size_t packs = Keys("packs/data/").size();
  EXPECT_EQ(packs, 4U);
  EXPECT_EQ(Keys("sessions/").size(), 1U);
  faults_->Disarm();
  // The session was last written at its start (the store was gone afterwards), so nothing is known
  // of the packs...
  const auto nothing_known = Export(request);
  ASSERT_OK(nothing_known);
  ExpectRestores(*nothing_known, device.bytes());

  // ...but a writer that can leaves word.
  const auto next = Request(device);
  Init(repo::Suite::kSealed);
  // Uploads run side by side: the count may pass four without being seen at it.
  std::atomic<bool> armed = false;
  faults_->before_put = [&](const std::string& key) {
    if (key.starts_with("packs/data/") && Keys("packs/data/").size() >= 4 &&
        !armed.exchange(true)) {
      faults_->Arm(0, Fault::kNotDone);
    }
  };
  EXPECT_FALSE(Export(next).ok());
  faults_->before_put = nullptr;
  faults_->Disarm();
  const std::size_t left = Keys("packs/data/").size();
  EXPECT_GE(left, 4U);
  auto interrupted = FindInterruptedExport(*repository_, "pool.volume");
  ASSERT_OK(interrupted);
  EXPECT_EQ(*interrupted, next.snapshot);
  const auto resumed = Export(next);
  ASSERT_OK(resumed);
  ExpectRestores(*resumed, device.bytes());
  EXPECT_LT(resumed->stored_bytes, 45 * kMiB);  // of some 62
  EXPECT_TRUE(Keys("sessions/").empty());
  EXPECT_TRUE(FindInterruptedExport(*repository_, "pool.volume").Is(Code::kNotFound));
}

TEST_F(ProtocolTest, ResumingBelievesTheVolumeNotTheSession) {
  MemoryDevice device(SomeBytes(random_, 40 * kMiB));
  const auto request = Request(device);
  faults_->before_put = [&](const std::string& key) {
    if (key.starts_with("packs/map/")) faults_->Arm(0, Fault::kNotDone);
  };
  // The PUT of the map pack is done, the next request fails; the session is left with every data
  // pack.
  EXPECT_FALSE(Export(request).ok());
  faults_->before_put = nullptr;
  faults_->Disarm();
  ASSERT_OK(device.WriteAt(5 * kMiB, SomeBytes(random_, kMiB)));
  ASSERT_OK(device.Discard(9 * kMiB, kMiB));
  // One of its packs is gone, one is damaged.
  auto data = Keys("packs/data/");
  ASSERT_GE(data.size(), 2U);
  ASSERT_OK(store_->Delete(data[0]));
  auto object = store_->Get(data[1]);
  ASSERT_OK(object);
  object->bytes[object->bytes.size() - 200] ^= 1;  // in the trailer
  ASSERT_OK(store_->Put(data[1], object->bytes));
  const auto resumed = Export(request);
  ASSERT_OK(resumed);
  ExpectRestores(*resumed, device.bytes());
}

TEST_F(ProtocolTest, ARevokedSessionStartsTheNextAttempt) {
  MemoryDevice device(SomeBytes(random_, 20 * kMiB));
  const auto request = Request(device);
  const auto name = repo::MakePointName(request.series, request.snapshot, 1);
  faults_->before_put = [&](const std::string& key) {
    if (key != repo::PointKey(name)) return;
    faults_->before_put = nullptr;
    PutVoid(name);
  };
  const auto point = Export(request);
  ASSERT_OK(point);
  EXPECT_EQ(point->attempt, 2);
  ExpectRestores(*point, device.bytes());
  EXPECT_TRUE(repository_->GetPoint(name).Is(Code::kNotFound));
  EXPECT_EQ(repository_->FindPoint(request.series, request.snapshot)->name, point->name);
  EXPECT_TRUE(Keys("sessions/").empty());
}

TEST_F(ProtocolTest, AnAttemptThatIsVoidAlreadyIsNotTaken) {
  MemoryDevice device(SomeBytes(random_, kMiB));
  const auto request = Request(device);
  PutVoid(repo::MakePointName(request.series, request.snapshot, 1));
  PutVoid(repo::MakePointName(request.series, request.snapshot, 2));
  const auto point = Export(request);
  ASSERT_OK(point);
  EXPECT_EQ(point->attempt, 3);
}

TEST_F(ProtocolTest, ATwinsPointIsSuccess) {
  MemoryDevice device(SomeBytes(random_, 20 * kMiB));
  const auto request = Request(device);
  const std::string key = repo::PointKey(repo::MakePointName(request.series, request.snapshot, 1));
  Result<repo::PointInfo> twin = Error(Code::kInternal, "not run");
  faults_->before_put = [&](const std::string& put) {
    if (put != key) return;
    faults_->before_put = nullptr;
    twin = Export(request);
  };
  const auto point = Export(request);
  ASSERT_OK(twin);
  ASSERT_OK(point);
  EXPECT_EQ(point->name, twin->name);
  EXPECT_EQ(repository_->ListPoints()->size(), 1U);
  ExpectRestores(*point, device.bytes());
}

TEST_F(ProtocolTest, WhatIsCommittedIsAnswered) {
  MemoryDevice device(SomeBytes(random_, kMiB));
  const auto request = Request(device);
  const auto first = Export(request);
  ASSERT_OK(first);
  const auto keys = Keys("");
  const auto second = Export(request);
  ASSERT_OK(second);
  EXPECT_EQ(first->name, second->name);
  EXPECT_EQ(Keys(""), keys);
  // Forgotten, it may be exported again, under another key.
  ASSERT_OK(repository_->Forget(first->name));
  const auto third = Export(request);
  ASSERT_OK(third);
  EXPECT_EQ(third->attempt, 2);
}

TEST_F(ProtocolTest, SessionsOfOthersAreLeftAlone) {
  MemoryDevice device(SomeBytes(random_, kMiB));
  repo::Session other;
  other.series = "pool.other";
  other.id = repo::NewSessionId(repository_->keyring(), clock_.Now(), random_, other.series);
  other.point = repo::MakePointName(other.series, "01hzy3v7q4e8r2t6m9k1w5x0zb", 1);
  repo::SessionKeeper keeper(*store_, runtime_, random_, repository_->keyring(), other);
  ASSERT_OK(keeper.Open());
  // One of the same series whose key is unused and whose writer may live.
  repo::Session mine = other;
  mine.series = "pool.volume";
  mine.id = repo::NewSessionId(repository_->keyring(), clock_.Now(), random_, mine.series);
  mine.point = repo::MakePointName(mine.series, "7hzy3v7q4e8r2t6m9k1w5x0zbb", 1);
  repo::SessionKeeper twin(*store_, runtime_, random_, repository_->keyring(), mine);
  ASSERT_OK(twin.Open());
  EXPECT_TRUE(FindInterruptedExport(*repository_, "pool.volume").Is(Code::kNotFound));
  ASSERT_OK(Export(Request(device)));
  EXPECT_EQ(Keys("sessions/").size(), 2U);
}

TEST_F(ProtocolTest, StoppingLeavesASessionThatResumes) {
  MemoryDevice device(SomeBytes(random_, 60 * kMiB));
  const auto request = Request(device);
  Status status;
  {
    TaskGroup group(runtime_);
    faults_->before_put = [&](const std::string& key) {
      // Uploads run side by side: it may be two that are there first.
      if (key.starts_with("packs/data/") && !Keys("packs/data/").empty()) group.Stop();
    };
    group.Spawn("export", [&] {
      const auto point = Export(request);
      status = point.ok() ? Status() : Status(point.error());
    });
    group.Join();
  }
  faults_->before_put = nullptr;
  ASSERT_TRUE(status.Is(Code::kCancelled)) << (status.ok() ? "done" : status.error().ToString());
  EXPECT_TRUE(Keys("points/").empty());
  const auto interrupted = FindInterruptedExport(*repository_, "pool.volume");
  ASSERT_OK(interrupted);
  EXPECT_EQ(*interrupted, request.snapshot);
  const auto resumed = Export(request);
  ASSERT_OK(resumed);
  ExpectRestores(*resumed, device.bytes());
  EXPECT_TRUE(Keys("sessions/").empty());
}

TEST_F(ProtocolTest, OneBitAnywhereIsNoticed) {
  MemoryDevice device(SomeBytes(random_, 5 * kMiB));
  const auto point = Export(Request(device));
  ASSERT_OK(point);
  for (const std::string& key : Keys("")) {
    if (key == "repo.json" || key.starts_with("keys/")) continue;
    const auto whole = store_->Get(key);
    ASSERT_OK(whole);
    for (int i = 0; i < 25; ++i) {
      Bytes damaged = whole->bytes;
      const std::size_t at = random_.Below(damaged.size());
      damaged[at] ^= static_cast<std::uint8_t>(1U << random_.Below(8));
      ASSERT_OK(store_->Put(key, damaged));
      const auto restored = Restore(*point);
      // The trailer and what follows it is not read by a restore; it must be right all the same.
      if (restored.ok()) {
        EXPECT_TRUE(*restored == device.bytes()) << key << " at " << at;
        EXPECT_TRUE(key.starts_with("packs/"));
      } else {
        EXPECT_TRUE(restored.Is(Code::kDataLoss)) << restored.error().ToString();
      }
    }
    ASSERT_OK(store_->Put(key, whole->bytes));
  }
  ExpectRestores(*point, device.bytes());
}

TEST_F(ProtocolTest, SwappedCutAndMissingPacksAreNoticed) {
  MemoryDevice device(SomeBytes(random_, 40 * kMiB));
  const auto point = Export(Request(device));
  ASSERT_OK(point);
  const auto data = Keys("packs/data/");
  ASSERT_GE(data.size(), 2U);
  const auto one = store_->Get(data[0]);
  const auto two = store_->Get(data[1]);
  ASSERT_OK(store_->Put(data[0], two->bytes));
  ASSERT_OK(store_->Put(data[1], one->bytes));
  EXPECT_TRUE(Restore(*point).Is(Code::kDataLoss));
  ASSERT_OK(store_->Put(data[0], ByteSpan(one->bytes).first(one->bytes.size() / 2)));
  ASSERT_OK(store_->Put(data[1], two->bytes));
  EXPECT_TRUE(Restore(*point).Is(Code::kDataLoss));
  ASSERT_OK(store_->Delete(data[0]));
  const auto missing = Restore(*point);
  ASSERT_TRUE(missing.Is(Code::kDataLoss));
  EXPECT_NE(missing.error().message().find(data[0]), std::string::npos);
}

}  // namespace
}  // namespace thinsnap::mover
