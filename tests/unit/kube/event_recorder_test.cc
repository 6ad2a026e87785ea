#include "base/kube/event_recorder.h"

#include "tests/unit/kube/server_fixture.h"

namespace thinsnap::kube {
namespace {

class EventRecorderTest : public ServerTest {
 protected:
  std::vector<Json> Events() { return client_->List(types::kEvent, "default")->items; }
};

TEST_F(EventRecorderTest, CountsARepetitionUp) {
  const Json object = Make("a");
  EventRecorder events(*client_, clock_, random_, "test");
  for (int i = 0; i < 3; ++i) events.Emit(object, "Warning", "Failed", "no room");
  events.Emit(object, "Warning", "Failed", "another thing");
  const auto made = Events();
  ASSERT_EQ(made.size(), 2U);
  std::int64_t most = 0;
  for (const Json& event : made) most = std::max(most, IntAt(event, "count"));
  EXPECT_EQ(most, 3);
}

// A server refuses half a character: the event would be dropped.
TEST_F(EventRecorderTest, ALongTextIsCutBetweenTwoCharacters) {
  const Json object = Make("a");
  EventRecorder events(*client_, clock_, random_, "test");
  std::string text(1023, 'x');
  for (int i = 0; i < 10; ++i) text += "\u20ac";
  events.Emit(object, "Normal", "Long", text);
  const auto made = Events();
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(StringAt(made[0], "message"), std::string(1023, 'x'));
}

}  // namespace
}  // namespace thinsnap::kube
