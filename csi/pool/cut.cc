#include "csi/pool/cut.h"

#include <chrono>
#include <memory>
#include <utility>

#include "base/core/log.h"

namespace thinsnap::pool {
namespace {

std::string Describe(const GroupRequest& request) {
  return request.name.empty() ? "snapshot \"" + request.members.front().name + "\""
                              : "group \"" + request.name + "\"";
}

}  // namespace

Result<GroupInfo> Cuts::Make(const GroupRequest& request, ThinPool& pool, CutSteps& steps,
                             Quiesce& quiesce) {
  if (const auto existing = TRY(steps.FindCut(request))) return *existing;
  const std::string what = Describe(request);
  std::vector<VolumeLocks::Lock> claims;
  std::vector<std::unique_ptr<Pin>> pins;
  std::vector<VolumeId> volumes;
  for (const SnapshotRequest& member : request.members) {
    claims.push_back(TRY(claims_.TakeSnapshotName(member.name, "the cut")));
    claims.push_back(TRY(claims_.Take(member.volume, LockMode::kExclusive, "the cut of " + what)));
    pins.push_back(
        TRY(pool.PinVolume(member.volume, {HolderKind::kJob, what + " is being cut", [] {}})));
    volumes.push_back(member.volume);
  }
  // Another call may have made it before the claims.
  if (const auto existing = TRY(steps.FindCut(request))) return *existing;

  const MonoTime asked = clock_.MonoNow();
  auto stillness = TRY(quiesce.Hold(volumes, kMostStillness).In(what));
  const MonoTime held = clock_.MonoNow();
  GroupInfo group;
  group.name = request.name;
  group.cut = clock_.Now();
  if (!request.name.empty()) group.id = GroupId(NewUlid(group.cut, random_));
  Status outcome;
  for (const SnapshotRequest& member : request.members) {
    auto described = steps.DescribeCut(member, group.cut);
    if (!described.ok()) return described.error();  // nothing is copied yet
    described->group = group.id;
    described->group_name = group.name;
    group.members.push_back(std::move(*described));
  }
  outcome = steps.CopyAll(group.members);
  if (Status stood = stillness->Thaw(); !stood.ok() && outcome.ok()) {
    outcome = std::move(stood).error().In("the cut is void");
  }
  group.held = clock_.MonoNow() - held;
  if (outcome.ok()) outcome = steps.PlaceAll(group.members);
  if (!outcome.ok()) {
    steps.Abandon(group.members);
    return std::move(outcome).error().In(what);
  }
  const auto ms = [](Duration time) {
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) +
           " ms";
  };
  LogInfo("pool", what + ": " + std::to_string(volumes.size()) + " volumes stood still for " +
                      ms(group.held) + ", after " + ms(held - asked));
  return group;
}

}  // namespace thinsnap::pool
