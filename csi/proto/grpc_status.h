// Errors and deadlines across gRPC. Included by this folder's .cc files only.
#pragma once

#include <grpc/support/time.h>
#include <grpcpp/support/status.h>

#include "base/core/clock.h"
#include "base/core/result.h"

namespace thinsnap::proto {

// The metadata that carries Call::id.
inline constexpr const char* kRequestIdKey = "x-request-id";

// How often a client may ask whether the connection still lives.
inline constexpr int kLeastPingMs = 10'000;

grpc::Status ToGrpc(const Error& error);
Error FromGrpc(const grpc::Status& status);

// Between our monotonic clock and gRPC's. kForever is gRPC's infinite future.
gpr_timespec ToGrpcDeadline(Clock& clock, MonoTime deadline);
MonoTime FromGrpcDeadline(Clock& clock, gpr_timespec deadline);

}  // namespace thinsnap::proto
