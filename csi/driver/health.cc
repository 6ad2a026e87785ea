#include "csi/driver/health.h"

#include <charconv>
#include <utility>

#include "csi/proto/csi_client.h"

namespace thinsnap::driver {
namespace {

Result<net::HttpServerOptions> ServerOptions(const std::string& address) {
  net::HttpServerOptions options;
  const auto colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), options.port);
  if (error != std::errc() || end != port.data() + port.size() || options.port < 0 ||
      options.port > 65535) {
    return Error(Code::kInvalidArgument,
                 "address \"" + address + "\" for health; HOST:PORT is accepted");
  }
  options.address = address.substr(0, colon);
  options.workers = 2;
  return options;
}

Status IsLive(proto::IdentityService& driver, const proto::Call& call,
              const HealthOptions& options) {
  TRY(driver.GetPluginInfo(call, {}));
  return options.is_live ? options.is_live() : Status();
}

Status IsReady(proto::IdentityService& driver, const proto::Call& call,
               const HealthOptions& options) {
  const auto probed = TRY(driver.Probe(call, {}));
  if (probed.has_ready() && !probed.ready().value()) {
    return Error(Code::kUnavailable, "the driver is starting");
  }
  return options.is_ready ? options.is_ready() : Status();
}

}  // namespace

Result<std::unique_ptr<net::HttpServer>> ServeHealth(Runtime& runtime, HealthOptions options) {
  net::HttpServerOptions serving = TRY(ServerOptions(options.address));
  const auto handle = [&runtime, options = std::move(options)](const net::ServerRequest& request) {
    const bool live = request.path == "/healthz", ready = request.path == "/readyz";
    if (request.path == "/metrics" && options.counters != nullptr) {
      return net::ServerResponse::Text(200, options.counters->Render());
    }
    if (!live && !ready) {
      return net::ServerResponse::Text(404, "/healthz, /readyz and /metrics are served here\n");
    }
    const auto driver = proto::ConnectCsi(runtime, "unix://" + options.socket_path);
    const proto::Call call{runtime.clock().MonoNow() + options.deadline};
    const Status asked = (live ? IsLive : IsReady)(*driver, call, options);
    return asked.ok() ? net::ServerResponse::Text(200, "ok\n")
                      : net::ServerResponse::Text(503, asked.error().message() + "\n");
  };
  return net::StartHttpServer(runtime, std::move(serving), handle);
}

}  // namespace thinsnap::driver
