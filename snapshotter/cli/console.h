// Console: what the command says, to people or (--json) to programs, and a progress line where
// there is a terminal.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json_fwd.h"

namespace thinsnap::cli {

class Console {
 public:
  using Write = std::function<void(std::string_view)>;

  Console(Clock& clock, Write out, Write err)
      : clock_(clock), out_(std::move(out)), err_(std::move(err)) {}

  bool json = false;      // results as one JSON document on standard output
  bool terminal = false;  // standard error is a terminal: draw progress there

  // For people only.
  void Say(std::string_view line);
  // To standard error, always.
  void Warn(std::string_view line);
  void Result(const Json& value);
  // Columns, left-aligned, separated by two spaces.
  void Table(const std::vector<std::vector<std::string>>& rows);

  // Draws "verb [####......]  41 %  1.2 GiB of 3.0 GiB  310 MiB/s". Not thread-safe with the
  // others.
  void Progress(std::string_view verb, std::uint64_t done, std::uint64_t total);
  // Ends the progress line.
  void EndProgress();

 private:
  Clock& clock_;
  Write out_;
  Write err_;
  MonoTime started_{};
  bool drawing_ = false;
};

}  // namespace thinsnap::cli
