#include "base/core/held_locks.h"

#include <pthread.h>

namespace {
thread_local int held = 0;
}

namespace thinsnap {
int HeldLocks() { return held; }
}  // namespace thinsnap

// The names are the linker's (--wrap).
// NOLINTBEGIN(bugprone-reserved-identifier, readability-identifier-naming)
extern "C" {
int __real_pthread_mutex_lock(pthread_mutex_t* mutex);
int __real_pthread_mutex_trylock(pthread_mutex_t* mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t* mutex);

int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex) {
  const int error = __real_pthread_mutex_lock(mutex);
  if (error == 0) ++held;
  return error;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t* mutex) {
  const int error = __real_pthread_mutex_trylock(mutex);
  if (error == 0) ++held;
  return error;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t* mutex) {
  const int error = __real_pthread_mutex_unlock(mutex);
  if (error == 0) --held;
  return error;
}
}
// NOLINTEND(bugprone-reserved-identifier, readability-identifier-naming)
