#include "simulator/sidecars/start.h"

#include <vector>

#include "base/core/log.h"
#include "csi/proto/csi_client.h"
#include "simulator/sidecars/parts.h"

namespace thinsnap::sidecars {

namespace {

class AllSidecars final : public Sidecars {
 public:
  AllSidecars(const controllers::Context& base, std::unique_ptr<proto::CsiService> owned,
              proto::CsiService& csi, const SidecarOptions& options)
      : owned_csi_(std::move(owned)),
        context_{base, csi, options, std::make_shared<DriverFacts>()} {
    if (options.snapshot_controller) at_once_.push_back(MakeSnapshotController(context_));
    if (options.provisioner) {
      with_driver_.push_back(MakeProvisioner(context_));
      with_driver_.push_back(MakeVolumeDeleter(context_));
    }
    if (options.snapshotter) with_driver_.push_back(MakeSnapshotter(context_));
    if (options.resizer) with_driver_.push_back(MakeResizer(context_));
  }

  void Run(TaskGroup& group) {
    if (!context_.informers.WaitForSync().ok()) return;
    for (const auto& part : at_once_) part->Start(group);
    if (with_driver_.empty()) return;
    auto facts = WaitForDriver(context_.runtime, context_.csi, context_.options.driver_name);
    if (!facts.ok()) {
      if (!facts.Is(Code::kCancelled)) LogError("sidecars", facts.error().ToString());
      return;
    }
    *context_.driver = std::move(*facts);
    for (const auto& part : with_driver_) part->Start(group);
  }

 private:
  const std::unique_ptr<proto::CsiService> owned_csi_;
  const Context context_;
  std::vector<std::unique_ptr<Part>> at_once_, with_driver_;
};

std::unique_ptr<Sidecars> Launch(TaskGroup& group, std::unique_ptr<AllSidecars> all) {
  group.Spawn("sidecars-start", [&group, started = all.get()] { started->Run(group); });
  return all;
}

}  // namespace

std::unique_ptr<Sidecars> StartSidecars(Runtime& runtime, TaskGroup& group,
                                        kube::KubeClient& client, kube::InformerSet& informers,
                                        Random& random, const SidecarOptions& options) {
  auto csi = proto::ConnectCsi(runtime, options.csi_endpoint);
  auto& service = *csi;
  return Launch(
      group, std::make_unique<AllSidecars>(controllers::Context{runtime, client, informers, random},
                                           std::move(csi), service, options));
}

std::unique_ptr<Sidecars> StartSidecars(Runtime& runtime, TaskGroup& group,
                                        kube::KubeClient& client, kube::InformerSet& informers,
                                        Random& random, proto::CsiService& csi,
                                        const SidecarOptions& options) {
  return Launch(
      group, std::make_unique<AllSidecars>(controllers::Context{runtime, client, informers, random},
                                           nullptr, csi, options));
}

}  // namespace thinsnap::sidecars
