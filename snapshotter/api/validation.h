// What is wrong with an object of a user by itself, without looking at other objects: one sentence
// for each finding with the field, what was found and what would be accepted. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/data/json.h"

namespace thinsnap::backup {

std::vector<std::string> ValidateBackupConfiguration(const Json& configuration);
std::vector<std::string> ValidateRestoreSession(const Json& restore);

}  // namespace thinsnap::backup
