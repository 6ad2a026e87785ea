// ContainerAccess: how the API server reaches into a running pod, for logs, exec and its ports. The
// kubelet of the pod's node is on the other end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/net/http_server.h"

namespace thinsnap::streams {

struct ContainerAddress {
  std::string node, ns, pod, pod_uid, container;
};

struct LogRequest {
  ContainerAddress container;
  bool follow = false, previous = false, timestamps = false;
  std::optional<std::int64_t> tail_lines, limit_bytes;
  std::optional<WallTime> since;
};

struct ExecRequest {
  ContainerAddress container;
  // Empty: the client joins the program that runs already; stdin_open: its input goes there.
  std::vector<std::string> command;
  bool stdin_open = false, tty = false;
};

// What the running program says. Called one at a time from a Runtime worker; may block.
struct ExecCallbacks {
  std::function<void(std::string)> on_stdout, on_stderr;
  std::function<void(int exit_code, std::string error)>
      on_exit;  // last; error empty unless it could not be run
};

class ExecSession {
 public:
  virtual ~ExecSession() = default;  // kills the program if it still runs
  virtual void WriteStdin(std::string bytes) = 0;
  virtual void CloseStdin() = 0;
  virtual void Resize(int columns, int rows) = 0;
};

// What comes from a port of a pod. Called one at a time from a Runtime worker; may block.
struct PortCallbacks {
  std::function<void(std::string)> on_data;
  std::function<void()> on_end;  // last
};

// A connection to a port of a pod.
class PortSession {
 public:
  virtual ~PortSession() = default;  // closes it; no callback comes afterwards
  virtual void Write(std::string bytes) = 0;
  virtual void CloseWrite() = 0;
};

// Thread-safe.
class ContainerAccess {
 public:
  virtual ~ContainerAccess() = default;
  // kNotFound: no such container (yet); kUnavailable: the node does not answer. Returns when the
  // first bytes can flow; pushes text to the stream and closes it at the end.
  virtual Status Logs(const LogRequest& request, std::shared_ptr<net::Stream> to) = 0;
  virtual Result<std::unique_ptr<ExecSession>> Exec(const ExecRequest& request,
                                                    ExecCallbacks callbacks) = 0;
  // The container is not looked at. kUnavailable: nobody listens there.
  virtual Result<std::unique_ptr<PortSession>> Connect(const ContainerAddress& pod, int port,
                                                       PortCallbacks callbacks) = 0;
};

}  // namespace thinsnap::streams
