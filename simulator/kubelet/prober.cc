#include "simulator/kubelet/prober.h"

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"
#include "base/data/json.h"
#include "base/net/http_client.h"

namespace thinsnap::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Duration SecondsAt(const Json& probe, const char* field, std::int64_t fallback) {
  return seconds(std::max<std::int64_t>(0, IntAt(probe, field, fallback)));
}

// The end of what a probe's command said, for the event.
std::string ReadSome(int fd) {
  std::string text(4096, '\0');
  const int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  const ssize_t n = read(fd, text.data(), text.size());
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

ProbePlan ReadProbe(ProbeKind kind, const Json& probe) {
  ProbePlan plan;
  plan.kind = kind;
  plan.initial_delay = SecondsAt(probe, "initialDelaySeconds", 0);
  plan.period = std::max<Duration>(seconds(1), SecondsAt(probe, "periodSeconds", 10));
  plan.timeout = std::max<Duration>(seconds(1), SecondsAt(probe, "timeoutSeconds", 1));
  plan.success_threshold =
      static_cast<int>(std::max<std::int64_t>(1, IntAt(probe, "successThreshold", 1)));
  plan.failure_threshold =
      static_cast<int>(std::max<std::int64_t>(1, IntAt(probe, "failureThreshold", 3)));
  return plan;
}

ProbeTally::Verdict ProbeTally::Count(bool good) {
  good_in_row_ = good ? good_in_row_ + 1 : 0;
  bad_in_row_ = good ? 0 : bad_in_row_ + 1;
  if (good) return good_in_row_ >= plan_.success_threshold ? Verdict::kGood : Verdict::kNone;
  return bad_in_row_ >= plan_.failure_threshold ? Verdict::kBad : Verdict::kNone;
}

int ResolvePort(const Json& port, const Json& container) {
  if (port.is_number()) return static_cast<int>(port.to_number<std::int64_t>());
  if (!port.is_string()) return 0;
  const std::string name(port.get_string());
  for (const Json& item : ArrayAt(container, "ports")) {
    if (StringAt(item, "name") == name) return static_cast<int>(IntAt(item, "containerPort"));
  }
  return std::atoi(name.c_str());
}

Prober::Prober(Runtime& runtime, containers::ContainerRuntime& containers,
               std::string scratch_folder)
    : runtime_(runtime), containers_(containers), scratch_folder_(std::move(scratch_folder)) {}

Status Prober::Ask(TaskGroup& group, const Json& handler, const Json& container,
                   const std::string& container_id, Duration timeout) {
  if (const Json* exec = Find(handler, "exec")) return AskExec(group, *exec, container_id, timeout);
  if (const Json* get = Find(handler, "httpGet")) return AskHttp(*get, container, timeout);
  if (const Json* socket = Find(handler, "tcpSocket")) return AskTcp(*socket, container, timeout);
  if (const Json* sleep = Find(handler, "sleep"))
    return runtime_.SleepFor(SecondsAt(*sleep, "seconds", 0));
  return Error(Code::kInvalidArgument, "the handler is none of exec, httpGet, tcpSocket and sleep");
}

Status Prober::AskExec(TaskGroup& group, const Json& exec, const std::string& container_id,
                       Duration timeout) {
  static std::atomic<std::uint64_t> counter{0};
  containers::Pipe out = TRY(containers::MakePipe());
  containers::ExecStart start;
  start.id = container_id;
  for (const Json& item : ArrayAt(exec, "command")) {
    if (item.is_string()) start.command.emplace_back(item.get_string());
  }
  start.stdout_fd = start.stderr_fd = out.write.get();
  start.pid_file = scratch_folder_ + "/probe-" + std::to_string(++counter);
  containers::ChildProcess child = TRY(containers_.Exec(start));
  out.write.Reset();
  const containers::StopFd stop(group);
  const Result<int> code = child.Wait(timeout, stop.fd());
  if (!code.ok()) {
    // The program in the container is not runc's child any more: it has to be named.
    const Result<std::string> pid = ReadFile(start.pid_file, 64);
    if (pid.ok() && std::atoi(pid->c_str()) > 1) kill(std::atoi(pid->c_str()), SIGKILL);
  }
  unlink(start.pid_file.c_str());
  if (code.Is(Code::kDeadlineExceeded)) {
    return Error(Code::kDeadlineExceeded, "command timed out after " + FormatDuration(timeout));
  }
  if (!code.ok()) return code.error();
  if (*code == 0) return {};
  const std::string said = ReadSome(out.read.get());
  return Error(Code::kFailedPrecondition,
               said.empty() ? "command ended with code " + std::to_string(*code) : said);
}

Status Prober::AskHttp(const Json& get, const Json& container, Duration timeout) {
  const Json* port = Find(get, "port");
  const bool tls = StringAt(get, "scheme") == "HTTPS";
  std::string path = StringAt(get, "path", "/");
  if (path.empty() || path.front() != '/') path = "/" + path;
  net::HttpRequest request;
  request.url = (tls ? "https://" : "http://") + StringAt(get, "host", "127.0.0.1") + ":" +
                std::to_string(port != nullptr ? ResolvePort(*port, container) : 0) + path;
  request.timeout = timeout;
  for (const Json& header : ArrayAt(get, "httpHeaders")) {
    request.headers.Add(StringAt(header, "name"), StringAt(header, "value"));
  }
  net::HttpClientOptions options;
  options.insecure = true;
  const net::HttpResponse response = TRY(net::MakeHttpClient(std::move(options))->Do(request));
  if (response.status >= 200 && response.status < 400) return {};
  return Error(Code::kFailedPrecondition,
               "HTTP probe failed with statuscode: " + std::to_string(response.status));
}

Status Prober::AskTcp(const Json& socket_json, const Json& container, Duration timeout) {
  const Json* port = Find(socket_json, "port");
  struct sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port =
      htons(static_cast<std::uint16_t>(port != nullptr ? ResolvePort(*port, container) : 0));
  const std::string host = StringAt(socket_json, "host", "127.0.0.1");
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    return Error(Code::kInvalidArgument, "tcpSocket.host " + host + " is not an IPv4 address");
  }
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrnoError(errno, "socket");
  if (connect(fd.get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof address) == 0)
    return {};
  if (errno != EINPROGRESS) return ErrnoError(errno, "connect");
  struct pollfd wait = {fd.get(), POLLOUT, 0};
  const int limit = static_cast<int>(std::chrono::ceil<milliseconds>(timeout).count());
  if (poll(&wait, 1, limit) <= 0) return Error(Code::kDeadlineExceeded, "connect timed out");
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return ErrnoError(error, "connect to " + host);
  return {};
}

void Prober::Run(TaskGroup& group, const ProbePlan& plan, const Json& probe, const Json& container,
                 const std::string& container_id, const std::function<bool()>& started,
                 const std::function<void(bool good, const std::string& message)>& on_verdict) {
  ProbeTally tally(plan);
  if (plan.initial_delay > Duration{0} && !runtime_.SleepFor(plan.initial_delay).ok()) return;
  while (!group.stopped()) {
    const bool held = plan.kind != ProbeKind::kStartup && !started();
    if (!held) {
      const Status answer = Ask(group, probe, container, container_id, plan.timeout);
      if (group.stopped()) return;
      const ProbeTally::Verdict verdict = tally.Count(answer.ok());
      if (verdict == ProbeTally::Verdict::kGood) on_verdict(true, "");
      if (verdict == ProbeTally::Verdict::kBad) on_verdict(false, answer.error().message());
      if (verdict == ProbeTally::Verdict::kGood && plan.kind == ProbeKind::kStartup) return;
    }
    // A probe that is held back looks soon, so that readiness follows the startup closely.
    if (!runtime_.SleepFor(held ? Duration(milliseconds(200)) : plan.period).ok()) return;
  }
}

}  // namespace thinsnap::kubelet
