// ApiError: a failure as the Kubernetes API tells it: HTTP code, reason, message, details with
// causes. ApiResult is Result with such an error; TRY works on it. FieldError is one cause of an
// Invalid (422).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/core/result.h"
#include "base/data/json_fwd.h"

namespace thinsnap::schema {

// reason is the API's ("FieldValueInvalid"), message its wording with the value ("Invalid value:
// \"x\": why").
struct FieldError {
  std::string reason;
  std::string field;
  std::string message;

  static FieldError Required(std::string field, std::string_view detail = "");
  static FieldError Invalid(std::string field, const Json& value, std::string_view detail);
  static FieldError InvalidType(std::string field, std::string_view found, std::string_view detail);
  static FieldError Unsupported(std::string field, const Json& value,
                                const std::vector<std::string>& supported);
  static FieldError Forbidden(std::string field, std::string_view detail);
  static FieldError Duplicate(std::string field, const Json& value);
  static FieldError NotFound(std::string field, const Json& value);
  static FieldError TooLong(std::string field, std::int64_t max_bytes);
  static FieldError TooMany(std::string field, std::int64_t found, std::int64_t max_items);
};
using FieldErrors = std::vector<FieldError>;

class [[nodiscard]] ApiError {
 public:
  ApiError(int http_code, std::string error_reason, std::string text)
      : code(http_code), reason(std::move(error_reason)), message(std::move(text)) {}

  // resource and group as in details: "configmaps", "".
  static ApiError NotFound(std::string_view group, std::string_view resource,
                           std::string_view name);
  static ApiError AlreadyExists(std::string_view group, std::string_view resource,
                                std::string_view name);
  // "Operation cannot be fulfilled on <resource> "<name>": <why>"; the usual why when empty.
  static ApiError Conflict(std::string_view group, std::string_view resource, std::string_view name,
                           std::string_view why = "");
  // `resources "name" is forbidden: why`
  static ApiError Forbidden(std::string_view group, std::string_view resource,
                            std::string_view name, std::string_view why);
  // 422 with the errors as causes; kind, not resource.
  static ApiError Invalid(std::string_view group, std::string_view kind, std::string_view name,
                          FieldErrors errors);
  static ApiError BadRequest(std::string message);
  static ApiError Unauthorized();
  static ApiError MethodNotAllowed();
  static ApiError NotAcceptable(const std::vector<std::string>& available);
  static ApiError UnsupportedMediaType(const std::vector<std::string>& accepted);
  static ApiError Expired(std::string message);                           // 410
  static ApiError Timeout(std::string message, int retry_after_seconds);  // 504
  static ApiError TooManyRequests(std::string message, int retry_after_seconds);
  static ApiError Internal(std::string message);  // "Internal error occurred: ..."
  static ApiError ServiceUnavailable(std::string message);
  // 404 "the server could not find the requested resource"
  static ApiError NoSuchResource();
  // From a library error, by its code.
  static ApiError From(const Error& error);

  // The Status object.
  Json ToStatus() const;
  Error ToError() const;

  int code;
  std::string reason;
  std::string message;
  bool has_details = false;
  std::string name, group, kind, uid;  // details
  FieldErrors causes;
  int retry_after_seconds = 0;
};

template <typename T>
class [[nodiscard]] ApiResult {
 public:
  ApiResult(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // implicit by design
  ApiResult(ApiError error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const ApiError& error() const& { return *std::get_if<1>(&state_); }
  ApiError&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, ApiError> state_;
};

template <>
class [[nodiscard]] ApiResult<void> {
 public:
  ApiResult() = default;
  ApiResult(ApiError error) : error_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return error_.index() == 0; }
  explicit operator bool() const { return ok(); }
  void value() const {}
  const ApiError& error() const& { return *std::get_if<1>(&error_); }
  ApiError&& error() && { return std::move(*std::get_if<1>(&error_)); }

 private:
  std::variant<std::monostate, ApiError> error_;
};
using ApiStatus = ApiResult<void>;

}  // namespace thinsnap::schema
