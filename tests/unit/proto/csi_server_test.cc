// What goes with every call, whatever its verb: the id that its log lines share, the figures that
// it is counted in, and gRPC's own question after the health of a server.
#include "csi/proto/csi_server.h"

#include <atomic>
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

  // Without an end: as long as somebody takes them.
  Status GetMetadataAllocated(const Call&, const csi::v1::GetMetadataAllocatedRequest& request,
                              const Sink<csi::v1::GetMetadataAllocatedResponse>& sink) override {
    for (std::int64_t i = 0; request.max_results() == 0 || i < request.max_results(); ++i) {
      csi::v1::GetMetadataAllocatedResponse message;
      message.set_volume_capacity_bytes(i);
      message.mutable_block_metadata()->Reserve(1000);
      for (int k = 0; k < 1000; ++k) message.add_block_metadata()->set_byte_offset(k);
      sent_ = i;
      const Status taken = sink(message);
      if (!taken.ok()) {
        ++refused_;
        return taken;
      }
    }
    if (request.snapshot_id() == "damaged") return Error(Code::kDataLoss, "the map is damaged");
    return {};
  }
  std::atomic<std::int64_t> sent_ = 0;
  std::atomic<int> refused_ = 0;

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
    auto server = CsiServer::OnSocket(runtime_, group_,
                                      {.identity = &driver_,
                                       .controller = &driver_,
                                       .metadata = &driver_,
                                       .counters = &counters_},
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
    EXPECT_THAT(id, AllOf(testing::MatchesRegex("[0-9a-z]+-[0-9]+"), Not(HasSubstr(" "))));
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

TEST_F(CsiServerTest, AStreamArrivesWholeAndInOrder) {
  csi::v1::GetMetadataAllocatedRequest request;
  request.set_max_results(2000);
  std::int64_t next = 0;
  const auto take = [&](const csi::v1::GetMetadataAllocatedResponse& message) -> Status {
    EXPECT_EQ(message.volume_capacity_bytes(), next++);
    EXPECT_EQ(message.block_metadata_size(), 1000);
    return {};
  };
  const Status done = client_->GetMetadataAllocated(Patiently(""), request, take);
  EXPECT_TRUE(done.ok()) << done.error().ToString();
  EXPECT_EQ(next, 2000);
  // An error at the end is no end.
  request.set_snapshot_id("damaged");
  next = 0;
  EXPECT_TRUE(client_->GetMetadataAllocated(Patiently(""), request, take).Is(Code::kDataLoss));
  EXPECT_EQ(next, 2000);
}

TEST_F(CsiServerTest, WhoStopsTakingEndsTheStream) {
  int taken = 0;
  const Status ended = client_->GetMetadataAllocated(Patiently(""), {}, [&](const auto&) -> Status {
    if (++taken < 10) return {};
    return Error(Code::kResourceExhausted, "enough");
  });
  EXPECT_TRUE(ended.Is(Code::kResourceExhausted));
  EXPECT_EQ(taken, 10);
  while (driver_.refused_ == 0) ASSERT_TRUE(runtime_.SleepFor(std::chrono::milliseconds(5)).ok());
}

// A client that reads nothing: the sender waits instead of piling up, and the server still ends.
TEST_F(CsiServerTest, ASlowReaderHoldsNobodyUp) {
  const auto stub = csi::v1::SnapshotMetadata::NewStub(
      grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto reader = stub->GetMetadataAllocated(&context, {});
  csi::v1::GetMetadataAllocatedResponse first;
  ASSERT_TRUE(reader->Read(&first));
  std::int64_t sent = -1;
  while (sent != driver_.sent_) {
    sent = driver_.sent_;
    ASSERT_TRUE(runtime_.SleepFor(std::chrono::milliseconds(300)).ok());
  }
  EXPECT_TRUE(client_->GetPluginInfo(Patiently(""), {}).ok());
  group_.Stop();
  server_.reset();
  group_.Join();
  EXPECT_EQ(driver_.refused_, 1);
  context.TryCancel();
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
