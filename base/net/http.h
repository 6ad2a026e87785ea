// What HTTP client and server share: headers, URL escaping, query strings.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/core/result.h"

namespace thinsnap::net {

// In order of arrival; names compare without case.
class Headers {
 public:
  void Add(std::string name, std::string value) {
    items_.emplace_back(std::move(name), std::move(value));
  }
  void Set(std::string_view name, std::string value);
  // The first one of that name; empty if there is none.
  std::string_view Get(std::string_view name) const;
  bool Has(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& items() const { return items_; }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

// RFC 3986: everything but unreserved characters is escaped; '/' is kept if keep_slash.
std::string UrlEscape(std::string_view text, bool keep_slash = false);
// kInvalidArgument for a broken escape. '+' stays '+'.
Result<std::string> UrlUnescape(std::string_view text);

// Decoded name and value pairs, in order; "a" without '=' has an empty value. As in forms, '+' is a
// space: kubectl writes commands so.
using Query = std::vector<std::pair<std::string, std::string>>;
Result<Query> ParseQuery(std::string_view text);
std::string FormatQuery(const Query& query);

struct Url {
  std::string scheme, host;  // lower case
  int port = 0;              // the scheme's own when not given
  std::string path;          // starts with '/', still escaped
  std::string query;         // without '?', still escaped
};
Result<Url> ParseUrl(std::string_view text);

}  // namespace thinsnap::net
