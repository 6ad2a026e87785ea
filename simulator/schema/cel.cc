#include "simulator/schema/cel.h"

#include <map>
#include <optional>

#include "simulator/schema/cel_node.h"

namespace thinsnap::schema::cel {
namespace {

// More than any honest rule takes; a hostile one ends here.
constexpr std::int64_t kMostSteps = 1'000'000;

bool UsesName(const Node& node, std::string_view name) {
  if (node.type == Node::Type::kName && node.text == name) return true;
  for (const auto& child : node.children) {
    if (UsesName(*child, name)) return true;
  }
  return false;
}

class Evaluator {
 public:
  Evaluator(const Json& self, const Json* old_self) {
    names_["self"] = &self;
    if (old_self != nullptr) names_["oldSelf"] = old_self;
  }

  Result<Json> Evaluate(const Node& node) {
    if (++steps_ > kMostSteps)
      return Error(Code::kResourceExhausted, "the rule takes too many steps");
    switch (node.type) {
      case Node::Type::kLiteral:
        return node.literal;
      case Node::Type::kName: {
        const auto found = names_.find(node.text);
        if (found == names_.end()) {
          return Error(Code::kInvalidArgument, "undeclared reference to '" + node.text + "'");
        }
        return *found->second;
      }
      case Node::Type::kSelect:
      case Node::Type::kHas:
        return Select(node);
      case Node::Type::kIndex:
        return Index(node);
      case Node::Type::kCall:
      case Node::Type::kMethod: {
        std::vector<Json> arguments;
        for (const auto& child : node.children) arguments.push_back(TRY(Evaluate(*child)));
        return CallCel(node.text, arguments, node.type == Node::Type::kMethod);
      }
      case Node::Type::kMacro:
        return Macro(node);
      case Node::Type::kList: {
        JsonArray list;
        for (const auto& child : node.children) list.push_back(TRY(Evaluate(*child)));
        return Json(std::move(list));
      }
      case Node::Type::kMap: {
        JsonObject map;
        for (std::size_t i = 0; i < node.children.size(); i += 2) {
          const Json key = TRY(Evaluate(*node.children[i]));
          map[key.is_string() ? std::string(key.get_string()) : ToJson(key)] =
              TRY(Evaluate(*node.children[i + 1]));
        }
        return Json(std::move(map));
      }
      case Node::Type::kNot:
        return Json(!TRY(Boolean(*node.children[0])));
      case Node::Type::kNegate: {
        const Json value = TRY(Evaluate(*node.children[0]));
        if (value.is_double()) return Json(-value.get_double());
        return BinaryCel("-", Json(std::int64_t{0}), value);
      }
      case Node::Type::kBinary:
        if (node.text == "&&" || node.text == "||") return Logical(node);
        return Binary(node);
      case Node::Type::kConditional:
        return Evaluate(*node.children[TRY(Boolean(*node.children[0])) ? 1 : 2]);
    }
    return Error(Code::kInternal, "unknown node");
  }

 private:
  // A pointer where the tree already holds the value: self.spec.x copies only x.
  Result<const Json*> Locate(const Node& node, Json& storage) {
    if (node.type == Node::Type::kName) {
      if (const auto found = names_.find(node.text); found != names_.end()) return found->second;
    }
    if (node.type == Node::Type::kSelect) {
      Json inner;
      const Json* target = TRY(Locate(*node.children[0], inner));
      if (&inner != target) {
        if (const JsonObject* object = target->if_object()) {
          if (const Json* member = object->if_contains(node.text)) return member;
        }
      }
    }
    storage = TRY(Evaluate(node));
    return &storage;
  }

  Result<Json> Select(const Node& node) {
    Json storage;
    const Json* target = TRY(Locate(*node.children[0], storage));
    const JsonObject* object = target->if_object();
    if (object == nullptr) {
      return Error(Code::kInvalidArgument,
                   "member '" + node.text + "' of a value that is no object");
    }
    const Json* member = object->if_contains(node.text);
    if (node.type == Node::Type::kHas) return Json(member != nullptr);
    if (member == nullptr) return Error(Code::kInvalidArgument, "no such key: " + node.text);
    return *member;
  }

