// The stores that need no network pass the contract.
#include <filesystem>
#include <stdlib.h>

#include "snapshotter/store/directory_store.h"
#include "snapshotter/store/memory_store.h"
#include "tests/contract/store/object_store_contract.h"

namespace thinsnap::store {
namespace {

SystemClock& TestClock() {
  static SystemClock clock;
  return clock;
}

SystemRandom& TestRandom() {
  static SystemRandom random;
  return random;
}

struct TemporaryFolder {
  std::string path;
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path, error);
  }
};

OpenedStore OpenMemory() {
  OpenedStore opened;
  opened.store = std::make_unique<MemoryObjectStore>(TestClock());
  return opened;
}

OpenedStore OpenDirectory() {
  OpenedStore opened;
  auto folder = std::make_shared<TemporaryFolder>();
  folder->path = (std::filesystem::temp_directory_path() / "thinsnap-store-XXXXXX").string();
  if (::mkdtemp(folder->path.data()) == nullptr) {
    opened.why_not = "no temporary folder";
    return opened;
  }
  auto store = DirectoryObjectStore::Open(TestClock(), TestRandom(), folder->path + "/store");
  if (!store.ok()) {
    ADD_FAILURE() << store.error().ToString();
    return opened;
  }
  opened.store = std::move(store).value();
  opened.keep = folder;
  return opened;
}

INSTANTIATE_TEST_SUITE_P(Local, ObjectStoreContract,
                         ::testing::Values(StoreUnderTest{"Memory", OpenMemory},
                                           StoreUnderTest{"Directory", OpenDirectory}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace thinsnap::store
