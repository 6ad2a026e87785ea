// An API server with containers that echo, and a folder with a kubeconfig of it, for tests of
// clients that run as processes of their own.
#pragma once

#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>

#include "base/core/command.h"
#include "base/core/file.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "simulator/apiserver/api_server.h"
#include "tests/system/echo_containers.h"

namespace thinsnap {

class EchoServer {
 public:
  ~EchoServer() {
    server_.reset();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  std::string config() const { return folder_ + "/config"; }

 protected:
  void StartServer() {
    char pattern[] = "/tmp/thinsnap-clients-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    folder_ = pattern;
    auto server = apiserver::ApiServer::Start(runtime_, random_, {}, &containers_);
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = std::move(*server);
    ASSERT_TRUE(WriteFileAtomic(config(), server_->Kubeconfig().ValueOr(""), 0600).ok());
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SystemRandom random_;
  PosixCommandRunner runner_;
  EchoContainers containers_{runtime_};
  std::unique_ptr<apiserver::ApiServer> server_;
  std::string folder_;
};

}  // namespace thinsnap
