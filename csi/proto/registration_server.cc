#include "csi/proto/registration_server.h"

#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"
#include "csi/proto/registration.grpc.pb.h"

namespace thinsnap::proto {
namespace {

namespace wire = pluginregistration;

class Registration final : public wire::Registration::Service {
 public:
  explicit Registration(RegistrationOptions options) : options_(std::move(options)) {}

  grpc::Status GetInfo(grpc::ServerContext*, const wire::InfoRequest*,
                       wire::PluginInfo* info) override {
    info->set_type("CSIPlugin");
    info->set_name(options_.driver_name);
    info->set_endpoint(options_.endpoint);
    info->add_supported_versions("1.0.0");
    return grpc::Status::OK;
  }

  grpc::Status NotifyRegistrationStatus(grpc::ServerContext*,
                                        const wire::RegistrationStatus* status,
                                        wire::RegistrationStatusResponse*) override {
    if (!options_.on_status) return grpc::Status::OK;
    options_.on_status(status->plugin_registered()
                           ? Status()
                           : Error(Code::kUnavailable,
                                   "the kubelet did not register the driver: " + status->error()));
    return grpc::Status::OK;
  }

 private:
  const RegistrationOptions options_;
};

class GrpcRegistrationServer final : public RegistrationServer {
 public:
  explicit GrpcRegistrationServer(RegistrationOptions options)
      : socket_(options.folder + "/" + options.driver_name + "-reg.sock"),
        service_(std::move(options)) {}
  ~GrpcRegistrationServer() override {
    if (!server_) return;
    unlink(socket_.c_str());
    server_->Shutdown(gpr_now(GPR_CLOCK_MONOTONIC));
  }

  Status Listen() {
    if (socket_.size() >= sizeof(sockaddr_un::sun_path)) {
      return Error(Code::kInvalidArgument, "registration socket " + socket_ + " has " +
                                               std::to_string(socket_.size()) + " bytes; at most " +
                                               std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                                               " are possible");
    }
    unlink(socket_.c_str());
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket_, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (!server_) return Error(Code::kUnavailable, "cannot listen on " + socket_);
    // Who may register a driver may serve every volume of the machine.
    if (chmod(socket_.c_str(), 0600) != 0) return ErrnoError(errno, "chmod " + socket_);
    return {};
  }

 private:
  const std::string socket_;
  Registration service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

Result<std::unique_ptr<RegistrationServer>> RegistrationServer::Start(RegistrationOptions options) {
  if (access(options.folder.c_str(), W_OK) != 0) {
    return ErrnoError(errno, "the kubelet's folder for plugins, " + options.folder);
  }
  auto server = std::make_unique<GrpcRegistrationServer>(std::move(options));
  TRY(server->Listen());
  return std::unique_ptr<RegistrationServer>(std::move(server));
}

}  // namespace thinsnap::proto
