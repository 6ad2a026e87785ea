#include "snapshotter/cli/console.h"

#include <algorithm>

#include "base/core/bytes.h"
#include "base/data/json.h"

namespace thinsnap::cli {
namespace {

constexpr std::size_t kBarWidth = 30;
// A narrow terminal cuts the line off; wrapped, it could not be drawn over. ECMA-48, DECAWM.
constexpr char kNoWrap[] = "\x1b[?7l";
constexpr char kWrap[] = "\x1b[?7h";

}  // namespace

void Console::Say(std::string_view line) {
  if (!json) out_(std::string(line) + "\n");
}

void Console::Warn(std::string_view line) {
  EndProgress();
  if (json) {
    warnings_.emplace_back(line);
  } else {
    err_(std::string(line) + "\n");
  }
}

void Console::Result(const Json& value) { result_ = ToJson(value); }

void Console::Finish(std::string_view verb, const Status& status, int exit_code,
                     std::string_view hint) {
  EndProgress();
  if (!json) {
    if (status.ok()) return;
    err_("thinsnap: " + (verb.empty() ? "" : std::string(verb) + ": ") + status.error().message() +
         "\n");
    if (!hint.empty()) err_(std::string(hint) + "\n");
    return;
  }
  auto parsed = ParseJson(result_);
  Json document = parsed.ok() ? std::move(parsed).value() : Json(JsonObject());
  if (!warnings_.empty()) {
    JsonArray warnings;
    for (const std::string& line : warnings_) warnings.emplace_back(line);
    document.as_object()["warnings"] = std::move(warnings);
  }
  if (!status.ok()) {
    JsonObject error{{"code", CodeName(status.error().code())},
                     {"message", status.error().message()},
                     {"exitCode", exit_code}};
    if (!hint.empty()) error["hint"] = hint;
    document.as_object()["error"] = std::move(error);
  }
  out_(ToPrettyJson(document));
}

void Console::Table(const std::vector<std::vector<std::string>>& rows) {
  if (json) return;
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - row[i].size() + 2, ' ');
    }
    out_(line + "\n");
  }
}

void Console::Progress(std::string_view verb, std::uint64_t done, std::uint64_t total) {
  if (!terminal || json) return;
  const MonoTime now = clock_.MonoNow();
  if (!drawing_) started_ = now;
  drawing_ = true;
  const double share =
      total == 0 ? 1.0 : static_cast<double>(std::min(done, total)) / static_cast<double>(total);
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(kBarWidth));
  const double seconds = std::chrono::duration<double>(now - started_).count();
  std::string line = std::string("\r") + kNoWrap + std::string(verb) + " [" +
                     std::string(filled, '#') + std::string(kBarWidth - filled, '.') + "] " +
                     std::to_string(static_cast<int>(share * 100)) + " %  " + FormatSize(done) +
                     " of " + FormatSize(total);
  if (seconds > 0.5) {
    line +=
        "  " + FormatSize(static_cast<std::uint64_t>(static_cast<double>(done) / seconds)) + "/s";
  }
  err_(line + "\x1b[K" + kWrap);
}

void Console::EndProgress() {
  if (!drawing_) return;
  drawing_ = false;
  err_("\n");
}

}  // namespace thinsnap::cli
