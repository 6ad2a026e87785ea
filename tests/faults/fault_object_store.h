// An ObjectStore of a process whose writes are effects.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "snapshotter/store/object_store.h"
#include "tests/faults/effects.h"

namespace thinsnap::faults {

class FaultObjectStore final : public store::ObjectStore {
 public:
  FaultObjectStore(std::unique_ptr<store::ObjectStore> inner, Effects& effects, Process& process)
      : owned_(std::move(inner)), inner_(*owned_), effects_(effects), process_(process) {}
  // One that outlives the process.
  FaultObjectStore(store::ObjectStore& inner, Effects& effects, Process& process)
      : inner_(inner), effects_(effects), process_(process) {}

  Result<store::PutResult> Put(const std::string& key, ByteSpan body,
                               const store::PutCondition& condition) override {
    return Perform<store::PutResult>(effects_, process_, "put " + key,
                                     [&] { return inner_.Put(key, body, condition); });
  }
  Result<store::Object> Get(const std::string& key,
                            std::optional<store::ByteRange> range) override {
    return Observe<store::Object>(effects_, process_, "get " + key,
                                  [&] { return inner_.Get(key, range); });
  }
  Result<store::ObjectInfo> Head(const std::string& key) override {
    return Observe<store::ObjectInfo>(effects_, process_, "head " + key,
                                      [&] { return inner_.Head(key); });
  }
  Result<store::Page> List(const std::string& prefix, const std::string& after) override {
    return Observe<store::Page>(effects_, process_, "list " + prefix + " " + after,
                                [&] { return inner_.List(prefix, after); });
  }
  Status Delete(const std::string& key) override {
    return Perform<void>(effects_, process_, "delete " + key, [&] { return inner_.Delete(key); });
  }
  std::string Describe() const override { return inner_.Describe(); }

 private:
  const std::unique_ptr<store::ObjectStore> owned_;
  store::ObjectStore& inner_;
  Effects& effects_;
  Process& process_;
};

}  // namespace thinsnap::faults
