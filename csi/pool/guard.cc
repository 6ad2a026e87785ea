#include "csi/pool/guard.h"

#include <algorithm>
#include <map>

#include "base/core/bytes.h"
#include "csi/pool/tags.h"

namespace thinsnap::pool {
namespace {

std::uint64_t Headroom(std::uint64_t size_bytes, const GuardOptions& options,
                       std::uint64_t at_least) {
  const auto share =
      static_cast<std::uint64_t>(static_cast<double>(size_bytes) * options.headroom_fraction);
  return std::max(share, at_least);
}

std::uint64_t MostPromised(const PoolStatus& status, const GuardOptions& options) {
  return static_cast<std::uint64_t>(static_cast<double>(status.size_bytes) * options.overprovision);
}

Refusal Refuse(const PoolStatus& status, Space space, std::uint64_t missing_bytes,
               const std::string& what) {
  return {space, missing_bytes, space == Space::kData,
          "pool " + status.id.str() + " (" + FormatSize(status.free_bytes) + " free of " +
              FormatSize(status.size_bytes) + "): " + what};
}

}  // namespace

std::optional<Refusal> CheckRoom(const PoolStatus& status, const Wish& wish,
                                 const Commitments& others, const GuardOptions& options) {
  if (wish.size_bytes > status.size_bytes) {
    return Refuse(status, Space::kPool, wish.size_bytes - status.size_bytes,
                  "a volume of " + FormatSize(wish.size_bytes) +
                      " is larger than the pool; at most " + FormatSize(status.size_bytes) +
                      " fit");
  }
  if (status.metadata_size_bytes != 0) {
    const std::uint64_t headroom = Headroom(status.metadata_size_bytes, options, 0);
    if (status.metadata_free_bytes < headroom) {
      return Refuse(status, Space::kMetadata, headroom - status.metadata_free_bytes,
                    "its metadata has " + FormatSize(status.metadata_free_bytes) +
                        " free, less than the headroom of " + FormatSize(headroom) +
                        "; grow the metadata volume");
    }
  }
  if (options.overprovision > 0 && wish.size_bytes > 0) {
    const std::uint64_t most = MostPromised(status, options);
    if (others.promised_bytes + wish.size_bytes > most) {
      return Refuse(status, Space::kPromises, others.promised_bytes + wish.size_bytes - most,
                    "its volumes promise " + FormatSize(others.promised_bytes) + " already; " +
                        FormatSize(wish.size_bytes) + " more would pass the limit of " +
                        FormatSize(most));
    }
  }
  const std::uint64_t headroom = Headroom(status.size_bytes, options, options.headroom_bytes);
  const std::uint64_t outstanding = wish.fill_bytes == 0 ? 0 : others.outstanding_bytes;
  const std::uint64_t needed = headroom + wish.fill_bytes + outstanding;
  if (status.free_bytes >= needed) return std::nullopt;
  const std::uint64_t missing = needed - status.free_bytes;
  if (wish.fill_bytes == 0) {
    return Refuse(status, Space::kData, missing,
                  "less than the headroom of " + FormatSize(headroom) +
                      " is free; remove snapshots or volumes, or grow the pool");
  }
  return Refuse(
      status, Space::kData, missing,
      FormatSize(wish.fill_bytes) + " are about to be written" +
          (outstanding == 0 ? ""
                            : ", restores before it have yet to write " + FormatSize(outstanding)) +
          ", and less than the headroom of " + FormatSize(headroom) +
          " would be left; remove snapshots or volumes, or grow the pool");
}

Offer WhatFits(const PoolStatus& status, const Commitments& others, const GuardOptions& options) {
  if (CheckRoom(status, {}, others, options)) return {};
  const std::uint64_t headroom = Headroom(status.size_bytes, options, options.headroom_bytes);
  const std::uint64_t room = status.free_bytes - headroom;
  Offer offer{.room_bytes = room - std::min(room, others.outstanding_bytes),
              .largest_volume_bytes = status.size_bytes};
  if (options.overprovision > 0) {
    const std::uint64_t most = MostPromised(status, options);
    offer.largest_volume_bytes =
        std::min(status.size_bytes, most - std::min(most, others.promised_bytes));
  }
  return offer;
}

Guard::Reservation::~Reservation() {
  const std::lock_guard lock(guard_.mutex_);
  guard_.reservations_.erase(this);
  ++guard_.ended_;
}

Result<Guard::Inventory> Guard::Look() {
  Inventory inventory;
  inventory.status = TRY(pool_.GetStatus());
  inventory.volumes = TRY(pool_.ListVolumes());
  for (const VolumeInfo& volume : inventory.volumes) {
    if (!tags::Has(volume.tags, tags::kImporting)) continue;
    const std::uint64_t all = tags::GetBytes(volume.tags, tags::kImportBytes, 0);
    const auto mapped = pool_.Mapped(volume.id);
    // It may just have been removed.
    if (mapped.Is(Code::kNotFound)) continue;
    if (!mapped.ok()) return mapped.error();
    inventory.outstanding_bytes += all - std::min(all, *mapped);
  }
  return inventory;
}

Commitments Guard::Others(const Wish& wish, const Inventory& inventory) const {
  Commitments others;
  others.outstanding_bytes = inventory.outstanding_bytes;
  std::set<std::string> made;
  std::map<VolumeId, std::uint64_t> sizes;
  for (const VolumeInfo& volume : inventory.volumes) {
    made.insert(volume.name);
    sizes[volume.id] = volume.size_bytes;
    if (volume.id != wish.grown) others.promised_bytes += volume.size_bytes;
  }
  for (const Reservation* reservation : reservations_) {
    const Wish& other = reservation->wish_;
    // What was made already counts by itself.
    if (made.contains(other.name)) continue;
    const auto present = sizes.find(other.grown);
    const std::uint64_t counted = present == sizes.end() ? 0 : present->second;
    others.promised_bytes += other.size_bytes - std::min(other.size_bytes, counted);
    others.outstanding_bytes += other.fill_bytes;
  }
  return others;
}

Result<Guard::Verdict> Guard::Reserve(const Wish& wish) {
  std::unique_ptr<Reservation> made(new Reservation(*this, wish));
  for (;;) {
    std::uint64_t seen = 0;
    {
      const std::lock_guard lock(mutex_);
      seen = ended_;
    }
    const Inventory inventory = TRY(Look());
    const std::lock_guard lock(mutex_);
    // What ended meanwhile may be counted neither among the volumes nor here: look again.
    if (seen != ended_) continue;
    Verdict verdict;
    verdict.refusal = CheckRoom(inventory.status, wish, Others(wish, inventory), options_);
    if (!verdict.refusal) {
      reservations_.insert(made.get());
      verdict.reservation = std::move(made);
    }
    return verdict;
  }
}

Result<Offer> Guard::WhatFits() {
  const Inventory inventory = TRY(Look());
  const std::lock_guard lock(mutex_);
  return pool::WhatFits(inventory.status, Others({}, inventory), options_);
}

}  // namespace thinsnap::pool
