// Repositories that are open: opened once, kept as long as their configuration stays the same.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/core/guarded.h"
#include "base/core/random.h"
#include "csi/transfer/repository_source.h"

namespace thinsnap::transfer {

using StoreOpener =
    std::function<Result<std::unique_ptr<store::ObjectStore>>(const store::Location&)>;

// Thread-safe.
class Repositories {
 public:
  Repositories(Runtime& runtime, Random& random, RepositorySource& source, StoreOpener open_store);

  // kNotFound: unknown here, after up to 5 s; kFailedPrecondition: wrong key, another repository at
  // that place, or nothing there; otherwise the store's error. The repository lives as long as the
  // pointer.
  Result<std::shared_ptr<repo::Repository>> Open(const std::string& id);
  // The configuration alone, waited for as long. kNotFound.
  Result<RepositoryConfig> Config(const std::string& id);
  // Forgets what is open, so that a changed configuration is used.
  void Forget(const std::string& id);

 private:
  struct Opened {
    RepositoryConfig config;
    std::unique_ptr<store::ObjectStore> store;
    std::unique_ptr<repo::Repository> repository;
  };

  Runtime& runtime_;
  Random& random_;
  RepositorySource& source_;
  const StoreOpener open_store_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Opened>> opened_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::transfer
