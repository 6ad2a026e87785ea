// The operator and its Jobs, killed after each of their effects, cut off at each, deceived about
// each: a journey ends as if nothing had happened.
#include <sstream>

#include "tests/unit/operator/journey.h"

namespace thinsnap::backup {
namespace {

using faults::Effects;
using faults::Fault;

// The guide of a claim, without a passphrase: deriving a key takes longer than all the rest.
class GuideRun {
 public:
  GuideRun(Runtime& runtime, Effects& effects) : effects_(effects), runtime_(runtime) {}

  void Start() {
    home_.reset();
    cluster_random_ = random_.Stream("cluster " + std::to_string(++clusters_));
    home_ = std::make_unique<JourneyCluster>(runtime_, *cluster_random_, storage_, effects_);
  }
  TestCluster& cluster() { return home_->cluster(); }

  void ApplyGuide() {
    cluster().ApplyGuide("common/storage.yaml");
    cluster().ApplyGuide("common/secrets.yaml");
    cluster().ApplyGuide("common/backend.yaml");
    home_->world().MakeClaim("source-pvc");
    cluster().ApplyGuide("pvc/backup.yaml");
    cluster().Edit(cluster().kinds.backup_configuration, "demo", "pvc-volume-snapshot",
                   [](Json& object) {
                     auto& session = FindMutable(object, "spec.sessions")->as_array()[0];
                     auto& item = FindMutable(session, "repositories")->as_array()[0];
                     item.as_object().erase("encryptionSecret");
                   });
  }
  bool Phase(const kube::ResourceType& type, const std::string& name, const std::string& phase) {
    const auto object = cluster().client().Get(type, {"demo", name});
    return object.ok() && StringAt(*object, "status.phase") == phase;
  }
  bool UntilReady() {
    return home_->Until("the configuration is Ready", [&] {
      return Phase(cluster().kinds.backup_configuration, "pvc-volume-snapshot", "Ready") &&
             Phase(cluster().kinds.backup_storage, "s3-storage", "Ready");
    });
  }
  std::string MakeSession(const std::string& second, int retries = 0) {
    const auto configuration =
        cluster().Get(cluster().kinds.backup_configuration, "demo", "pvc-volume-snapshot");
    const auto session = NewBackupSession(cluster().kinds, configuration, "frequent-backup",
                                          FromUnixSeconds(std::stoll(second)), retries);
    EXPECT_TRUE(cluster().client().Create(cluster().kinds.backup_session, session).ok());
    return kube::NameOf(session);
  }
  bool UntilEnded(const std::string& session, const std::string& phase) {
    return home_->Until("the session " + phase,
                        [&] { return Phase(cluster().kinds.backup_session, session, phase); });
  }
  bool UntilSession(const std::string& second) {
    return UntilEnded(MakeSession(second), "Succeeded");
  }
  bool UntilRestored() {
    cluster().ApplyGuide("pvc/restore.yaml");
    return home_->Until("the restore Succeeded", [&] {
      return Phase(cluster().kinds.restore_session, "restore-pvc", "Succeeded");
    });
  }
  // Another cluster, empty, on the same bucket.
  void Move() {
    Start();
    cluster().ApplyGuide("common/storage.yaml");
    cluster().ApplyGuide("common/secrets.yaml");
  }
  // Things that nobody waits for may still be under way.
  std::string End() {
    home_->Run(std::chrono::seconds(150));
    effects_.End();
    return home_->Describe() + DescribeBucket(storage_, kBucket);
  }

