#include "base/core/memory.h"

#include <malloc.h>

namespace thinsnap {

void ShareHeaps() {
  ::mallopt(M_ARENA_MAX, 2);  // NOLINT(concurrency-mt-unsafe): before there is a second thread
}

void ReturnLargeBuffers() {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);  // NOLINT(concurrency-mt-unsafe): as above
}

}  // namespace thinsnap
