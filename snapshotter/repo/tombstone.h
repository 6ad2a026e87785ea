// Tombstones, gc/<generation>: packs that a collector is about to delete. A writer treats what lies
// in them as absent.
#pragma once

#include <set>
#include <string>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::repo {

Bytes EncodeTombstone(const std::set<PackId>& packs);
Result<std::set<PackId>> ParseTombstone(ByteSpan payload);

// The union of all there are. A damaged one is an error: not knowing what is about to go, nobody
// may write.
Result<std::set<PackId>> ReadTombstones(store::ObjectStore& store, const Keyring& keyring);

}  // namespace thinsnap::repo
