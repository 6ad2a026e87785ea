// Tests on virtual time: a world that gets stuck fails its test.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <utility>

#include "base/core/fiber_runtime.h"

namespace thinsnap {

inline void RunWell(FiberRuntime& runtime, std::function<void()> root) {
  const Status ran = runtime.Run(std::move(root));
  EXPECT_TRUE(ran.ok()) << ran.error().ToString();
}

}  // namespace thinsnap
