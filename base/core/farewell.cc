#include "base/core/farewell.h"

namespace thinsnap {

void EndWork(Runtime& runtime, TaskGroup& work, TaskGroup& farewell, Duration most) {
  TaskGroup timer(runtime);
  timer.Spawn("farewell", [&] {
    if (runtime.SleepFor(most).ok()) farewell.Stop();
  });
  work.Stop();
  work.Join();
  farewell.Join();
}

}  // namespace thinsnap
