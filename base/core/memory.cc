#include "base/core/memory.h"

#include <malloc.h>

namespace thinsnap {

void BoundAllocator() {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_ARENA_MAX, 2);
}

}  // namespace thinsnap
