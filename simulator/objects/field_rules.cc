#include "simulator/objects/field_rules.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <set>
#include <vector>

#include "simulator/objects/names.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::objects {
namespace {

using schema::FieldError;
using schema::FieldErrors;

void Walk(const Json& at_value, std::string_view path, const std::string& at, const FieldRule& rule,
          FieldErrors& errors) {
  const auto dot = path.find('.');
  std::string_view name = path.substr(0, dot);
  const std::string_view rest = dot == std::string_view::npos ? "" : path.substr(dot + 1);
  const bool each = name.ends_with("[]"), silent = name.ends_with("[-]");
  name = name.substr(0, name.find('['));
  const bool untold = name.starts_with('~');
  if (untold) name.remove_prefix(1);
  const JsonObject* object = at_value.if_object();
  if (object == nullptr) return;
  const Json* value = object->if_contains(name);
  if (value != nullptr && value->is_null()) value = nullptr;
  const std::string here = untold       ? at
                           : at.empty() ? std::string(name)
                                        : at + "." + std::string(name);
  if (!each && !silent) {
    if (rest.empty()) return rule.check(value, here, rule.argument, errors);
    if (value != nullptr) Walk(*value, rest, here, rule, errors);
    return;
  }
  if (value == nullptr || !value->is_array()) return;
  for (std::size_t i = 0; i < value->get_array().size(); ++i) {
    const std::string place = silent ? here : here + "[" + std::to_string(i) + "]";
    const Json& element = value->get_array()[i];
    if (rest.empty()) {
      rule.check(&element, place, rule.argument, errors);
    } else {
      Walk(element, rest, place, rule, errors);
    }
  }
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  while (true) {
    const auto bar = text.find('|');
    words.emplace_back(text.substr(0, bar));
    if (bar == std::string_view::npos) return words;
    text.remove_prefix(bar + 1);
  }
}

std::string_view TextOf(const Json* value) {
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : "";
}

// A number at the front of `text`, which loses it and the space behind it.
std::int64_t TakeNumber(std::string_view& text) {
  std::int64_t number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.starts_with(' ')) text.remove_prefix(1);
  return status == std::errc() ? number : 0;
}

// A text is judged by `judge`, which says why it is wrong; an empty one counts as absent.
void Judge(const Json* value, const std::string& at, std::string (*judge)(std::string_view),
           FieldErrors& errors) {
  const std::string_view text = TextOf(value);
  if (text.empty()) return;
  if (const std::string why = judge(text); !why.empty())
    errors.push_back(FieldError::Invalid(at, *value, why));
}

bool HasBackstep(std::string_view path) {
  while (true) {
    const auto slash = path.find('/');
    if (path.substr(0, slash) == "..") return true;
    if (slash == std::string_view::npos) return false;
    path.remove_prefix(slash + 1);
  }
}

