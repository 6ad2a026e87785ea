// The backup Job: one VolumeSnapshot for each claim, watched until each is ready or has failed.
// What it writes are the components of the Snapshots; handles and figures are the operator's, which
// alone sees contents and repositories.
#include <algorithm>
#include <map>
#include <utility>

#include "base/core/log.h"
#include "base/kube/informer.h"
#include "base/kube/object.h"
#include "snapshotter/api/target.h"
#include "snapshotter/operator/context.h"
#include "snapshotter/operator/jobs.h"
#include "snapshotter/operator/verbs.h"

namespace thinsnap::backup {

namespace {

// Without a cut, or with an error that stays: then it is over.
constexpr Duration kStuck = std::chrono::minutes(30);
constexpr Duration kLook = std::chrono::seconds(10);

struct VolumeState {
  std::string component;
  TargetVolume volume;
  std::string name;  // of the VolumeSnapshot
  bool ready = false;
  std::string failure;     // final
  std::string last_error;  // of the VolumeSnapshot; may still go away
  std::string cut;         // creationTime
  std::string restore_size;
  MonoTime progress;  // when something last got better
};

class BackupRun {
 public:
  BackupRun(VerbContext& context, Json session, std::string volume_snapshot_class)
      : context_(context),
        session_(std::move(session)),
        class_(std::move(volume_snapshot_class)),
        started_(context.runtime.clock().MonoNow()) {}

  Status Run() {
    TRY(FindVolumes());
    if (TRY(EndedBefore())) return Outcome();
    kube::Informer informer(context_.runtime, context_.client, kube::types::kVolumeSnapshot,
                            Namespace(),
                            context_.kinds.Key("backup-session") + "=" + kube::NameOf(session_));
    auto changed = context_.runtime.NewEventCount();
    informer.AddHandler([&](const kube::ObjectPtr&, const kube::ObjectPtr&) { changed->Notify(); });
    TaskGroup watching(context_.runtime, &context_.group);
    TRY(MakeVolumeSnapshots());
    informer.Start(watching);
    const auto followed = Follow(informer, *changed);
    watching.Stop();
    watching.Join();
    TRY(followed);
    return Outcome();
  }

 private:
  std::string Namespace() const { return kube::NamespaceOf(session_); }

  Status FindVolumes() {
    const kube::ObjectKey key{Namespace(), StringAt(session_, "spec.invoker.name")};
    configuration_ = TRY(context_.client.Get(context_.kinds.backup_configuration, key));
    const auto target = TRY(ReadTarget(context_.client, configuration_));
    const auto components = TRY(ComponentsOf(target));
    auto seconds = SplitAtSeconds(kube::NameOf(session_)).seconds;
    if (seconds.empty()) seconds = std::to_string(UnixSeconds(CreationTime(session_)));
    for (const auto& component : components) {
      for (const auto& volume : component.volumes) {
        VolumeState state;
        state.component = component.name;
        state.volume = volume;
        state.name = VolumeSnapshotName(volume.claim, seconds);
        state.progress = started_;
        volumes_.push_back(std::move(state));
      }
    }
    for (const auto& item : ArrayAt(session_, "status.snapshots"))
      snapshots_.push_back(StringAt(item, "name"));
    if (snapshots_.empty()) {
      return Error(Code::kFailedPrecondition, "BackupSession " + kube::KeyOf(session_).ToString() +
                                                  " names no Snapshots in its status");
    }
    return {};
  }

  // An earlier pod of this Job may have ended the backup already.
  Result<bool> EndedBefore() {
    for (const auto& name : snapshots_) {
      const auto snapshot = TRY(context_.client.Get(context_.kinds.snapshot, {Namespace(), name}));
      const auto* components = FindObject(snapshot, "status.components");
      if (components == nullptr || components->empty()) return false;
      for (const auto& [component, value] : *components) {
        const auto phase = StringAt(value, "phase");
        if (phase != "Succeeded" && phase != "Failed") return false;
        if (phase == "Failed")
          failures_.push_back(std::string(component) + ": " + StringAt(value, "error"));
      }
    }
    return true;
  }

