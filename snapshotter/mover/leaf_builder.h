// LeafBuilder: the leaf under construction, block by block.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "snapshotter/mover/segment.h"
#include "snapshotter/repo/map_node.h"

namespace thinsnap::mover {

class LeafBuilder {
 public:
  // from: what holds for blocks that are not set; null: holes.
  LeafBuilder(std::uint64_t first_block, const repo::Leaf* from);

  std::uint64_t first_block() const { return first_block_; }
  void SetHole(unsigned position);
  void Set(unsigned position, const BlockPlace& place, const repo::Fingerprint& fingerprint);
  // As in `leaf`, where it is no hole.
  void SetAs(unsigned position, const repo::Leaf& leaf);
  repo::Leaf Build() const;

 private:
  std::uint64_t first_block_;
  std::array<std::optional<BlockPlace>, repo::kFanOut> places_;
  std::array<repo::Fingerprint, repo::kFanOut> fingerprints_{};
};

}  // namespace thinsnap::mover
