// Where the passphrase comes from: the environment, a file, or a person at a terminal who sees no
// echo.
#pragma once

#include <optional>
#include <string>

#include "base/core/result.h"
#include "base/core/secret.h"

namespace thinsnap::cli {

struct PassphraseSources {
  std::optional<std::string> environment;  // THINSNAP_PASSPHRASE
  std::string file;      // --passphrase-file: its first line; wins over the environment
  bool may_ask = false;  // there is a terminal
};

// Absent where no source has one. Asks (twice if `confirm`) only when nothing else has it and
// `needed`.
Result<std::optional<Secret>> FindPassphrase(const PassphraseSources& sources, bool needed,
                                             bool confirm);

}  // namespace thinsnap::cli