  Effects& effects_;
  Runtime& runtime_;
  SeededRandom random_{7};
  std::unique_ptr<Random> cluster_random_;
  int clusters_ = 0;
  TestStorage storage_{runtime_.clock()};
  std::unique_ptr<JourneyCluster> home_;
};

const std::vector<Fault> kAll{Fault::kCrash, Fault::kNotDone, Fault::kAnswerLost, Fault::kStale,
                              Fault::kUnread};
// Reconcilers read from the server; it is the Jobs that believe their watches.
const std::vector<Fault> kWithoutJobs{Fault::kCrash, Fault::kNotDone, Fault::kAnswerLost,
                                      Fault::kUnread};

void SweepJourney(const std::vector<Fault>& faults,
                  const std::function<std::string(GuideRun&)>& journey) {
  faults::Sweep(1, faults, [&](FiberRuntime& runtime, Effects& effects) {
    GuideRun run(runtime, effects);
    run.Start();
    return journey(run);
  });
}

TEST(OperatorCrashTest, TheGuideBecomesReady) {
  SweepJourney(kWithoutJobs, [](GuideRun& run) -> std::string {
    run.effects_.Begin();
    run.ApplyGuide();
    if (!run.UntilReady()) return "";
    return run.End();
  });
}

TEST(OperatorCrashTest, ASessionBacksUp) {
  SweepJourney(kAll, [](GuideRun& run) -> std::string {
    run.ApplyGuide();
    if (!run.UntilReady()) return "";
    run.effects_.Begin();
    if (!run.UntilSession("1705402801")) return "";
    return run.End();
  });
}

TEST(OperatorCrashTest, AClaimIsRestoredBesideItsSource) {
  SweepJourney(kAll, [](GuideRun& run) -> std::string {
    run.ApplyGuide();
    if (!run.UntilReady() || !run.UntilSession("1705402801")) return "";
    run.effects_.Begin();
    if (!run.UntilRestored()) return "";
    return run.End();
  });
}

TEST(OperatorCrashTest, RetentionForgetsAndHistoryGoes) {
  SweepJourney(kWithoutJobs, [](GuideRun& run) -> std::string {
    run.ApplyGuide();
    if (!run.UntilReady() || !run.UntilSession("1705402801")) return "";
    run.cluster().Edit(run.cluster().kinds.retention_policy, "demo", "demo-retention",
                       [](Json& object) { Set(object, "spec.successfulSnapshots.last", 1); });
    run.cluster().Edit(run.cluster().kinds.backup_configuration, "demo", "pvc-volume-snapshot",
                       [](Json& object) {
                         auto& sessions = FindMutable(object, "spec.sessions")->as_array();
                         Set(sessions[0], "sessionHistoryLimit", 1);
                       });
    run.home_->Run(std::chrono::seconds(10));
    // From where the other journeys end.
    const auto session = run.MakeSession("1705402802");
    auto& cluster = run.cluster();
    if (!run.home_->Until("retention begins", [&] {
          return cluster.Exists(kube::types::kJob, "demo",
                                "retentionpolicy-s3-repository-1705402802");
        })) {
      return "";
    }
    run.effects_.Begin();
    if (!run.UntilEnded(session, "Succeeded")) return "";
    return run.End();
  });
}

TEST(OperatorCrashTest, AFailedSessionIsRepeatedOnce) {
  SweepJourney(kWithoutJobs, [](GuideRun& run) -> std::string {
    run.ApplyGuide();
    if (!run.UntilReady()) return "";
    auto& cluster = run.cluster();
    cluster.Delete(kube::types::kVolumeSnapshotClass, "", "csi-snapshot-class");
    run.effects_.Begin();
    if (!run.UntilEnded(run.MakeSession("1705402801", 1), "Failed")) return "";
    if (!run.home_->Until("the session is repeated",
                          [&] { return cluster.List(cluster.kinds.backup_session).size() > 1; })) {
      return "";
    }
    return run.End();
  });
}

TEST(OperatorCrashTest, AnEmptyClusterGetsEverythingBackAndRestores) {
  SweepJourney(kAll, [](GuideRun& run) -> std::string {
    run.ApplyGuide();
    if (!run.UntilReady() || !run.UntilSession("1705402801")) return "";
    run.Move();
    run.effects_.Begin();
    run.cluster().ApplyGuide("common/backend.yaml");
    if (!run.UntilRestored()) return "";
    return run.End();
  });
}

TEST(OperatorCrashTest, ARestoreThatIsGivenUpLeavesNothing) {
  SweepJourney(kWithoutJobs, [](GuideRun& run) -> std::string {
    run.ApplyGuide();
    if (!run.UntilReady() || !run.UntilSession("1705402801")) return "";
    run.Move();
    run.home_->world().bind_claims = false;
    auto& cluster = run.cluster();
    cluster.ApplyGuide("common/backend.yaml");
    cluster.ApplyGuide("pvc/restore.yaml");
    if (!run.home_->Until("the claim is made", [&] {
          return cluster.Exists(kube::types::kPersistentVolumeClaim, "demo", "restore-source-pvc");
        })) {
      return "";
    }
    run.effects_.Begin();
    cluster.Delete(cluster.kinds.restore_session, "demo", "restore-pvc");
    if (!run.home_->Until("it is gone", [&] {
          return !cluster.Exists(cluster.kinds.restore_session, "demo", "restore-pvc");
        })) {
      return "";
    }
    const auto end = run.End();
    for (const auto* type : {&kube::types::kVolumeSnapshot, &kube::types::kVolumeSnapshotContent,
                             &kube::types::kPersistentVolumeClaim}) {
      EXPECT_TRUE(cluster.List(*type).empty()) << type->kind;
    }
    return end;
  });
}

// Whether BackupConfiguration or bucket was faster in making the Repository shows in its
// annotations only.
std::string WithoutAnnotations(const std::string& state) {
  std::string rest;
  std::istringstream lines(state);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(".metadata.annotations") == std::string::npos) rest += line + "\n";
  }
  return rest;
}

TEST(OperatorCrashTest, EverythingAppliedAtOnceOnAFullBucketAdoptsIt) {
  SweepJourney(kWithoutJobs, [](GuideRun& run) -> std::string {
    run.ApplyGuide();
    if (!run.UntilReady() || !run.UntilSession("1705402801")) return "";
    run.Start();
    run.effects_.Begin();
    run.ApplyGuide();
    if (!run.UntilReady()) return "";
    run.home_->Run(std::chrono::minutes(2));
    run.effects_.End();
    if (!run.UntilSession("1705402802")) return "";
    return WithoutAnnotations(run.End());
  });
}

TEST(OperatorCrashTest, WipeOutLeavesNothing) {
  SweepJourney(kWithoutJobs, [](GuideRun& run) -> std::string {
    run.ApplyGuide();
    if (!run.UntilReady() || !run.UntilSession("1705402801")) return "";
    auto& cluster = run.cluster();
    run.effects_.Begin();
    cluster.Delete(cluster.kinds.backup_configuration, "demo", "pvc-volume-snapshot");
    cluster.Delete(cluster.kinds.backup_storage, "demo", "s3-storage");
    if (!run.home_->Until("the storage is gone", [&] {
          return !cluster.Exists(cluster.kinds.backup_storage, "demo", "s3-storage");
        })) {
      return "";
    }
    return run.End();
  });
}

}  // namespace
}  // namespace thinsnap::backup
