// Repositories in buckets that are slow or refuse, as many as a test wants.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/core/runtime.h"
#include "csi/transfer/repositories.h"
#include "snapshotter/store/memory_store.h"

namespace thinsnap::transfer {

// What a bucket does to its callers; changed while they call.
struct Manners {
  std::optional<Code> refuses = std::nullopt;  // with that code
  Duration pause = Duration::zero();
  int puts = 0;
};

class MannerlyStore final : public store::ObjectStore {
 public:
  MannerlyStore(Runtime& runtime, store::ObjectStore& inner, Manners& manners)
      : runtime_(runtime), inner_(inner), manners_(manners) {}
  Result<store::PutResult> Put(const std::string& key, ByteSpan body,
                               const store::PutCondition& condition) override {
    ++manners_.puts;
    TRY(Behave());
    return inner_.Put(key, body, condition);
  }
  Result<store::Object> Get(const std::string& key,
                            std::optional<store::ByteRange> range) override {
    TRY(Behave());
    return inner_.Get(key, range);
  }
  Result<store::ObjectInfo> Head(const std::string& key) override { return inner_.Head(key); }
  Result<store::Page> List(const std::string& prefix, const std::string& after) override {
    TRY(Behave());
    return inner_.List(prefix, after);
  }
  Status Delete(const std::string& key) override { return inner_.Delete(key); }
  std::string Describe() const override { return inner_.Describe(); }

 private:
  Status Behave() {
    if (manners_.pause > Duration::zero()) TRY(runtime_.SleepFor(manners_.pause));
    if (manners_.refuses) return Error(*manners_.refuses, "the bucket refuses");
    return {};
  }

  Runtime& runtime_;
  store::ObjectStore& inner_;
  Manners& manners_;
};

struct Bucket {
  explicit Bucket(Clock& clock) : store(clock) {}
  store::MemoryObjectStore store;
  Manners manners;
  std::string id;
  bool wiping = false;
};

class Buckets final : public RepositorySource {
 public:
  Bucket& Add(Runtime& runtime, Random& random) {
    auto bucket = std::make_unique<Bucket>(runtime.clock());
    const auto made = repo::InitRepository(bucket->store, runtime, random, {});
    EXPECT_TRUE(made.ok());
    bucket->id = (*made)->id().str();
    return *(all_[bucket->id] = std::move(bucket));
  }
  Bucket& At(const store::Location& location) {
    return *all_.at(location.url.substr(location.url.rfind('/') + 1));
  }
  // How Repositories opens them.
  StoreOpener Opener(Runtime& runtime) {
    return [this, &runtime](
               const store::Location& location) -> Result<std::unique_ptr<store::ObjectStore>> {
      Bucket& bucket = At(location);
      return std::unique_ptr<store::ObjectStore>(
          std::make_unique<MannerlyStore>(runtime, bucket.store, bucket.manners));
    };
  }

  Result<RepositoryConfig> Find(const std::string& id) override {
    if (!all_.contains(id)) return Error(Code::kNotFound, "no repository " + id);
    RepositoryConfig config;
    config.id = id;
    config.suite = repo::Suite::kPlain;
    config.location.url = "s3://buckets/" + id;
    config.namespaces = {"*"};
    config.wiping = all_.at(id)->wiping;
    return config;
  }
  Result<RepositoryConfig> WaitFor(const std::string& id, MonoTime) override { return Find(id); }
  void OnChange(std::function<void(const std::string&)>) override {}

 private:
  std::map<std::string, std::unique_ptr<Bucket>> all_;
};

}  // namespace thinsnap::transfer