  Result<Json> Index(const Node& node) {
    Json storage;
    const Json* target = TRY(Locate(*node.children[0], storage));
    const Json index = TRY(Evaluate(*node.children[1]));
    if (const JsonArray* list = target->if_array(); list != nullptr && index.is_int64()) {
      if (index.get_int64() < 0 || index.get_int64() >= static_cast<std::int64_t>(list->size())) {
        return Error(Code::kInvalidArgument,
                     "index out of bounds: " + std::to_string(index.get_int64()));
      }
      return (*list)[static_cast<std::size_t>(index.get_int64())];
    }
    if (const JsonObject* object = target->if_object(); object != nullptr && index.is_string()) {
      const Json* member = object->if_contains(index.get_string());
      if (member == nullptr)
        return Error(Code::kInvalidArgument, "no such key: " + std::string(index.get_string()));
      return *member;
    }
    return Error(Code::kInvalidArgument, "no matching overload for '_[_]'");
  }

  Result<bool> Boolean(const Node& node) {
    const Json value = TRY(Evaluate(node));
    if (!value.is_bool())
      return Error(Code::kInvalidArgument, "a boolean is needed, found " + ToJson(value));
    return value.get_bool();
  }

  // One side that decides alone makes the other's error irrelevant, in either order.
  Result<Json> Logical(const Node& node) {
    const bool decides = node.text == "||";
    const Result<bool> left = Boolean(*node.children[0]);
    if (left.ok() && *left == decides) return Json(decides);
    const Result<bool> right = Boolean(*node.children[1]);
    if (right.ok() && *right == decides) return Json(decides);
    if (!left.ok()) return left.error();
    if (!right.ok()) return right.error();
    return Json(!decides);
  }

  Result<Json> Binary(const Node& node) {
    Json left_storage, right_storage;
    const Json* left = TRY(Locate(*node.children[0], left_storage));
    const Json* right = TRY(Locate(*node.children[1], right_storage));
    return BinaryCel(node.text, *left, *right);
  }

  Result<Json> Macro(const Node& node) {
    Json storage;
    const Json* target = TRY(Locate(*node.children[0], storage));
    std::vector<Json> elements;
    if (const JsonArray* list = target->if_array()) {
      elements.assign(list->begin(), list->end());
    } else if (const JsonObject* object = target->if_object()) {
      for (const auto& [key, value] : *object) elements.push_back(Json(key));
    } else {
      return Error(Code::kInvalidArgument,
                   node.text + "() of a value that is neither list nor map");
    }
    const auto shadowed = names_.find(node.variable);
    const Json* outer = shadowed == names_.end() ? nullptr : shadowed->second;
    Result<Json> result = Loop(node, elements);
    if (outer != nullptr) {
      names_[node.variable] = outer;
    } else {
      names_.erase(node.variable);
    }
    return result;
  }

  Result<Json> Loop(const Node& node, const std::vector<Json>& elements) {
    JsonArray kept;
    std::int64_t matches = 0;
    std::optional<Error> failure;
    const bool filters = node.text != "map" || node.children.size() == 3;
    for (const Json& element : elements) {
      names_[node.variable] = &element;
      if (filters) {
        Result<bool> match = Boolean(*node.children[1]);
        if (!match.ok()) {
          if (node.text != "all" && node.text != "exists") return match.error();
          failure = std::move(match).error();
          continue;
        }
        if (node.text == "all" && !*match) return Json(false);
        if (node.text == "exists" && *match) return Json(true);
        if (!*match) continue;
        ++matches;
      }
      if (node.text == "map") kept.push_back(TRY(Evaluate(*node.children.back())));
      if (node.text == "filter") kept.push_back(element);
    }
    if (failure.has_value()) return *failure;
    if (node.text == "all") return Json(true);
    if (node.text == "exists") return Json(false);
    if (node.text == "exists_one") return Json(matches == 1);
    return Json(std::move(kept));
  }

  std::map<std::string, const Json*, std::less<>> names_;
  std::int64_t steps_ = 0;
};

}  // namespace

Program::~Program() = default;

Result<std::shared_ptr<const Program>> Program::Compile(std::string_view text) {
  std::shared_ptr<Program> program(new Program);
  program->root_ = TRY(ParseCel(text));
  program->uses_old_self_ = UsesName(*program->root_, "oldSelf");
  return std::shared_ptr<const Program>(std::move(program));
}

Result<Json> Program::Evaluate(const Json& self, const Json* old_self) const {
  return Evaluator(self, old_self).Evaluate(*root_);
}

Result<bool> Program::Test(const Json& self, const Json* old_self) const {
  const Json value = TRY(Evaluate(self, old_self));
  if (!value.is_bool()) return Error(Code::kInvalidArgument, "the rule does not give a boolean");
  return value.get_bool();
}

}  // namespace thinsnap::schema::cel
