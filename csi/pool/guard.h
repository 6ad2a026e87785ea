// Guard: whether the pool has room for what is asked for, before anything is touched; a thin pool
// that runs full takes every volume on it down. Who was granted room holds a reservation, which the
// next to ask counts as taken, until what was made counts by itself.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::pool {

struct GuardOptions {
  // Free space below which nothing new is made: the larger of the two, of data and of metadata.
  double headroom_fraction = 0.05;
  std::uint64_t headroom_bytes = 0;
  // Volumes may promise this many times the pool's size in sum; 0: any.
  double overprovision = 0;
};

struct Wish {
  std::string name = {};         // of the volume that is made, if one is
  std::uint64_t size_bytes = 0;  // of a volume that is made or grown; 0: a snapshot
  VolumeId grown = {};           // the volume that grows, if one does
  std::uint64_t fill_bytes = 0;  // what will be written at once
};

enum class Space : std::uint8_t {
  kPool,      // larger than all of it
  kData,      // less than the headroom would be free
  kMetadata,  // likewise
  kPromises,  // the sum of the volumes' sizes
};

struct Refusal {
  Space space = Space::kData;
  std::uint64_t missing_bytes = 0;
  bool freeing_helps = false;  // with so many bytes of snapshots given up, it would be granted
  std::string sentence;        // with the figures

  Error ToError() const { return {Code::kResourceExhausted, sentence}; }
};

// What others hold already.
struct Commitments {
  std::uint64_t promised_bytes = 0;     // sizes of the other volumes
  std::uint64_t outstanding_bytes = 0;  // what restores have yet to write
};

// The decision itself.
std::optional<Refusal> CheckRoom(const PoolStatus& status, const Wish& wish,
                                 const Commitments& others, const GuardOptions& options);

// What it would let through.
struct Offer {
  std::uint64_t room_bytes = 0;            // to be written at once
  std::uint64_t largest_volume_bytes = 0;  // to be made
};
Offer WhatFits(const PoolStatus& status, const Commitments& others, const GuardOptions& options);

// Thread-safe. Restores that are under way are counted by the volumes' tags, so a guard that starts
// again knows of them.
class Guard {
 public:
  Guard(ThinPool& pool, GuardOptions options) : pool_(pool), options_(options) {}

  // Held until what it is for was made or given up.
  class Reservation {
   public:
    ~Reservation();
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

   private:
    friend class Guard;
    Reservation(Guard& guard, const Wish& wish) : guard_(guard), wish_(wish) {}
    Guard& guard_;
    const Wish wish_;
  };
  // One of the two.
  struct Verdict {
    std::unique_ptr<Reservation> reservation;
    std::optional<Refusal> refusal;
  };

  // An error: the pool does not answer.
  Result<Verdict> Reserve(const Wish& wish);
  Result<Offer> WhatFits();

 private:
  struct Inventory {
    PoolStatus status;
    std::vector<VolumeInfo> volumes;
    std::uint64_t outstanding_bytes = 0;
  };
  Result<Inventory> Look();
  Commitments Others(const Wish& wish, const Inventory& inventory) const REQUIRES(mutex_);

  ThinPool& pool_;
  const GuardOptions options_;
  std::mutex mutex_;
  std::uint64_t ended_ GUARDED_BY(mutex_) = 0;  // reservations, ever
  std::set<const Reservation*> reservations_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::pool
