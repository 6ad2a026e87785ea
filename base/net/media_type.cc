#include "base/net/media_type.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace thinsnap::net {

namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(Trim(text.substr(0, at)));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

double Quality(const MediaType& media) {
  const std::string q(media.Parameter("q"));
  return q.empty() ? 1.0 : std::strtod(q.c_str(), nullptr);
}

}  // namespace

std::string_view MediaType::Parameter(std::string_view name) const {
  for (const auto& [key, value] : parameters) {
    if (key == name) return value;
  }
  return "";
}

MediaType ParseMediaType(std::string_view text) {
  MediaType media;
  const auto parts = Split(text, ';');
  media.type = parts[0];
  std::transform(media.type.begin(), media.type.end(), media.type.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto equals = parts[i].find('=');
    if (equals == std::string_view::npos) continue;
    media.parameters.emplace_back(Trim(parts[i].substr(0, equals)),
                                  Trim(parts[i].substr(equals + 1)));
  }
  return media;
}

std::vector<MediaType> ParseAccept(std::string_view text) {
  std::vector<MediaType> all;
  for (const auto part : Split(text, ',')) {
    if (!part.empty()) all.push_back(ParseMediaType(part));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const MediaType& a, const MediaType& b) { return Quality(a) > Quality(b); });
  return all;
}

}  // namespace thinsnap::net
