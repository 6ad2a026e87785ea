// The options of a request, from its query: checked as the API checks CreateOptions, ListOptions
// and the like.
#pragma once

#include "base/data/json.h"
#include "base/net/http.h"
#include "base/net/http_server.h"
#include "simulator/apiserver/registry.h"
#include "simulator/apiserver/request.h"
#include "simulator/apiserver/watch.h"

namespace thinsnap::apiserver {

// dryRun, fieldManager, fieldValidation, force. Invalid names the options object.
schema::ApiResult<WriteContext> ParseWrite(const net::ServerRequest& request,
                                           const RequestInfo& info, const UserInfo& user);
schema::ApiResult<ListQuery> ParseList(const net::Query& query);
schema::ApiResult<WatchQuery> ParseWatch(const net::Query& query);
// The DeleteOptions object that the query parameters make, for a DELETE without a body.
schema::ApiResult<Json> DeleteOptionsOf(const net::Query& query);

}  // namespace thinsnap::apiserver
