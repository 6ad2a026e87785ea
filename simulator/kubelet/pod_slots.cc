// PodWorker's containers: those that the pod's spec names, and what is known of their past.
#include <utility>

#include "base/data/json.h"
#include "base/kube/object.h"
#include "simulator/kubelet/pod_slot.h"

namespace thinsnap::kubelet {
namespace {

std::optional<Termination> ReadTermination(const Json* state) {
  if (state == nullptr) return std::nullopt;
  Termination end;
  end.exit_code = static_cast<int>(IntAt(*state, "exitCode"));
  end.reason = StringAt(*state, "reason");
  end.message = StringAt(*state, "message");
  end.container_id = StringAt(*state, "containerID");
  end.started = ParseRfc3339(StringAt(*state, "startedAt")).ValueOr(WallTime());
  end.finished = ParseRfc3339(StringAt(*state, "finishedAt")).ValueOr(WallTime());
  return end;
}

}  // namespace

RestartPolicy PolicyOf(const Json& pod) {
  const std::string policy = StringAt(pod, "spec.restartPolicy", "Always");
  if (policy == "Never") return RestartPolicy::kNever;
  return policy == "OnFailure" ? RestartPolicy::kOnFailure : RestartPolicy::kAlways;
}

bool IsOver(const Json& pod) {
  const std::string phase = StringAt(pod, "status.phase");
  return phase == "Succeeded" || phase == "Failed";
}

const Json* SpecOf(const Json& pod, const std::string& name) {
  for (const ContainerList* list : {&kMainContainers, &kInitContainers, &kEphemeralContainers}) {
    for (const Json& container : ArrayAt(pod, list->spec)) {
      if (StringAt(container, "name") == name) return &container;
    }
  }
  return nullptr;
}

PodWorker::PodWorker(NodeContext& node, kube::ObjectPtr pod)
    : node_(node),
      uid_(kube::UidOf(*pod)),
      key_(kube::KeyOf(*pod)),
      changed_(node.runtime.NewEventCount()),
      latest_(pod),
      pod_(std::move(pod)) {
  AddSlots();
}

void PodWorker::AddSlots() {
  std::lock_guard lock(mutex_);
  for (const ContainerList* list : {&kInitContainers, &kMainContainers, &kEphemeralContainers}) {
    for (const Json& container : ArrayAt(*pod_, list->spec)) {
      const std::string name = StringAt(container, "name");
      if (FindSlot(name) != nullptr) continue;
      auto slot = std::make_unique<Slot>();
      slot->name = name;
      slot->init = list == &kInitContainers;
      slot->sidecar = slot->init && StringAt(container, "restartPolicy") == "Always";
      slot->ephemeral = list == &kEphemeralContainers;
      slots_.push_back(std::move(slot));
    }
  }
}

PodWorker::Slot* PodWorker::FindSlot(const std::string& name) {
  for (const auto& slot : slots_) {
    if (slot->name == name) return slot.get();
  }
  return nullptr;
}

PodWorker::Slot& PodWorker::SlotOf(const std::string& name) {
  Slot* slot = FindSlot(name);
  ASSERT(slot != nullptr);
  return *slot;
}

std::optional<ContainerPlace> PodWorker::Locate(const std::string& container) const {
  std::lock_guard lock(mutex_);
  for (const auto& slot : slots_) {
    if (slot->name != container) continue;
    ContainerPlace place;
    place.id = slot->id;
    place.running = slot->running;
    place.io = slot->running ? slot->io : nullptr;
    // Between two attempts the last one is the present one.
    const int present = slot->ran ? slot->attempt : slot->attempt - 1;
    place.ever_started = present >= 0;
    if (present >= 0) place.log_path = LogPath(*slot, present);
    if (present >= 1) place.previous_log_path = LogPath(*slot, present - 1);
    return place;
  }
  return std::nullopt;
}

void PodWorker::TakeOver() {
  const bool over = IsOver(*pod_);
  reported_over_ = over;
  const RestartPolicy policy = PolicyOf(*pod_);
  bool main_starts = false;
  for (auto it = slots_.rbegin(); it != slots_.rend(); ++it) {  // the main ones first
    Slot& slot = **it;
    const ContainerList& list = slot.init        ? kInitContainers
                                : slot.ephemeral ? kEphemeralContainers
                                                 : kMainContainers;
    const Json* found = nullptr;
    for (const Json& status : ArrayAt(*pod_, list.status)) {
      if (StringAt(status, "name") == slot.name) found = &status;
    }
    std::optional<Termination> end;
    if (found != nullptr) {
      slot.attempt = static_cast<int>(IntAt(*found, "restartCount"));
      end = ReadTermination(Find(*found, "state.terminated"));
      if (!end) end = ReadTermination(Find(*found, "lastState.terminated"));
      if (Find(*found, "state.running") != nullptr) {
        // It ran when the node went down.
        end = Termination{
            .exit_code = 137,
            .reason = "Error",
            .message = "the node went down",
            .container_id = StringAt(*found, "containerID"),
            .started =
                ParseRfc3339(StringAt(*found, "state.running.startedAt")).ValueOr(WallTime()),
            .finished = node_.runtime.clock().Now()};
      }
    }
    if (over || slot.ephemeral) {
      // Nothing of it runs any more, but its logs are still asked for.
      slot.ran = end.has_value();
      slot.ended = end;
      continue;
    }
    if (slot.init) {
      // A new life of the pod runs its init containers again, if there is anything left to
      // initialize.
      if (end && main_starts) slot.previous = end;
      if (end && main_starts) ++slot.attempt;
      continue;
    }
    const bool again = !end || policy == RestartPolicy::kAlways ||
                       (policy == RestartPolicy::kOnFailure && end->exit_code != 0);
    main_starts |= again;
    if (!end) continue;
    if (again) {
      slot.previous = end;
      ++slot.attempt;
    } else {
      slot.ran = true;
      slot.ended = end;
      slot.finished = node_.runtime.clock().MonoNow();
    }
  }
}

}  // namespace thinsnap::kubelet
