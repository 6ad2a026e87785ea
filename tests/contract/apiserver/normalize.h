// Makes two servers' answers comparable: what differs by nature (uids, times, versions) is masked.
#pragma once

#include <string>

#include "base/data/json.h"

namespace thinsnap::apiserver {

// Empty if the answer says the same as the recorded one; otherwise what differs.
std::string Compare(const Json& recorded, int status, const std::string& body,
                    const std::string& warning);

}  // namespace thinsnap::apiserver
