// The syntax tree of a CEL expression (github.com/google/cel-spec, doc/langdef.md).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"

namespace thinsnap::schema::cel {

struct Node {
  enum class Type {
    kLiteral,
    kName,    // text
    kSelect,  // children[0].text
    kHas,     // has(children[0].text)
    kIndex,   // children[0][children[1]]
    kCall,    // text(children...)
    kMethod,  // children[0].text(children[1]...)
    kMacro,   // children[0].text(variable, children[1][, children[2]])
    kList,    // [children...]
    kMap,     // {children[0]: children[1], ...}
    kNot,
    kNegate,
    kBinary,       // children[0] text children[1]
    kConditional,  // children[0] ? children[1] : children[2]
  };
  Type type = Type::kLiteral;
  std::string text;      // name, member, function or operator
  std::string variable;  // of a macro
  Json literal;
  std::vector<std::unique_ptr<Node>> children;
};

// kInvalidArgument with the position. At most 64 levels deep.
Result<std::unique_ptr<Node>> ParseCel(std::string_view text);

// Functions that take evaluated arguments; for a method, the target comes first. kUnimplemented: no
// such function.
Result<Json> CallCel(std::string_view name, const std::vector<Json>& arguments, bool method);
Result<Json> BinaryCel(std::string_view op, const Json& left, const Json& right);
bool EqualCel(const Json& left, const Json& right);

}  // namespace thinsnap::schema::cel
