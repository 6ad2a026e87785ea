// What HTTP's statuses mean to a caller, whatever protocol stands on it.
#pragma once

#include "base/core/result.h"

namespace thinsnap::net {

// Of a status that is no success, where the protocol says nothing more exact.
Code CodeOfHttpStatus(int status);

}  // namespace thinsnap::net
