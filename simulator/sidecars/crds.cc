#include "simulator/sidecars/crds.h"

#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "simulator/sidecars/embedded.h"

namespace thinsnap::sidecars {

namespace {

constexpr Duration kLookAgain = std::chrono::milliseconds(10);
constexpr Duration kPatience = std::chrono::seconds(30);

Status Install(kube::KubeClient& client, const Json& crd) {
  const auto& type = kube::types::kCustomResourceDefinition;
  auto created = client.Create(type, crd);
  if (created.ok()) return {};
  if (!created.Is(Code::kAlreadyExists)) return std::move(created).error();
  Json present = TRY(client.Get(type, kube::KeyOf(crd)));
  Set(present, "spec", ValueAt(crd, "spec"));
  TRY(client.Update(type, present));
  return {};
}

}  // namespace

std::vector<Json> SnapshotCrds() {
  auto crds = ParseYamlStream(kSnapshotCrdManifests);
  ASSERT(crds.ok());
  return std::move(*crds);
}

Status InstallCrds(Runtime& runtime, kube::KubeClient& client, const std::vector<Json>& crds) {
  for (const Json& crd : crds) TRY(Install(client, crd).In("installing " + kube::NameOf(crd)));
  const MonoTime deadline = runtime.clock().MonoNow() + kPatience;
  for (const Json& crd : crds) {
    for (;;) {
      const Json present =
          TRY(client.Get(kube::types::kCustomResourceDefinition, kube::KeyOf(crd)));
      if (kube::ConditionIs(present, "Established")) break;
      if (runtime.clock().MonoNow() >= deadline) {
        return Error(Code::kDeadlineExceeded, kube::NameOf(crd) + " was not established in time");
      }
      TRY(runtime.SleepFor(kLookAgain));
    }
  }
  return {};
}

}  // namespace thinsnap::sidecars
