#include "simulator/controllers/start.h"

#include <vector>

#include "simulator/controllers/kind_watcher.h"
#include "simulator/controllers/parts.h"

namespace thinsnap::controllers {

namespace {

class AllControllers final : public Controllers {
 public:
  AllControllers(const Context& context, const ControllerOptions& options) {
    auto watcher = std::make_unique<KindWatcher>(context);
    KindWatcher& kinds = *watcher;
    parts_.push_back(std::move(watcher));
    parts_.push_back(MakeVolumeBinder(context));
    parts_.push_back(MakeClaimProtection(context));
    parts_.push_back(MakeVolumeProtection(context));
    parts_.push_back(MakeEphemeralVolumes(context));
    parts_.push_back(MakeScheduler(context));
    parts_.push_back(MakeJobController(context, options.job_backoff));
    parts_.push_back(MakeTtlAfterFinished(context));
    parts_.push_back(MakeCronJobController(context));
    parts_.push_back(MakeReplicaSetController(context));
    parts_.push_back(MakeDeploymentController(context));
    parts_.push_back(MakeStatefulSetController(context));
    parts_.push_back(MakeDaemonSetController(context));
    parts_.push_back(MakeGarbageCollector(context, kinds));
    parts_.push_back(MakeNamespaceController(context, kinds));
    parts_.push_back(MakeNamespaceDefaults(context, options.root_ca_pem));
    parts_.push_back(MakePodGc(context));
    parts_.push_back(MakeNodeLifecycle(context, options.node_grace));
  }

  void Start(TaskGroup& group) {
    for (const auto& part : parts_) part->Start(group);
  }

 private:
  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace

std::unique_ptr<Controllers> StartControllers(Runtime& runtime, TaskGroup& group,
                                              kube::KubeClient& client,
                                              kube::InformerSet& informers, Random& random,
                                              const ControllerOptions& options) {
  auto all = std::make_unique<AllControllers>(Context{runtime, client, informers, random}, options);
  // Working from half a cache would delete what is only not yet seen.
  group.Spawn("controllers-start", [&group, &informers, started = all.get()] {
    if (informers.WaitForSync().ok()) started->Start(group);
  });
  return all;
}

}  // namespace thinsnap::controllers
