// repo.json: what a repository is. Readable without a key; believed only once its MAC was checked
// under the master.
#pragma once

#include <string>
#include <string_view>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::repo {

inline constexpr const char* kRepositoryFile = "repo.json";

struct RepositoryFile {
  RepositoryHeader header;
  std::string slot;     // the first one; empty in the suite plain
  std::string created;  // RFC 3339, for people
  std::string mac;      // Base64
};

std::string EncodeRepositoryFile(const Keyring& keyring, const std::string& slot, WallTime created);
// kFailedPrecondition for a newer format or other sizes than this program has; kDataLoss.
Result<RepositoryFile> ParseRepositoryFile(std::string_view text);
Status CheckRepositoryMac(const Keyring& keyring, const RepositoryFile& file);

}  // namespace thinsnap::repo
