// Exec over SPDY/3.1: each channel is a stream that the client opens (kubectl up to 1.29, and older
// libraries).
#pragma once

#include "base/net/http_server.h"
#include "simulator/apiserver/exec_bridge.h"
#include "simulator/objects/api_error.h"

namespace thinsnap::apiserver {

bool IsSpdyUpgrade(const net::ServerRequest& request);
objects::ApiResult<net::ServerResponse> ExecBySpdy(const net::ServerRequest& request,
                                                   ContainerAccess& access, ExecRequest exec,
                                                   SessionHost host);

}  // namespace thinsnap::apiserver
