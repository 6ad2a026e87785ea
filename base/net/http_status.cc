#include "base/net/http_status.h"

namespace thinsnap::net {

Code CodeOfHttpStatus(int status) {
  switch (status) {
    case 400:
    case 413:
    case 422:
      return Code::kInvalidArgument;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 405:
    case 406:
    case 415:
    case 501:
      return Code::kUnimplemented;
    case 409:
      return Code::kAborted;
    case 410:
    case 416:
      return Code::kOutOfRange;
    case 412:
      return Code::kFailedPrecondition;
    case 429:
      return Code::kResourceExhausted;
    case 408:
    case 502:
    case 503:
    case 504:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

}  // namespace thinsnap::net
