#include "simulator/kubelet/pod_worker.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "base/core/log.h"
#include "base/data/json.h"
#include "base/kube/object.h"
#include "simulator/containers/remove_tree.h"
#include "simulator/kubelet/pod_slot.h"

namespace thinsnap::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kRefreshEvery = seconds(60);

std::uint64_t VersionNumber(const Json& object) {
  return std::strtoull(kube::ResourceVersionOf(object).c_str(), nullptr, 10);
}

}  // namespace

PodWorker::~PodWorker() = default;

void PodWorker::Update(kube::ObjectPtr pod) {
  {
    std::lock_guard lock(mutex_);
    // A pod of the same name with another uid is another pod.
    if (!pod || kube::UidOf(*pod) != uid_) {
      latest_gone_ = true;
    } else {
      latest_ = std::move(pod);
    }
  }
  changed_->Notify();
}

void PodWorker::ClaimChanged(const kube::ObjectKey& claim) {
  if (claim.ns != key_.ns) return;
  {
    std::lock_guard lock(mutex_);
    const auto names_it = [&claim](const Json& volume) {
      return StringAt(volume, "persistentVolumeClaim.claimName") == claim.name ||
             Find(volume, "ephemeral") != nullptr;
    };
    const JsonArray& volumes = ArrayAt(*latest_, "spec.volumes");
    if (std::none_of(volumes.begin(), volumes.end(), names_it)) return;
    claim_changed_ = true;
  }
  changed_->Notify();
}

void PodWorker::Run(TaskGroup& group) {
  group_ = &group;
  TakeOver();
  while (!group.stopped()) {
    const std::uint64_t seen = changed_->Seen();
    {
      std::lock_guard lock(mutex_);
      if (VersionNumber(*latest_) > VersionNumber(*pod_)) pod_ = latest_;
      gone_ = latest_gone_;
      if (std::exchange(claim_changed_, false)) next_mount_ = next_refresh_ = MonoTime();
    }
    AddSlots();  // ephemeral containers come to a pod that runs
    CollectExits();
    const MonoTime look_again = Step();
    if (finished_) return;
    const Status waited = changed_->Wait(seen, look_again);
    if (!waited.ok() && !waited.Is(Code::kDeadlineExceeded)) break;
  }
  for (const auto& slot : slots_) {
    slot->probes.reset();
    if (slot->running) node_.containers.Signal(slot->id, SIGTERM);
  }
}

void PodWorker::CollectExits() {
  std::vector<Exit> exits;
  std::vector<Verdict> verdicts;
  {
    std::lock_guard lock(mutex_);
    exits.swap(exits_);
    verdicts.swap(verdicts_);
  }
  for (const Verdict& verdict : verdicts) {
    for (const auto& slot : slots_) {
      if (slot->id != verdict.container_id || !slot->running) continue;
      if (verdict.kind == ProbeKind::kStartup && verdict.good) {
        slot->started = true;
        slot->ready |= !slot->has_readiness_probe;
      }
      if (verdict.kind == ProbeKind::kReadiness) slot->ready = verdict.good;
      if (verdict.good) continue;
      static constexpr const char* kNames[] = {"Startup", "Liveness", "Readiness"};
      Emit("Warning", "Unhealthy",
           std::string(kNames[static_cast<int>(verdict.kind)]) +
               " probe failed: " + verdict.message);
      if (verdict.kind != ProbeKind::kReadiness && !slot->stopping) {
        RequestStop(*slot, "Container " + slot->name + " failed its probe, will be restarted");
      }
    }
  }
  for (const Exit& exit : exits) {
    for (const auto& slot : slots_) {
      if (slot->running && slot->id == exit.container_id) EndAttempt(*slot, exit.exit);
    }
  }
}

PodView PodWorker::BuildView() const {
  PodView view;
  view.restart_policy = PolicyOf(*pod_);
  view.terminating = gone_ || kube::IsDeleting(*pod_) || !failed_reason_.empty();
  view.volumes_ready = volumes_ready_;
  for (const auto& slot : slots_) {
    ContainerView container;
    container.name = slot->name;
    container.sidecar = slot->sidecar;
    container.ran = slot->ran;
    container.running = slot->running;
    container.started = slot->started;
    container.exit_code = slot->ended ? slot->ended->exit_code : 0;
    container.finished = slot->finished;
    container.backoff = slot->backoff;
    (slot->init        ? view.init
     : slot->ephemeral ? view.ephemeral
                       : view.main)
        .push_back(std::move(container));
  }
  return view;
}

