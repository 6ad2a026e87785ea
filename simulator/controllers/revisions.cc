#include "simulator/controllers/revisions.h"

#include <algorithm>
#include <set>

#include "base/kube/object.h"
#include "simulator/controllers/owned.h"
#include "simulator/workloads/workload.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;

constexpr char kHashLabel[] = "controller.kubernetes.io/hash";

std::int64_t Number(const Json& revision) { return IntAt(revision, "revision"); }

Json NewRevision(const Json& owner, const Json& pod_template, const std::string& name,
                 const std::string& hash, std::int64_t number) {
  Json revision = kube::NewObject(types::kControllerRevision, {kube::NamespaceOf(owner), name});
  if (const Json* labels = Find(owner, "spec.template.metadata.labels"))
    Set(revision, "metadata.labels", *labels);
  kube::SetLabel(revision, kHashLabel, hash);
  kube::AddOwnerReference(revision, kube::OwnerReference(owner));
  Json data = pod_template;
  Set(data, "$patch", "replace");
  Set(revision, "data.spec.template", std::move(data));
  Set(revision, "revision", number);
  return revision;
}

}  // namespace

Result<Revisions> SyncRevisions(kube::KubeClient& client, const Json& owner,
                                const std::string& current, const std::vector<Json>& pods) {
  Revisions revisions;
  revisions.objects = TRY(ListOwned(client, types::kControllerRevision, owner));
  const auto sort = [&] {
    std::stable_sort(revisions.objects.begin(), revisions.objects.end(),
                     [](const Json& a, const Json& b) { return Number(a) < Number(b); });
  };
  sort();
  const Json* pod_template = Find(owner, "spec.template");
  const Json present = pod_template == nullptr ? Json(JsonObject()) : *pod_template;
  const auto hash = workloads::TemplateHash(present);
  revisions.update = kube::NameOf(owner) + "-" + hash;
  const std::int64_t last = revisions.objects.empty() ? 0 : Number(revisions.objects.back());
  const auto known = std::find_if(
      revisions.objects.begin(), revisions.objects.end(),
      [&](const Json& revision) { return kube::NameOf(revision) == revisions.update; });
  if (known == revisions.objects.end()) {
    revisions.objects.push_back(
        TRY(client.Create(types::kControllerRevision,
                          NewRevision(owner, present, revisions.update, hash, last + 1))));
  } else if (Number(*known) != last) {
    Set(*known, "revision", last + 1);
    *known = TRY(client.Update(types::kControllerRevision, *known));
    sort();
  }

  std::set<std::string> used{revisions.update, current};
  for (const Json& pod : pods) used.insert(kube::LabelOf(pod, "controller-revision-hash"));
  const auto limit = static_cast<std::size_t>(
      std::max<std::int64_t>(IntAt(owner, "spec.revisionHistoryLimit", 10), 0));
  std::vector<std::string> unused;
  for (const Json& revision : revisions.objects) {
    const auto name = kube::NameOf(revision);
    if (!used.contains(name) && !used.contains(kube::LabelOf(revision, kHashLabel)))
      unused.push_back(name);
  }
  for (std::size_t i = 0; i + limit < unused.size(); ++i) {
    const auto deleted =
        client.Delete(types::kControllerRevision, {kube::NamespaceOf(owner), unused[i]});
    if (!deleted.ok() && !deleted.Is(Code::kNotFound)) return deleted.error();
  }
  return revisions;
}

Json RevisionTemplate(const Revisions& revisions, const std::string& name) {
  for (const Json& revision : revisions.objects) {
    if (kube::NameOf(revision) != name) continue;
    const Json* data = Find(revision, "data.spec.template");
    if (data == nullptr || !data->is_object()) return nullptr;
    Json pod_template = *data;
    pod_template.as_object().erase("$patch");
    return pod_template;
  }
  return nullptr;
}

}  // namespace thinsnap::controllers
