#include "base/kube/lease.h"

#include <atomic>

#include "tests/unit/kube/server_fixture.h"

namespace thinsnap::kube {
namespace {

using std::chrono_literals::operator""h;
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
      RunWithLease(runtime_, *client_, group, Options("one"), [&](TaskGroup&) -> Status {
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
      const Status outcome =
          RunWithLease(runtime_, *client_, group, Options(identity), [&](TaskGroup&) -> Status {
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
      RunWithLease(runtime_, *client_, group, Options("one"), [&](TaskGroup&) -> Status {
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

}  // namespace
}  // namespace thinsnap::kube
