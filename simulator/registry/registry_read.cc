#include <algorithm>
#include <charconv>
#include <utility>

#include "base/core/bytes.h"
#include "simulator/objects/selectors.h"
#include "simulator/registry/registry.h"

namespace thinsnap::registry {

using schema::ApiError;
using schema::ApiResult;
using schema::FieldError;
using schema::FieldErrors;

namespace {

constexpr std::string_view kTokenVersion = "meta.k8s.io/v1";

struct Continue {
  objects::Revision revision = 0;
  std::string ns, name;
};

std::string FormatContinue(const Continue& at) {
  const Json token = {
      {"v", std::string(kTokenVersion)}, {"rv", at.revision}, {"start", at.ns + "/" + at.name}};
  return Base64UrlEncode(AsBytes(ToJson(token)));
}

ApiResult<Continue> ParseContinue(const std::string& text) {
  const ApiError bad = ApiError::BadRequest("invalid continue token: continue key is not valid");
  const auto bytes = Base64Decode(text);
  if (!bytes.ok()) return bad;
  const auto token = ParseJson(AsText(*bytes));
  if (!token.ok() || StringAt(*token, "v") != kTokenVersion) return bad;
  const std::string start = StringAt(*token, "start");
  const auto slash = start.find('/');
  if (slash == std::string::npos) return bad;
  const auto revision = IntAt(*token, "rv");
  if (revision <= 0) return bad;
  return Continue{static_cast<objects::Revision>(revision), start.substr(0, slash),
                  start.substr(slash + 1)};
}

FieldErrors CheckMatch(const ListQuery& query) {
  FieldErrors errors;
  if (query.match.empty()) return errors;
  const std::string field = "resourceVersionMatch";
  if (query.resource_version.empty() && query.continue_token.empty()) {
    errors.push_back(FieldError::Forbidden(
        field, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
  }
  if (!query.continue_token.empty()) {
    errors.push_back(FieldError::Forbidden(
        field, "resourceVersionMatch is forbidden when continue is provided"));
  }
  if (query.match != "Exact" && query.match != "NotOlderThan") {
    errors.push_back(
        FieldError::Unsupported(field, Json(query.match), {"Exact", "NotOlderThan", ""}));
  }
  if (query.match == "Exact" && query.resource_version == "0") {
    errors.push_back(FieldError::Forbidden(
        field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
  }
  return errors;
}

ApiError TooNew(objects::Revision wanted, objects::Revision current) {
  ApiError error = ApiError::Timeout("Too large resource version: " + std::to_string(wanted) +
                                         ", current: " + std::to_string(current),
                                     1);
  error.message = "Timeout: Too large resource version: " + std::to_string(wanted) +
                  ", current: " + std::to_string(current);
  error.has_details = true;
  error.causes = {{"ResourceVersionTooLarge", "", "Too large resource version"}};
  return error;
}

}  // namespace

ApiResult<objects::Revision> ParseRevision(std::string_view text) {
  objects::Revision revision = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), revision);
  if (status != std::errc() || end != text.data() + text.size()) {
    return ApiError::BadRequest("invalid resource version: resourceVersion: Invalid value: \"" +
                                std::string(text) + "\": a decimal number is expected");
  }
  return revision;
}

ApiResult<Target> Registry::Resolve(const std::string& group, const std::string& version,
                                    const std::string& resource, const std::string& ns,
                                    const std::string& name, const std::string& subresource) const {
  Target target;
  target.kind = kinds_.Find(group, version, resource);
  if (!target.kind) return ApiError::NoSuchResource();
  target.version = target.kind->FindVersion(version);
  if (!target.version) return ApiError::NoSuchResource();
  if (!subresource.empty() && !target.kind->FindSubresource(*target.version, subresource)) {
    return ApiError::NoSuchResource();
  }
  if (target.kind->namespaced) target.ns = ns;
  target.name = name;
  target.subresource = subresource;
  return target;
}

ApiError Registry::Fail(const Error& error, const Target& target) const {
  switch (error.code()) {
    case Code::kNotFound:
      return ApiError::NotFound(target.kind->group, target.kind->resource, target.name);
    case Code::kAlreadyExists:
      return ApiError::AlreadyExists(target.kind->group, target.kind->resource, target.name);
    case Code::kAborted:
      return ApiError::Conflict(target.kind->group, target.kind->resource, target.name);
    case Code::kOutOfRange:
      return ApiError::Expired("The resourceVersion for the provided list is too old.");
    default:
      return ApiError::From(error);
  }
}

ApiResult<objects::ObjectRef> Registry::Get(const Target& target) const {
  auto object = store_.Get(target.Key());
  if (!object) return ApiError::NotFound(target.kind->group, target.kind->resource, target.name);
  return object;
}

ApiResult<ListPage> Registry::List(const Target& target, const ListQuery& query) const {
  FieldErrors errors = CheckMatch(query);
  if (!errors.empty())
    return ApiError::Invalid("meta.k8s.io", "ListOptions", "", std::move(errors));
  const auto labels = TRY(objects::LabelSelector::Parse(query.label_selector));
  const auto fields =
      TRY(objects::FieldSelector::Parse(query.field_selector, *target.kind, *target.version));

  objects::StoreListOptions options;
  options.ns = target.ns;
  options.limit = query.limit;
  if (!labels.empty() || !fields.empty()) {
    options.filter = [&](const objects::StoredObject& object) {
      return labels.Matches(object.value()) && fields.Matches(object.value());
    };
  }
  if (!query.continue_token.empty()) {
    if (!query.resource_version.empty() && query.resource_version != "0") {
      return ApiError::BadRequest("specifying resource version is not allowed when using continue");
    }
    const Continue from = TRY(ParseContinue(query.continue_token));
    options.at = from.revision;
    options.after_ns = from.ns;
    options.after_name = from.name;
  } else if (!query.resource_version.empty()) {
    const auto wanted = TRY(ParseRevision(query.resource_version));
    const auto current = store_.revision();
    if (wanted > current) return TooNew(wanted, current);
    if (query.match == "Exact") options.at = wanted;
  }
  auto list = store_.List(target.kind->storage_resource, options);
  if (!list.ok()) {
    if (list.error().code() == Code::kOutOfRange && !query.continue_token.empty()) {
      return ApiError::Expired(
          "The provided continue parameter is too old to display a consistent list result. Start a "
          "new list without "
          "the continue parameter.");
    }
    return Fail(list.error(), target);
  }
  ListPage page;
  page.revision = list->revision;
  if (list->more && !list->items.empty()) {
    const auto& last = list->items.back()->key();
    page.continue_token = FormatContinue({list->revision, last.ns, last.name});
    if (labels.empty() && fields.empty()) page.remaining = list->remaining;
  }
  page.items = std::move(list->items);
  return page;
}

bool Registry::ShownAsStored(const objects::StoredObject& object, const Target& target) const {
  const JsonObject* members = object.value().if_object();
  const Json* stored = members ? members->if_contains("apiVersion") : nullptr;
  if (!stored || !stored->is_string() ||
      std::string_view(stored->as_string()) != target.api_version())
    return false;
  if (!target.kind->custom) return true;
  std::lock_guard lock(mutex_);
  const auto found = schema_revisions_.find(target.kind->storage_resource);
  return found == schema_revisions_.end() || found->second <= object.revision();
}

Json Registry::Show(const objects::StoredObject& object, const Target& target) const {
  if (ShownAsStored(object, target)) return object.value();
  Json shown = object.value();
  if (StringAt(shown, "apiVersion") != target.api_version()) {
    const std::string& resource = target.kind->storage_resource;
    const auto dot = resource.find('.');
    const auto from = kinds_.FindResource(dot == std::string::npos ? "" : resource.substr(dot + 1),
                                          resource.substr(0, dot));
    shown = schema::ConvertObject(from ? *from : *target.kind, *target.kind,
                                  target.version->version, std::move(shown));
  }
  if (target.kind->custom) schema::ApplyDefaults(*target.kind, *target.version, shown);
  return shown;
}

std::string Registry::ShowBytes(const objects::StoredObject& object, const Target& target) const {
  if (ShownAsStored(object, target)) return object.bytes();
  return ToJson(Show(object, target));
}

}  // namespace thinsnap::registry
