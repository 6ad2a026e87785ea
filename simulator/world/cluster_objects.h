// The objects that a cluster with thinsnap has before its first user comes: definitions, the
// driver, roles, the backup catalog. What an administrator would apply from deploy/.
#pragma once

#include <string>

#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "simulator/registry/user_info.h"

namespace thinsnap::world {

inline constexpr char kSystemNamespace[] = "thinsnap-system";
inline constexpr char kDriverName[] = "csi.thinsnap.io";

// The accounts of the shipped manifests. Whoever carries one may do what its roles allow.
inline constexpr char kControllerAccount[] = "thinsnap-csi-controller";
inline constexpr char kNodeAccount[] = "thinsnap-csi-node";
inline constexpr char kOperatorAccount[] = "thinsnap-operator";
// As the API server sees an account of the system namespace.
registry::UserInfo SystemAccount(const std::string& name);

// Idempotent: existing objects are brought up to date.
Status InstallClusterObjects(Runtime& runtime, kube::KubeClient& client,
                             const std::string& api_domain);

}  // namespace thinsnap::world
