#include "simulator/objects/names.h"

#include <algorithm>

namespace thinsnap::objects {
namespace {

bool IsLowerAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool IsAlnum(char c) { return IsLowerAlnum(c) || (c >= 'A' && c <= 'Z'); }

bool IsLabel(std::string_view text) {
  return !text.empty() && IsLowerAlnum(text.front()) && IsLowerAlnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return IsLowerAlnum(c) || c == '-'; });
}

bool IsSubdomain(std::string_view text) {
  while (true) {
    const auto dot = text.find('.');
    if (!IsLabel(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// Alphanumeric at both ends, "-_." inside.
bool IsName(std::string_view text) {
  return !text.empty() && IsAlnum(text.front()) && IsAlnum(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return IsAlnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string TooLong(std::size_t most) {
  return "must be no more than " + std::to_string(most) + " bytes";
}

}  // namespace

std::string CheckDnsLabel(std::string_view text) {
  if (text.size() > 63) return TooLong(63);
  if (IsLabel(text)) return "";
  return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
         "and must start and "
         "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
         "validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
}

std::string CheckDnsSubdomain(std::string_view text) {
  if (text.size() > 253) return TooLong(253);
  if (IsSubdomain(text)) return "";
  return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "
         "or '.', and must "
         "start and end with an alphanumeric character (e.g. 'example.com', regex used for "
         "validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

std::string CheckPathSegment(std::string_view text) {
  if (text == "." || text == "..") return "may not be '" + std::string(text) + "'";
  if (text.find('/') != std::string_view::npos) return "may not contain '/'";
  if (text.find('%') != std::string_view::npos) return "may not contain '%'";
  return "";
}

std::string CheckQualifiedName(std::string_view text) {
  std::string_view name = text;
  if (const auto slash = text.find('/'); slash != std::string_view::npos) {
    const std::string_view prefix = text.substr(0, slash);
    name = text.substr(slash + 1);
    if (prefix.empty()) return "prefix part must be non-empty";
    if (const std::string why = CheckDnsSubdomain(prefix); !why.empty())
      return "prefix part " + why;
  }
  if (name.empty()) return "name part must be non-empty";
  if (name.size() > 63) return "name part " + TooLong(63);
  if (IsName(name)) return "";
  return "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "
         "end with an "
         "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
         "validation is "
         "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
}

std::string CheckLabelValue(std::string_view text) {
  if (text.size() > 63) return TooLong(63);
  if (text.empty() || IsName(text)) return "";
  return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
         "'.', and must "
         "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
         "'12345', regex used for "
         "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
}

std::string CheckConfigKey(std::string_view text) {
  if (text.size() > 253) return TooLong(253);
  if (text == "." || text == ".." || text.starts_with("..")) return "may not start with '..'";
  const bool good = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return IsAlnum(c) || c == '-' || c == '_' || c == '.';
  });
  if (good) return "";
  return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
         "'key.name',  or "
         "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
}

void CheckLabels(const Json& object, const std::string& path, schema::FieldErrors& errors) {
  const JsonObject* labels = FindObject(object, path);
  if (labels == nullptr) return;
  for (const auto& [key, value] : *labels) {
    if (const std::string why = CheckQualifiedName(key); !why.empty()) {
      errors.push_back(schema::FieldError::Invalid(path, Json(key), why));
    }
    if (!value.is_string()) continue;
    if (const std::string why = CheckLabelValue(value.get_string()); !why.empty()) {
      errors.push_back(schema::FieldError::Invalid(path, value, why));
    }
  }
}

}  // namespace thinsnap::objects
