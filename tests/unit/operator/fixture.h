// What the reconcilers' tests share: an API server in memory with the kinds of the operator,
// buckets in memory, and the parts of the world that the operator waits for: Jobs that end,
// snapshots that become ready.
#pragma once

#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "base/data/yaml.h"
#include "base/kube/client.h"
#include "base/kube/event_recorder.h"
#include "base/kube/object.h"
#include "simulator/apiserver/api_server.h"
#include "snapshotter/operator/jobs.h"
#include "snapshotter/operator/reconcilers.h"
#include "snapshotter/operator/verbs.h"
#include "snapshotter/store/memory_store.h"

namespace thinsnap::backup {

#undef ASSERT_OK
#define ASSERT_OK(expression)                                      \
  do {                                                             \
    const auto& assert_ok_ = (expression);                         \
    ASSERT_TRUE(assert_ok_.ok()) << assert_ok_.error().ToString(); \
  } while (false)

// The object storage of a test: buckets by URL, shared by every cluster of the test.
class TestStorage {
 public:
  explicit TestStorage(Clock& clock);

  Result<std::unique_ptr<store::ObjectStore>> Open(const store::Location& location);
  std::unique_ptr<store::ObjectStore> OpenUrl(const std::string& url);
  // Everything below this URL answers with the error from now on; an OK heals it.
  void Break(const std::string& url, Error error) { broken_.emplace(url, std::move(error)); }
  void Heal() { broken_.clear(); }
  // Keys of the store whose URL is `url`, as it was opened.
  std::vector<std::string> Keys(const std::string& url);
  std::string Text(const std::string& url, const std::string& key);

 private:
  friend class TestView;
  // One flat store; keys are prefixed by what follows the host in the URL.
  std::map<std::string, Error> broken_;
  std::unique_ptr<store::MemoryObjectStore> objects_;
};

// One cluster with an operator whose reconcilers are called by hand.
class TestCluster {
 public:
  TestCluster(Runtime& runtime, Random& random, TestStorage& storage);
  ~TestCluster();

  Status Start();

  // Objects from YAML, several documents allowed; ${NAME}s are not filled in.
  void Apply(const std::string& yaml);
  void ApplyGuide(const std::string& file);  // of docs/guides, with the variables filled in
  Json Get(const kube::ResourceType& type, const std::string& ns, const std::string& name);
  bool Exists(const kube::ResourceType& type, const std::string& ns, const std::string& name);
  std::vector<Json> List(const kube::ResourceType& type, const std::string& ns = "");
  void Edit(const kube::ResourceType& type, const std::string& ns, const std::string& name,
            const std::function<void(Json&)>& change, const std::string& subresource = "");
  void Delete(const kube::ResourceType& type, const std::string& ns, const std::string& name);

  // Calls every reconciler for every object of its kind, and runs the Jobs it finds, until nothing
  // changes any more.
  void Settle(int rounds = 12);
  // Ends each Job by running its verb here; `run_jobs` false leaves them alone.
  bool run_jobs = true;
  // Called in each round of Settle: what other controllers would do.
  std::function<void()> world;

  // What the pod of one of the operator's Jobs does.
  static Status RunVerb(VerbContext& context, const Json& job);
  // As its controller ends it.
  void EndJob(const Json& job, const Status& outcome);
  // Every kind that the operator has to do with.
  std::vector<kube::ResourceType> Types() const;

  std::string ConditionMessage(const Json& object, const std::string& type);
  std::vector<std::string> EventMessages();

  Context context() {
    return {runtime_, random_, *client_, *events_, *backends_, kinds, options, memory_};
  }
  kube::KubeClient& client() { return *client_; }

  Kinds kinds{"kubestash.com"};
  OperatorOptions options;

 private:
  void RunJobs();

  Runtime& runtime_;
  Random& random_;
  TestStorage& storage_;
  StoreOpener opener_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<kube::KubeClient> client_;
  std::unique_ptr<kube::EventRecorder> events_;
  std::unique_ptr<Backends> backends_;
  Memory memory_;
};

inline Json Yaml(const std::string& text) {
  auto parsed = ParseYaml(text);
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message());
  return parsed.ok() ? *parsed : Json();
}

}  // namespace thinsnap::backup
