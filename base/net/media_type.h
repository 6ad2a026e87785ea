// MediaType: a value of Content-Type, Accept and the headers that are written like them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace thinsnap::net {

struct MediaType {
  std::string type;  // lower case, "application/json"
  std::vector<std::pair<std::string, std::string>> parameters;

  std::string_view Parameter(std::string_view name) const;
};

// "a/b;x=y" and "a/b;x=y,c/d" (an Accept header, in its order of preference).
MediaType ParseMediaType(std::string_view text);
std::vector<MediaType> ParseAccept(std::string_view text);

}  // namespace thinsnap::net
