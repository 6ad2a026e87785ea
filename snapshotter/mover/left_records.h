// LeftRecords: what interrupted exports of the series have stored already, by place. Read from the
// sealed trailers of the packs that their sessions list, when the export comes to them, and
// believed by fingerprint only.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "base/core/result.h"
#include "snapshotter/mover/segment.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/session.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::mover {

// Not thread-safe.
class LeftRecords {
 public:
  LeftRecords(store::ObjectStore& store, const repo::Keyring& keyring,
              std::vector<repo::SessionPack> packs);

  // The records that may hold blocks of the segment. Segments come in ascending order. A pack that
  // is missing or damaged is passed over: that costs an upload.
  Result<std::vector<std::shared_ptr<const LeftRecord>>> In(std::uint64_t first_block);

 private:
  struct Active {
    std::uint64_t last_block = 0;
    std::vector<std::shared_ptr<const LeftRecord>> records;  // ascending
  };
  Status Load(const repo::SessionPack& pack);

  store::ObjectStore& store_;
  const repo::Keyring& keyring_;
  std::vector<repo::SessionPack> packs_;  // ascending by first block
  std::size_t next_ = 0;
  std::list<Active> active_;
};

}  // namespace thinsnap::mover
