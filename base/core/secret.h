// Secret: a string that is wiped when it goes and cannot be printed by accident.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace thinsnap {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  ~Secret() { Wipe(); }
  Secret(const Secret&) = default;
  Secret& operator=(const Secret& other);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;

  // For the one call that needs it.
  std::string_view Reveal() const { return text_; }
  bool empty() const { return text_.empty(); }
  // Takes the same time wherever the texts differ.
  bool Equals(std::string_view other) const;

 private:
  void Wipe();

  std::string text_;
};

// Called first in every main.cc: no core dumps, no ptrace by others (PR_SET_DUMPABLE 0, RLIMIT_CORE
// 0), SIGPIPE ignored.
void HardenProcess();

}  // namespace thinsnap
