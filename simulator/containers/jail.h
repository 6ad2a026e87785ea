// Jail: a folder whose content somebody else made: an image, a volume that pods write to. The
// kernel resolves each path inside of it, so that no link and no "..", not even one that is put
// there meanwhile, leads whoever works here to a place outside.
#pragma once

#include <string>
#include <string_view>
#include <sys/types.h>

#include "base/core/file.h"
#include "base/core/result.h"

namespace thinsnap::containers {

class Jail {
 public:
  // Of a link that leads out: it is followed as if the folder were /, or refused
  // (kPermissionDenied).
  enum class Links { kInside, kRefused };

  static Result<Jail> Open(const std::string& folder, Links links);

  // What is there, opened with O_PATH. kNotFound.
  Result<UniqueFd> Find(const std::string& path) const;
  // What is there, or a new folder, as are those on the way to it; opened with O_PATH. "" is the
  // folder itself.
  Result<UniqueFd> FindOrMakeFolder(std::string_view path, mode_t mode) const;
  // A new file in place of what has this name, a link too; folders on the way are made.
  Status WriteText(const std::string& path, std::string_view text) const;
  // Only where nothing has this name.
  Status MakeLink(const std::string& path, const std::string& target) const;
  // Of what is there.
  Status SetMode(const std::string& path, mode_t mode) const;

 private:
  Jail(UniqueFd folder, Links links) : folder_(std::move(folder)), links_(links) {}
  // The descriptor, or none and errno. A path may begin with slashes.
  UniqueFd Resolve(const std::string& path) const;

  UniqueFd folder_;
  Links links_;
};

}  // namespace thinsnap::containers
