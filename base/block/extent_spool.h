// ExtentSpool: ranges that are collected whole before anybody reads them, so that whoever names
// them is held for as long as the naming takes, not for as long as the reading does. Memory stays
// under 64 KiB each way: more goes to a file without a name.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/block/block_device.h"
#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/core/result.h"

namespace thinsnap::block {

// Ascending, non-overlapping ranges, neighbours joined. Not thread-safe.
class ExtentStream {
 public:
  virtual ~ExtentStream() = default;
  // The next range; absent after the last, and from then on.
  virtual Result<std::optional<Extent>> Next() = 0;
};

// Not thread-safe.
class ExtentSpool {
 public:
  // What lies before from_offset is left out; a range across it is cut.
  explicit ExtentSpool(std::uint64_t from_offset = 0) : from_offset_(from_offset) {}

  // kInternal: it does not lie behind all earlier ones. Empty ones are fine.
  Status Add(const Extent& extent);
  // What was added. The spool is spent.
  Result<std::unique_ptr<ExtentStream>> Finish() &&;

 private:
  Status Write();
  Status Spill();

  const std::uint64_t from_offset_;
  std::uint64_t added_end_ = 0;
  Extent open_;  // may still grow
  std::uint64_t written_end_ = 0;
  Bytes buffer_;
  UniqueFd file_;
  std::uint64_t file_bytes_ = 0;
};

// All that `walk` visits, collected before it returns; an error of the walk is the answer.
Result<std::unique_ptr<ExtentStream>> CollectExtents(
    const std::function<Status(const ExtentVisitor&)>& walk, std::uint64_t from_offset = 0);

}  // namespace thinsnap::block
