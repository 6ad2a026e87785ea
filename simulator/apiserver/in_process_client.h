// The KubeClient that skips HTTP: straight into the registry, with authorization.
#pragma once

#include <memory>

#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "simulator/apiserver/rbac.h"
#include "simulator/apiserver/reviews.h"
#include "simulator/registry/registry.h"
#include "simulator/registry/watch.h"

namespace thinsnap::apiserver {

// All references must outlive the client.
std::unique_ptr<kube::KubeClient> MakeRegistryClient(Runtime& runtime, registry::Registry& registry,
                                                     registry::WatchHub& watches,
                                                     const Authorizer& authorizer,
                                                     const Reviews& reviews,
                                                     registry::UserInfo user);

}  // namespace thinsnap::apiserver
