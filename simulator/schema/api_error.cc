#include "simulator/schema/api_error.h"

#include "base/data/json.h"

namespace thinsnap::schema {
namespace {

// Objects and arrays print as JSON, so do strings.
std::string Quoted(const Json& value) { return ToJson(value); }

std::string Joined(const std::vector<std::string>& items, std::string_view between) {
  std::string text;
  for (const auto& item : items) {
    if (!text.empty()) text += between;
    text += item;
  }
  return text;
}

std::string Qualified(std::string_view name, std::string_view group) {
  return group.empty() ? std::string(name) : std::string(name) + "." + std::string(group);
}

ApiError WithDetails(ApiError error, std::string_view group, std::string_view kind,
                     std::string_view name) {
  error.has_details = true;
  error.group = group;
  error.kind = kind;
  error.name = name;
  return error;
}

ApiError WithEmptyDetails(ApiError error) { return WithDetails(std::move(error), "", "", ""); }

}  // namespace

FieldError FieldError::Required(std::string field, std::string_view detail) {
  return {"FieldValueRequired", std::move(field),
          detail.empty() ? "Required value" : "Required value: " + std::string(detail)};
}
FieldError FieldError::Invalid(std::string field, const Json& value, std::string_view detail) {
  return {"FieldValueInvalid", std::move(field),
          "Invalid value: " + Quoted(value) + ": " + std::string(detail)};
}
FieldError FieldError::InvalidType(std::string field, std::string_view found,
                                   std::string_view detail) {
  return {"FieldValueTypeInvalid", std::move(field),
          "Invalid value: \"" + std::string(found) + "\": " + std::string(detail)};
}
FieldError FieldError::Unsupported(std::string field, const Json& value,
                                   const std::vector<std::string>& supported) {
  std::vector<std::string> quoted;
  for (const auto& item : supported) quoted.push_back(Quoted(Json(item)));
  return {"FieldValueNotSupported", std::move(field),
          "Unsupported value: " + Quoted(value) + ": supported values: " + Joined(quoted, ", ")};
}
FieldError FieldError::Forbidden(std::string field, std::string_view detail) {
  return {"FieldValueForbidden", std::move(field), "Forbidden: " + std::string(detail)};
}
FieldError FieldError::Duplicate(std::string field, const Json& value) {
  return {"FieldValueDuplicate", std::move(field), "Duplicate value: " + Quoted(value)};
}
FieldError FieldError::NotFound(std::string field, const Json& value) {
  return {"FieldValueNotFound", std::move(field), "Not found: " + Quoted(value)};
}
FieldError FieldError::TooLong(std::string field, std::int64_t max_bytes) {
  return {"FieldValueTooLong", std::move(field),
          "Too long: may not be more than " + std::to_string(max_bytes) + " bytes"};
}
FieldError FieldError::TooMany(std::string field, std::int64_t found, std::int64_t max_items) {
  return {"FieldValueTooMany", std::move(field),
          "Too many: " + std::to_string(found) + ": must have at most " +
              std::to_string(max_items) + " items"};
}

ApiError ApiError::NotFound(std::string_view group, std::string_view resource,
                            std::string_view name) {
  return WithDetails(
      {404, "NotFound", Qualified(resource, group) + " \"" + std::string(name) + "\" not found"},
      group, resource, name);
}
ApiError ApiError::AlreadyExists(std::string_view group, std::string_view resource,
                                 std::string_view name) {
  return WithDetails({409, "AlreadyExists",
                      Qualified(resource, group) + " \"" + std::string(name) + "\" already exists"},
                     group, resource, name);
}
ApiError ApiError::Conflict(std::string_view group, std::string_view resource,
                            std::string_view name, std::string_view why) {
  if (why.empty()) {
    why =
        "the object has been modified; please apply your changes to the latest version and try "
        "again";
  }
  return WithDetails({409, "Conflict",
                      "Operation cannot be fulfilled on " + Qualified(resource, group) + " \"" +
                          std::string(name) + "\": " + std::string(why)},
                     group, resource, name);
}
ApiError ApiError::Forbidden(std::string_view group, std::string_view resource,
                             std::string_view name, std::string_view why) {
  std::string what = Qualified(resource, group);
  if (!name.empty()) what += " \"" + std::string(name) + "\"";
  return WithDetails({403, "Forbidden", what + " is forbidden: " + std::string(why)}, group,
                     resource, name);
}
ApiError ApiError::Invalid(std::string_view group, std::string_view kind, std::string_view name,
                           FieldErrors errors) {
  std::string text = Qualified(kind, group) + " \"" + std::string(name) + "\" is invalid: ";
  std::vector<std::string> items;
  for (const auto& error : errors) items.push_back(error.field + ": " + error.message);
  text += items.size() == 1 ? items.front() : "[" + Joined(items, ", ") + "]";
  auto result = WithDetails({422, "Invalid", std::move(text)}, group, kind, name);
  result.causes = std::move(errors);
  return result;
}
ApiError ApiError::BadRequest(std::string message) {
  return {400, "BadRequest", std::move(message)};
}
ApiError ApiError::Unauthorized() { return {401, "Unauthorized", "Unauthorized"}; }
ApiError ApiError::MethodNotAllowed() {
  return WithEmptyDetails(
      {405, "MethodNotAllowed", "the server does not allow this method on the requested resource"});
}
ApiError ApiError::NotAcceptable(const std::vector<std::string>& available) {
  return WithEmptyDetails(
      {406, "NotAcceptable",
       "only the following media types are accepted: " + Joined(available, ", ")});
}
ApiError ApiError::UnsupportedMediaType(const std::vector<std::string>& accepted) {
  return {415, "UnsupportedMediaType",
          "the body of the request was in an unknown format - accepted media types include: " +
              Joined(accepted, ", ")};
}
ApiError ApiError::Expired(std::string message) { return {410, "Expired", std::move(message)}; }
ApiError ApiError::Timeout(std::string message, int retry_after_seconds) {
  ApiError error{504, "Timeout", "Timeout: " + std::move(message)};
  error.has_details = true;
  error.retry_after_seconds = retry_after_seconds;
  return error;
}
ApiError ApiError::TooManyRequests(std::string message, int retry_after_seconds) {
  ApiError error{429, "TooManyRequests", std::move(message)};
  error.has_details = true;
  error.retry_after_seconds = retry_after_seconds;
  return error;
}
ApiError ApiError::Internal(std::string message) {
  ApiError error{500, "InternalError", "Internal error occurred: " + message};
  error.has_details = true;
  error.causes.push_back({"", "", std::move(message)});
  return error;
}
ApiError ApiError::ServiceUnavailable(std::string message) {
  return {503, "ServiceUnavailable", std::move(message)};
}
ApiError ApiError::NoSuchResource() {
  return WithEmptyDetails({404, "NotFound", "the server could not find the requested resource"});
}

ApiError ApiError::From(const Error& error) {
  switch (error.code()) {
    case Code::kInvalidArgument:
      return BadRequest(error.message());
    case Code::kNotFound:
      return WithEmptyDetails({404, "NotFound", error.message()});
    case Code::kAlreadyExists:
      return WithEmptyDetails({409, "AlreadyExists", error.message()});
    case Code::kAborted:
      return WithEmptyDetails({409, "Conflict", error.message()});
    case Code::kOutOfRange:
      return Expired(error.message());
    case Code::kPermissionDenied:
      return WithEmptyDetails({403, "Forbidden", error.message()});
    case Code::kUnauthenticated:
      return Unauthorized();
    case Code::kResourceExhausted:
      return TooManyRequests(error.message(), 1);
    case Code::kUnavailable:
    case Code::kCancelled:
      return ServiceUnavailable(error.message());
    case Code::kDeadlineExceeded:
      return Timeout(error.message(), 1);
    default:
      return Internal(error.message());
  }
}

Json ApiError::ToStatus() const {
  JsonObject status;
  status["kind"] = "Status";
  status["apiVersion"] = "v1";
  status["metadata"] = JsonObject();
  status["status"] = "Failure";
  status["message"] = message;
  if (!reason.empty()) status["reason"] = reason;
  if (has_details) {
    JsonObject details;
    if (!name.empty()) details["name"] = name;
    if (!group.empty()) details["group"] = group;
    if (!kind.empty()) details["kind"] = kind;
    if (!uid.empty()) details["uid"] = uid;
    JsonArray list;
    for (const auto& cause : causes) {
      JsonObject item;
      if (!cause.reason.empty()) item["reason"] = cause.reason;
      item["message"] = cause.message;
      if (!cause.field.empty()) item["field"] = cause.field;
      list.push_back(std::move(item));
    }
    if (!list.empty()) details["causes"] = std::move(list);
    if (retry_after_seconds > 0) details["retryAfterSeconds"] = retry_after_seconds;
    status["details"] = std::move(details);
  }
  status["code"] = code;
  return status;
}

Error ApiError::ToError() const {
  const auto as = [this](Code error_code) { return Error(error_code, message); };
  if (reason == "AlreadyExists") return as(Code::kAlreadyExists);
  switch (code) {
    case 400:
    case 422:
      return as(Code::kInvalidArgument);
    case 401:
      return as(Code::kUnauthenticated);
    case 403:
      return as(Code::kPermissionDenied);
    case 404:
      return as(Code::kNotFound);
    case 405:
    case 406:
    case 415:
      return as(Code::kUnimplemented);
    case 409:
      return as(Code::kAborted);
    case 410:
      return as(Code::kOutOfRange);
    case 413:
    case 429:
      return as(Code::kResourceExhausted);
    case 503:
    case 504:
      return as(Code::kUnavailable);
    default:
      return as(Code::kInternal);
  }
}

}  // namespace thinsnap::schema
