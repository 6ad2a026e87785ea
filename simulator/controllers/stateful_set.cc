// The StatefulSet controller: claims before their pod, pods in order. Claims outlive their pods and
// the set, unless the retention policy says otherwise: then they are owned by what they go with.
#include "simulator/controllers/owned.h"
#include "simulator/controllers/parts.h"
#include "simulator/controllers/revisions.h"
#include "simulator/placement/pod_state.h"
#include "simulator/workloads/stateful_set_plan.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

class StatefulSetController final : public QueuePart {
 public:
  explicit StatefulSetController(const Context& context)
      : QueuePart(context, "statefulset-controller"), claims_(For(types::kPersistentVolumeClaim)) {
    queue_.WatchOwn(For(types::kStatefulSet));
    queue_.WatchOwned(For(types::kPod), "StatefulSet");
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    auto live = client_.Get(types::kStatefulSet, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    Json set = TRY(std::move(live));
    if (kube::IsDeleting(set)) return Requeue::Done();
    const auto pods = TRY(ListOwned(client_, types::kPod, set));
    auto current = StringAt(set, "status.currentRevision");
    const auto revisions = TRY(SyncRevisions(client_, set, current, pods));
    if (current.empty()) current = revisions.update;
    const auto plan =
        workloads::PlanStatefulSet({set, pods, current, revisions.update, context_.Now()});
    set = TRY(WriteStatus(client_, types::kStatefulSet, std::move(set), plan.status));
    // Before any pod goes that a claim is to go with.
    for (const Json& pod : pods) TRY(KeepOwners(set, pod));
    for (const Json& pod : plan.remove) TRY(DeletePod(set, pod));
    for (const workloads::NewMember& member : plan.create)
      TRY(CreateMember(set, revisions, current, member));
    return plan.again ? Requeue::After(*plan.again) : Requeue::Done();
  }

  Status KeepOwners(const Json& set, const Json& pod) {
    for (const Json& claim : workloads::MemberClaims(set, workloads::OrdinalOf(set, pod))) {
      const auto present = claims_.Get(kube::KeyOf(claim));
      if (!present || kube::IsDeleting(*present)) continue;
      const Json wanted = workloads::WithOwners(*present, set, pod);
      if (wanted == *present) continue;
      auto updated = client_.Update(types::kPersistentVolumeClaim, wanted);
      if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    }
    return {};
  }

  Status DeletePod(const Json& set, const Json& pod) {
    kube::DeleteOptions options;
    options.uid = kube::UidOf(pod);
    auto deleted = client_.Delete(types::kPod, kube::KeyOf(pod), options);
    if (deleted.Is(Code::kNotFound)) return {};
    if (!deleted.ok()) return std::move(deleted).error();
    events_.Emit(
        set, "Normal", "SuccessfulDelete",
        "delete Pod " + kube::NameOf(pod) + " in StatefulSet " + kube::NameOf(set) + " successful");
    return {};
  }

  Status CreateMember(const Json& set, const Revisions& revisions, const std::string& current,
                      const workloads::NewMember& member) {
    const auto& revision = member.updated ? revisions.update : current;
    Json pod_template = RevisionTemplate(revisions, revision);
    if (pod_template.is_null()) pod_template = ValueAt(set, "spec.template");
    const Json pod = workloads::MemberPod(set, pod_template, member.ordinal, revision);
    for (const Json& claim : workloads::MemberClaims(set, member.ordinal))
      TRY(EnsureClaim(set, pod, claim));
    auto created = client_.Create(types::kPod, pod);
    const auto what = "create Pod " + kube::NameOf(pod) + " in StatefulSet " + kube::NameOf(set);
    if (created.ok()) {
      events_.Emit(set, "Normal", "SuccessfulCreate", what + " successful");
      return {};
    }
    if (!created.Is(Code::kAlreadyExists)) {
      events_.Emit(set, "Warning", "FailedCreate",
                   what + " failed error: " + created.error().message());
    }
    return std::move(created).error();
  }

  Status EnsureClaim(const Json& set, const Json& pod, const Json& claim) {
    const auto present = client_.Get(types::kPersistentVolumeClaim, kube::KeyOf(claim));
    const auto what = "create Claim " + kube::NameOf(claim) + " Pod " + kube::NameOf(pod) +
                      " in StatefulSet " + kube::NameOf(set);
    if (present.ok()) {
      if (!kube::IsDeleting(*present)) return {};
      // The pod would wait for a claim that goes.
      return Error(Code::kAborted, "claim " + kube::NameOf(claim) + " is being deleted");
    }
    if (!present.Is(Code::kNotFound)) return present.error();
    auto created = client_.Create(types::kPersistentVolumeClaim, claim);
    if (created.ok()) {
      events_.Emit(set, "Normal", "SuccessfulCreate", what + " success");
      return {};
    }
    events_.Emit(set, "Warning", "FailedCreate",
                 what + " failed error: " + created.error().message());
    return std::move(created).error();
  }

  kube::Informer& claims_;
};

}  // namespace

std::unique_ptr<Part> MakeStatefulSetController(const Context& context) {
  return std::make_unique<StatefulSetController>(context);
}

}  // namespace thinsnap::controllers
