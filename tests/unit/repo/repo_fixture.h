// What the repository's tests share: a sealed and a plain ring, a store in memory.
#pragma once

#include <gtest/gtest.h>
#include <string>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/store/memory_store.h"

namespace thinsnap::repo {

#define ASSERT_OK(expression)                                      \
  do {                                                             \
    const auto& assert_ok_ = (expression);                         \
    ASSERT_TRUE(assert_ok_.ok()) << assert_ok_.error().ToString(); \
  } while (false)

inline const RepositoryId kTestId("01hzy3v7q4e8r2t6m9k1w5x0zb");

inline Key TestKey(std::uint8_t fill) { return Key(Bytes(Key::kBytes, fill)); }

inline Keyring TestRing(Suite suite) {
  if (suite == Suite::kPlain) return Keyring(kTestId);
  return Keyring(kTestId, 1, TestKey(1), TestKey(2));
}

inline Bytes RandomBytes(Random& random, std::size_t size) {
  Bytes bytes(size);
  random.Fill(bytes);
  return bytes;
}

// Once for each suite.
class BothSuites : public ::testing::TestWithParam<Suite> {
 protected:
  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SeededRandom random_{7};
  store::MemoryObjectStore store_{clock_};
  const Keyring ring_ = TestRing(GetParam());
};

}  // namespace thinsnap::repo
