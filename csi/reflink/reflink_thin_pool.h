// ReflinkThinPool: a thin pool in a folder of a filesystem with reflinks (XFS). A volume is a
// sparse file on a loop device with direct I/O, a snapshot is a clone of that file (FICLONE), a
// difference is a comparison of two file maps. The kernel gives crash safety and running out of
// space.
//
//   pool.json                       the pool's id
//   volumes/<ulid>/{data,meta.json}
//   snapshots/<ulid>/{data,meta.json}   data is gone when only the record is left
//   groups/                         whole groups on their way to snapshots/
//   spares/                         room for records when there is none left
//   tmp/, trash/                    half made, half removed; emptied at start
//
// A volume or snapshot is made in tmp/ and renamed to its place when all of it is durable: it is
// there entirely or not.
#pragma once

#include <memory>
#include <string>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::reflink {

struct ReflinkPoolOptions {
  std::string folder;  // on the reflink filesystem; one process at a time (flock)
  // The sparse file which that filesystem lies in: the pool holds no more than the disk below has
  // room for. Empty: there is none.
  std::string image = {};
  // Called between the steps of every change ("create:data", ...): tests kill the process there.
  std::function<void(const char* step)> on_step;
};

// kFailedPrecondition: another process has it, or the filesystem has no reflinks.
Result<std::unique_ptr<pool::ThinPool>> OpenReflinkThinPool(Clock& clock, Random& random,
                                                            ReflinkPoolOptions options);

}  // namespace thinsnap::reflink
