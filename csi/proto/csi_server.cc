#include "csi/proto/csi_server.h"

#include <future>
#include <grpcpp/grpcpp.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"
#include "base/core/log.h"
#include "csi/proto/csi.grpc.pb.h"
#include "csi/proto/grpc_status.h"

namespace thinsnap::proto {
namespace {

// What a task answers to the thread of gRPC that waits for it. Answered exactly once, also when the
// task was never started.
class Answer {
 public:
  Answer() = default;
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() {
    if (!sent_) promise_.set_value({grpc::StatusCode::UNAVAILABLE, "the driver is stopping"});
  }
  void Send(grpc::Status status) {
    sent_ = true;
    promise_.set_value(std::move(status));
  }
  std::future<grpc::Status> future() { return promise_.get_future(); }

 private:
  std::promise<grpc::Status> promise_;
  bool sent_ = false;
};

class Dispatcher {
 public:
  Dispatcher(Runtime& runtime, TaskGroup& group, CsiService& service)
      : runtime_(runtime), group_(group), service_(service) {}

  template <typename Request, typename Response>
  grpc::Status Run(grpc::ServerContext* context, const Request* request, Response* response,
                   const char* name,
                   Result<Response> (CsiService::*verb)(const Call&, const Request&)) {
    const Call call{FromGrpcDeadline(runtime_.clock(), context->raw_deadline())};
    auto answer = std::make_shared<Answer>();
    std::future<grpc::Status> answered = answer->future();
    group_.Spawn(std::string("csi ") + name, [this, call, request, response, name, verb,
                                              answer = std::move(answer)] {
      auto result = (service_.*verb)(call, *request);
      if (result.ok()) {
        *response = std::move(result).value();
        answer->Send(grpc::Status::OK);
        return;
      }
      LogInfo("csi", std::string(name) + ": " + result.error().ToString());
      // A stopped group is our end, not the caller's wish: it is to try again.
      answer->Send(result.Is(Code::kCancelled)
                       ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the driver is stopping")
                       : ToGrpc(result.error()));
    });
    return answered.get();
  }

