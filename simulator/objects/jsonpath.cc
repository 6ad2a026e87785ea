#include "simulator/objects/jsonpath.h"

#include <charconv>
#include <string>

namespace thinsnap::objects {

struct JsonPath::Step {
  enum class Type { kMember, kIndex, kAll, kFilter } type = Type::kMember;
  std::string name;   // of a member; of a filter, the dotted path below the element
  std::string value;  // of a filter: what the member must print as
  bool equal = true;
  std::int64_t index = 0;  // negative counts from the end
};

namespace {

using Step = JsonPath::Step;

class Parser {
 public:
  explicit Parser(std::string_view text) : whole_(text), rest_(text) {
    if (rest_.starts_with('{') && rest_.ends_with('}')) rest_ = rest_.substr(1, rest_.size() - 2);
    if (rest_.starts_with('$')) rest_.remove_prefix(1);
  }

  Result<std::vector<Step>> Parse() {
    std::vector<Step> steps;
    while (!rest_.empty()) {
      if (rest_.starts_with('[')) {
        steps.push_back(TRY(Bracket()));
        continue;
      }
      if (rest_.starts_with('.')) rest_.remove_prefix(1);
      if (rest_.empty() || rest_.starts_with('[')) continue;
      Step step;
      while (!rest_.empty() && rest_[0] != '.' && rest_[0] != '[') {
        // "\." is a dot inside of a name.
        if (rest_[0] == '\\' && rest_.size() > 1) rest_.remove_prefix(1);
        step.name += rest_[0];
        rest_.remove_prefix(1);
      }
      if (step.name == "*") step.type = Step::Type::kAll;
      steps.push_back(std::move(step));
    }
    return steps;
  }

 private:
  Error Bad(const std::string& why) const {
    return Error(Code::kInvalidArgument, "JSONPath \"" + std::string(whole_) + "\": " + why);
  }

  static std::string Unquote(std::string_view text) {
    if (text.size() >= 2 && (text[0] == '\'' || text[0] == '"') && text.back() == text[0]) {
      text = text.substr(1, text.size() - 2);
    }
    return std::string(text);
  }

  Result<Step> Bracket() {
    const auto end = rest_.find(']');
    if (end == std::string_view::npos) return Bad("a bracket is not closed");
    std::string_view inside = rest_.substr(1, end - 1);
    Step step;
    if (inside.starts_with("?(")) {
      // The closing bracket may be part of a quoted text.
      const auto close = rest_.find(")]");
      if (close == std::string_view::npos) return Bad("a filter is not closed");
      inside = rest_.substr(3, close - 3);
      rest_.remove_prefix(close + 2);
      return Filter(inside);
    }
    rest_.remove_prefix(end + 1);
    if (inside == "*") {
      step.type = Step::Type::kAll;
    } else if (inside.starts_with('\'') || inside.starts_with('"')) {
      step.name = Unquote(inside);
    } else {
      step.type = Step::Type::kIndex;
      const auto [stop, error] =
          std::from_chars(inside.data(), inside.data() + inside.size(), step.index);
      if (error != std::errc() || stop != inside.data() + inside.size()) {
        return Bad("\"" + std::string(inside) + "\" is no index");
      }
    }
    return step;
  }

  // @.type=="Ready"
  Result<Step> Filter(std::string_view text) const {
    Step step;
    step.type = Step::Type::kFilter;
    auto at = text.find("==");
    if (at == std::string_view::npos) {
      at = text.find("!=");
      step.equal = false;
    }
    if (at == std::string_view::npos) return Bad("a filter compares with == or !=");
    std::string_view left = text.substr(0, at);
    std::string_view right = text.substr(at + 2);
    while (left.ends_with(' ')) left.remove_suffix(1);
    while (right.starts_with(' ')) right.remove_prefix(1);
    while (right.ends_with(' ')) right.remove_suffix(1);
    if (!left.starts_with("@.")) return Bad("a filter starts with @.");
    step.name = left.substr(2);
    step.value = Unquote(right);
    return step;
  }

  std::string_view whole_, rest_;
};

bool FilterMatches(const Json& element, const Step& step) {
  const Json* member = thinsnap::Find(element, step.name);
  if (member == nullptr) return !step.equal;
  const std::string text =
      member->is_string() ? std::string(member->get_string()) : ToJson(*member);
  return (text == step.value) == step.equal;
}

void Take(const Json& value, const Step& step, std::vector<const Json*>& found) {
  const JsonArray* array = value.if_array();
  const JsonObject* object = value.if_object();
  switch (step.type) {
    case Step::Type::kMember:
      if (object == nullptr) return;
      if (const Json* member = object->if_contains(step.name)) found.push_back(member);
      return;
    case Step::Type::kIndex: {
      if (array == nullptr) return;
      const auto size = static_cast<std::int64_t>(array->size());
      const std::int64_t index = step.index < 0 ? step.index + size : step.index;
      if (index >= 0 && index < size) found.push_back(&(*array)[static_cast<std::size_t>(index)]);
      return;
    }
    case Step::Type::kAll:
      if (array != nullptr) {
        for (const Json& element : *array) found.push_back(&element);
      } else if (object != nullptr) {
        for (const auto& [key, member] : *object) found.push_back(&member);
      }
      return;
    case Step::Type::kFilter:
      if (array == nullptr) return;
      for (const Json& element : *array) {
        if (FilterMatches(element, step)) found.push_back(&element);
      }
      return;
  }
}

}  // namespace

Result<JsonPath> JsonPath::Parse(std::string_view text) {
  JsonPath path;
  path.steps_ = std::make_shared<const std::vector<Step>>(TRY(Parser(text).Parse()));
  return path;
}

std::vector<const Json*> JsonPath::Find(const Json& value) const {
  std::vector<const Json*> found = {&value};
  if (steps_ == nullptr) return found;
  for (const Step& step : *steps_) {
    std::vector<const Json*> next;
    for (const Json* at : found) Take(*at, step, next);
    found = std::move(next);
  }
  return found;
}

}  // namespace thinsnap::objects