std::string Backsteps(std::string_view path) {
  return HasBackstep(path) ? "must not contain '..'" : "";
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

void CheckRequirement(const Json& requirement, const std::string& at, bool of_node,
                      FieldErrors& errors) {
  const std::string op = StringAt(requirement, "operator");
  const std::size_t values = ArrayAt(requirement, "values").size();
  if (op == "In" || op == "NotIn") {
    if (values == 0)
      errors.push_back(FieldError::Required(
          at + ".values", "must be specified when `operator` is 'In' or 'NotIn'"));
  } else if (op == "Exists" || op == "DoesNotExist") {
    if (values > 0)
      errors.push_back(FieldError::Forbidden(
          at + ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
  } else if (of_node && (op == "Gt" || op == "Lt")) {
    if (values != 1)
      errors.push_back(FieldError::Required(
          at + ".values", "must be specified single value when `operator` is 'Lt' or 'Gt'"));
  } else {
    errors.push_back(
        FieldError::Invalid(at + ".operator", Json(op), "not a valid selector operator"));
  }
  const std::string key = StringAt(requirement, "key");
  if (const std::string why = CheckQualifiedName(key); !why.empty())
    errors.push_back(FieldError::Invalid(at + ".key", Json(key), why));
}

std::string Index(const std::string& at, std::size_t i) {
  return at + "[" + std::to_string(i) + "]";
}

}  // namespace

void CheckFields(const Json& object, std::span<const FieldRule> rules, const std::string& at,
                 FieldErrors& errors) {
  for (const FieldRule& rule : rules) Walk(object, rule.path, at, rule, errors);
}

namespace field {

void Required(const Json* value, const std::string& at, std::string_view detail,
              FieldErrors& errors) {
  const bool empty = value == nullptr || (value->is_string() && value->get_string().empty()) ||
                     (value->is_array() && value->get_array().empty()) ||
                     (value->is_object() && value->get_object().empty());
  if (empty) errors.push_back(FieldError::Required(at, detail));
}

void Absent(const Json* value, const std::string& at, std::string_view why, FieldErrors& errors) {
  if (value == nullptr || (value->is_string() && value->get_string().empty())) return;
  if (value->is_object() && value->get_object().empty()) return;
  errors.push_back(FieldError::Forbidden(at, why));
}

void OneOf(const Json* value, const std::string& at, std::string_view words, FieldErrors& errors) {
  if (value == nullptr) return;
  const auto allowed = Words(words);
  if (std::find(allowed.begin(), allowed.end(), TextOf(value)) == allowed.end())
    errors.push_back(FieldError::Unsupported(at, *value, allowed));
}

void Choice(const Json* value, const std::string& at, std::string_view words, FieldErrors& errors) {
  if (value == nullptr) return;
  const auto allowed = Words(words);
  if (std::find(allowed.begin(), allowed.end(), TextOf(value)) == allowed.end()) {
    errors.push_back(
        FieldError::Invalid(at, *value, "must be '" + allowed[0] + "' or '" + allowed[1] + "'"));
  }
}

void Range(const Json* value, const std::string& at, std::string_view low_high,
           FieldErrors& errors) {
  if (value == nullptr || !value->is_int64()) return;
  const std::int64_t low = TakeNumber(low_high), high = TakeNumber(low_high);
  if (value->get_int64() >= low && value->get_int64() <= high) return;
  errors.push_back(FieldError::Invalid(at, *value,
                                       low_high.empty()
                                           ? "must be between " + std::to_string(low) + " and " +
                                                 std::to_string(high) + ", inclusive"
                                           : std::string(low_high)));
}

void AtLeast(const Json* value, const std::string& at, std::string_view low_why,
             FieldErrors& errors) {
  if (value == nullptr || !value->is_int64()) return;
  const std::int64_t low = TakeNumber(low_why);
  if (value->get_int64() < low) errors.push_back(FieldError::Invalid(at, *value, low_why));
}

void Natural(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  AtLeast(value, at, "0 must be greater than or equal to 0", errors);
}

void Mode(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Range(value, at, "0 511 must be a number between 0 and 0777 (octal), both inclusive", errors);
}

void Share(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  std::string_view text = TextOf(value);
  if (text.ends_with('%') && TakeNumber(text) > 100)
    errors.push_back(FieldError::Invalid(at, *value, "must not be greater than 100%"));
}

void Amounts(const Json* value, const std::string& at, std::string_view brackets,
             FieldErrors& errors) {
  if (value == nullptr) return;
  const auto judge = [&](const Json& amount, const std::string& place) {
    const auto quantity = schema::Quantity::Parse(std::string(TextOf(&amount)));
    if (quantity.ok() && quantity->Sign() < 0)
      errors.push_back(FieldError::Invalid(place, amount, "must be greater than or equal to 0"));
  };
  if (!value->is_object()) return judge(*value, at);
  for (const auto& [key, amount] : value->get_object()) {
    const std::string name(key);
    judge(amount, brackets.empty() ? at + "." + name : at + "[" + name + "]");
  }
}

void Label(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Judge(value, at, CheckDnsLabel, errors);
}
void LabelValue(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Judge(value, at, CheckLabelValue, errors);
}
void Subdomain(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Judge(value, at, CheckDnsSubdomain, errors);
}
void Qualified(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Judge(value, at, CheckQualifiedName, errors);
}
void PathWithDomain(const Json* value, const std::string& at, std::string_view,
                    FieldErrors& errors) {
  Judge(
      value, at,
      [](std::string_view text) -> std::string {
        const auto slash = text.find('/');
        const bool good = slash != std::string_view::npos && slash + 1 < text.size() &&
                          CheckDnsSubdomain(text.substr(0, slash)).empty();
        return good ? "" : "must be a domain-prefixed path (such as \"acme.io/foo\")";
      },
      errors);
}
void ConfigKey(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Judge(value, at, CheckConfigKey, errors);
}

void Address(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Judge(
      value, at,
      [](std::string_view text) -> std::string {
        std::array<unsigned char, sizeof(struct in6_addr)> bytes;
        const std::string copy(text);
        const bool good = inet_pton(AF_INET, copy.c_str(), bytes.data()) == 1 ||
                          inet_pton(AF_INET6, copy.c_str(), bytes.data()) == 1;
        return good ? "" : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
      },
      errors);
}

void PortName(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  const std::string_view text = TextOf(value);
  if (text.empty()) return;
  const auto complain = [&](std::string_view why) {
    errors.push_back(FieldError::Invalid(at, *value, why));
  };
  if (text.size() > 15) complain("must be no more than 15 characters");
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || IsDigit(c) || c == '-';
  });
  if (!plain) complain("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (std::none_of(text.begin(), text.end(), IsLetter))
    complain("must contain at least one letter (a-z)");
  if (text.find("--") != std::string_view::npos) complain("must not contain consecutive hyphens");
  if (text.front() == '-' || text.back() == '-') complain("must not begin or end with a hyphen");
}

void HeaderName(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Judge(
      value, at,
      [](std::string_view text) -> std::string {
        const bool good = std::all_of(text.begin(), text.end(),
                                      [](char c) { return IsLetter(c) || IsDigit(c) || c == '-'; });
        return good ? ""
                    : "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. "
                      "'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
      },
      errors);
}

void Relative(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  if (TextOf(value).starts_with('/'))
    errors.push_back(FieldError::Invalid(at, *value, "must be a relative path"));
  Judge(value, at, Backsteps, errors);
}

void Absolute(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  if (const auto text = TextOf(value); !text.empty() && !text.starts_with('/'))
    errors.push_back(FieldError::Invalid(at, *value, "must be an absolute path"));
}

void NoBacksteps(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Judge(value, at, Backsteps, errors);
}

void Trimmed(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  Judge(
      value, at,
      [](std::string_view text) -> std::string {
        const bool good = text.front() > ' ' && text.back() > ' ';
        return good ? "" : "must not have leading or trailing whitespace";
      },
      errors);
}

void Labels(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  if (value == nullptr) return;
  FieldErrors found;
  CheckLabels({{"labels", *value}}, "labels", found);
  for (FieldError& error : found) {
    error.field = at;
    errors.push_back(std::move(error));
  }
}

void Selector(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  if (value == nullptr) return;
  if (const Json* labels = Find(*value, "matchLabels"))
    Labels(labels, at + ".matchLabels", "", errors);
  const JsonArray& expressions = ArrayAt(*value, "matchExpressions");
  for (std::size_t i = 0; i < expressions.size(); ++i)
    CheckRequirement(expressions[i], Index(at + ".matchExpressions", i), false, errors);
}

void NodeTerm(const Json* value, const std::string& at, std::string_view, FieldErrors& errors) {
  if (value == nullptr) return;
  const JsonArray& expressions = ArrayAt(*value, "matchExpressions");
  for (std::size_t i = 0; i < expressions.size(); ++i)
    CheckRequirement(expressions[i], Index(at + ".matchExpressions", i), true, errors);
  const JsonArray& fields = ArrayAt(*value, "matchFields");
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::string here = Index(at + ".matchFields", i), op = StringAt(fields[i], "operator");
    if (op != "In" && op != "NotIn") {
      errors.push_back(
          FieldError::Invalid(here + ".operator", Json(op), "not a valid selector operator"));
    } else if (ArrayAt(fields[i], "values").size() != 1) {
      errors.push_back(FieldError::Required(here + ".values",
                                            "must be only one value when `operator` is 'In' or "
                                            "'NotIn' for node field selector"));
    }
    if (const std::string key = StringAt(fields[i], "key"); key != "metadata.name")
      errors.push_back(
          FieldError::Invalid(here + ".key", Json(key), "not a valid field selector key"));
  }
}

void Unique(const Json* value, const std::string& at, std::string_view member,
            FieldErrors& errors) {
  if (value == nullptr || !value->is_array()) return;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < value->get_array().size(); ++i) {
    const Json& element = value->get_array()[i];
    const Json* key = member.empty() ? &element : Find(element, member);
    if (key == nullptr || seen.insert(ToJson(*key)).second) continue;
    const std::string place = Index(at, i);
    errors.push_back(
        FieldError::Duplicate(member.empty() ? place : place + "." + std::string(member), *key));
  }
}

}  // namespace field
}  // namespace thinsnap::objects
