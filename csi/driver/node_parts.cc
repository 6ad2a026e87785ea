#include "csi/driver/node_parts.h"

#include <utility>

namespace thinsnap::driver {
namespace {

transfer::StoreOpener Opener(Runtime& runtime, Random& random, const transfer::StoreOpener& own) {
  if (own) return own;
  return
      [&](const store::Location& location) { return store::OpenStore(runtime, random, location); };
}

PoolStanding StandingOf(bool lost) { return lost ? PoolStanding::kLost : PoolStanding::kServes; }

}  // namespace

NodeParts::NodeParts(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
                     mount::Mounter& mounter, CommandRunner& runner, kube::KubeClient* kube,
                     transfer::RepositorySource& repositories, NodePartsOptions options)
    : runtime_(runtime),
      group_(group),
      pool_(pool),
      kube_(kube),
      source_(repositories),
      options_(std::move(options)),
      repositories_random_(random.Stream("repositories")),
      exporter_random_(random.Stream("exporter")),
      importer_random_(random.Stream("importer")),
      repositories_(runtime, *repositories_random_, repositories,
                    Opener(runtime, *repositories_random_, options_.open_store)),
      memory_(runtime, options_.memory_bytes),
      exporter_(runtime, group, *exporter_random_, pool, repositories_,
                {.node_name = options_.node_name,
                 .memory = &memory_,
                 .at_once = memory_.most_of_a_kind()}),
      importer_(runtime, group, *importer_random_, pool, repositories_,
                {.memory = &memory_, .at_once = memory_.most_of_a_kind()}),
      mounts_(pool, mounter, runner, options_.default_fs_type),
      quiesce_(runtime.clock(), mounter, options_.counters,
               [this](const pool::VolumeId& volume) { return mounts_.DeviceOf(volume); }),
      driver_(runtime, pool, mounts_, quiesce_, exporter_, importer_, repositories_,
              options_.node_name, options_.guard) {
  repositories.OnChange([this](const std::string& id) {
    const auto config = source_.Find(id);
    exporter_.OnRepositoryChange(id, config.Is(Code::kNotFound) || (config.ok() && config->wiping));
  });
}

Status NodeParts::Start() {
  TRY(driver_.Start());
  if (kube_ != nullptr) {
    // Nobody may be answered by a pool that came back from the dead, and nothing of it may go.
    // Where the API server does not answer now, the reporter asks again.
    const auto lost = IsDeclaredLost(*kube_, options_.ns, driver_.pool_id());
    driver_.SetStanding(lost.ok() ? StandingOf(*lost) : PoolStanding::kUnknown);
  }
  TRY(driver_.Recover());
  TRY(exporter_.Resume());
  return importer_.Resume();
}

void NodeParts::Report(std::string address) {
  if (kube_ == nullptr) return;
  PoolReporter::Options reporting;
  reporting.node_name = options_.node_name;
  reporting.address = std::move(address);
  reporting.ns = options_.ns;
  reporting.period = options_.heartbeat;
  reporting.on_lost = [this](bool lost) { driver_.SetStanding(StandingOf(lost)); };
  reporter_ = std::make_unique<PoolReporter>(runtime_, *kube_, pool_, std::move(reporting));
  group_.Spawn("pool object", [this] { reporter_->Run(); });
}

}  // namespace thinsnap::driver
