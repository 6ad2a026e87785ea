// What a client says before and while its program runs reaches the program.
#include "simulator/streams/exec_bridge.h"

#include <gmock/gmock.h>

namespace thinsnap::streams {
namespace {

using ::testing::ElementsAre;

class SilentTransport final : public ExecTransport {
 public:
  void Send(ExecChannel, std::string_view) override {}
  std::uint64_t pending_bytes() const override { return 0; }
  void Finish() override {}
};

// Writes down what its session is told; while it starts, `meanwhile` happens.
class RecordingAccess final : public ContainerAccess {
 public:
  Status Logs(const LogRequest&, std::shared_ptr<net::Stream>) override { return {}; }
  Result<std::unique_ptr<ExecSession>> Exec(const ExecRequest&, ExecCallbacks) override {
    meanwhile();
    return std::unique_ptr<ExecSession>(std::make_unique<Session>(told));
  }
  Result<std::unique_ptr<PortSession>> Connect(const ContainerAddress&, int,
                                               PortCallbacks) override {
    return Error(Code::kUnavailable, "no ports");
  }

  std::function<void()> meanwhile = [] {};
  std::vector<std::string> told;

 private:
  class Session final : public ExecSession {
   public:
    explicit Session(std::vector<std::string>& told) : told_(told) {}
    void WriteStdin(std::string bytes) override { told_.push_back(bytes); }
    void CloseStdin() override { told_.emplace_back("end"); }
    void Resize(int columns, int rows) override {
      told_.push_back(std::to_string(columns) + "x" + std::to_string(rows));
    }

   private:
    std::vector<std::string>& told_;
  };
};

class ExecBridgeTest : public ::testing::Test {
 protected:
  ~ExecBridgeTest() override { bridge_->Drop(); }

  RecordingAccess access_;
  std::shared_ptr<ExecBridge> bridge_ = std::make_shared<ExecBridge>(
      std::make_shared<SilentTransport>(),
      SessionHost{.dispose = [](const std::shared_ptr<void>&) {}, .pause = [] { return false; }});
};

TEST_F(ExecBridgeTest, ReadsSizesInAnyLetterCase) {
  bridge_->Start(access_, {});
  bridge_->Receive(ExecChannel::kResize, R"({"Width":80,"Height":24})");  // kubectl
  bridge_->Receive(ExecChannel::kResize, R"({"height":33,"width":99})");  // JavaScript's client
  for (const char* wrong : {"", "[]", "{", "7"}) bridge_->Receive(ExecChannel::kResize, wrong);
  EXPECT_THAT(access_.told, ElementsAre("80x24", "99x33"));
}

TEST_F(ExecBridgeTest, KeepsWhatComesBeforeTheProgram) {
  access_.meanwhile = [this] {
    bridge_->Receive(ExecChannel::kResize, R"({"Width":1,"Height":1})");
    bridge_->Receive(ExecChannel::kResize, R"({"Width":80,"Height":24})");
    bridge_->Receive(ExecChannel::kStdin, "typed ");
    bridge_->Receive(ExecChannel::kStdin, "early");
    bridge_->CloseStdin();
  };
  bridge_->Start(access_, {});
  EXPECT_THAT(access_.told, ElementsAre("80x24", "typed early", "end"));
}

}  // namespace
}  // namespace thinsnap::streams
