#include "base/kube/lease.h"

#include <atomic>

#include "base/core/farewell.h"
#include "tests/unit/kube/forwarding_client.h"
#include "tests/unit/kube/server_fixture.h"
#include "tests/virtual_time.h"

namespace thinsnap::kube {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

class LeaseTest : public ServerTest {
 protected:
  LeaseOptions Options(const std::string& identity) {
    return {.key = {"default", "lock"}, .identity = identity, .duration = 1s, .renew_every = 50ms};
  }
};

TEST_F(LeaseTest, IsHeldWhileLeadingAndReleasedAfter) {
  TaskGroup group(runtime_);
  std::string holder;
  const Status led =
      RunWithLease(runtime_, *client_, group, group, Options("one"), [&](TaskGroup&) -> Status {
        holder = StringAt(*client_->Get(types::kLease, {"default", "lock"}), "spec.holderIdentity");
        return {};
      });
  EXPECT_TRUE(led.ok()) << led.error().ToString();
  EXPECT_EQ(holder, "one");
  EXPECT_EQ(StringAt(*client_->Get(types::kLease, {"default", "lock"}), "spec.holderIdentity"), "");
}

TEST_F(LeaseTest, OnlyOneLeadsAtATime) {
  std::atomic<int> leading{0}, led{0};
  TaskGroup group(runtime_);
  for (const char* name : {"one", "two", "three"}) {
    group.Spawn(name, [&, identity = std::string(name)] {
      const Status outcome = RunWithLease(runtime_, *client_, group, group, Options(identity),
                                          [&](TaskGroup&) -> Status {
                                            EXPECT_EQ(++leading, 1);
                                            const Status slept = runtime_.SleepFor(20ms);
                                            --leading;
                                            ++led;
                                            return slept;
                                          });
      EXPECT_TRUE(outcome.ok()) << outcome.error().ToString();
    });
  }
  group.Join();
  EXPECT_EQ(led, 3);
}

TEST_F(LeaseTest, TheWorkIsStoppedWhenTheLeaseIsTaken) {
  TaskGroup group(runtime_);
  const Status outcome =
      RunWithLease(runtime_, *client_, group, group, Options("one"), [&](TaskGroup&) -> Status {
        Json lease = *client_->Get(types::kLease, {"default", "lock"});
        Set(lease, "spec.holderIdentity", "thief");
        Set(lease, "spec.renewTime", FormatRfc3339Micro(clock_.Now()).c_str());
        // The renewal may be faster than this write: then once more.
        while (client_->Update(types::kLease, lease).Is(Code::kAborted)) {
          lease = *client_->Get(types::kLease, {"default", "lock"});
          Set(lease, "spec.holderIdentity", "thief");
        }
        return runtime_.SleepFor(1h);
      });
  EXPECT_TRUE(outcome.Is(Code::kAborted)) << outcome.ok();
  EXPECT_EQ(StringAt(*client_->Get(types::kLease, {"default", "lock"}), "spec.holderIdentity"),
            "thief");
}

// A client whose connection can be lost as behind a dead load balancer: a request neither arrives
// nor fails; the stop of its group ends it, or not even that.
class LosableClient final : public ForwardingClient {
 public:
  enum class Line { kGood, kSilent, kStuck };

  LosableClient(Runtime& runtime, KubeClient& inner)
      : ForwardingClient(inner), runtime_(runtime), changed_(runtime.NewEventCount()) {}

  void Set(Line line) {
    line_ = line;
    changed_->Notify();
  }

 private:
  // As the HTTP client does: refused in a stopped group, ended by its stop.
  Status Travel(std::string_view) override {
    for (;;) {
      const auto seen = changed_->Seen();
      if (line_ == Line::kGood) return Runtime::CheckCancelled();
      const Status waited = changed_->Wait(seen);
      if (line_ == Line::kStuck) {
        TaskGroup deaf(runtime_);
        deaf.Spawn("stuck", [this] {
          for (auto at = changed_->Seen(); line_ == Line::kStuck; at = changed_->Seen()) {
            EXPECT_TRUE(changed_->Wait(at).ok());
          }
        });
        deaf.Join();
        continue;
      }
      TRY(waited);
    }
  }

