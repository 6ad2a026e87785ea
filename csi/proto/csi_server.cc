#include "csi/proto/csi_server.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <functional>
#include <future>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/grpcpp.h>
#include <memory>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/core/file.h"
#include "base/core/log.h"
#include "base/core/log_request.h"
#include "csi/proto/csi.grpc.pb.h"
#include "csi/proto/grpc_status.h"
#include "csi/proto/health.grpc.pb.h"

namespace thinsnap::proto {
namespace {

constexpr const char* kStarted = "thinsnap_rpc_started_total";
constexpr const char* kTook = "thinsnap_rpc_seconds";

// Ids for calls that bring none: the server's start (microseconds, to the base 36) and a number.
class RequestIds {
 public:
  explicit RequestIds(WallTime start) {
    std::array<char, 16> text{};
    const auto since = start.time_since_epoch() / std::chrono::microseconds(1);
    const auto end = std::to_chars(text.data(), text.data() + text.size(), since, 36).ptr;
    prefix_.assign(text.data(), end);
    prefix_ += '-';
  }

  std::string Of(const grpc::ServerContext& context) {
    const auto [begin, end] = context.client_metadata().equal_range(kRequestIdKey);
    if (begin != end) {
      const std::string_view sent(begin->second.data(), begin->second.size());
      if (IsRequestId(sent)) return std::string(sent);
    }
    return prefix_ + std::to_string(++last_);
  }

 private:
  static bool IsRequestId(std::string_view id) {
    constexpr std::size_t kLongest = 64;
    constexpr auto kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    return !id.empty() && id.size() <= kLongest &&
           id.find_first_not_of(kAllowed) == std::string_view::npos;
  }

  std::string prefix_;
  std::atomic<std::uint64_t> last_ = 0;
};

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
  // Serves only clients whose certificate is valid for `peer`; "": whoever can connect.
  Dispatcher(Runtime& runtime, TaskGroup& group, Counters* counters, std::string peer)
      : runtime_(runtime),
        group_(group),
        counters_(counters),
        peer_(std::move(peer)),
        ids_(runtime.clock().Now()) {
    if (counters_ != nullptr) DescribeCalls(*counters_);
  }

  // `run` is one whole call, as a task of the group.
  grpc::Status Run(grpc::ServerContext* context, const char* name,
                   const std::function<Status(const Call&)>& run) {
    if (!IsPeer(*context)) {
      return {grpc::StatusCode::PERMISSION_DENIED,
              "the client's certificate is not valid for " + peer_ + ", whom alone this is for"};
    }
    const MonoTime start = runtime_.clock().MonoNow();
    if (counters_ != nullptr) counters_->Add(kStarted, {{"verb", name}});
    const Call call{FromGrpcDeadline(runtime_.clock(), context->raw_deadline()), ids_.Of(*context)};
    auto answer = std::make_shared<Answer>();
    std::future<grpc::Status> answered = answer->future();
    group_.Spawn(std::string("csi ") + name, [call, name, run, answer = std::move(answer)] {
      const LogRequest logged(call.id);
      const Status done = run(call);
      if (done.ok()) return answer->Send(grpc::Status::OK);
      LogInfo("csi", std::string(name) + ": " + done.error().ToString());
      // A stopped group is our end, not the caller's wish: it is to try again.
      answer->Send(done.Is(Code::kCancelled)
                       ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the driver is stopping")
                       : ToGrpc(done.error()));
    });
    const grpc::Status status = answered.get();
    if (counters_ != nullptr) {
      counters_->Observe(kTook, {{"verb", name}, {"code", CodeLabel(status)}},
                         runtime_.clock().MonoNow() - start);
    }
    return status;
  }

 private:
  bool IsPeer(const grpc::ServerContext& context) const {
    if (peer_.empty()) return true;
    const auto shown = context.auth_context();  // owns the names
    const auto names = shown->FindPropertyValues(GRPC_X509_SAN_PROPERTY_NAME);
    return std::find(names.begin(), names.end(), grpc::string_ref(peer_)) != names.end();
  }

  static std::string CodeLabel(const grpc::Status& status) {
    return status.ok() ? "OK" : std::string(CodeName(FromGrpc(status).code()));
  }

  Runtime& runtime_;
  TaskGroup& group_;
  Counters* const counters_;
  const std::string peer_;
  RequestIds ids_;
};

#define THINSNAP_SERVE_VERB(verb)                                                        \
  grpc::Status verb(grpc::ServerContext* context, const csi::v1::verb##Request* request, \
                    csi::v1::verb##Response* response) override {                        \
    return dispatcher_.Run(context, #verb, [=, this](const Call& call) -> Status {       \
      *response = TRY(service_.verb(call, *request));                                    \
      return {};                                                                         \
    });                                                                                  \
  }

