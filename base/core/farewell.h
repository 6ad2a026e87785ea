// The end of a process that was told to stop: its work is stopped at once, a second group of tasks
// gets a few seconds for what must not be left behind (Leases, frozen filesystems, sessions).
// main.cc owns both groups. Nothing relies on the second one having run.
#pragma once

#include <chrono>

#include "base/core/runtime.h"

namespace thinsnap {

// Stops `work` and waits for its tasks and for those of `farewell`, into which work puts its last
// errands. What of these is not done after `most` is stopped too.
void EndWork(Runtime& runtime, TaskGroup& work, TaskGroup& farewell,
             Duration most = std::chrono::seconds(5));

}  // namespace thinsnap
