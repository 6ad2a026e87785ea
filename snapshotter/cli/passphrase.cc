#include "snapshotter/cli/passphrase.h"

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/core/runtime.h"

namespace thinsnap::cli {
namespace {

constexpr int kPollMs = 100;

// Turns the terminal's echo off until it goes.
class Silence {
 public:
  explicit Silence(int terminal) : terminal_(terminal) {
    known_ = ::tcgetattr(terminal_, &before_) == 0;
    if (!known_) return;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(terminal_, TCSAFLUSH, &silent);
  }
  ~Silence() {
    if (known_) ::tcsetattr(terminal_, TCSAFLUSH, &before_);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  int terminal_;
  bool known_ = false;
  termios before_{};
};

void Show(int terminal, std::string_view text) {
  // Where the prompt cannot be shown the answer cannot be read either.
  [[maybe_unused]] const ssize_t written = ::write(terminal, text.data(), text.size());
}

Result<Secret> Ask(int terminal, std::string_view prompt) {
  const Silence silence(terminal);
  Show(terminal, prompt);
  std::string line;
  line.reserve(4096);  // so that no copy is left behind by growing
  for (;;) {
    // A stop must find the way out, or the terminal would stay without its echo.
    pollfd ready{.fd = terminal, .events = POLLIN, .revents = 0};
    const int polled = ::poll(&ready, 1, kPollMs);
    if (Runtime::Cancelled()) {
      Show(terminal, "\n");
      return Error(Code::kCancelled, "stopped while asking for the passphrase");
    }
    if (polled == 0 || (polled < 0 && errno == EINTR)) continue;
    char c = 0;
    const ssize_t got = ::read(terminal, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      Show(terminal, "\n");
      return Error(Code::kCancelled, "no passphrase was given");
    }
    if (c == '\n') break;
    if (line.size() == 4096)
      return Error(Code::kInvalidArgument, "the passphrase is longer than 4096 bytes");
    line.push_back(c);
  }
  Show(terminal, "\n");
  return Secret(std::move(line));
}

}  // namespace

Result<std::optional<Secret>> FindPassphrase(const PassphraseSources& sources, bool needed,
                                             bool confirm) {
  if (!sources.file.empty()) {
    std::string text = TRY(ReadFile(sources.file, 64 * kKiB).In("--passphrase-file"));
    // Its line end may be there: repositories know what to make of it.
    if (const auto end = text.find('\n'); end != std::string::npos) text.resize(end + 1);
    if (text.find_first_not_of("\r\n") == std::string::npos) {
      return Error(Code::kInvalidArgument,
                   "--passphrase-file " + sources.file + ": its first line is empty");
    }
    return std::optional<Secret>(Secret(std::move(text)));
  }
  if (sources.environment && !sources.environment->empty()) {
    return std::optional<Secret>(Secret(*sources.environment));
  }
  if (!needed || !sources.may_ask) return std::optional<Secret>();
  const UniqueFd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal) return std::optional<Secret>();
  Secret first = TRY(Ask(terminal.get(), "passphrase: "));
  if (first.empty()) return Error(Code::kInvalidArgument, "the passphrase is empty");
  if (confirm) {
    const Secret second = TRY(Ask(terminal.get(), "again: "));
    if (!second.Equals(first.Reveal())) {
      return Error(Code::kInvalidArgument, "the two passphrases differ");
    }
  }
  return std::optional<Secret>(std::move(first));
}

}  // namespace thinsnap::cli