  Status MakeVolumeSnapshots() {
    for (auto& state : volumes_) {
      auto object = kube::NewObject(kube::types::kVolumeSnapshot, {Namespace(), state.name});
      for (const auto& [key, value] :
           OffshootLabels(context_.kinds, "BackupConfiguration", kube::NameOf(configuration_),
                          Namespace(), StringAt(session_, "spec.session"))) {
        kube::SetLabel(object, key, std::string_view(value.get_string()));
      }
      kube::SetLabel(object, context_.kinds.Key("backup-session"), kube::NameOf(session_));
      JsonObject spec{{"source", JsonObject{{"persistentVolumeClaimName", state.volume.claim}}}};
      if (!class_.empty()) spec["volumeSnapshotClassName"] = class_;
      object.as_object()["spec"] = std::move(spec);
      const auto made = context_.client.Create(kube::types::kVolumeSnapshot, object);
      if (made.ok()) {
        LogInfo("backup", "made VolumeSnapshot " + Namespace() + "/" + state.name + " of claim " +
                              state.volume.claim);
        continue;
      }
      // The next pod finds out.
      if (MayPass(made.error())) return made.error().In("making VolumeSnapshot " + state.name);
      if (!made.Is(Code::kAlreadyExists)) {
        state.failure =
            "VolumeSnapshot " + state.name + " could not be made: " + made.error().message();
        continue;
      }
      const auto existing =
          TRY(context_.client.Get(kube::types::kVolumeSnapshot, {Namespace(), state.name}));
      if (kube::LabelOf(existing, context_.kinds.Key("backup-session")) != kube::NameOf(session_)) {
        state.failure =
            "VolumeSnapshot " + state.name + " exists already and is not of this session";
      }
    }
    return WriteComponents();
  }

  Status Follow(kube::Informer& informer, EventCount& changed) {
    TRY(informer.WaitForSync());
    for (;;) {
      const auto seen = changed.Seen();
      bool differs = false;
      for (auto& state : volumes_) differs = Look(informer, state) || differs;
      const bool ended = std::all_of(volumes_.begin(), volumes_.end(), [](const auto& state) {
        return state.ready || !state.failure.empty();
      });
      if (differs || ended) TRY(WriteComponents());
      if (ended) break;
      const auto waited = changed.Wait(seen, context_.runtime.clock().MonoNow() + kLook);
      if (!waited.ok() && !waited.Is(Code::kDeadlineExceeded)) return waited;
    }
    for (const auto& state : volumes_) {
      if (!state.failure.empty())
        failures_.push_back("claim " + state.volume.claim + ": " + state.failure);
    }
    return {};
  }

  // Returns whether there is something new to write.
  bool Look(kube::Informer& informer, VolumeState& state) {
    if (state.ready || !state.failure.empty()) return false;
    const auto now = context_.runtime.clock().MonoNow();
    const auto object = informer.Get({Namespace(), state.name});
    if (object == nullptr) {
      if (!seen_.contains(state.name)) return false;
      state.failure = "VolumeSnapshot " + state.name + " was deleted while it was made";
      return true;
    }
    seen_[state.name] = true;
    const auto cut = StringAt(*object, "status.creationTime");
    const auto error = StringAt(*object, "status.error.message");
    bool differs = false;
    if (cut != state.cut) {
      state.cut = cut;
      state.progress = now;
      LogInfo("backup", "VolumeSnapshot " + state.name + " was cut at " + cut);
      differs = true;
    }
    if (error != state.last_error) {
      if (error.empty()) state.progress = now;
      if (!error.empty()) LogWarning("backup", "VolumeSnapshot " + state.name + ": " + error);
      state.last_error = error;
      differs = true;
    }
    state.restore_size = StringAt(*object, "status.restoreSize");
    if (BoolAt(*object, "status.readyToUse")) {
      state.ready = true;
      LogInfo("backup", "VolumeSnapshot " + state.name + " is ready");
      return true;
    }
    // Nothing was cut and nothing will be: whoever mends it, or retryConfig, begins again.
    if (cut.empty() && IsCsiRefusal(error)) {
      state.failure = "VolumeSnapshot " + state.name + " was refused: " + error;
      return true;
    }
    // A running export shows nothing until it is done: only no cut and a lasting error are signs of
    // standing still.
    const bool waiting = cut.empty() || !error.empty();
    if (waiting && now - state.progress > kStuck) {
      state.failure = "VolumeSnapshot " + state.name + " made no progress for 30 minutes" +
                      (error.empty() ? std::string() : ": " + error);
      return true;
    }
    return differs;
  }

