#include "base/core/secret.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace thinsnap {

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) {
    Wipe();
    text_ = other.text_;
  }
  return *this;
}

// A copy: moving a short string would leave its bytes in the other's own buffer.
Secret::Secret(Secret&& other) noexcept
    : text_(other.text_) {  // NOLINT(performance-move-constructor-init): to be wiped there
  other.Wipe();
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    Wipe();
    text_ = other.text_;
    other.Wipe();
  }
  return *this;
}

bool Secret::Equals(std::string_view other) const {
  // The length is no secret here: tokens and keys have a fixed one.
  if (other.size() != text_.size()) return false;
  unsigned char difference = 0;
  for (std::size_t i = 0; i < other.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (text_[i] ^ other[i]));
  }
  return difference == 0;
}

void Secret::Wipe() {
  explicit_bzero(text_.data(), text_.size());
  text_.clear();
}

void HardenProcess() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
  // A peer that goes away is an error of write(), not the end of the process.
  signal(SIGPIPE, SIG_IGN);
}

}  // namespace thinsnap
