// Clients that join a running container: its output, its input, its terminal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/json.h"
#include "base/kube/object.h"
#include "tests/unit/kubelet/kubelet_fixture.h"

namespace thinsnap::kubelet {
namespace {

using testing::HasSubstr;

// A client that joins a running program, as `kubectl attach` does.
class Attached {
 public:
  Attached(Runtime& runtime, streams::ContainerAccess& access, const std::string& pod, bool tty)
      : changed_(runtime.NewEventCount()) {
    const auto take = [this](const std::string& piece) {
      std::lock_guard lock(mutex_);
      text_ += piece;
      changed_->Notify();
    };
    streams::ExecCallbacks callbacks{take, take, [this](int, const std::string& error) {
                                       std::lock_guard lock(mutex_);
                                       ended_ = true;
                                       text_ += error;
                                       changed_->Notify();
                                     }};
    auto session =
        access.Exec({{"n1", "default", pod, "", "c"}, {}, true, tty}, std::move(callbacks));
    EXPECT_TRUE(session.ok()) << session.error().ToString();
    if (session.ok()) session_ = std::move(*session);
  }

  void Type(const std::string& text) { session_->WriteStdin(text); }
  void CloseStdin() { session_->CloseStdin(); }
  void Resize(int columns, int rows) { session_->Resize(columns, rows); }
  // All that came, once it has this in it.
  std::string Until(const std::string& wanted) {
    return Wait([&] { return text_.find(wanted) != std::string::npos; });
  }
  std::string UntilEnd() {
    return Wait([&] { return ended_; });
  }

 private:
  std::string Wait(const std::function<bool()>& done) {
    for (;;) {
      const std::uint64_t seen = changed_->Seen();
      {
        std::lock_guard lock(mutex_);
        if (done()) return text_;
      }
      if (!changed_->Wait(seen, SystemClock().MonoNow() + std::chrono::minutes(1)).ok()) {
        std::lock_guard lock(mutex_);
        return "timeout after: " + text_;
      }
    }
  }

  std::unique_ptr<EventCount> changed_;
  std::mutex mutex_;
  std::string text_;
  bool ended_ = false;
  std::unique_ptr<streams::ExecSession> session_;
};

TEST_F(KubeletTest, TheInputOfAContainerEndsWithItsOnlyClient) {
  CreatePod("p", R"({"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox",
    "stdin": true, "stdinOnce": true, "command": ["sh", "-c", "cat; echo end"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  {
    Attached client(runtime_, *access_, "p", false);
    client.Type("some");
    EXPECT_EQ(client.Until("some"), "some");
    client.Type(" input\n");
    client.CloseStdin();
    EXPECT_EQ(client.UntilEnd(), "some input\nend\n");
  }
  EXPECT_TRUE(WaitForPhase("p", "Succeeded"));
}

TEST_F(KubeletTest, AnInputThatIsNotForOnceStaysOpen) {
  CreatePod("p", R"({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c",
    "image": "busybox", "stdin": true, "command": ["cat"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  Attached listener(runtime_, *access_, "p", false);
  for (const std::string word : {"one ", "two "}) {
    Attached client(runtime_, *access_, "p", false);
    client.Type(word);
    EXPECT_EQ(client.Until(word), word);
    client.CloseStdin();
    client.UntilEnd();
  }
  EXPECT_EQ(listener.Until("two "), "one two ");
}

TEST_F(KubeletTest, AttachedBytesAreAllThereBothWays) {
  CreatePod("p", R"({"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox",
    "stdin": true, "stdinOnce": true, "command": ["cat"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  std::string big;
  for (int i = 0; big.size() < 6'000'000; ++i) big += std::to_string(i) + "\n";
  Attached client(runtime_, *access_, "p", false);
  client.Type(big);
  client.CloseStdin();
  EXPECT_TRUE(client.UntilEnd() == big);
}

TEST_F(KubeletTest, ATerminalOutlivesItsClients) {
  CreatePod("p", R"({"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox",
    "stdin": true, "stdinOnce": true, "tty": true, "command": ["sh"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  {
    Attached client(runtime_, *access_, "p", true);
    // The prompt came before the client, and is there all the same.
    EXPECT_THAT(client.Until("# "), HasSubstr("# "));
    client.Resize(97, 31);
    client.Type("stty size; tty; echo $TERM; x=kept\n");
    EXPECT_THAT(client.Until("xterm"), HasSubstr("31 97\r\n/dev/pts/0\r\nxterm"));
  }
  Attached client(runtime_, *access_, "p", true);
  client.Type("echo again $x; exit 4\n");
  EXPECT_THAT(client.UntilEnd(), HasSubstr("again kept"));
  ASSERT_TRUE(WaitForPhase("p", "Failed"));
  EXPECT_EQ(ExitCode(*client_.Get(kube::types::kPod, {"default", "p"})), 4);
}

}  // namespace
}  // namespace thinsnap::kubelet