MonoTime PodWorker::Step() {
  const MonoTime now = node_.runtime.clock().MonoNow();
  MonoTime look_again = now + seconds(60);
  const auto look_at = [&look_again](MonoTime at) { look_again = std::min(look_again, at); };

  const std::int64_t deadline = IntAt(*pod_, "spec.activeDeadlineSeconds");
  if (deadline > 0 && failed_reason_.empty() && !IsOver(*pod_)) {
    const Result<WallTime> start = ParseRfc3339(StringAt(*pod_, "status.startTime"));
    if (start.ok()) {
      const Duration left = *start + seconds(deadline) - node_.runtime.clock().Now();
      if (left <= Duration{0}) {
        failed_reason_ = "DeadlineExceeded";
        failed_message_ = "Pod was active on the node longer than the specified deadline";
      } else {
        look_at(now + left);
      }
    }
  }

  const bool ending = gone_ || kube::IsDeleting(*pod_) || !failed_reason_.empty() || IsOver(*pod_);
  if (!ending) MountVolumes();
  if (!ending && !volumes_ready_) look_at(next_mount_);

  PodPlan plan;
  if (IsOver(*pod_) && reported_over_) {
    plan.finished = true;
    for (const auto& slot : slots_) plan.finished &= !slot->running;
  } else {
    plan = PlanPod(BuildView(), now);
  }
  for (const std::string& name : plan.stop) {
    if (Slot& slot = SlotOf(name); !slot.stopping) RequestStop(slot, "Stopping container " + name);
  }
  for (const std::string& name : plan.crash_looping) {
    Slot& slot = SlotOf(name);
    if (slot.waiting_reason == "CrashLoopBackOff") continue;
    slot.waiting_reason = "CrashLoopBackOff";
    slot.waiting_message = "back-off " + FormatDuration(slot.backoff.delay) +
                           " restarting failed container=" + name + " pod=" + key_.name + "_" +
                           key_.ns + "(" + uid_ + ")";
    Emit("Warning", "BackOff",
         "Back-off restarting failed container " + name + " in pod " + key_.name + "_" + key_.ns +
             "(" + uid_ + ")");
  }
  bool started_any = false;
  for (const std::string& name : plan.start) {
    Slot& slot = SlotOf(name);
    if (now < slot.not_before) {
      look_at(slot.not_before);
      continue;
    }
    TryStart(slot);
    if (!slot.running && !slot.ended) look_at(slot.not_before);
    started_any = true;
  }
  if (started_any) look_at(now);  // the next init container, or what a failed start means
  if (plan.look_again) look_at(*plan.look_again);
  KillLate(now, &look_again);

  if (!ending && volumes_ready_ && now >= next_refresh_) {
    next_refresh_ = now + kRefreshEvery;
    const Status refreshed = node_.volumes.Refresh(*pod_);
    if (!refreshed.ok())
      LogWarning("kubelet", key_.ToString() + ": " + refreshed.error().ToString());
    const Status expanded = node_.volumes.Expand(*pod_);
    if (!expanded.ok()) Emit("Warning", "VolumeResizeFailed", expanded.error().message());
  }

  if (plan.finished) {
    // The end is reported before the volumes go, so that nobody waits for the driver to learn of
    // it.
    if (!gone_ && !reported_over_ && Report().ok()) reported_over_ = IsOver(*pod_);
    if (!torn_down_ && now >= next_teardown_) TearDown();
    if (!torn_down_) {
      look_at(next_teardown_);
    } else if (gone_) {
      finished_ = true;
      return now;
    }
  }
  if (!gone_) {
    if (!Report().ok()) look_at(now + seconds(1));
    if (plan.finished && torn_down_ && kube::IsDeleting(*pod_)) {
      if (!DeleteObject().ok()) look_at(now + seconds(1));
    }
  }
  return look_again;
}

Duration PodWorker::Grace() const {
  if (gone_) return Duration{0};
  if (kube::IsDeleting(*pod_))
    return seconds(IntAt(*pod_, "metadata.deletionGracePeriodSeconds", 30));
  return seconds(IntAt(*pod_, "spec.terminationGracePeriodSeconds", 30));
}

void PodWorker::RequestStop(Slot& slot, const std::string& why) {
  slot.stopping = true;
  slot.stop_requested = node_.runtime.clock().MonoNow();
  slot.probes.reset();
  slot.ready = false;
  Emit("Normal", "Killing", why);
  const Json* container = SpecOf(*pod_, slot.name);
  const Json* hook = container == nullptr ? nullptr : Find(*container, "lifecycle.preStop");
  if (hook != nullptr && Grace() != Duration{0}) {
    const Status done = node_.prober.Ask(*group_, *hook, *container, slot.id, Grace());
    if (!done.ok())
      Emit("Warning", "FailedPreStopHook", "PreStopHook failed: " + done.error().message());
  }
  node_.containers.Signal(slot.id, Grace() == Duration{0} ? SIGKILL : SIGTERM);
}

