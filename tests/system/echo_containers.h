// Containers for tests without a kubelet. They know a few commands: echo WORDS, cat (standard input
// back, until it ends), zeros MIB and fail CODE; they have said "one" and "two", send back what
// port 7 gets, and to clients that attach what these say.
#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "base/core/runtime.h"
#include "simulator/streams/container_access.h"

namespace thinsnap {

class EchoSession final : public streams::ExecSession {
 public:
  EchoSession(Runtime& runtime, streams::ExecRequest request, streams::ExecCallbacks callbacks)
      : request_(std::move(request)),
        callbacks_(std::move(callbacks)),
        input_(runtime, 64),
        tasks_(runtime) {
    tasks_.Spawn("exec", [this] { Run(); });
  }
  ~EchoSession() override { tasks_.Stop(); }
  void WriteStdin(std::string bytes) override { std::ignore = input_.Send(std::move(bytes)); }
  void CloseStdin() override { input_.Close(); }
  void Resize(int, int) override {}

 private:
  void Run() {
    const std::string& command = request_.command[0];
    if (command == "attach") {
      callbacks_.on_stdout("what it says\n");
      if (request_.stdin_open) SendBack();
      callbacks_.on_exit(0, "");
    } else if (command == "zeros") {
      for (int left = std::stoi(request_.command[1]); left > 0; --left)
        callbacks_.on_stdout(std::string(std::size_t{1} << 20, '0'));
      callbacks_.on_exit(0, "");
    } else if (command == "echo") {
      std::string text;
      for (std::size_t i = 1; i < request_.command.size(); ++i)
        text += (i > 1 ? " " : "") + request_.command[i];
      callbacks_.on_stdout(text + "\n");
      callbacks_.on_exit(0, "");
    } else if (command == "cat") {
      SendBack();
      callbacks_.on_exit(0, "");
    } else if (command == "fail") {
      callbacks_.on_stderr("bad\n");
      callbacks_.on_exit(std::stoi(request_.command[1]), "");
    } else {
      callbacks_.on_exit(0, "exec: " + command + ": not found");
    }
  }

  void SendBack() {
    for (auto piece = input_.Receive(); piece.ok() && *piece; piece = input_.Receive()) {
      callbacks_.on_stdout(std::move(**piece));
    }
  }

  const streams::ExecRequest request_;
  const streams::ExecCallbacks callbacks_;
  Channel<std::string> input_;
  TaskGroup tasks_;
};

// A port that sends back what it gets.
class EchoPort final : public streams::PortSession {
 public:
  explicit EchoPort(streams::PortCallbacks callbacks) : callbacks_(std::move(callbacks)) {}
  void Write(std::string bytes) override { callbacks_.on_data(std::move(bytes)); }
  void CloseWrite() override { callbacks_.on_end(); }

 private:
  const streams::PortCallbacks callbacks_;
};

class EchoContainers final : public streams::ContainerAccess {
 public:
  explicit EchoContainers(Runtime& runtime) : runtime_(runtime) {}
  Status Logs(const streams::LogRequest& request, std::shared_ptr<net::Stream> to) override {
    if (request.previous) return Error(Code::kNotFound, "it has not run before");
    const std::string text = request.tail_lines == 1 ? "two\n" : "one\ntwo\n";
    to->Push(std::make_shared<const std::string>(text));
    to->Close();
    return {};
  }
  Result<std::unique_ptr<streams::ExecSession>> Exec(const streams::ExecRequest& request,
                                                     streams::ExecCallbacks callbacks) override {
    streams::ExecRequest wanted = request;
    if (wanted.command.empty()) wanted.command = {"attach"};
    return std::unique_ptr<streams::ExecSession>(
        std::make_unique<EchoSession>(runtime_, std::move(wanted), std::move(callbacks)));
  }
  Result<std::unique_ptr<streams::PortSession>> Connect(const streams::ContainerAddress&, int port,
                                                        streams::PortCallbacks callbacks) override {
    if (port != 7) return Error(Code::kUnavailable, "nobody listens there");
    return std::unique_ptr<streams::PortSession>(std::make_unique<EchoPort>(std::move(callbacks)));
  }

 private:
  Runtime& runtime_;
};

}  // namespace thinsnap