#define THINSNAP_SERVE_STREAM(verb)                                                      \
  grpc::Status verb(grpc::ServerContext* context, const csi::v1::verb##Request* request, \
                    grpc::ServerWriter<csi::v1::verb##Response>* writer) override {      \
    return dispatcher_.Run(context, #verb, [=, this](const Call& call) {                 \
      return service_.verb(call, *request, [writer](const auto& message) -> Status {     \
        if (writer->Write(message)) return {};                                           \
        return Error(Code::kUnavailable, "the client takes no more");                    \
      });                                                                                \
    });                                                                                  \
  }

class IdentityAdapter final : public csi::v1::Identity::Service {
 public:
  IdentityAdapter(Dispatcher& dispatcher, IdentityService& service)
      : dispatcher_(dispatcher), service_(service) {}
  THINSNAP_IDENTITY_VERBS(THINSNAP_SERVE_VERB)

 private:
  Dispatcher& dispatcher_;
  IdentityService& service_;
};

class ControllerAdapter final : public csi::v1::Controller::Service {
 public:
  ControllerAdapter(Dispatcher& dispatcher, ControllerService& service)
      : dispatcher_(dispatcher), service_(service) {}
  THINSNAP_CONTROLLER_VERBS(THINSNAP_SERVE_VERB)

 private:
  Dispatcher& dispatcher_;
  ControllerService& service_;
};

class GroupAdapter final : public csi::v1::GroupController::Service {
 public:
  GroupAdapter(Dispatcher& dispatcher, GroupControllerService& service)
      : dispatcher_(dispatcher), service_(service) {}
  THINSNAP_GROUP_VERBS(THINSNAP_SERVE_VERB)

 private:
  Dispatcher& dispatcher_;
  GroupControllerService& service_;
};

class MetadataAdapter final : public csi::v1::SnapshotMetadata::Service {
 public:
  MetadataAdapter(Dispatcher& dispatcher, SnapshotMetadataService& service)
      : dispatcher_(dispatcher), service_(service) {}
  THINSNAP_METADATA_VERBS(THINSNAP_SERVE_STREAM)

 private:
  Dispatcher& dispatcher_;
  SnapshotMetadataService& service_;
};

class NodeAdapter final : public csi::v1::Node::Service {
 public:
  NodeAdapter(Dispatcher& dispatcher, NodeService& service)
      : dispatcher_(dispatcher), service_(service) {}
  THINSNAP_NODE_VERBS(THINSNAP_SERVE_VERB)

 private:
  Dispatcher& dispatcher_;
  NodeService& service_;
};

// Whether the driver is ready, in the words of gRPC's own health protocol. Of the services that are
// served, and of "", which is all of them; Watch is not there.
class HealthAdapter final : public grpc::health::v1::Health::Service {
 public:
  HealthAdapter(Dispatcher& dispatcher, const Services& services)
      : dispatcher_(dispatcher), identity_(*services.identity), names_{"", "csi.v1.Identity"} {
    if (services.controller != nullptr) names_.emplace_back("csi.v1.Controller");
    if (services.groups != nullptr) names_.emplace_back("csi.v1.GroupController");
    if (services.metadata != nullptr) names_.emplace_back("csi.v1.SnapshotMetadata");
    if (services.node != nullptr) names_.emplace_back("csi.v1.Node");
  }

  grpc::Status Check(grpc::ServerContext* context,
                     const grpc::health::v1::HealthCheckRequest* request,
                     grpc::health::v1::HealthCheckResponse* response) override {
    return dispatcher_.Run(context, "Health/Check", [=, this](const Call& call) -> Status {
      *response = TRY(Ask(call, *request));
      return {};
    });
  }

 private:
  Result<grpc::health::v1::HealthCheckResponse> Ask(
      const Call& call, const grpc::health::v1::HealthCheckRequest& request) {
    if (std::find(names_.begin(), names_.end(), request.service()) == names_.end()) {
      return Error(Code::kNotFound, "service \"" + request.service() + "\" is not served here");
    }
    const auto probed = identity_.Probe(call, {});
    if (!probed.ok() && probed.Is(Code::kCancelled)) return probed.error();
    grpc::health::v1::HealthCheckResponse response;
    const bool ready = probed.ok() && (!probed->has_ready() || probed->ready().value());
    response.set_status(ready ? grpc::health::v1::HealthCheckResponse::SERVING
                              : grpc::health::v1::HealthCheckResponse::NOT_SERVING);
    return response;
  }

