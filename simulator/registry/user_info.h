// UserInfo: who makes a request, as authentication has found out.
#pragma once

#include <string>
#include <vector>

namespace thinsnap::registry {

struct UserInfo {
  std::string name;
  std::vector<std::string> groups;
};

}  // namespace thinsnap::registry