 private:
  Runtime& runtime_;
  TaskGroup& group_;
  CsiService& service_;
};

#define THINSNAP_SERVE_VERB(verb)                                                        \
  grpc::Status verb(grpc::ServerContext* context, const csi::v1::verb##Request* request, \
                    csi::v1::verb##Response* response) override {                        \
    return dispatcher_.Run(context, request, response, #verb, &CsiService::verb);        \
  }
// Picks the verbs of one service out of the list.
#define THINSNAP_SERVE_IDENTITY_Identity(verb) THINSNAP_SERVE_VERB(verb)
#define THINSNAP_SERVE_IDENTITY_Controller(verb)
#define THINSNAP_SERVE_IDENTITY_Node(verb)
#define THINSNAP_SERVE_IDENTITY(service, verb) THINSNAP_SERVE_IDENTITY_##service(verb)
#define THINSNAP_SERVE_CONTROLLER_Identity(verb)
#define THINSNAP_SERVE_CONTROLLER_Controller(verb) THINSNAP_SERVE_VERB(verb)
#define THINSNAP_SERVE_CONTROLLER_Node(verb)
#define THINSNAP_SERVE_CONTROLLER(service, verb) THINSNAP_SERVE_CONTROLLER_##service(verb)
#define THINSNAP_SERVE_NODE_Identity(verb)
#define THINSNAP_SERVE_NODE_Controller(verb)
#define THINSNAP_SERVE_NODE_Node(verb) THINSNAP_SERVE_VERB(verb)
#define THINSNAP_SERVE_NODE(service, verb) THINSNAP_SERVE_NODE_##service(verb)

class IdentityAdapter final : public csi::v1::Identity::Service {
 public:
  explicit IdentityAdapter(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}
  THINSNAP_CSI_VERBS(THINSNAP_SERVE_IDENTITY)

 private:
  Dispatcher& dispatcher_;
};

class ControllerAdapter final : public csi::v1::Controller::Service {
 public:
  explicit ControllerAdapter(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}
  THINSNAP_CSI_VERBS(THINSNAP_SERVE_CONTROLLER)

 private:
  Dispatcher& dispatcher_;
};

class NodeAdapter final : public csi::v1::Node::Service {
 public:
  explicit NodeAdapter(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}
  THINSNAP_CSI_VERBS(THINSNAP_SERVE_NODE)

 private:
  Dispatcher& dispatcher_;
};

class GrpcCsiServer final : public CsiServer {
 public:
  GrpcCsiServer(Runtime& runtime, TaskGroup& group, CsiService& service)
      : dispatcher_(runtime, group, service),
        identity_(dispatcher_),
        controller_(dispatcher_),
        node_(dispatcher_) {}
  ~GrpcCsiServer() override {
    if (server_) server_->Shutdown(gpr_now(GPR_CLOCK_MONOTONIC));
    if (!socket_.empty()) unlink(socket_.c_str());
  }

  Status Listen(const Options& options) {
    grpc::ServerBuilder builder;
    // Two drivers on one address are a mistake that must be seen.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    if (!options.unix_socket.empty()) {
      if (options.unix_socket.size() > kLongestSocketPath) {
        return Error(Code::kInvalidArgument,
                     "socket path " + options.unix_socket + " has " +
                         std::to_string(options.unix_socket.size()) + " bytes; at most " +
                         std::to_string(kLongestSocketPath) + " are possible");
      }
      unlink(options.unix_socket.c_str());
      builder.AddListeningPort("unix:" + options.unix_socket, grpc::InsecureServerCredentials());
    }
    int port = -1;
    if (!options.listen_address.empty()) {
      ASSERT(options.tls != nullptr);
      grpc::SslServerCredentialsOptions ssl(
          GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
      ssl.pem_root_certs = options.tls->ca_pem;
      ssl.pem_key_cert_pairs.push_back(
          {std::string(options.tls->key_pem.Reveal()), options.tls->cert_pem});
      builder.AddListeningPort(options.listen_address, grpc::SslServerCredentials(ssl), &port);
    }
    builder.RegisterService(&identity_);
    builder.RegisterService(&controller_);
    if (options.node_verbs) builder.RegisterService(&node_);
    server_ = builder.BuildAndStart();
    if (!server_ || (port == 0 && !options.listen_address.empty())) {
      return Error(Code::kUnavailable, "cannot listen on " + options.unix_socket + " " +
                                           options.listen_address +
                                           ": in use, not permitted, or a certificate is bad");
    }
    if (!options.unix_socket.empty()) {
      socket_ = options.unix_socket;
      // Whoever can connect commands the volumes of this machine.
      if (chmod(socket_.c_str(), 0600) != 0) return ErrnoError(errno, "chmod " + socket_);
    }
    if (!options.listen_address.empty()) {
      const auto colon = options.listen_address.rfind(':');
      address_ = options.listen_address.substr(0, colon) + ":" + std::to_string(port);
    }
    return {};
  }

  const std::string& address() const override { return address_; }

 private:
  static constexpr std::size_t kLongestSocketPath = 107;  // sockaddr_un

  Dispatcher dispatcher_;
  IdentityAdapter identity_;
  ControllerAdapter controller_;
  NodeAdapter node_;
  std::unique_ptr<grpc::Server> server_;
  std::string socket_, address_;
};

}  // namespace

Result<std::unique_ptr<CsiServer>> CsiServer::Start(Runtime& runtime, TaskGroup& group,
                                                    CsiService& service, const Options& options) {
  auto server = std::make_unique<GrpcCsiServer>(runtime, group, service);
  TRY(server->Listen(options));
  return std::unique_ptr<CsiServer>(std::move(server));
}

}  // namespace thinsnap::proto
