#include "snapshotter/mover/leaf_builder.h"

namespace thinsnap::mover {

LeafBuilder::LeafBuilder(std::uint64_t first_block, const repo::Leaf* from)
    : first_block_(first_block) {
  if (from == nullptr) return;
  ASSERT(from->first_block == first_block);
  for (const repo::MapExtent& extent : from->extents) {
    for (unsigned i = 0; i < extent.count; ++i) {
      const unsigned position = extent.position + i;
      Set(position,
          {extent.place, static_cast<std::uint8_t>(extent.record_first + i), extent.record_blocks},
          from->fingerprints[position]);
    }
  }
}

void LeafBuilder::SetHole(unsigned position) {
  places_[position].reset();
  fingerprints_[position] = {};
}

void LeafBuilder::Set(unsigned position, const BlockPlace& place,
                      const repo::Fingerprint& fingerprint) {
  places_[position] = place;
  fingerprints_[position] = fingerprint;
}

void LeafBuilder::SetAs(unsigned position, const repo::Leaf& leaf) {
  const repo::MapExtent* extent = leaf.ExtentAt(position);
  ASSERT(extent != nullptr);
  Set(position,
      {extent->place, static_cast<std::uint8_t>(extent->record_first + position - extent->position),
       extent->record_blocks},
      leaf.fingerprints[position]);
}

repo::Leaf LeafBuilder::Build() const {
  repo::Leaf leaf;
  leaf.first_block = first_block_;
  leaf.fingerprints = fingerprints_;
  for (unsigned i = 0; i < repo::kFanOut; ++i) {
    if (!places_[i]) continue;
    const BlockPlace& place = *places_[i];
    leaf.stored |= std::uint64_t{1} << i;
    if (!leaf.extents.empty()) {
      repo::MapExtent& last = leaf.extents.back();
      if (last.place == place.place && last.position + last.count == static_cast<int>(i) &&
          last.record_first + last.count == place.index) {
        ++last.count;
        continue;
      }
    }
    leaf.extents.push_back(
        {static_cast<std::uint8_t>(i), 1, place.index, place.record_blocks, place.place});
  }
  return leaf;
}

}  // namespace thinsnap::mover
