#include "base/net/http.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/core/bytes.h"

namespace thinsnap::net {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool SameName(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return Lower(x) == Lower(y); });
}

bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = Lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

Error BadUrl(std::string_view text, std::string_view why) {
  // A query may hold a signature or a token: it stays out of the message.
  return Error(Code::kInvalidArgument,
               "URL \"" + std::string(text.substr(0, text.find('?'))) + "\": " + std::string(why));
}

}  // namespace

void Headers::Set(std::string_view name, std::string value) {
  std::erase_if(items_, [&](const auto& item) { return SameName(item.first, name); });
  items_.emplace_back(std::string(name), std::move(value));
}

std::string_view Headers::Get(std::string_view name) const {
  for (const auto& [present, value] : items_) {
    if (SameName(present, name)) return value;
  }
  return {};
}

bool Headers::Has(std::string_view name) const {
  return std::any_of(items_.begin(), items_.end(),
                     [&](const auto& item) { return SameName(item.first, name); });
}

std::string UrlEscape(std::string_view text, bool keep_slash) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (IsUnreserved(c) || (keep_slash && c == '/')) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

Result<std::string> UrlUnescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? HexValue(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexValue(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return Error(Code::kInvalidArgument,
                   "broken escape at offset " + std::to_string(i) +
                       " of a URL: % and two hexadecimal digits are expected");
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

namespace {

// Queries are form-encoded (WHATWG URL): there, and only there, '+' is a space.
Result<std::string> QueryUnescape(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return UrlUnescape(spaced);
}

}  // namespace

Result<Query> ParseQuery(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const std::size_t end = text.find('&');
    const std::string_view pair = text.substr(0, end);
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    std::string name = TRY(QueryUnescape(pair.substr(0, equals)));
    std::string value;
    if (equals != pair.npos) value = TRY(QueryUnescape(pair.substr(equals + 1)));
    query.emplace_back(std::move(name), std::move(value));
  }
  return query;
}

std::string FormatQuery(const Query& query) {
  std::string out;
  for (const auto& [name, value] : query) {
    if (!out.empty()) out += '&';
    out += UrlEscape(name) + "=" + UrlEscape(value);
  }
  return out;
}

Result<Url> ParseUrl(std::string_view text) {
  Url url;
  const std::size_t colon = text.find("://");
  if (colon == text.npos || colon == 0) return BadUrl(text, "scheme://host is expected");
  for (const char c : text.substr(0, colon)) url.scheme += Lower(c);
  std::string_view rest = text.substr(colon + 3);
  const std::size_t authority_end = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, authority_end);
  rest = rest.substr(authority_end);
  if (authority.find('@') != authority.npos) {
    return Error(Code::kInvalidArgument,
                 "a URL with user and password is not accepted: credentials have their own fields");
  }
  std::string_view port;
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == authority.npos) return BadUrl(text, "the IPv6 address has no closing bracket");
    const std::string_view after = authority.substr(close + 1);
    if (!after.empty() && !after.starts_with(':')) return BadUrl(text, "the host is malformed");
    if (!after.empty()) port = after.substr(1);
    if (after == ":") return BadUrl(text, "the port is empty");
    authority = authority.substr(0, close + 1);
  } else if (const std::size_t at = authority.find(':'); at != authority.npos) {
    port = authority.substr(at + 1);
    authority = authority.substr(0, at);
    if (port.empty()) return BadUrl(text, "the port is empty");
  }
  if (authority.empty()) return BadUrl(text, "the host is missing");
  for (const char c : authority) {
    if (c <= ' ' || c == '"' || c == '\\' || c == '%' || static_cast<unsigned char>(c) >= 0x7f) {
      return BadUrl(text, "the host is malformed");
    }
    url.host += Lower(c);
  }
  if (port.empty()) {
    url.port = url.scheme == "https" || url.scheme == "s3+https" ? 443 : 80;
  } else {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc() || end != port.data() + port.size() || url.port < 1 ||
        url.port > 65535) {
      return BadUrl(text, "the port must be a number from 1 to 65535");
    }
  }
  rest = rest.substr(0, rest.find('#'));
  const std::size_t question = rest.find('?');
  url.path = std::string(rest.substr(0, question));
  if (url.path.empty()) url.path = "/";
  if (question != rest.npos) url.query = std::string(rest.substr(question + 1));
  return url;
}

}  // namespace thinsnap::net
