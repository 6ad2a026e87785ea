// Exec over WebSocket: each message begins with the number of its channel (v4.channel.k8s.io; v5
// adds half-closing).
#pragma once

#include "base/net/http_server.h"
#include "simulator/schema/api_error.h"
#include "simulator/streams/exec_bridge.h"

namespace thinsnap::streams {

schema::ApiResult<net::ServerResponse> ExecByWebSocket(const net::ServerRequest& request,
                                                       ContainerAccess& access, ExecRequest exec,
                                                       SessionHost host);

}  // namespace thinsnap::streams
