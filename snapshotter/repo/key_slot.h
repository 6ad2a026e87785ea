// Key slot, keys/<slot>: the master key wrapped under a passphrase. The slot says by which
// derivation and at what cost; what it says is bounded before it is obeyed, and bound to the
// wrapped key.
#pragma once

#include <string>

#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/secret.h"
#include "snapshotter/repo/keyring.h"

namespace thinsnap::repo {

std::string SlotKey(const std::string& slot);

// One line end at the end of a passphrase is no part of it, wherever it comes from: editors write
// it, shells drop it. Slots that were once made with one are opened all the same.

// The slot's object for a ring whose keys it wraps. kInvalidArgument for an empty passphrase.
Result<std::string> WrapKeys(Random& random, const Keyring& keyring, const std::string& slot,
                             const Secret& passphrase, const KdfCost& cost);

// kUnauthenticated: not this passphrase; kDataLoss: the slot is damaged or asks for more than is
// allowed.
Result<Keyring> UnwrapKeys(const RepositoryId& id, const std::string& slot, std::string_view object,
                           const Secret& passphrase);

}  // namespace thinsnap::repo
