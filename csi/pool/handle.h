// Handles: what CSI calls volume_id and snapshot_id. They name the pool, so that anybody finds the
// node, and the volume, so that any cluster finds the restore points.
//
//   ts1.<pool>.<volume>                               at most 110 bytes, no part holds '.' or '@'
//   ts1.<pool>.<volume>.<snapshot>[@<repository id>]
//   tg1.<pool>.<group>
#pragma once

#include <string>
#include <string_view>

#include "base/core/result.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::pool {

// The CSI name of the driver, whose handles these are.
inline constexpr char kDriverName[] = "csi.thinsnap.io";

struct VolumeHandle {
  PoolId pool;
  VolumeId volume;

  std::string ToString() const;
  // kNotFound: something that we never gave out names nothing of ours.
  static Result<VolumeHandle> Parse(std::string_view text);
};

struct SnapshotHandle {
  PoolId pool;
  VolumeId volume;
  SnapshotId snapshot;
  std::string repository;  // the first that it is exported to; empty: none

  std::string ToString() const;
  VolumeHandle volume_handle() const { return {pool, volume}; }
  // "<pool>.<volume>": the series of restore points in every repository.
  std::string series() const { return pool.str() + "." + volume.str(); }
  static Result<SnapshotHandle> Parse(std::string_view text);
};

// Of a group snapshot.
struct GroupHandle {
  PoolId pool;
  GroupId group;

  std::string ToString() const;
  static Result<GroupHandle> Parse(std::string_view text);
};

}  // namespace thinsnap::pool
