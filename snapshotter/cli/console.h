// Console: what the command says, to people or (--json) to programs, and a progress line where
// there is a terminal. With --json standard output carries exactly one document, also where the
// command failed, and people's words are left out.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
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
  // For people on standard error; for programs in the document's "warnings".
  void Warn(std::string_view line);
  // The document; said at the end.
  void Result(const Json& value);
  // The last word: the document for programs, with the error in it if there is one; the error for
  // people. `hint` follows the error.
  void Finish(std::string_view verb, const Status& status, int exit_code, std::string_view hint);
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
  std::string result_;  // the document's text, so that headers stay light
  std::vector<std::string> warnings_;
  MonoTime started_{};
  bool drawing_ = false;
};

}  // namespace thinsnap::cli
