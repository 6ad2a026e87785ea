// The restore Job: one claim for each volume, made from the VolumeSnapshot that the operator chose,
// watched until it is bound. A claim that exists already fails its component by name and is not
// touched.
#include <algorithm>
#include <map>
#include <utility>

#include "base/core/log.h"
#include "base/kube/informer.h"
#include "base/kube/object.h"
#include "snapshotter/api/restore_plan.h"
#include "snapshotter/operator/context.h"
#include "snapshotter/operator/jobs.h"
#include "snapshotter/operator/verbs.h"

namespace thinsnap::backup {

namespace {

constexpr Duration kLook = std::chrono::seconds(10);

struct ClaimState {
  std::string component, claim, volume_snapshot;
  bool bound = false;
  std::string failure;
};

class RestoreRun {
 public:
  RestoreRun(VerbContext& context, Json restore)
      : context_(context),
        restore_(std::move(restore)),
        started_(context.runtime.clock().MonoNow()) {}

  Status Run() {
    const auto* components = FindObject(restore_, "status.components");
    if (components == nullptr || components->empty()) {
      return Error(Code::kFailedPrecondition, "RestoreSession " + kube::KeyOf(restore_).ToString() +
                                                  " has no components in its status");
    }
    // A repeated pod must not make again what the operator has cleaned up since.
    const auto all = [&](std::initializer_list<std::string_view> phases) {
      return std::all_of(components->begin(), components->end(), [&](const auto& entry) {
        return std::find(phases.begin(), phases.end(), StringAt(entry.value(), "phase")) !=
               phases.end();
      });
    };
    if (all({"Succeeded"})) return {};
    if (StringAt(restore_, "status.phase") != "Running" || all({"Succeeded", "Failed"})) {
      return Error(Code::kFailedPrecondition, "RestoreSession " + kube::KeyOf(restore_).ToString() +
                                                  " is over; its components say how it ended");
    }
    for (const auto& [name, component] : *components) {
      for (const auto& volume : ArrayAt(component, "volumes")) {
        claims_.push_back({std::string(name), StringAt(volume, "claim"),
                           StringAt(volume, "volumeSnapshotName"), false, ""});
      }
    }
    for (auto& state : claims_) TRY(MakeClaim(state));
    TRY(WriteComponents());

    kube::Informer informer(context_.runtime, context_.client, kube::types::kPersistentVolumeClaim,
                            Namespace(), UidLabel() + "=" + kube::UidOf(restore_));
    auto changed = context_.runtime.NewEventCount();
    informer.AddHandler([&](const kube::ObjectPtr&, const kube::ObjectPtr&) { changed->Notify(); });
    TaskGroup watching(context_.runtime, &context_.group);
    informer.Start(watching);
    const auto followed = Follow(informer, *changed);
    watching.Stop();
    watching.Join();
    TRY(followed);

    std::vector<std::string> failures;
    for (const auto& state : claims_) {
      if (!state.failure.empty()) failures.push_back(state.failure);
    }
    if (!failures.empty()) return Error(Code::kFailedPrecondition, Joined(failures, "; "));
    LogInfo("restore", "every claim is bound");
    return {};
  }

 private:
  std::string Namespace() const { return kube::NamespaceOf(restore_); }
  std::string UidLabel() const { return context_.kinds.Key("restore-session-uid"); }

  Result<Json> TemplateFor(const ClaimState& state) const {
    const auto& tasks = ArrayAt(restore_, "spec.addon.tasks");
    if (!tasks.empty()) {
      for (const auto& item : ArrayAt(tasks[0], "targetVolumes.volumeClaimTemplates")) {
        auto expanded = ExpandTemplate(item, state.component);
        if (StringAt(expanded, "metadata.name") == state.claim) return expanded;
      }
    }
    return Error(Code::kFailedPrecondition,
                 "claim " + state.claim + " has no template in the RestoreSession");
  }

