#include "simulator/objects/selectors.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

namespace thinsnap::objects {
namespace {

std::string_view LabelValue(const JsonObject& labels, const std::string& key, bool& there) {
  const Json* value = labels.if_contains(key);
  there = value != nullptr && value->is_string();
  return there ? std::string_view(value->as_string()) : std::string_view();
}

bool ParseNumber(std::string_view text, std::int64_t& value) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc() && end == text.data() + text.size();
}

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool IsLabelText(std::string_view text, std::size_t longest, bool may_be_empty) {
  if (text.empty()) return may_be_empty;
  const auto alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return text.size() <= longest && alnum(text.front()) && alnum(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool IsLabelKey(std::string_view key) {
  const auto slash = key.find('/');
  if (slash == std::string_view::npos) return IsLabelText(key, 63, false);
  return IsLabelText(key.substr(0, slash), 253, false) &&
         IsLabelText(key.substr(slash + 1), 63, false);
}

}  // namespace

class LabelSelectorParser {
 public:
  explicit LabelSelectorParser(std::string_view text) : rest_(text) {}

  schema::ApiResult<LabelSelector> Parse() {
    LabelSelector selector;
    while (!Peek().empty()) {
      selector.requirements_.push_back(TRY(ParseRequirement()));
      const std::string next = Next();
      if (next.empty()) break;
      if (next != ",") return Unexpected(next, "',' or the end");
      if (Peek().empty()) return Unexpected("", "a label key after ','");
    }
    return selector;
  }

 private:
  using Operator = LabelSelector::Operator;

  static schema::ApiError Unexpected(const std::string& found, const std::string& expected) {
    return schema::ApiError::BadRequest("unable to parse requirement: found '" + found +
                                        "', expected: " + expected);
  }

  // A word or an operator; empty at the end.
  std::string Next() {
    while (!rest_.empty() && IsSpace(rest_.front())) rest_.remove_prefix(1);
    if (rest_.empty()) return "";
    for (const std::string_view token : {"==", "!=", "=", "!", ",", "(", ")", "<", ">"}) {
      if (rest_.starts_with(token)) {
        rest_.remove_prefix(token.size());
        return std::string(token);
      }
    }
    const auto end = std::min(rest_.find_first_of(" \t\r\n=!,()<>"), rest_.size());
    std::string word(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return word;
  }

  std::string Peek() {
    const auto before = rest_;
    std::string token = Next();
    rest_ = before;
    return token;
  }

  schema::ApiResult<std::string> Key() {
    std::string key = Next();
    if (!IsLabelKey(key)) return Unexpected(key, "a label key");
    return key;
  }

  schema::ApiResult<std::string> Value(std::string value) {
    if (!IsLabelText(value, 63, true)) {
      return schema::ApiError::BadRequest("unable to parse requirement: '" + value +
                                          "' is not a label value");
    }
    return value;
  }

  schema::ApiResult<LabelSelector::Requirement> ParseRequirement() {
    LabelSelector::Requirement requirement;
    if (Peek() == "!") {
      Next();
      requirement.key = TRY(Key());
      requirement.op = Operator::kNotExists;
      return requirement;
    }
    requirement.key = TRY(Key());
    const std::string op = Peek();
    if (op.empty() || op == ",") {
      requirement.op = Operator::kExists;
      return requirement;
    }
    Next();
    if (op == "in" || op == "notin") {
      requirement.op = op == "in" ? Operator::kIn : Operator::kNotIn;
      TRY(ParseValues(requirement.values));
      return requirement;
    }
    if (op == "=" || op == "==" || op == "!=") {
      requirement.op = op == "!=" ? Operator::kNotIn : Operator::kIn;
      requirement.single = true;
      const std::string next = Peek();
      std::string value = next.empty() || next == "," ? "" : Next();
      requirement.values.push_back(TRY(Value(std::move(value))));
      return requirement;
    }
    if (op == "<" || op == ">") {
      requirement.op = op == ">" ? Operator::kGreater : Operator::kLess;
      const std::string value = Next();
      std::int64_t number = 0;
      if (!ParseNumber(value, number)) return Unexpected(value, "an integer");
      requirement.values.push_back(value);
      return requirement;
    }
    return Unexpected(op, "in, notin, =, ==, !=, gt, lt");
  }

  schema::ApiStatus ParseValues(std::vector<std::string>& values) {
    if (const std::string open = Next(); open != "(") return Unexpected(open, "(");
    for (;;) {
      const std::string next = Peek();
      std::string value = next == "," || next == ")" ? "" : Next();
      values.push_back(TRY(Value(std::move(value))));
      const std::string end = Next();
      if (end == ")") return {};
      if (end != ",") return Unexpected(end, "',' or ')'");
    }
  }

  std::string_view rest_;
};

schema::ApiResult<LabelSelector> LabelSelector::Parse(std::string_view text) {
  return LabelSelectorParser(text).Parse();
}

schema::ApiResult<LabelSelector> LabelSelector::FromObject(const Json& object) {
  LabelSelector selector;
  if (!object.is_object()) {
    selector.nothing_ = true;
    return selector;
  }
  if (const JsonObject* labels = FindObject(object, "matchLabels")) {
    for (const auto& label : *labels) {
      if (!label.value().is_string())
        return schema::ApiError::BadRequest("a label selector's values are strings");
      selector.requirements_.push_back({std::string(label.key()),
                                        Operator::kIn,
                                        {std::string(label.value().as_string())},
                                        true});
    }
  }
  std::sort(selector.requirements_.begin(), selector.requirements_.end(),
            [](const Requirement& a, const Requirement& b) { return a.key < b.key; });
  static const std::map<std::string_view, Operator> kOperators = {
      {"In", Operator::kIn},
      {"NotIn", Operator::kNotIn},
      {"Exists", Operator::kExists},
      {"DoesNotExist", Operator::kNotExists}};
  for (const Json& expression : ArrayAt(object, "matchExpressions")) {
    const std::string name = StringAt(expression, "operator");
    const auto op = kOperators.find(name);
    if (op == kOperators.end())
      return schema::ApiError::BadRequest("\"" + name +
                                          "\" is not a valid label selector operator");
    Requirement requirement{StringAt(expression, "key"), op->second, {}, false};
    for (const Json& value : ArrayAt(expression, "values")) {
      if (value.is_string()) requirement.values.emplace_back(value.as_string());
    }
    selector.requirements_.push_back(std::move(requirement));
  }
  return selector;
}

bool LabelSelector::Matches(const Json& object) const {
  if (nothing_) return false;
  if (requirements_.empty()) return true;
  static const JsonObject kNone;
  const JsonObject* labels = FindObject(object, "metadata.labels");
  return MatchesLabels(labels != nullptr ? *labels : kNone);
}

bool LabelSelector::MatchesLabels(const JsonObject& labels) const {
  if (nothing_) return false;
  return std::all_of(
      requirements_.begin(), requirements_.end(), [&](const Requirement& requirement) {
        bool there = false;
        const std::string_view value = LabelValue(labels, requirement.key, there);
        const bool listed = std::find(requirement.values.begin(), requirement.values.end(),
                                      value) != requirement.values.end();
        switch (requirement.op) {
          case Operator::kIn:
            return there && listed;
          case Operator::kNotIn:
            return !there || !listed;
          case Operator::kExists:
            return there;
          case Operator::kNotExists:
            return !there;
          case Operator::kGreater:
          case Operator::kLess: {
            std::int64_t number = 0, limit = 0;
            if (!there || !ParseNumber(value, number) || !ParseNumber(requirement.values[0], limit))
              return false;
            return requirement.op == Operator::kGreater ? number > limit : number < limit;
          }
        }
        return false;
      });
}

std::string LabelSelector::ToString() const {
  std::string out;
  for (const Requirement& requirement : requirements_) {
    if (!out.empty()) out += ',';
    if (requirement.op == Operator::kNotExists) out += '!';
    out += requirement.key;
    if (requirement.op == Operator::kGreater) out += ">" + requirement.values[0];
    if (requirement.op == Operator::kLess) out += "<" + requirement.values[0];
    if (requirement.op != Operator::kIn && requirement.op != Operator::kNotIn) continue;
    if (requirement.single) {
      out += (requirement.op == Operator::kIn ? "=" : "!=") + requirement.values[0];
      continue;
    }
    out += requirement.op == Operator::kIn ? " in (" : " notin (";
    for (std::size_t i = 0; i < requirement.values.size(); ++i)
      out += (i > 0 ? "," : "") + requirement.values[i];
    out += ')';
  }
  return out;
}

namespace {

// Selectable fields whose place in the stored object is another one.
const std::map<std::string_view, std::string_view> kPlaces = {
    {"name", "metadata.name"},
    {"status.successful", "status.succeeded"},
    {"regarding.apiVersion", "involvedObject.apiVersion"},
    {"regarding.fieldPath", "involvedObject.fieldPath"},
    {"regarding.kind", "involvedObject.kind"},
    {"regarding.name", "involvedObject.name"},
    {"regarding.namespace", "involvedObject.namespace"},
    {"regarding.resourceVersion", "involvedObject.resourceVersion"},
    {"regarding.uid", "involvedObject.uid"},
    {"reportingController", "reportingComponent"}};
// What an absent field counts as, where that is not the empty text.
const std::map<std::string_view, std::string_view> kAbsent = {{"spec.unschedulable", "false"},
                                                              {"spec.hostNetwork", "false"},
                                                              {"status.succeeded", "0"},
                                                              {"status.replicas", "0"}};

std::string FieldText(const Json& object, const std::string& path) {
  if (path == "source") {
    const std::string source = StringAt(object, "source.component");
    return source.empty() ? StringAt(object, "reportingComponent") : source;
  }
  const Json* value = Find(object, path);
  if (value == nullptr || value->is_null()) {
    const auto absent = kAbsent.find(path);
    return absent == kAbsent.end() ? "" : std::string(absent->second);
  }
  if (value->is_string()) return std::string(value->as_string());
  return ToJson(*value);
}

}  // namespace

schema::ApiResult<FieldSelector> FieldSelector::Parse(std::string_view text,
                                                      const schema::Kind& kind,
                                                      const schema::KindVersion& version) {
  FieldSelector selector;
  while (!text.empty()) {
    // Up to a ',' that no backslash precedes.
    std::string term;
    std::size_t at = 0;
    for (; at < text.size() && text[at] != ','; ++at) {
      if (text[at] == '\\' && at + 1 < text.size()) ++at;
      term += text[at];
    }
    text.remove_prefix(std::min(at + 1, text.size()));
    if (term.empty()) continue;
    const auto equals = term.find('=');
    if (equals == std::string::npos) {
      return schema::ApiError::BadRequest("invalid selector: '" + term + "'; can't understand '" +
                                          term + "'");
    }
    const bool negated = equals > 0 && term[equals - 1] == '!';
    const bool twice = equals + 1 < term.size() && term[equals + 1] == '=';
    Term parsed;
    parsed.path = term.substr(0, negated ? equals - 1 : equals);
    parsed.value = term.substr(equals + (twice && !negated ? 2 : 1));
    parsed.equal = !negated;
    const auto& known = version.selectable_fields;
    if (parsed.path != "metadata.name" && parsed.path != "metadata.namespace" &&
        std::find(known.begin(), known.end(), parsed.path) == known.end()) {
      std::string list = "\"metadata.name\", \"metadata.namespace\"";
      for (const std::string& field : known) list += ", \"" + field + "\"";
      return schema::ApiError::BadRequest("\"" + parsed.path +
                                          "\" is not a known field selector of " + kind.resource +
                                          ": only " + list);
    }
    if (const auto place = kPlaces.find(parsed.path); place != kPlaces.end())
      parsed.path = place->second;
    selector.terms_.push_back(std::move(parsed));
  }
  return selector;
}

bool FieldSelector::Matches(const Json& object) const {
  return std::all_of(terms_.begin(), terms_.end(), [&](const Term& term) {
    return (FieldText(object, term.path) == term.value) == term.equal;
  });
}

std::string FieldSelector::RequiredName() const {
  for (const Term& term : terms_) {
    if (term.equal && term.path == "metadata.name") return term.value;
  }
  return "";
}

std::string FieldSelector::RequiredNamespace() const {
  for (const Term& term : terms_) {
    if (term.equal && term.path == "metadata.namespace") return term.value;
  }
  return "";
}

}  // namespace thinsnap::objects
