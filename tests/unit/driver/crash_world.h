// A node on virtual time whose driver can be killed at each of its effects: on the pool, in the
// bucket, on mounts and filesystems. What those hold outlives it.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <string>

#include "base/core/bytes.h"
#include "base/core/random.h"
#include "csi/driver/node_driver.h"
#include "simulator/pool/recording_mounter.h"
#include "simulator/pool/sim_thin_pool.h"
#include "snapshotter/store/memory_store.h"
#include "tests/faults/effects.h"
#include "tests/sanity/fake_disks.h"

namespace thinsnap::driver {

class CrashWorld {
 public:
  CrashWorld(Runtime& runtime, faults::Effects& effects);
  ~CrashWorld();

  // Calls until the answer is OK, as a sidecar or kubelet does, in as many lives as it takes. Each
  // answer before that is shown to `on_error`. Fails the test when it never is.
  template <typename Response, typename Request>
  Response Call(Result<Response> (NodeDriver::*verb)(const proto::Call&, const Request&),
                const Request& request,
                const std::function<void(const Error&)>& on_error = nullptr) {
    Response response;
    Repeat(request.GetTypeName(), [&](NodeDriver& driver) -> Status {
      auto answer = (driver.*verb)({}, request);
      if (!answer.ok()) {
        if (on_error && !answer.Is(Code::kCancelled)) on_error(answer.error());
        return answer.error();
      }
      response = std::move(*answer);
      return {};
    });
    return response;
  }
  void Run(Duration duration);  // nobody calls

  // The durable parts, as nothing disturbs them.
  pool::ThinPool& pool() { return *pool_; }
  mount::RecordingMounter& mounter() { return mounter_; }
  repo::Repository& repository() { return *repository_; }
  std::string Describe();

  Runtime& runtime;
  faults::Effects& effects;

 private:
  struct Life;
  void Repeat(const std::string& what, const std::function<Status(NodeDriver&)>& call);
  // A driver that serves.
  Life& Alive();

  SeededRandom random_{5};
  int lives_ = 0;
  std::shared_ptr<pool::SimPoolImage> image_;
  std::unique_ptr<pool::ThinPool> pool_;
  mount::RecordingMounter mounter_;
  FakeDisks disks_;
  store::MemoryObjectStore bucket_;
  std::unique_ptr<repo::Repository> repository_;
  std::unique_ptr<Life> life_;
};

}  // namespace thinsnap::driver
