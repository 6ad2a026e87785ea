// The claims of a running restore: where they are made, and what the provisioner says of them.
#pragma once

#include <string>
#include <vector>

#include "snapshotter/operator/context.h"

namespace thinsnap::backup {

// True while bytes flow, False with what stands in the way, absent when there is nothing to say.
inline constexpr char kRestoreProgressing[] = "RestoreProgressing";

Result<std::vector<Json>> ClaimsOf(Context& context, const Json& restore);
// For the unbound claims of WaitForFirstConsumer classes; not with spec.waitForConsumer.
Status SelectNodes(Context& context, const Json& restore);
// The last Warning about an unbound claim, as condition RestoreProgressing. The answer is a
// sentence where the CSI driver refuses for good: damaged or missing data, a wrong key, a wrong
// request.
Result<std::string> FollowClaims(Context& context, Json& restore);
// A sentence where that condition has been False for half an hour; else empty.
std::string StandsStill(const Context& context, const Json& restore);

}  // namespace thinsnap::backup
