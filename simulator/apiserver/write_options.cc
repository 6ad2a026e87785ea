#include "simulator/apiserver/write_options.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/net/media_type.h"
#include "simulator/apiserver/negotiate.h"

namespace thinsnap::apiserver {

using schema::ApiError;
using schema::ApiResult;
using schema::FieldError;
using schema::FieldErrors;

namespace {

constexpr std::size_t kMaxManager = 128;

ApiResult<std::int64_t> ParseNumber(const net::Query& query, std::string_view name,
                                    std::int64_t fallback) {
  const auto text = QueryValue(query, name);
  if (text.empty()) return fallback;
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) {
    return ApiError::BadRequest("query parameter " + std::string(name) + ": \"" +
                                std::string(text) + "\" is not a number");
  }
  return value;
}

const char* OptionsKind(const RequestInfo& info) {
  if (info.verb == "create") return "CreateOptions";
  if (info.verb == "update") return "UpdateOptions";
  if (info.verb == "patch") return "PatchOptions";
  return "DeleteOptions";
}

}  // namespace

ApiResult<registry::WriteContext> ParseWrite(const net::ServerRequest& request,
                                             const RequestInfo& info,
                                             const registry::UserInfo& user) {
  const net::Query& query = request.query;
  registry::WriteContext write;
  write.user = user;
  FieldErrors errors;
  const bool deletes = info.verb.starts_with("delete");
  if (QueryHas(query, "dryRun") && !deletes) {
    const std::string value(QueryValue(query, "dryRun"));
    if (value != "All") {
      errors.push_back(FieldError::Unsupported("dryRun", JsonArray{Json(value)}, {"All"}));
    }
    write.dry_run = value == "All";
  }
  const bool apply =
      info.verb == "patch" && net::ParseMediaType(request.headers.Get("Content-Type")).type ==
                                  "application/apply-patch+yaml";
  const std::string manager(QueryValue(query, "fieldManager"));
  if (manager.size() > kMaxManager) {
    errors.push_back(FieldError::TooLong("fieldManager", kMaxManager));
  } else if (std::any_of(manager.begin(), manager.end(),
                         [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    errors.push_back(FieldError::Invalid("fieldManager", Json(manager),
                                         "should only contain printable characters"));
  }
  if (apply && manager.empty())
    errors.push_back(FieldError::Required("fieldManager", "is required for apply patch"));
  if (QueryHas(query, "force") && info.verb == "patch" && !apply) {
    errors.push_back(FieldError::Forbidden("force", "may not be specified for non-apply patch"));
  }
  write.force = QueryFlag(query, "force");
  write.manager = manager.empty() ? ManagerOf(request.headers.Get("User-Agent")) : manager;
  const std::string validation(QueryValue(query, "fieldValidation"));
  if (validation == "Strict") {
    write.validation = schema::FieldValidation::kStrict;
  } else if (validation == "Ignore") {
    write.validation = schema::FieldValidation::kIgnore;
  } else if (!validation.empty() && validation != "Warn") {
    errors.push_back(FieldError::Unsupported("fieldValidation", Json(validation),
                                             {"", "Ignore", "Strict", "Warn"}));
  }
  if (!errors.empty())
    return ApiError::Invalid("meta.k8s.io", OptionsKind(info), "", std::move(errors));
  return write;
}

ApiResult<registry::ListQuery> ParseList(const net::Query& query) {
  if (QueryHas(query, "sendInitialEvents")) {
    return ApiError::Invalid(
        "meta.k8s.io", "ListOptions", "",
        {FieldError::Forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")});
  }
  registry::ListQuery list;
  list.label_selector = QueryValue(query, "labelSelector");
  list.field_selector = QueryValue(query, "fieldSelector");
  list.resource_version = QueryValue(query, "resourceVersion");
  list.match = QueryValue(query, "resourceVersionMatch");
  list.continue_token = QueryValue(query, "continue");
  TRY(ParseNumber(query, "timeoutSeconds", 0));
  const std::int64_t limit = TRY(ParseNumber(query, "limit", 0));
  list.limit = limit > 0 ? static_cast<std::size_t>(limit) : 0;
  return list;
}

ApiResult<registry::WatchQuery> ParseWatch(const net::Query& query) {
  registry::WatchQuery watch;
  watch.label_selector = QueryValue(query, "labelSelector");
  watch.field_selector = QueryValue(query, "fieldSelector");
  watch.resource_version = QueryValue(query, "resourceVersion");
  watch.match = QueryValue(query, "resourceVersionMatch");
  watch.send_initial_events = QueryFlag(query, "sendInitialEvents");
  watch.says_initial_events = QueryHas(query, "sendInitialEvents");
  watch.bookmarks = QueryFlag(query, "allowWatchBookmarks");
  const std::int64_t timeout = TRY(ParseNumber(query, "timeoutSeconds", 0));
  watch.timeout_seconds =
      static_cast<int>(std::clamp<std::int64_t>(timeout, 0, std::int64_t{24} * 3600));
  return watch;
}

ApiResult<Json> DeleteOptionsOf(const net::Query& query) {
  JsonObject options;
  if (QueryHas(query, "gracePeriodSeconds")) {
    options["gracePeriodSeconds"] = TRY(ParseNumber(query, "gracePeriodSeconds", 0));
  }
  for (const std::string_view name : {"propagationPolicy"}) {
    if (QueryHas(query, name)) options[name] = QueryValue(query, name);
  }
  if (QueryHas(query, "orphanDependents"))
    options["orphanDependents"] = QueryFlag(query, "orphanDependents");
  if (QueryHas(query, "dryRun")) {
    JsonArray dry_run;
    for (const auto& [name, value] : query) {
      if (name == "dryRun") dry_run.emplace_back(value);
    }
    options["dryRun"] = std::move(dry_run);
  }
  return Json(std::move(options));
}

}  // namespace thinsnap::apiserver
