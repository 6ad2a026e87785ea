// S3Fault: an S3 error answer; S3Result: a value or a fault. TRY works with both this and Result.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/core/result.h"
#include "base/net/http_server.h"

namespace thinsnap::s3 {

// Tells a client that signed for a wrong region which is the right one.
inline constexpr const char* kRegionHeader = "x-amz-bucket-region";

struct S3Fault {
  int status = 500;
  std::string code;
  std::string message;
  net::Headers headers = {};  // in addition

  // XML with the resource; without a body for HEAD.
  net::ServerResponse ToResponse(const std::string& resource, bool is_head) const;
};

// The known faults of S3, by their code.
S3Fault Fault(const std::string& code, std::string message = "");

template <typename T>
class [[nodiscard]] S3Result {
 public:
  S3Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // implicit by design
  S3Result(S3Fault fault) : state_(std::in_place_index<1>, std::move(fault)) {}
  S3Result(const Error& error) : S3Result(Fault("InternalError", error.message())) {}
  bool ok() const { return state_.index() == 0; }
  T& value() & { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return &value(); }
  T& operator*() & { return value(); }
  const S3Fault& error() const& { return *std::get_if<1>(&state_); }
  S3Fault&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, S3Fault> state_;
};

template <>
class [[nodiscard]] S3Result<void> {
 public:
  S3Result() = default;
  S3Result(S3Fault fault) : fault_(std::move(fault)) {}
  S3Result(const Error& error) : S3Result(Fault("InternalError", error.message())) {}
  bool ok() const { return !fault_; }
  void value() const {}
  const S3Fault& error() const& { return *fault_; }
  S3Fault&& error() && { return std::move(*fault_); }

 private:
  std::optional<S3Fault> fault_;
};

using S3Status = S3Result<void>;

}  // namespace thinsnap::s3
