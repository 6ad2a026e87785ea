#include "csi/proto/grpc_status.h"

#include <algorithm>
#include <string>

#include "base/core/text.h"

namespace thinsnap::proto {
namespace {

struct Pair {
  Code ours;
  grpc::StatusCode theirs;
};
constexpr Pair kCodes[] = {
    {Code::kCancelled, grpc::StatusCode::CANCELLED},
    {Code::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
    {Code::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
    {Code::kNotFound, grpc::StatusCode::NOT_FOUND},
    {Code::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
    {Code::kPermissionDenied, grpc::StatusCode::PERMISSION_DENIED},
    {Code::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
    {Code::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
    {Code::kAborted, grpc::StatusCode::ABORTED},
    {Code::kOutOfRange, grpc::StatusCode::OUT_OF_RANGE},
    {Code::kUnimplemented, grpc::StatusCode::UNIMPLEMENTED},
    {Code::kInternal, grpc::StatusCode::INTERNAL},
    {Code::kUnavailable, grpc::StatusCode::UNAVAILABLE},
    {Code::kDataLoss, grpc::StatusCode::DATA_LOSS},
    {Code::kUnauthenticated, grpc::StatusCode::UNAUTHENTICATED},
    // Every verb of CSI may be repeated.
    {Code::kUnknownOutcome, grpc::StatusCode::UNAVAILABLE},
};

// Messages travel in an HTTP/2 header; peers refuse headers beyond 8 KiB, and escaping may triple
// it.
constexpr std::size_t kMessageLimit = 2000;

}  // namespace

grpc::Status ToGrpc(const Error& error) {
  std::string message(CutText(error.message(), kMessageLimit));
  if (message.empty()) message = CodeName(error.code());
  for (const Pair& pair : kCodes) {
    if (pair.ours == error.code()) return {pair.theirs, message};
  }
  return {grpc::StatusCode::INTERNAL, message};
}

Error FromGrpc(const grpc::Status& status) {
  for (const Pair& pair : kCodes) {
    if (pair.theirs == status.error_code()) return {pair.ours, status.error_message()};
  }
  return {Code::kInternal,
          "gRPC code " + std::to_string(status.error_code()) + ": " + status.error_message()};
}

gpr_timespec ToGrpcDeadline(Clock& clock, MonoTime deadline) {
  if (deadline == kForever) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  const Duration left = std::max(deadline - clock.MonoNow(), Duration::zero());
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(left.count(), GPR_TIMESPAN));
}

MonoTime FromGrpcDeadline(Clock& clock, gpr_timespec deadline) {
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return kForever;
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  // A deadline of more than a year is none.
  if (left.tv_sec > 366LL * 24 * 3600) return kForever;
  return clock.MonoNow() + std::chrono::seconds(left.tv_sec) +
         std::chrono::nanoseconds(left.tv_nsec);
}

}  // namespace thinsnap::proto
