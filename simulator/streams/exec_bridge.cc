#include "simulator/streams/exec_bridge.h"

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
  std::string input;
  bool close = false, dropped = false;
  {
    std::lock_guard lock(mutex_);
    dropped = dropped_;
    if (!dropped) {
      session_ = session;
      input = std::move(early_stdin_);
      close = early_close_;
    }
  }
  if (dropped) {
    host_.dispose(std::move(session));
    return;
  }
  if (!input.empty()) session->WriteStdin(std::move(input));
  if (close) session->CloseStdin();
}

void ExecBridge::Receive(ExecChannel channel, std::string bytes) {
  auto session = Session();
  if (channel == ExecChannel::kStdin) {
    if (session) {
      session->WriteStdin(std::move(bytes));
    } else {
      std::lock_guard lock(mutex_);
      early_stdin_ += bytes;
    }
  } else if (channel == ExecChannel::kResize && session) {
    const auto size = ParseJson(bytes);
    if (size.ok())
      session->Resize(static_cast<int>(IntAt(*size, "Width")),
                      static_cast<int>(IntAt(*size, "Height")));
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
