#include "simulator/apiserver/pod_streams.h"

#include <charconv>
#include <utility>
#include <vector>

#include "base/data/json.h"
#include "simulator/apiserver/request.h"
#include "simulator/streams/exec_spdy.h"
#include "simulator/streams/exec_websocket.h"
#include "simulator/streams/portforward.h"
#include "simulator/streams/relay_stream.h"

namespace thinsnap::apiserver {

using schema::ApiError;
using schema::ApiResult;

namespace {

constexpr auto kPause = std::chrono::milliseconds(5);

ApiResult<std::optional<std::int64_t>> Number(const net::ServerRequest& request,
                                              std::string_view name) {
  const auto text = QueryValue(request.query, name);
  if (text.empty()) return std::optional<std::int64_t>();
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || value < 0) {
    return ApiError::BadRequest("query parameter " + std::string(name) + ": \"" +
                                std::string(text) + "\" is not a number of at least 0");
  }
  return std::optional<std::int64_t>(value);
}

std::vector<std::string> ContainerNames(const Json& pod) {
  std::vector<std::string> names;
  for (const Json& container : ArrayAt(pod, "spec.containers"))
    names.push_back(StringAt(container, "name"));
  return names;
}

bool HasContainer(const Json& pod, const std::string& name) {
  for (const std::string_view list :
       {"spec.containers", "spec.initContainers", "spec.ephemeralContainers"}) {
    for (const Json& container : ArrayAt(pod, list)) {
      if (StringAt(container, "name") == name) return true;
    }
  }
  return false;
}

}  // namespace

void PodStreams::SetAccess(streams::ContainerAccess* access) {
  std::lock_guard lock(mutex_);
  access_ = access;
}

ApiResult<streams::ContainerAccess*> PodStreams::Access() const {
  std::lock_guard lock(mutex_);
  if (!access_) return ApiError::ServiceUnavailable("no kubelet is connected to this server");
  return access_;
}

streams::SessionHost PodStreams::Host() {
  return {.dispose =
              [this](std::shared_ptr<void> session) {
                endings_.Spawn("session end",
                               [session = std::move(session)]() mutable { session.reset(); });
              },
          .pause = [this] { return runtime_.SleepFor(kPause).ok(); }};
}

ApiResult<streams::ContainerAddress> PodStreams::Locate(const net::ServerRequest& request,
                                                        const registry::Target& target) const {
  registry::Target pod_target = target;
  pod_target.subresource.clear();
  const auto pod = TRY(registry_.Get(pod_target));
  const Json& value = pod->value();
  streams::ContainerAddress address;
  address.ns = target.ns;
  address.pod = target.name;
  address.pod_uid = StringAt(value, "metadata.uid");
  address.node = StringAt(value, "spec.nodeName");
  address.container = request.QueryOr("container");
  const auto names = ContainerNames(value);
  if (address.container.empty() && names.size() == 1) address.container = names.front();
  if (address.container.empty()) {
    address.container =
        StringIn(value, "metadata.annotations", "kubectl.kubernetes.io/default-container");
  }
  if (address.container.empty()) {
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : " ") + name;
    return ApiError::BadRequest("a container name must be specified for pod " + target.name +
                                ", choose one of: [" + list + "]");
  }
  if (!HasContainer(value, address.container)) {
    return ApiError::BadRequest("container " + address.container + " is not valid for pod " +
                                target.name);
  }
  if (address.node.empty()) {
    return ApiError::BadRequest("pod " + target.name + " does not have a host assigned");
  }
  return address;
}

