// Content negotiation: in which encoding and shape to answer, and in which encoding a body came.
#pragma once

#include "base/net/http_server.h"
#include "simulator/apiserver/render.h"
#include "simulator/registry/registry.h"
#include "simulator/schema/codec.h"

namespace thinsnap::apiserver {

// NotAcceptable if none of what the client accepts can be made. A missing header is JSON.
schema::ApiResult<View> NegotiateView(const net::ServerRequest& request);
// UnsupportedMediaType. A missing Content-Type is JSON.
schema::ApiResult<schema::BodyFormat> NegotiateBody(const net::ServerRequest& request);
// The kind of a patch. UnsupportedMediaType; strategic merge is for built-in kinds only.
schema::ApiResult<registry::PatchKind> NegotiatePatch(const net::ServerRequest& request,
                                                      bool custom);

}  // namespace thinsnap::apiserver
