#include "csi/pool/handle.h"

#include <gtest/gtest.h>

namespace thinsnap::pool {
namespace {

constexpr char kPool[] = "0123456789abc";
constexpr char kVolume[] = "01arz3ndektsv4rrffq69g5fav";
constexpr char kSnapshot[] = "01arz3ndektsv4rrffq69g5faw";

TEST(HandleTest, VolumesSurviveTheRoundTrip) {
  const VolumeHandle handle{pool::PoolId(kPool), pool::VolumeId(kVolume)};
  EXPECT_EQ(handle.ToString(), "ts1.0123456789abc.01arz3ndektsv4rrffq69g5fav");
  const auto parsed = VolumeHandle::Parse(handle.ToString());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->pool, handle.pool);
  EXPECT_EQ(parsed->volume, handle.volume);
}

TEST(HandleTest, SnapshotsSurviveTheRoundTripAndStayShort) {
  SnapshotHandle handle{pool::PoolId(kPool), pool::VolumeId(kVolume), pool::SnapshotId(kSnapshot),
                        "01arz3ndektsv4rrffq69g5fax"};
  EXPECT_LE(handle.ToString().size(), 110U);
  const auto parsed = SnapshotHandle::Parse(handle.ToString());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->ToString(), handle.ToString());
  EXPECT_EQ(parsed->series(), "0123456789abc.01arz3ndektsv4rrffq69g5fav");
  handle.repository.clear();
  EXPECT_EQ(SnapshotHandle::Parse(handle.ToString())->repository, "");
}

TEST(HandleTest, WhatWeNeverGaveOutIsNotFound) {
  for (const std::string text :
       {"", "fake-vol-id", "ts1", "ts1..", "ts1.0123456789abc", "ts2.0123456789abc.x",
        "ts1.0123456789abc.not-a-ulid", "ts1.0123456789ABC.01arz3ndektsv4rrffq69g5fav",
        "ts1.0123456789abc.01arz3ndektsv4rrffq69g5fav.01arz3ndektsv4rrffq69g5faw.x",
        "ts1.0123456789abc.01arz3ndektsv4rrffq69g5fav.01arz3ndektsv4rrffq69g5faw@",
        "ts1.0123456789abc.01arz3ndektsv4rrffq69g5fav.01arz3ndektsv4rrffq69g5faw@a@b",
        "ts1.0123456789abc.01arz3ndektsv4rrffq69g5fav.01arz3ndektsv4rrffq69g5faw@../x"}) {
    EXPECT_TRUE(VolumeHandle::Parse(text).Is(Code::kNotFound)) << text;
    EXPECT_TRUE(SnapshotHandle::Parse(text).Is(Code::kNotFound)) << text;
  }
}

}  // namespace
}  // namespace thinsnap::pool
