// What goes with every call, whatever its verb: the id that its log lines share, the figures that
// it is counted in, and gRPC's own question after the health of a server.
#include "csi/proto/csi_server.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <stdlib.h>
#include <string>
#include <vector>

#include "base/core/log.h"
#include "csi/proto/csi.grpc.pb.h"
#include "csi/proto/csi_client.h"
#include "csi/proto/health.grpc.pb.h"

namespace thinsnap::proto {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Says no to everything but who it is, and remembers by which ids it was asked.
class FakeDriver final : public CsiService {
 public:
  Result<csi::v1::GetPluginInfoResponse> GetPluginInfo(
      const Call& call, const csi::v1::GetPluginInfoRequest&) override {
    const std::scoped_lock lock(mutex_);
    ids_.push_back(call.id);
    return csi::v1::GetPluginInfoResponse();
  }
  Result<csi::v1::DeleteVolumeResponse> DeleteVolume(const Call&,
                                                     const csi::v1::DeleteVolumeRequest&) override {
    return Error(Code::kFailedPrecondition, "the volume is in use");
  }
  Result<csi::v1::ProbeResponse> Probe(const Call&, const csi::v1::ProbeRequest&) override {
    const std::scoped_lock lock(mutex_);
    if (!probed_.ok()) return probed_.error();
    return csi::v1::ProbeResponse();
  }

  void ProbeWith(Status status) {
    const std::scoped_lock lock(mutex_);
    probed_ = std::move(status);
  }
  std::vector<std::string> ids() const {
    const std::scoped_lock lock(mutex_);
    return ids_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> ids_;
  Status probed_;
};

class CsiServerTest : public testing::Test {
 protected:
  CsiServerTest() : runtime_(clock_), group_(runtime_) {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    socket_ = folder_ + "/csi.sock";
    auto server = CsiServer::OnSocket(
        runtime_, group_,
        {.identity = &driver_, .controller = &driver_, .node = nullptr, .counters = &counters_},
        socket_);
    EXPECT_TRUE(server.ok());
    if (server.ok()) server_ = std::move(*server);
    client_ = ConnectCsi(runtime_, "unix://" + socket_);
  }
  ~CsiServerTest() override {
    group_.Stop();
    server_.reset();
    group_.Join();
    std::filesystem::remove_all(folder_);
  }

  Call Patiently(const std::string& id) {
    return {clock_.MonoNow() + std::chrono::seconds(30), id};
  }
  // As a client that is not ours sends it.
  grpc::Status AskRaw(const std::string& id) {
    const auto stub = csi::v1::Identity::NewStub(
        grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    if (!id.empty()) context.AddMetadata("x-request-id", id);
    csi::v1::GetPluginInfoResponse response;
    return stub->GetPluginInfo(&context, {}, &response);
  }
  // The number of the status, or "code <n>" of the call.
  std::string Health(const std::string& service) {
    const auto stub = grpc::health::v1::Health::NewStub(
        grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    const grpc::Status status = stub->Check(&context, request, &response);
    if (!status.ok()) return "code " + std::to_string(status.error_code());
    return grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
  }

  std::string folder_ = "/tmp/thinsnap-test-XXXXXX", socket_;
  SystemClock clock_;
  ThreadRuntime runtime_;
  TaskGroup group_;
  Counters counters_;
  FakeDriver driver_;
  std::unique_ptr<CsiServer> server_;
  std::unique_ptr<CsiService> client_;
};

TEST_F(CsiServerTest, ACallKeepsItsIdFromDriverToDriver) {
  ASSERT_TRUE(client_->GetPluginInfo(Patiently("pvc-1.a_B"), {}).ok());
  ASSERT_TRUE(AskRaw("theirs").ok());
  EXPECT_THAT(driver_.ids(), testing::ElementsAre("pvc-1.a_B", "theirs"));
}

TEST_F(CsiServerTest, ACallWithoutAnIdThatCanBeShownGetsOne) {
  ASSERT_TRUE(AskRaw("").ok());
  ASSERT_TRUE(AskRaw("two words").ok());
  ASSERT_TRUE(AskRaw(std::string(65, 'x')).ok());
  const auto ids = driver_.ids();
  ASSERT_EQ(ids.size(), 3U);
  for (const std::string& id : ids) {
    EXPECT_THAT(id, AllOf(testing::MatchesRegex("[0-9]+-[0-9]+"), Not(HasSubstr(" "))));
  }
  EXPECT_NE(ids[0], ids[1]);
  EXPECT_NE(ids[1], ids[2]);
}

TEST_F(CsiServerTest, WhatIsLoggedForACallNamesIt) {
  testing::internal::CaptureStderr();
  EXPECT_FALSE(client_->DeleteVolume(Patiently("the-call"), {}).ok());
  LogInfo("test", "somebody else");
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("the volume is in use (request the-call)\n"));
  EXPECT_THAT(log, HasSubstr("somebody else\n"));
}

TEST_F(CsiServerTest, CallsAreCountedByVerbAndCode) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client_->GetPluginInfo(Patiently(""), {}).ok());
  EXPECT_FALSE(client_->DeleteVolume(Patiently(""), {}).ok());
  EXPECT_FALSE(client_->CreateVolume(Patiently(""), {}).ok());
  // An answer is counted after it was given.
  group_.Stop();
  server_.reset();
  const std::string shown = counters_.Render();
  EXPECT_THAT(shown, HasSubstr("thinsnap_rpc_started_total{verb=\"GetPluginInfo\"} 3\n"));
  const auto count = [](const std::string& verb, const std::string& code) {
    return "thinsnap_rpc_seconds_count{verb=\"" + verb + "\",code=\"" + code + "\"} ";
  };
  EXPECT_THAT(shown, HasSubstr(count("GetPluginInfo", "OK") + "3\n"));
  EXPECT_THAT(shown, HasSubstr(count("DeleteVolume", "FAILED_PRECONDITION") + "1\n"));
  EXPECT_THAT(shown, HasSubstr(count("CreateVolume", "UNIMPLEMENTED") + "1\n"));
}

TEST_F(CsiServerTest, HealthIsWhatProbeSays) {
  EXPECT_EQ(Health(""), "SERVING");
  EXPECT_EQ(Health("csi.v1.Controller"), "SERVING");
  EXPECT_EQ(Health("csi.v1.Node"), "code 5");  // NOT_FOUND: it is not served here
  driver_.ProbeWith(Error(Code::kFailedPrecondition, "the pool is lost"));
  EXPECT_EQ(Health("csi.v1.Identity"), "NOT_SERVING");
  driver_.ProbeWith({});
  EXPECT_EQ(Health(""), "SERVING");
}

}  // namespace
}  // namespace thinsnap::proto
