// Content negotiation: in which encoding and shape to answer, and in which encoding a body came.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/net/http_server.h"
#include "simulator/apiserver/registry.h"
#include "simulator/apiserver/render.h"
#include "simulator/objects/codec.h"

namespace thinsnap::apiserver {

struct MediaType {
  std::string type;  // lower case, "application/json"
  std::vector<std::pair<std::string, std::string>> parameters;

  std::string_view Parameter(std::string_view name) const;
};

// "a/b;x=y" and "a/b;x=y,c/d" (an Accept header, in its order of preference).
MediaType ParseMediaType(std::string_view text);
std::vector<MediaType> ParseAccept(std::string_view text);

// NotAcceptable if none of what the client accepts can be made. A missing header is JSON.
objects::ApiResult<View> NegotiateView(const net::ServerRequest& request);
// UnsupportedMediaType. A missing Content-Type is JSON.
objects::ApiResult<objects::BodyFormat> NegotiateBody(const net::ServerRequest& request);
// The kind of a patch. UnsupportedMediaType; strategic merge is for built-in kinds only.
objects::ApiResult<PatchKind> NegotiatePatch(const net::ServerRequest& request, bool custom);

}  // namespace thinsnap::apiserver