  Runtime& runtime_;
  std::unique_ptr<EventCount> changed_;
  std::atomic<Line> line_{Line::kGood};
};

// On virtual time, with the default durations: who leads when is exact.
class LeaseOnVirtualTime : public ::testing::Test {
 protected:
  void Run(const std::function<void()>& body) {
    RunWell(runtime_, [&] {
      apiserver::Options options;
      options.without_http = true;
      server_ = *apiserver::ApiServer::Start(runtime_, random_, options);
      inner_ = apiserver::MakeInProcessKubeClient(*server_, "test", {"system:masters"});
      body();
      inner_.reset();
      server_.reset();
    });
  }
  static LeaseOptions Options(const std::string& identity) {
    return {.key = {"default", "lock"}, .identity = identity};
  }
  std::string Holder() {
    return StringAt(*inner_->Get(types::kLease, {"default", "lock"}), "spec.holderIdentity");
  }

  FiberRuntime runtime_{1};
  SeededRandom random_{1};
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<KubeClient> inner_;
};

TEST_F(LeaseOnVirtualTime, NobodyElseLeadsBeforeTheWorkWasStoppedThoughARequestHangs) {
  for (const auto line : {LosableClient::Line::kSilent, LosableClient::Line::kStuck}) {
    std::vector<std::string> story;
    Run([&] {
      LosableClient lossy(runtime_, *inner_);
      TaskGroup group(runtime_);
      group.Spawn("one", [&] {
        const Status led =
            RunWithLease(runtime_, lossy, group, group, Options("one"), [&](TaskGroup&) -> Status {
              story.emplace_back("one leads");
              EXPECT_TRUE(runtime_.SleepFor(1min).ok()) << "renewed for a minute";
              lossy.Set(line);
              EXPECT_TRUE(runtime_.SleepFor(1h).Is(Code::kCancelled));
              EXPECT_TRUE(runtime_.SleepFor(1s).Is(Code::kCancelled));
              story.emplace_back("one stopped");
              lossy.Set(LosableClient::Line::kGood);
              return {};
            });
        EXPECT_TRUE(led.Is(Code::kAborted));
      });
      group.Spawn("two", [&] {
        EXPECT_TRUE(runtime_.SleepFor(5s).ok());
        const Status led = RunWithLease(runtime_, *inner_, group, group, Options("two"),
                                        [&](TaskGroup&) -> Status {
                                          story.emplace_back("two leads");
                                          return {};
                                        });
        EXPECT_TRUE(led.ok());
      });
      group.Join();
    });
    EXPECT_EQ(story, (std::vector<std::string>{"one leads", "one stopped", "two leads"}));
  }
}

TEST_F(LeaseOnVirtualTime, OneLostRequestLosesNoLease) {
  Run([&] {
    LosableClient lossy(runtime_, *inner_);
    TaskGroup group(runtime_);
    group.Spawn("one", [&] {
      const Status led =
          RunWithLease(runtime_, lossy, group, group, Options("one"), [&](TaskGroup&) -> Status {
            TRY(runtime_.SleepFor(4s));
            lossy.Set(LosableClient::Line::kSilent);
            TRY(runtime_.SleepFor(3s));
            lossy.Set(LosableClient::Line::kGood);
            return runtime_.SleepFor(1h);
          });
      EXPECT_TRUE(led.ok()) << led.error().ToString();
    });
    group.Join();
  });
}

TEST_F(LeaseOnVirtualTime, AStopReleasesTheLeaseInTheFarewell) {
  Run([&] {
    LosableClient client(runtime_, *inner_);
    TaskGroup group(runtime_);
    TaskGroup farewell(runtime_);
    group.Spawn("one", [&] {
      EXPECT_TRUE(RunWithLease(runtime_, client, group, farewell, Options("one"), [&](TaskGroup&) {
                    return runtime_.SleepFor(1h);
                  }).Is(Code::kCancelled));
    });
    EXPECT_TRUE(runtime_.SleepFor(1min).ok());
    EXPECT_EQ(Holder(), "one");
    EndWork(runtime_, group, farewell);
    EXPECT_EQ(Holder(), "");
  });
}

TEST_F(LeaseOnVirtualTime, AServerThatIsSilentKeepsNoProcessFromEnding) {
  Run([&] {
    LosableClient lossy(runtime_, *inner_);
    TaskGroup group(runtime_);
    TaskGroup farewell(runtime_);
    group.Spawn("one", [&] {
      EXPECT_FALSE(RunWithLease(runtime_, lossy, group, farewell, Options("one"), [&](TaskGroup&) {
                     return runtime_.SleepFor(1h);
                   }).ok());
    });
    EXPECT_TRUE(runtime_.SleepFor(1min).ok());
    lossy.Set(LosableClient::Line::kSilent);
    const MonoTime before = runtime_.clock().MonoNow();
    EndWork(runtime_, group, farewell);
    EXPECT_LE(runtime_.clock().MonoNow() - before, 5s);
    EXPECT_EQ(Holder(), "one");
  });
}

}  // namespace
}  // namespace thinsnap::kube
