// The contract of ObjectStore as a suite: every implementation passes all of it. A program of tests
// instantiates it.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include "base/core/runtime.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::store {

// An empty store, with whatever must live as long. Without a store the tests are skipped.
struct OpenedStore {
  std::shared_ptr<void> keep;
  std::unique_ptr<ObjectStore> store;
  std::string why_not;
};

struct StoreUnderTest {
  std::string name;
  std::function<OpenedStore()> open;
};

class ObjectStoreContract : public ::testing::TestWithParam<StoreUnderTest> {
 protected:
  void SetUp() override;
  ObjectStore& store() { return *opened_.store; }
  Clock& clock() { return clock_; }
  void Put(const std::string& key, const std::string& body);
  std::vector<std::string> KeysAt(const std::string& prefix, const std::string& after = "");

 private:
  SystemClock clock_;
  OpenedStore opened_;
};

}  // namespace thinsnap::store
