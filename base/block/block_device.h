// BlockDevice and the ranges on it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/core/bytes.h"
#include "base/core/result.h"

namespace thinsnap::block {

// Bytes [offset, offset + length).
struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t end() const { return offset + length; }
  auto operator<=>(const Extent&) const = default;
};

// Streams extents ascending and non-overlapping; an error from the visitor ends the stream with it.
// A superset of the truth is harmless, a missing extent is data loss.
using ExtentVisitor = std::function<Status(const Extent&)>;

// A volume, an image or a snapshot opened for reading or writing. Thread-safe for different ranges.
// Offsets and lengths may be any; whole 4 KiB are fastest (O_DIRECT).
class BlockDevice {
 public:
  virtual ~BlockDevice() = default;
  virtual std::uint64_t size_bytes() const = 0;
  // kOutOfRange beyond the end; never short.
  virtual Status ReadAt(std::uint64_t offset, MutableByteSpan into) = 0;
  virtual Status WriteAt(std::uint64_t offset, ByteSpan bytes) = 0;
  // The range reads as zeros afterwards and holds no space where the device can.
  virtual Status Discard(std::uint64_t offset, std::uint64_t length) = 0;
  // Everything written is durable when it returns.
  virtual Status Flush() = 0;
  // Ranges that may hold anything but zeros (SEEK_DATA); everything where that is unknown.
  virtual Status Allocated(const ExtentVisitor& visit) = 0;
};

enum class OpenMode { kReadOnly, kReadWrite };

// A regular file or a block device of the host, O_DIRECT where it is possible. create_bytes: made
// or grown to that size.
Result<std::unique_ptr<BlockDevice>> OpenFileDevice(const std::string& path, OpenMode mode,
                                                    std::uint64_t create_bytes = 0);

}  // namespace thinsnap::block
