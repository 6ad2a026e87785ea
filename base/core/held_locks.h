// HeldLocks: how many mutexes the calling thread holds. Fibers share a thread: who waits with a
// mutex held stops, without a word, everybody who wants it.
#pragma once

namespace thinsnap {

// Counts what code of ours locks (std::mutex and its kin), in programs that link thinsnap::fibers:
// the linker sends their pthread_mutex_lock here. What shared libraries lock does not count.
int HeldLocks();

}  // namespace thinsnap
