// The options of a request, from its query: checked as the API checks CreateOptions, ListOptions
// and the like.
#pragma once

#include "base/data/json.h"
#include "base/net/http.h"
#include "base/net/http_server.h"
#include "simulator/apiserver/request.h"
#include "simulator/registry/registry.h"
#include "simulator/registry/watch.h"

namespace thinsnap::apiserver {

// dryRun, fieldManager, fieldValidation, force. Invalid names the options object.
schema::ApiResult<registry::WriteContext> ParseWrite(const net::ServerRequest& request,
                                                     const RequestInfo& info,
                                                     const registry::UserInfo& user);
schema::ApiResult<registry::ListQuery> ParseList(const net::Query& query);
schema::ApiResult<registry::WatchQuery> ParseWatch(const net::Query& query);
// The DeleteOptions object that the query parameters make, for a DELETE without a body.
schema::ApiResult<Json> DeleteOptionsOf(const net::Query& query);

}  // namespace thinsnap::apiserver
