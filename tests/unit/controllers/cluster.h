// A cluster for tests: the real API server in memory, the real controllers, and a kubelet that only
// pretends. Pods run at once; those with the annotation test/exit end with that code.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/controller.h"
#include "base/kube/informer.h"
#include "simulator/apiserver/api_server.h"
#include "simulator/controllers/start.h"
#include "simulator/sidecars/start.h"

namespace thinsnap::testing {

class Cluster {
 public:
  // With a driver the sidecars run, too.
  explicit Cluster(proto::CsiService* driver = nullptr,
                   const controllers::ControllerOptions& options = {});
  ~Cluster();

  kube::KubeClient& client() { return *client_; }

  // Fails the test if it is refused.
  Json Create(const kube::ResourceType& type, const Json& object);
  Json CreateYaml(const kube::ResourceType& type, const std::string& yaml);
  Json Update(const kube::ResourceType& type, const kube::ObjectKey& key,
              const std::function<void(Json&)>& change, const std::string& subresource = "");
  void Delete(const kube::ResourceType& type, const kube::ObjectKey& key,
              const std::string& policy = "", int grace_seconds = -1);
  bool Exists(const kube::ResourceType& type, const kube::ObjectKey& key);

  // Waits on a watch until the object satisfies it; fails the test after long enough. Null if it
  // never did.
  using Predicate = std::function<bool(const Json&)>;
  Json Wait(const kube::ResourceType& type, const kube::ObjectKey& key, const Predicate& predicate);
  // The first object of the namespace that satisfies it.
  Json WaitAny(const kube::ResourceType& type, const std::string& ns, const Predicate& predicate);
  void WaitGone(const kube::ResourceType& type, const kube::ObjectKey& key);
  // An event of that reason about an object of that name.
  Json WaitEvent(const std::string& ns, const std::string& name, const std::string& reason);

  // A Ready node with the test driver on it.
  void AddNode(const std::string& name);
  void AddNamespace(const std::string& name);

 private:
  Result<kube::Requeue> PretendPod(const kube::ObjectKey& key);

  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<kube::KubeClient> client_;
  std::unique_ptr<kube::InformerSet> informers_;
  std::unique_ptr<kube::Controller> kubelet_;
  std::unique_ptr<controllers::Controllers> controllers_;
  std::unique_ptr<sidecars::Sidecars> sidecars_;
  std::unique_ptr<TaskGroup> group_;
};

}  // namespace thinsnap::testing
