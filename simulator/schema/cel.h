// CEL: the expression language of x-kubernetes-validations, as a small interpreter over JSON
// values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "base/data/json.h"

namespace thinsnap::schema::cel {

struct Node;

// A compiled expression. Immutable.
class Program {
 public:
  // kInvalidArgument with position and reason.
  static Result<std::shared_ptr<const Program>> Compile(std::string_view text);
  ~Program();

  // The value for `self` and, if given, `oldSelf`. kInvalidArgument for a run-time error (no such
  // key, types), and kResourceExhausted past the budget of steps.
  Result<Json> Evaluate(const Json& self, const Json* old_self) const;
  // Evaluate and require a boolean.
  Result<bool> Test(const Json& self, const Json* old_self) const;

  bool uses_old_self() const { return uses_old_self_; }

 private:
  Program() = default;
  std::unique_ptr<Node> root_;
  bool uses_old_self_ = false;
};

}  // namespace thinsnap::schema::cel