  std::string ComponentPhase(const std::string& component, std::string& error) const {
    bool ready = true;
    for (const auto& state : volumes_) {
      if (state.component != component) continue;
      ready = ready && state.ready;
      const auto& text = state.failure.empty() ? state.last_error : state.failure;
      if (!text.empty() && !state.ready)
        error += (error.empty() ? "" : "; ") + ("claim " + state.volume.claim + ": " + text);
    }
    // A component fails when all of its volumes have come to an end.
    bool failed = false, ended = true;
    for (const auto& state : volumes_) {
      if (state.component != component) continue;
      failed = failed || !state.failure.empty();
      ended = ended && (state.ready || !state.failure.empty());
    }
    return ready ? "Succeeded" : failed && ended ? "Failed" : "Running";
  }

  // Only the fields that are this Job's; what the operator filled in stays.
  Status WriteComponents() {
    for (const auto& name : snapshots_) {
      TRY(ChangeStatus(context_, context_.kinds.snapshot, {Namespace(), name}, [&](Json& snapshot) {
        const Json before = snapshot;
        auto& components = EnsureObject(snapshot, "status.components");
        const auto path_root = "repository/v1/" + StringAt(session_, "spec.session") + "/";
        for (const auto& state : volumes_) {
          auto& component = components[state.component];
          if (!component.is_object()) component = JsonObject{{"driver", "VolumeSnapshotter"}};
          auto& fields = component.as_object();
          fields["path"] = path_root + state.component;
          std::string error;
          fields["phase"] = ComponentPhase(state.component, error);
          fields["duration"] = DurationText(context_.runtime.clock().MonoNow() - started_);
          if (error.empty()) {
            fields.erase("error");
          } else {
            fields["error"] = error;
          }
          WriteStat(component, state);
        }
        return before != snapshot;
      }));
    }
    return {};
  }

  static void WriteStat(Json& component, const VolumeState& state) {
    auto& stats = EnsureArray(component, "volumeSnapshotterStats");
    auto stat = std::find_if(stats.begin(), stats.end(), [&](const Json& item) {
      return StringAt(item, "pvcName") == state.volume.claim;
    });
    if (stat == stats.end()) {
      stats.push_back(
          JsonObject{{"pvcName", state.volume.claim}, {"volumeSnapshotName", state.name}});
      stat = stats.end() - 1;
    }
    auto& fields = stat->as_object();
    if (!state.volume.host_path.empty()) fields["hostPath"] = state.volume.host_path;
    if (!state.cut.empty()) fields["volumeSnapshotTime"] = state.cut;
    if (!state.restore_size.empty() && !fields.contains("restoreSize"))
      fields["restoreSize"] = state.restore_size;
  }

  // A failed backup leaves no VolumeSnapshots behind.
  Status Outcome() {
    if (failures_.empty()) {
      LogInfo("backup", "every component succeeded");
      return {};
    }
    for (const auto& state : volumes_) {
      const kube::ObjectKey key{Namespace(), state.name};
      const auto existing = TRY(GetIfExists(context_.client, kube::types::kVolumeSnapshot, key));
      if (!existing ||
          kube::LabelOf(*existing, context_.kinds.Key("backup-session")) != kube::NameOf(session_))
        continue;
      TRY(DeleteIfExists(context_.client, kube::types::kVolumeSnapshot, key));
    }
    return Error(Code::kFailedPrecondition, Joined(failures_, "; "));
  }

  VerbContext& context_;
  const Json session_;
  const std::string class_;
  const MonoTime started_;
  Json configuration_;
  std::vector<VolumeState> volumes_;
  std::vector<std::string> snapshots_;
  std::vector<std::string> failures_;
  std::map<std::string, bool> seen_;
};

}  // namespace

Status RunBackup(VerbContext& context, const kube::ObjectKey& session,
                 const std::string& volume_snapshot_class) {
  auto object = TRY(context.client.Get(context.kinds.backup_session, session));
  return BackupRun(context, std::move(object), volume_snapshot_class).Run();
}

}  // namespace thinsnap::backup
