#include "simulator/streams/exec_bridge.h"

#include <boost/beast/core/string.hpp>
#include <utility>

#include "base/data/json.h"

namespace thinsnap::streams {

std::string ExecStatus(int exit_code, const std::string& error) {
  if (!error.empty()) {
    return ToJson({{"metadata", JsonObject()},
                   {"status", "Failure"},
                   {"reason", "InternalError"},
                   {"message", error},
                   {"code", 500}});
  }
  if (exit_code == 0) return ToJson({{"metadata", JsonObject()}, {"status", "Success"}});
  JsonArray causes;
  causes.push_back({{"reason", "ExitCode"}, {"message", std::to_string(exit_code)}});
  return ToJson({{"metadata", JsonObject()},
                 {"status", "Failure"},
                 {"reason", "NonZeroExitCode"},
                 {"message", "command terminated with non-zero exit code: exit status " +
                                 std::to_string(exit_code)},
                 {"details", {{"causes", std::move(causes)}}}});
}

namespace {

// {"Width": 80, "Height": 24}; as Go reads it, in any letter case: JavaScript's client writes small
// letters.
void Resize(ExecSession& session, const std::string& size) {
  const auto parsed = ParseJson(size);
  if (!parsed.ok() || !parsed->is_object()) return;
  int width = 0, height = 0;
  for (const auto& [name, value] : parsed->as_object()) {
    const auto number = static_cast<int>(IntAt(*parsed, name));
    if (boost::beast::iequals(name, "Width")) width = number;
    if (boost::beast::iequals(name, "Height")) height = number;
  }
  session.Resize(width, height);
}

}  // namespace

std::shared_ptr<ExecSession> ExecBridge::Session() {
  std::lock_guard lock(mutex_);
  return session_;
}

std::shared_ptr<ExecTransport> ExecBridge::Transport() {
  std::lock_guard lock(mutex_);
  return transport_;
}

// The program is held back by a client that reads slowly.
void ExecBridge::Send(ExecChannel channel, const std::string& bytes) {
  auto transport = Transport();
  if (!transport) return;
  transport->Send(channel, bytes);
  while (transport && transport->pending_bytes() > kClientHighWater && host_.pause()) {
    transport = Transport();
  }
}

void ExecBridge::Conclude(const std::string& status) {
  if (auto transport = Transport()) {
    transport->Send(ExecChannel::kError, status);
    transport->Finish();
  }
}

void ExecBridge::Start(ContainerAccess& access, const ExecRequest& request) {
  auto self = shared_from_this();
  ExecCallbacks callbacks;
  callbacks.on_stdout = [self](const std::string& bytes) {
    self->Send(ExecChannel::kStdout, bytes);
  };
  callbacks.on_stderr = [self](const std::string& bytes) {
    self->Send(ExecChannel::kStderr, bytes);
  };
  callbacks.on_exit = [self](int exit_code, const std::string& error) {
    self->Conclude(ExecStatus(exit_code, error));
  };
  auto started = access.Exec(request, std::move(callbacks));
  if (!started.ok()) {
    Conclude(ExecStatus(0, started.error().message()));
    return;
  }
  std::shared_ptr<ExecSession> session = std::move(*started);
  std::string input, size;
  bool close = false, dropped = false;
  {
    std::lock_guard lock(mutex_);
    dropped = dropped_;
    if (!dropped) {
      session_ = session;
      input = std::move(early_stdin_);
      size = std::move(early_size_);
      close = early_close_;
    }
  }
  if (dropped) {
    host_.dispose(std::move(session));
    return;
  }
  if (!size.empty()) Resize(*session, size);
  if (!input.empty()) session->WriteStdin(std::move(input));
  if (close) session->CloseStdin();
}

void ExecBridge::Receive(ExecChannel channel, std::string bytes) {
  if (channel != ExecChannel::kStdin && channel != ExecChannel::kResize) return;
  std::shared_ptr<ExecSession> session;
  {
    std::lock_guard lock(mutex_);
    session = session_;
    if (!session && channel == ExecChannel::kStdin) early_stdin_ += bytes;
    if (!session && channel == ExecChannel::kResize) early_size_ = bytes;
  }
  if (!session) return;
  if (channel == ExecChannel::kStdin) {
    session->WriteStdin(std::move(bytes));
  } else {
    Resize(*session, bytes);
  }
}

void ExecBridge::CloseStdin() {
  if (auto session = Session()) {
    session->CloseStdin();
    return;
  }
  std::lock_guard lock(mutex_);
  early_close_ = true;
}

void ExecBridge::Drop() {
  std::shared_ptr<ExecSession> session;
  std::shared_ptr<ExecTransport> transport;
  {
    std::lock_guard lock(mutex_);
    dropped_ = true;
    session = std::move(session_);
    transport = std::move(transport_);
  }
  if (session) host_.dispose(std::move(session));
}

}  // namespace thinsnap::streams