void PodWorker::KillLate(MonoTime now, MonoTime* look_again) {
  for (const auto& slot : slots_) {
    if (!slot->running || !slot->stopping || slot->killed) continue;
    const MonoTime at = slot->stop_requested + slot->own_grace.value_or(Grace());
    if (now >= at) {
      slot->killed = true;
      node_.containers.Signal(slot->id, SIGKILL);
    } else {
      *look_again = std::min(*look_again, at);
    }
  }
}

void PodWorker::MountVolumes() {
  if (volumes_ready_) return;
  const MonoTime now = node_.runtime.clock().MonoNow();
  if (now < next_mount_) return;
  const Status mounted = node_.volumes.MountAll(*pod_);
  if (mounted.ok()) {
    volumes_ready_ = true;
    next_refresh_ = now;  // a claim may wait for its filesystem to grow
    return;
  }
  mount_delay_ = std::clamp<Duration>(mount_delay_ * 2, milliseconds(200), seconds(10));
  next_mount_ = now + mount_delay_;
  const std::string message = mounted.error().message();
  // What only takes its time is no failure yet.
  if (message != last_mount_error_ && mount_delay_ > milliseconds(800)) {
    last_mount_error_ = message;
    Emit("Warning", "FailedMount", message);
  }
}

void PodWorker::TearDown() {
  const Status done = node_.volumes.UnmountAll(uid_, gone_ || kube::IsDeleting(*pod_));
  if (done.ok()) {
    torn_down_ = true;
    volumes_ready_ = false;
    return;
  }
  LogWarning("kubelet", key_.ToString() + ": " + done.error().ToString());
  next_teardown_ = node_.runtime.clock().MonoNow() + seconds(1);
}

PodReport PodWorker::BuildReport() const {
  PodReport report;
  const PodView view = BuildView();
  report.restart_policy = view.restart_policy;
  report.terminating = view.terminating;
  report.init_done = InitDone(view);
  report.failed_reason = failed_reason_;
  report.failed_message = failed_message_;
  for (const auto& slot : slots_) {
    ContainerReport container;
    container.name = slot->name;
    container.restart_count = slot->attempt;
    container.running = slot->running;
    container.ready = slot->ready;
    container.started = slot->started;
    container.init = slot->init;
    container.sidecar = slot->sidecar;
    container.started_at = slot->started_at;
    container.ended = slot->ended;
    container.previous = slot->previous;
    if (!slot->id.empty()) container.container_id = "runc://" + slot->id;
    if (!view.terminating) {
      container.waiting_reason = slot->waiting_reason;
      container.waiting_message = slot->waiting_message;
    }
    if (!slot->running && !slot->ended && container.waiting_reason.empty()) {
      container.waiting_reason =
          report.init_done || slot->init ? "ContainerCreating" : "PodInitializing";
    }
    if (const Json* spec = SpecOf(*pod_, slot->name); spec != nullptr)
      container.image = StringAt(*spec, "image");
    (slot->init        ? report.init
     : slot->ephemeral ? report.ephemeral
                       : report.main)
        .push_back(std::move(container));
  }
  return report;
}

Status PodWorker::Report() {
  if (IsOver(*pod_) && reported_over_) return {};
  const Json status = BuildPodStatus(*pod_, BuildReport(), node_.runtime.clock().Now());
  if (const Json* present = Find(*pod_, "status"); present != nullptr && *present == status)
    return {};
  const Json patch = JsonObject{{"metadata", JsonObject{{"uid", uid_}}}, {"status", status}};
  Result<Json> written = node_.client.Patch(kube::types::kPod, key_, kube::PatchType::kMerge, patch,
                                            {.subresource = "status", .field_manager = "kubelet"});
  if (written.ok()) {
    pod_ = std::make_shared<const Json>(std::move(*written));
    return {};
  }
  // Gone, or another pod of that name: the watch will say so.
  if (written.Is(Code::kNotFound) || written.Is(Code::kAborted)) return {};
  LogWarning("kubelet", key_.ToString() + ": report the status: " + written.error().ToString());
  return written.error();
}

Status PodWorker::DeleteObject() {
  const Result<Json> deleted = node_.client.Delete(
      kube::types::kPod, key_,
      {.grace_period_seconds = 0, .propagation_policy = "", .uid = uid_, .resource_version = ""});
  if (deleted.ok() || deleted.Is(Code::kNotFound) || deleted.Is(Code::kAborted)) return {};
  return deleted.error();
}

void PodWorker::Emit(const char* type, const char* reason, const std::string& message) {
  node_.events.Emit(*pod_, type, reason, message);
}

}  // namespace thinsnap::kubelet