  Dispatcher& dispatcher_;
  IdentityService& identity_;
  std::vector<std::string> names_;
};

class GrpcCsiServer final : public CsiServer {
 public:
  GrpcCsiServer(Runtime& runtime, TaskGroup& group, const Services& services, std::string peer)
      : dispatcher_(runtime, group, services.counters, std::move(peer)) {
    // Two drivers on one address are a mistake that must be seen.
    builder_.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder_.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                                kLeastPingMs);
    Register<IdentityAdapter>(services.identity);
    Register<ControllerAdapter>(services.controller);
    Register<GroupAdapter>(services.groups);
    Register<MetadataAdapter>(services.metadata);
    Register<NodeAdapter>(services.node);
    if (services.identity != nullptr) {
      adapters_.push_back(std::make_unique<HealthAdapter>(dispatcher_, services));
      builder_.RegisterService(adapters_.back().get());
    }
  }
  ~GrpcCsiServer() override {
    if (server_) server_->Shutdown(gpr_now(GPR_CLOCK_MONOTONIC));
    if (!socket_.empty()) unlink(socket_.c_str());
  }

  Status ListenOnSocket(const std::string& path) {
    if (path.size() > kLongestSocketPath) {
      return Error(Code::kInvalidArgument,
                   "socket path " + path + " has " + std::to_string(path.size()) +
                       " bytes; at most " + std::to_string(kLongestSocketPath) + " are possible");
    }
    unlink(path.c_str());
    builder_.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials());
    server_ = builder_.BuildAndStart();
    if (!server_) {
      return Error(Code::kUnavailable, "cannot listen on " + path + ": in use or not permitted");
    }
    socket_ = path;
    // Whoever can connect commands the volumes of this machine.
    if (chmod(socket_.c_str(), 0600) != 0) return ErrnoError(errno, "chmod " + socket_);
    return {};
  }

  Status ListenOnNetwork(const std::string& address, const TlsFiles& tls) {
    grpc::SslServerCredentialsOptions ssl(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    ssl.pem_root_certs = tls.ca_pem;
    ssl.pem_key_cert_pairs.push_back({std::string(tls.key_pem.Reveal()), tls.cert_pem});
    int port = 0;
    builder_.AddListeningPort(address, grpc::SslServerCredentials(ssl), &port);
    server_ = builder_.BuildAndStart();
    if (!server_ || port == 0) {
      return Error(Code::kUnavailable, "cannot listen on " + address +
                                           ": in use, not permitted, or a certificate is bad");
    }
    address_ = address.substr(0, address.rfind(':')) + ":" + std::to_string(port);
    return {};
  }

  const std::string& address() const override { return address_; }

 private:
  static constexpr std::size_t kLongestSocketPath = 107;  // sockaddr_un

  template <typename Adapter, typename Service>
  void Register(Service* service) {
    if (service == nullptr) return;
    adapters_.push_back(std::make_unique<Adapter>(dispatcher_, *service));
    builder_.RegisterService(adapters_.back().get());
  }

  Dispatcher dispatcher_;
  std::vector<std::unique_ptr<grpc::Service>> adapters_;
  grpc::ServerBuilder builder_;
  std::unique_ptr<grpc::Server> server_;
  std::string socket_, address_;
};

}  // namespace

void DescribeCalls(Counters& counters) {
  counters.Describe(kStarted, Counters::Kind::kCounter, "Calls that began, by verb.");
  counters.Describe(kTook, Counters::Kind::kHistogram,
                    "How long calls took until their answer, by verb and code.");
}

Result<std::unique_ptr<CsiServer>> CsiServer::OnSocket(Runtime& runtime, TaskGroup& group,
                                                       const Services& services,
                                                       const std::string& path) {
  auto server = std::make_unique<GrpcCsiServer>(runtime, group, services, "");
  TRY(server->ListenOnSocket(path));
  return std::unique_ptr<CsiServer>(std::move(server));
}

Result<std::unique_ptr<CsiServer>> CsiServer::OnNetwork(Runtime& runtime, TaskGroup& group,
                                                        const Services& services,
                                                        const std::string& address,
                                                        const TlsFiles& tls,
                                                        const std::string& peer) {
  ASSERT(!peer.empty());
  auto server = std::make_unique<GrpcCsiServer>(runtime, group, services, peer);
  TRY(server->ListenOnNetwork(address, tls));
  return std::unique_ptr<CsiServer>(std::move(server));
}

}  // namespace thinsnap::proto
