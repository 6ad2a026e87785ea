// GUARDED_BY(mutex): this member is touched with the mutex held only. REQUIRES(mutex): so is this
// function called. clang checks both with libc++, whose std::mutex it knows (`./run test deep`);
// other builds see nothing. Members that a condition variable waits for stay unmarked:
// std::unique_lock is not known.
#pragma once

#ifdef _LIBCPP_ENABLE_THREAD_SAFETY_ANNOTATIONS
#define GUARDED_BY(mutex) __attribute__((guarded_by(mutex)))
#define REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#else
#define GUARDED_BY(mutex)
#define REQUIRES(...)
#endif
