// The manifests that the operator needs in a cluster, as deploy/ has them, for any API domain.
#pragma once

#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"

namespace thinsnap::backup {

inline constexpr char kDefaultApiDomain[] = "thinsnap.io";

// The CustomResourceDefinitions of deploy/crds with the groups storage.<domain>, core.<domain>,
// addons.<domain>.
std::vector<Json> OperatorCrds(const std::string& domain);
// The Addons, Functions and ClusterRoles of deploy/catalog: cluster-scoped objects that the
// operator relies on.
std::vector<Json> CatalogObjects(const std::string& domain);

}  // namespace thinsnap::backup