  Status MakeClaim(ClaimState& state) {
    const auto claim_template = TRY(TemplateFor(state));
    auto claim = kube::NewObject(kube::types::kPersistentVolumeClaim, {Namespace(), state.claim});
    for (const char* member : {"labels", "annotations"}) {
      if (const auto* given = FindObject(claim_template, std::string("metadata.") + member)) {
        Set(claim, std::string("metadata.") + member, Json(*given));
      }
    }
    for (const auto& [key, value] : OffshootLabels(context_.kinds, "RestoreSession",
                                                   kube::NameOf(restore_), Namespace(), "")) {
      kube::SetLabel(claim, key, std::string_view(value.get_string()));
    }
    kube::SetLabel(claim, UidLabel(), kube::UidOf(restore_));
    Json spec = JsonObject();
    if (const auto* given = Find(claim_template, "spec")) spec = *given;
    const JsonObject source{{"apiGroup", kube::types::kVolumeSnapshot.group},
                            {"kind", "VolumeSnapshot"},
                            {"name", state.volume_snapshot}};
    spec.as_object()["dataSource"] = source;
    spec.as_object()["dataSourceRef"] = source;
    claim.as_object()["spec"] = std::move(spec);

    const auto made = context_.client.Create(kube::types::kPersistentVolumeClaim, claim);
    if (made.ok()) {
      LogInfo("restore", "made claim " + Namespace() + "/" + state.claim + " from VolumeSnapshot " +
                             state.volume_snapshot);
      return {};
    }
    // The next pod finds out.
    if (MayPass(made.error())) return made.error().In("making claim " + state.claim);
    if (!made.Is(Code::kAlreadyExists)) {
      state.failure = "claim " + Namespace() + "/" + state.claim +
                      " could not be made: " + made.error().message();
      return {};
    }
    const auto existing =
        TRY(context_.client.Get(kube::types::kPersistentVolumeClaim, {Namespace(), state.claim}));
    if (kube::LabelOf(existing, UidLabel()) == kube::UidOf(restore_)) return {};
    state.failure =
        "claim " + Namespace() + "/" + state.claim +
        " exists already and is left as it is; a restore takes names of claims that do not exist";
    return {};
  }

  Status Follow(kube::Informer& informer, EventCount& changed) {
    TRY(informer.WaitForSync());
    std::map<std::string, bool> seen_claims;
    for (;;) {
      const auto seen = changed.Seen();
      bool differs = false, ended = true;
      for (auto& state : claims_) {
        if (state.bound || !state.failure.empty()) continue;
        const auto claim = informer.Get({Namespace(), state.claim});
        if (claim == nullptr && seen_claims[state.claim]) {
          state.failure =
              "claim " + Namespace() + "/" + state.claim + " was deleted while it was restored";
          differs = true;
          continue;
        }
        seen_claims[state.claim] = claim != nullptr;
        if (claim != nullptr && StringAt(*claim, "status.phase") == "Bound") {
          state.bound = true;
          differs = true;
          LogInfo("restore", "claim " + state.claim + " is bound to volume " +
                                 StringAt(*claim, "spec.volumeName"));
          continue;
        }
        ended = false;
      }
      if (differs || ended) TRY(WriteComponents());
      if (ended) return {};
      const auto waited = changed.Wait(seen, context_.runtime.clock().MonoNow() + kLook);
      if (!waited.ok() && !waited.Is(Code::kDeadlineExceeded)) return waited;
    }
  }

  Status WriteComponents() {
    return ChangeStatus(
        context_, context_.kinds.restore_session, kube::KeyOf(restore_), [&](Json& restore) {
          const Json before = restore;
          auto* components = FindMutable(restore, "status.components");
          if (components == nullptr || !components->is_object()) return false;
          for (auto& [name, component] : components->get_object()) {
            bool bound = true, ended = true;
            std::string error;
            for (const auto& state : claims_) {
              if (state.component != name) continue;
              bound = bound && state.bound;
              ended = ended && (state.bound || !state.failure.empty());
              if (!state.failure.empty()) error += (error.empty() ? "" : "; ") + state.failure;
              SetVolumePhase(component, state);
            }
            auto& fields = component.as_object();
            fields["phase"] = bound ? "Succeeded" : ended ? "Failed" : "Running";
            fields["duration"] = DurationText(context_.runtime.clock().MonoNow() - started_);
            if (!error.empty()) fields["error"] = error;
          }
          return before != restore;
        });
  }

  static void SetVolumePhase(Json& component, const ClaimState& state) {
    auto* volumes = FindMutable(component, "volumes");
    if (volumes == nullptr || !volumes->is_array()) return;
    for (auto& volume : volumes->get_array()) {
      if (StringAt(volume, "claim") != state.claim) continue;
      volume.as_object()["phase"] = state.bound             ? "Succeeded"
                                    : state.failure.empty() ? "Running"
                                                            : "Failed";
    }
  }

  VerbContext& context_;
  const Json restore_;
  const MonoTime started_;
  std::vector<ClaimState> claims_;
};

}  // namespace

Status RunRestore(VerbContext& context, const kube::ObjectKey& key) {
  auto restore = TRY(context.client.Get(context.kinds.restore_session, key));
  return RestoreRun(context, std::move(restore)).Run();
}

}  // namespace thinsnap::backup
