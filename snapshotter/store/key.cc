#include "snapshotter/store/key.h"

#include <string>

namespace thinsnap::store {
namespace {

Error BadKey(std::string_view key, std::string_view why) {
  return Error(Code::kInvalidArgument,
               "object key \"" + std::string(key.substr(0, 200)) + "\" " + std::string(why));
}

}  // namespace

Status CheckKey(std::string_view key) {
  if (key.empty()) return BadKey(key, "is empty");
  if (key.size() > kMaxKeyBytes) return BadKey(key, "is longer than 1,000 bytes");
  std::size_t start = 0;
  for (;;) {
    const std::size_t slash = key.find('/', start);
    const std::string_view part = key.substr(start, slash == key.npos ? key.npos : slash - start);
    if (part.empty())
      return BadKey(key, "has an empty part: parts are separated by single slashes");
    if (part == "." || part == "..") return BadKey(key, "has a part \".\" or \"..\"");
    if (part.find('\0') != part.npos) return BadKey(key, "holds a zero byte");
    if (slash == key.npos) return {};
    start = slash + 1;
  }
}

}  // namespace thinsnap::store
