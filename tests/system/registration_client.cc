#include "tests/system/registration_client.h"

#include <grpcpp/grpcpp.h>
#include <memory>

#include "csi/proto/registration.grpc.pb.h"

namespace thinsnap {
namespace {

std::unique_ptr<pluginregistration::Registration::Stub> Connect(const std::string& socket) {
  return pluginregistration::Registration::NewStub(
      grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()));
}

Status ReadStatus(const grpc::Status& status) {
  if (status.ok()) return {};
  return Error(Code::kUnavailable, status.error_message());
}

}  // namespace

Result<PluginFound> AskPlugin(const std::string& socket) {
  grpc::ClientContext context;
  pluginregistration::PluginInfo info;
  TRY(ReadStatus(Connect(socket)->GetInfo(&context, {}, &info)));
  return PluginFound{info.name(), info.endpoint()};
}

Status TellPlugin(const std::string& socket, const std::string& error) {
  grpc::ClientContext context;
  pluginregistration::RegistrationStatus status;
  status.set_plugin_registered(error.empty());
  status.set_error(error);
  pluginregistration::RegistrationStatusResponse answer;
  return ReadStatus(Connect(socket)->NotifyRegistrationStatus(&context, status, &answer));
}

}  // namespace thinsnap
