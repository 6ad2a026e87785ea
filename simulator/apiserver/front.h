// Front: the HTTP face of the registry. One function from a request to a response; no state of its
// own.
#pragma once

#include <memory>
#include <string>

#include "base/net/http_server.h"
#include "simulator/apiserver/authentication.h"
#include "simulator/apiserver/discovery.h"
#include "simulator/apiserver/negotiate.h"
#include "simulator/apiserver/openapi.h"
#include "simulator/apiserver/pod_streams.h"
#include "simulator/apiserver/rbac.h"
#include "simulator/apiserver/render.h"
#include "simulator/apiserver/request.h"
#include "simulator/apiserver/reviews.h"
#include "simulator/apiserver/write_options.h"
#include "simulator/registry/registry.h"
#include "simulator/registry/watch.h"

namespace thinsnap::apiserver {

// Thread-safe: handlers run on several workers.
// Of a request; as etcd's and so the real server's.
inline constexpr std::uint64_t kMaxBodyBytes = 3 * kMiB;

class Front {
 public:
  Front(registry::Registry& registry, registry::WatchHub& watches,
        const Authenticator& authenticator, const Authorizer& authorizer, PodStreams& pod_streams);

  net::ServerResponse Handle(const net::ServerRequest& request);
  void SetAddress(std::string address) {
    address_ = std::move(address);
  }  // before the first request

 private:
  using Response = schema::ApiResult<net::ServerResponse>;

  Response Serve(const net::ServerRequest& request);
  Response ServeOther(const net::ServerRequest& request, const registry::UserInfo& user);
  Response ServeResource(const net::ServerRequest& request, const RequestInfo& info,
                         const registry::UserInfo& user);
  Response Read(const net::ServerRequest& request, const RequestInfo& info,
                const registry::Target& target, const View& view);
  Response Watch(const net::ServerRequest& request, const registry::Target& target,
                 const View& view);
  Response Create(const net::ServerRequest& request, const registry::Target& target,
                  registry::WriteContext& write, const View& view);
  Response CreateBelow(const net::ServerRequest& request, const registry::Target& target,
                       registry::WriteContext& write);
  Response Update(const net::ServerRequest& request, const registry::Target& target,
                  registry::WriteContext& write, const View& view);
  Response Patch(const net::ServerRequest& request, const registry::Target& target,
                 registry::WriteContext& write, const View& view);
  Response Delete(const net::ServerRequest& request, const RequestInfo& info,
                  const registry::Target& target, registry::WriteContext& write, const View& view);

  registry::Registry& registry_;
  registry::WatchHub& watches_;
  const Authenticator& authenticator_;
  const Authorizer& authorizer_;
  PodStreams& pod_streams_;
  const Discovery discovery_;
  OpenApi openapi_;
  const Reviews reviews_;
  LineCache lines_;
  std::string address_;
};

}  // namespace thinsnap::apiserver
