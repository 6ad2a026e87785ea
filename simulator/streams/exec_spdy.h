// Exec over SPDY/3.1: each channel is a stream that the client opens (kubectl up to 1.29, and older
// libraries).
#pragma once

#include "base/net/http_server.h"
#include "simulator/schema/api_error.h"
#include "simulator/streams/exec_bridge.h"

namespace thinsnap::streams {

bool IsSpdyUpgrade(const net::ServerRequest& request);
// What the client says that it will open, beside the streams of errors and of sizes.
struct ClientStreams {
  bool in = false, out = false, err = false;
};
schema::ApiResult<net::ServerResponse> ExecBySpdy(const net::ServerRequest& request,
                                                  ContainerAccess& access, ExecRequest exec,
                                                  const ClientStreams& expected, SessionHost host);

}  // namespace thinsnap::streams
