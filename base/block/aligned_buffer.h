// A buffer aligned for direct I/O.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/core/bytes.h"

namespace thinsnap::block {

class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 4096;

  explicit AlignedBuffer(std::size_t size)
      : size_(size),
        data_(static_cast<std::uint8_t*>(
            std::aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment))) {
    ASSERT(data_ != nullptr);
  }
  MutableByteSpan span() { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::uint8_t* data) const { std::free(data); }
  };
  std::size_t size_;
  std::unique_ptr<std::uint8_t, Free> data_;
};

}  // namespace thinsnap::block
