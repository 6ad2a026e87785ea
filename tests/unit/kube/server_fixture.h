// A whole API server in memory, as its clients see it.
#pragma once

#include <chrono>
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/object.h"
#include "simulator/apiserver/api_server.h"

namespace thinsnap::kube {

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    apiserver::Options options;
    options.without_http = true;
    auto started = apiserver::ApiServer::Start(runtime_, random_, options);
    ASSERT_TRUE(started.ok()) << started.error().ToString();
    server_ = std::move(*started);
    client_ = apiserver::MakeInProcessKubeClient(*server_, "test", {"system:masters"});
  }

  Json ConfigMap(const std::string& name, const std::string& value) {
    Json object = NewObject(types::kConfigMap, {"default", name});
    Set(object, "data.value", value.c_str());
    return object;
  }
  Json Make(const std::string& name, const std::string& value = "1") {
    const auto made = client_->Create(types::kConfigMap, ConfigMap(name, value));
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    return *made;
  }
  MonoTime Deadline() { return clock_.MonoNow() + std::chrono::seconds(60); }

  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_{clock_};
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<KubeClient> client_;
};

}  // namespace thinsnap::kube
