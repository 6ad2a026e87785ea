#include "csi/proto/csi_client.h"

#include <algorithm>
#include <grpcpp/grpcpp.h>
#include <mutex>
#include <utility>

#include "csi/proto/csi.grpc.pb.h"
#include "csi/proto/grpc_status.h"

namespace thinsnap::proto {
namespace {

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target,
                                           const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  // A node that comes back is found again at once.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // This is also what one attempt may take, TLS and all, on a busy machine.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A machine that lost its power says nothing: who waits for it learns within half a minute.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 2 * kLeastPingMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // Channels to one address are not shared: each client ends with its own.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A proxy of the environment never carries these calls.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (options.tls == nullptr) {
    return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
  }
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.tls->ca_pem;
  ssl.pem_cert_chain = options.tls->cert_pem;
  ssl.pem_private_key = std::string(options.tls->key_pem.Reveal());
  if (!options.server_name.empty()) arguments.SetSslTargetNameOverride(options.server_name);
  return grpc::CreateCustomChannel(target, grpc::SslCredentials(ssl), arguments);
}

class CsiClient final : public CsiService {
 public:
  CsiClient(Runtime& runtime, const std::string& target, const ClientOptions& options)
      : runtime_(runtime),
        default_timeout_(options.default_timeout),
        channel_(OpenChannel(target, options)),
        identity_(csi::v1::Identity::NewStub(channel_)),
        controller_(csi::v1::Controller::NewStub(channel_)),
        groups_(csi::v1::GroupController::NewStub(channel_)),
        metadata_(csi::v1::SnapshotMetadata::NewStub(channel_)),
        node_(csi::v1::Node::NewStub(channel_)) {}

#define THINSNAP_CALL_VERB(stub, verb)                                                          \
  Result<csi::v1::verb##Response> verb(const Call& call, const csi::v1::verb##Request& request) \
      override {                                                                                \
    return Run<csi::v1::verb##Response>(                                                        \
        call, [&](grpc::ClientContext& context, grpc::CompletionQueue& queue) {                 \
          return stub->Async##verb(&context, request, &queue);                                  \
        });                                                                                     \
  }
#define THINSNAP_CALL_IDENTITY(verb) THINSNAP_CALL_VERB(identity_, verb)
#define THINSNAP_CALL_CONTROLLER(verb) THINSNAP_CALL_VERB(controller_, verb)
#define THINSNAP_CALL_GROUP(verb) THINSNAP_CALL_VERB(groups_, verb)
#define THINSNAP_CALL_NODE(verb) THINSNAP_CALL_VERB(node_, verb)
  THINSNAP_IDENTITY_VERBS(THINSNAP_CALL_IDENTITY)
  THINSNAP_CONTROLLER_VERBS(THINSNAP_CALL_CONTROLLER)
  THINSNAP_GROUP_VERBS(THINSNAP_CALL_GROUP)
  THINSNAP_NODE_VERBS(THINSNAP_CALL_NODE)