ApiResult<net::ServerResponse> PodStreams::Logs(const net::ServerRequest& request,
                                                const registry::Target& target) {
  streams::LogRequest log;
  log.container = TRY(Locate(request, target));
  log.follow = QueryFlag(request.query, "follow");
  log.previous = QueryFlag(request.query, "previous");
  log.timestamps = QueryFlag(request.query, "timestamps");
  log.tail_lines = TRY(Number(request, "tailLines"));
  log.limit_bytes = TRY(Number(request, "limitBytes"));
  const auto seconds = TRY(Number(request, "sinceSeconds"));
  if (seconds) log.since = registry_.clock().Now() - std::chrono::seconds(*seconds);
  if (const auto since = request.QueryOr("sinceTime"); !since.empty()) {
    const auto time = ParseRfc3339(since);
    if (!time.ok()) return ApiError::BadRequest("sinceTime: " + time.error().message());
    log.since = *time;
  }
  // The kubelet refuses before the first byte: a pushed-back stream would be an answer already. So
  // the call is made with a relay that takes the real stream as soon as it is there.
  streams::ContainerAccess* access = TRY(Access());
  auto relay = std::make_shared<streams::RelayStream>();
  if (auto started = access->Logs(log, relay); !started.ok()) {
    if (started.Is(Code::kNotFound)) {
      return ApiError::BadRequest("container \"" + log.container.container + "\" in pod \"" +
                                  target.name +
                                  "\" is waiting to start: " + started.error().message());
    }
    return ApiError::From(started.error());
  }
  net::ServerResponse response;
  response.headers.Add("Content-Type", "text/plain");
  auto guard = std::make_shared<streams::RelayGuard>(relay);
  response.on_stream = [guard](const std::shared_ptr<net::Stream>& stream) {
    guard->relay->Attach(stream);
  };
  return response;
}

ApiResult<net::ServerResponse> PodStreams::Exec(const net::ServerRequest& request,
                                                const registry::Target& target) {
  streams::ExecRequest exec;
  exec.container = TRY(Locate(request, target));
  for (const auto& [name, value] : request.query) {
    if (name == "command") exec.command.push_back(value);
  }
  if (exec.command.empty())
    return ApiError::BadRequest("you must specify at least 1 command for the container");
  exec.stdin_open = QueryFlag(request.query, "stdin");
  exec.tty = QueryFlag(request.query, "tty");
  return Upgrade(request, std::move(exec));
}

ApiResult<net::ServerResponse> PodStreams::Attach(const net::ServerRequest& request,
                                                  const registry::Target& target) {
  streams::ExecRequest exec;
  exec.container = TRY(Locate(request, target));
  // Whether the container has an input is known where it runs.
  exec.stdin_open = QueryFlag(request.query, "stdin");
  exec.tty = QueryFlag(request.query, "tty");
  return Upgrade(request, std::move(exec));
}

ApiResult<net::ServerResponse> PodStreams::Upgrade(const net::ServerRequest& request,
                                                   streams::ExecRequest exec) {
  streams::ContainerAccess* access = TRY(Access());
  if (request.wants_websocket)
    return streams::ExecByWebSocket(request, *access, std::move(exec), Host());
  if (streams::IsSpdyUpgrade(request)) {
    const streams::ClientStreams expected = {.in = QueryFlag(request.query, "stdin"),
                                             .out = QueryFlag(request.query, "stdout"),
                                             .err = QueryFlag(request.query, "stderr")};
    return streams::ExecBySpdy(request, *access, std::move(exec), expected, Host());
  }
  return ApiError::BadRequest("this needs an upgrade of the connection to WebSocket or SPDY/3.1");
}

ApiResult<net::ServerResponse> PodStreams::PortForward(const net::ServerRequest& request,
                                                       const registry::Target& target) {
  registry::Target pod_target = target;
  pod_target.subresource.clear();
  const auto pod = TRY(registry_.Get(pod_target));
  if (const std::string phase = StringAt(pod->value(), "status.phase"); phase != "Running") {
    return ApiError::BadRequest("unable to forward port because pod " + target.name +
                                " is not running: its phase is " + phase);
  }
  streams::ContainerAddress address;
  address.ns = target.ns;
  address.pod = target.name;
  address.pod_uid = StringAt(pod->value(), "metadata.uid");
  address.node = StringAt(pod->value(), "spec.nodeName");
  streams::ContainerAccess* access = TRY(Access());
  if (request.wants_websocket)
    return streams::PortForwardByWebSocket(request, *access, address, Host());
  if (streams::IsSpdyUpgrade(request))
    return streams::PortForwardBySpdy(request, *access, address, Host());
  return ApiError::BadRequest("this needs an upgrade of the connection to WebSocket or SPDY/3.1");
}

}  // namespace thinsnap::apiserver
