// Result: a value or an Error, the only way in which functions of this project report failure.
// An Error has a code (what a caller may react to), a message for people, and the contexts it
// passed through.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace thinsnap {

// A code exists because some caller reacts to it. All but kUnknownOutcome stand for the gRPC code
// of the same name.
enum class Code : std::uint8_t {
  kCancelled,           // the task's group was stopped
  kInvalidArgument,     // the input is wrong whatever the state
  kDeadlineExceeded,    // nothing is known to have happened before the deadline
  kNotFound,            //
  kAlreadyExists,       // the name stands for something else
  kPermissionDenied,    // known, but not allowed
  kResourceExhausted,   // no room, quota, or too many requests
  kFailedPrecondition,  // the state forbids it; repeating does not help (HTTP 412, guard, wrong
                        // key)
  kAborted,             // lost a race or still in progress; repeating helps (HTTP 409 Conflict)
  kOutOfRange,          // beyond the end, or older than what is kept (HTTP 410 Gone)
  kUnimplemented,       //
  kInternal,            // a broken invariant or an unexpected answer
  kUnavailable,         // not reached or not answered; nothing happened; repeating helps
  kDataLoss,            // stored bytes are damaged
  kUnauthenticated,     // unknown credentials
  kUnknownOutcome,      // sent, but the answer was lost: it may or may not have happened
};

// The gRPC spelling, "NOT_FOUND"; "UNKNOWN_OUTCOME" for kUnknownOutcome.
std::string_view CodeName(Code code);

class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  Code code() const { return code_; }
  // "outer context: inner context: message"
  const std::string& message() const { return message_; }
  // "NOT_FOUND: message"
  std::string ToString() const;

  // Says what was being done, in front of the message.
  Error In(std::string_view context) && {
    message_ = std::string(context) + ": " + message_;
    return std::move(*this);
  }
  Error In(std::string_view context) const& { return Error(*this).In(context); }

 private:
  Code code_;
  std::string message_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  using Value = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  template <typename U>
    requires(std::is_convertible_v<U &&, T> && !std::is_same_v<std::decay_t<U>, Result> &&
             !std::is_same_v<std::decay_t<U>, Error> && !std::is_same_v<std::decay_t<U>, T>)
  Result(U&& value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // The value; the caller has checked ok().
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  // By value: what is taken from a temporary outlives it, also in a range-for.
  T value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // The error; the caller has checked !ok().
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

  bool Is(Code code) const { return !ok() && error().code() == code; }
  T ValueOr(T fallback) && { return ok() ? std::move(*this).value() : std::move(fallback); }

  Result In(std::string_view context) && {
    if (!ok()) return std::move(*this).error().In(context);
    return std::move(*this);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using Value = void;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  void value() const {}
  void operator*() const {}
  const Error& error() const& { return *error_; }  // NOLINT(*-optional-access): the caller checked
  Error&& error() && { return std::move(*error_); }  // NOLINT(*-optional-access): as above
  bool Is(Code code) const { return !ok() && error().code() == code; }

  Result In(std::string_view context) && {
    if (!ok()) return std::move(*this).error().In(context);
    return {};
  }

  // For the few places where failure truly changes nothing; say why beside it.
  void IgnoreError() const {}

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

// The value of a Result expression, or return of its error from the enclosing function. Do not nest
// one in another.
#define TRY(expression)                                           \
  __extension__({                                                 \
    auto try_result_ = (expression);                              \
    if (!try_result_.ok()) return std::move(try_result_).error(); \
    std::move(try_result_).value();                               \
  })

[[noreturn]] void AssertFailed(const char* file, int line, const char* expression);

// Stays on in release builds: a crash beats damage.
#define ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::thinsnap::AssertFailed(__FILE__, __LINE__, #condition))

}  // namespace thinsnap
