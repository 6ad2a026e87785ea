// EventRecorder: core/v1 Events, for `kubectl describe`.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/kube/client.h"

namespace thinsnap::kube {

// Emits core/v1 Events: repeated ones of one object are counted up instead of made anew.
// Thread-safe; failures are logged and dropped.
class EventRecorder {
 public:
  EventRecorder(KubeClient& client, Clock& clock, Random& random, std::string component);
  ~EventRecorder();
  // type: "Normal" or "Warning".
  void Emit(const Json& object, std::string_view type, std::string_view reason,
            std::string_view message);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace thinsnap::kube