#define THINSNAP_CALL_STREAM(verb)                                           \
  Status verb(const Call& call, const csi::v1::verb##Request& request,       \
              const Sink<csi::v1::verb##Response>& sink) override {          \
    return RunStream<csi::v1::verb##Response>(                               \
        call,                                                                \
        [&](grpc::ClientContext& context, grpc::CompletionQueue& queue) {    \
          return metadata_->Async##verb(&context, request, &queue, nullptr); \
        },                                                                   \
        sink);                                                               \
  }
  THINSNAP_METADATA_VERBS(THINSNAP_CALL_STREAM)

 private:
  // A call has a completion queue of its own. (gRPC 1.51's callbacks share one in the background,
  // whose end is not safe.) The queue knows nothing of our groups, so it is asked in short steps
  // whether to go on waiting.
  class Waiting {
   public:
    // False: what was begun has failed, and Finish will say why.
    bool ForNext() {
      for (;;) {
        void* tag = nullptr;
        bool landed = false;
        const gpr_timespec step =
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kStepMs, GPR_TIMESPAN));
        if (queue.AsyncNext(&tag, &landed, step) == grpc::CompletionQueue::GOT_EVENT) {
          return landed;
        }
        if (!cancelled && Runtime::Cancelled()) {
          cancelled = true;
          context.TryCancel();
        }
      }
    }
    Status Outcome() const {
      if (cancelled) return Error(Code::kCancelled, "the call was cancelled");
      if (!status.ok()) return FromGrpc(status);
      return {};
    }

    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::Status status;
    bool cancelled = false;
  };

  template <typename Response, typename Start>
  Result<Response> Run(const Call& call, Start start) {
    TRY(Runtime::CheckCancelled());
    const MonoTime latest = runtime_.clock().MonoNow() + default_timeout_;
    const MonoTime deadline = call.deadline == kForever ? latest : call.deadline;
    TRY(AwaitConnection(deadline));
    Waiting waiting;
    Prepare(waiting.context, call, deadline);
    Response response;
    auto reader = start(waiting.context, waiting.queue);
    reader->Finish(&response, &waiting.status, nullptr);
    waiting.ForNext();
    TRY(waiting.Outcome());
    return response;
  }

  // Without a deadline of the caller's it lasts as long as the sink takes: a peer that is gone is
  // noticed by the keepalive.
  template <typename Response, typename Start>
  Status RunStream(const Call& call, Start start, const Sink<Response>& sink) {
    TRY(Runtime::CheckCancelled());
    TRY(AwaitConnection(call.deadline));
    Waiting waiting;
    Prepare(waiting.context, call, call.deadline);
    auto reader = start(waiting.context, waiting.queue);
    Status taken;
    Response response;
    bool goes_on = waiting.ForNext();
    while (goes_on && taken.ok()) {
      reader->Read(&response, nullptr);
      goes_on = waiting.ForNext();
      if (goes_on) taken = sink(response);
    }
    if (!taken.ok()) waiting.context.TryCancel();
    reader->Finish(&waiting.status, nullptr);
    waiting.ForNext();
    TRY(taken);
    return waiting.Outcome();
  }

  void Prepare(grpc::ClientContext& context, const Call& call, MonoTime deadline) {
    if (!call.id.empty()) context.AddMetadata(kRequestIdKey, call.id);
    context.set_deadline(ToGrpcDeadline(runtime_.clock(), deadline));
  }

  // Returns when the channel is connected, or when an attempt has failed and the call may say so.
  // Only who waits moves a connection on: calls that fail at once on a broken channel would leave
  // it half open until gRPC's backup poller comes by, every five seconds.
  Status AwaitConnection(MonoTime deadline) {
    // A channel that has failed once says so until it is connected, whatever it tries meanwhile.
    deadline = std::min(deadline, runtime_.clock().MonoNow() + kLongestAttempt);
    grpc_connectivity_state state = channel_->GetState(true);
    while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_SHUTDOWN &&
           runtime_.clock().MonoNow() < deadline) {
      TRY(Runtime::CheckCancelled());
      const gpr_timespec step =
          gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kStepMs, GPR_TIMESPAN));
      if (!channel_->WaitForStateChange(state, step)) continue;
      // States between the two may have gone by unseen: whatever it was, an attempt lies between.
      state = channel_->GetState(true);
      if (state == GRPC_CHANNEL_TRANSIENT_FAILURE) break;
    }
    return {};
  }

  static constexpr int kStepMs = 50;
  static constexpr Duration kLongestAttempt = std::chrono::milliseconds(1500);

  Runtime& runtime_;
  const Duration default_timeout_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<csi::v1::Identity::Stub> identity_;
  const std::unique_ptr<csi::v1::Controller::Stub> controller_;
  const std::unique_ptr<csi::v1::GroupController::Stub> groups_;
  const std::unique_ptr<csi::v1::SnapshotMetadata::Stub> metadata_;
  const std::unique_ptr<csi::v1::Node::Stub> node_;
};

}  // namespace

std::unique_ptr<CsiService> ConnectCsi(Runtime& runtime, const std::string& target,
                                       const ClientOptions& options) {
  return std::make_unique<CsiClient>(runtime, target, options);
}

}  // namespace thinsnap::proto
