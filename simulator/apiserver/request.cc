#include "simulator/apiserver/request.h"

#include <algorithm>
#include <cctype>

namespace thinsnap::apiserver {
namespace {

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  while (at < path.size()) {
    const auto slash = path.find('/', at);
    const auto end = slash == std::string_view::npos ? path.size() : slash;
    if (end > at) parts.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

std::string VerbOf(std::string_view method, bool has_name, bool watch) {
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return has_name ? "delete" : "deletecollection";
  if (method == "GET" || method == "HEAD") {
    if (watch) return "watch";
    return has_name ? "get" : "list";
  }
  return Lower(method);
}

}  // namespace

RequestInfo ParseRequest(std::string_view method, std::string_view path, const net::Query& query) {
  RequestInfo info;
  info.path = path;
  info.verb = Lower(method);
  const auto parts = SplitPath(path);
  std::size_t at = 0;
  if (parts.size() >= 3 && parts[0] == "api") {
    info.version = parts[1];
    at = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    info.group = parts[1];
    info.version = parts[2];
    at = 3;
  } else {
    return info;
  }
  bool watch_path = false;
  if (parts[at] == "watch" && parts.size() > at + 1) {
    watch_path = true;
    ++at;
  }
  const std::size_t left = parts.size() - at;
  if (parts[at] == "namespaces" && left >= 3 && parts[at + 2] != "status" &&
      parts[at + 2] != "finalize") {
    info.ns = parts[at + 1];
    at += 2;
  } else if (parts[at] == "namespaces" && left >= 2) {
    info.ns = parts[at + 1];  // a namespace is in itself, as far as authorization is concerned
  }
  info.is_resource = true;
  info.resource = parts[at];
  if (parts.size() > at + 1) info.name = parts[at + 1];
  // What follows the subresource (proxy paths) belongs to it.
  for (std::size_t i = at + 2; i < parts.size(); ++i) {
    if (!info.subresource.empty()) info.subresource += '/';
    info.subresource += parts[i];
  }
  // A single object is watched by its path or by a field selector: with its name, "watch" means
  // nothing.
  const bool watch = watch_path || (info.name.empty() && QueryFlag(query, "watch"));
  info.verb = VerbOf(method, !info.name.empty(), watch);
  return info;
}

std::string_view QueryValue(const net::Query& query, std::string_view name,
                            std::string_view fallback) {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return fallback;
}

bool QueryHas(const net::Query& query, std::string_view name) {
  return std::any_of(query.begin(), query.end(),
                     [&](const auto& item) { return item.first == name; });
}

bool QueryFlag(const net::Query& query, std::string_view name) {
  if (!QueryHas(query, name)) return false;
  const std::string value = Lower(QueryValue(query, name));
  return value != "false" && value != "0";
}

std::string ManagerOf(std::string_view user_agent) {
  std::string manager(user_agent.substr(0, user_agent.find('/')));
  if (manager.empty()) manager = "unknown";
  return manager.substr(0, 128);
}

}  // namespace thinsnap::apiserver
