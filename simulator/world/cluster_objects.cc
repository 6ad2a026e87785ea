#include "simulator/world/cluster_objects.h"

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/data/json.h"
#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "simulator/sidecars/crds.h"
#include "simulator/world/embedded.h"
#include "snapshotter/api/crds.h"

namespace thinsnap::world {
namespace {

// The built-in kinds that the manifests use; the others are defined by the CRDs beside them.
std::optional<kube::ResourceType> TypeOf(const Json& object, const std::vector<Json>& crds) {
  const std::string kind = StringAt(object, "kind");
  for (const kube::ResourceType& type :
       {kube::types::kNamespace, kube::types::kServiceAccount, kube::types::kRole,
        kube::types::kRoleBinding, kube::types::kClusterRole, kube::types::kClusterRoleBinding,
        kube::types::kCsiDriver, kube::types::kConfigMap}) {
    if (type.kind == kind && type.api_version() == StringAt(object, "apiVersion")) return type;
  }
  for (const Json& crd : crds) {
    kube::ResourceType type{StringAt(crd, "spec.group"), "", StringAt(crd, "spec.names.plural"),
                            StringAt(crd, "spec.names.kind"),
                            StringAt(crd, "spec.scope") == "Namespaced"};
    if (type.kind != kind) continue;
    for (const Json& version : ArrayAt(crd, "spec.versions")) {
      type.version = StringAt(version, "name");
      if (type.api_version() == StringAt(object, "apiVersion")) return type;
    }
  }
  return std::nullopt;
}

Status Install(kube::KubeClient& client, const kube::ResourceType& type, const Json& object) {
  const std::string what = type.kind + " " + kube::NameOf(object);
  Result<Json> written = client.Create(type, object);
  if (written.Is(Code::kAlreadyExists)) {
    written = client.Patch(type, kube::KeyOf(object), kube::PatchType::kMerge, object);
  }
  if (!written.ok()) return std::move(written).error().In("install " + what);
  return {};
}

}  // namespace

registry::UserInfo SystemAccount(const std::string& name) {
  return {std::string("system:serviceaccount:") + kSystemNamespace + ":" + name,
          {"system:serviceaccounts", std::string("system:serviceaccounts:") + kSystemNamespace}};
}

Status InstallClusterObjects(Runtime& runtime, kube::KubeClient& client,
                             const std::string& api_domain) {
  TRY(Install(client, kube::types::kNamespace,
              kube::NewObject(kube::types::kNamespace, {"", kSystemNamespace})));
  std::vector<Json> crds, others;
  std::vector<Json> driver = TRY(ParseYamlStream(kDriverManifests));
  for (Json& object : driver) {
    const bool is_crd = StringAt(object, "kind") == "CustomResourceDefinition";
    (is_crd ? crds : others).push_back(std::move(object));
  }
  for (Json& crd : sidecars::SnapshotCrds()) crds.push_back(std::move(crd));
  for (Json& crd : backup::OperatorCrds(api_domain)) crds.push_back(std::move(crd));
  TRY(sidecars::InstallCrds(runtime, client, crds));
  for (Json& object : backup::CatalogObjects(api_domain)) others.push_back(std::move(object));
  for (const Json& object : others) {
    const std::optional<kube::ResourceType> type = TypeOf(object, crds);
    if (!type) {
      return Error(Code::kInternal, "the manifests have a " + StringAt(object, "kind") + " of " +
                                        StringAt(object, "apiVersion") +
                                        ", which no definition names");
    }
    TRY(Install(client, *type, object));
  }
  return {};
}

}  // namespace thinsnap::world
