#include "simulator/apiserver/front.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "base/data/yaml.h"

namespace thinsnap::apiserver {

using schema::ApiError;

namespace {

constexpr std::string_view kNoPage = "404 page not found\n";

net::ServerResponse JsonResponse(int status, std::string body) {
  return net::ServerResponse::Text(status, std::move(body), "application/json");
}

net::ServerResponse ErrorResponse(const ApiError& error) {
  auto response = JsonResponse(error.code, ToJson(error.ToStatus()));
  if (error.retry_after_seconds > 0) {
    response.headers.Add("Retry-After", std::to_string(error.retry_after_seconds));
  }
  return response;
}

Json VersionDocument() {
  return {{"major", "1"},
          {"minor", "33"},
          {"gitVersion", "v1.33.0+thinsnap-" THINSNAP_VERSION},
          {"gitCommit", ""},
          {"gitTreeState", "clean"},
          {"buildDate", "1970-01-01T00:00:00Z"},
          {"goVersion", ""},
          {"compiler", ""},
          {"platform", "linux/amd64"}};
}

constexpr std::array<std::string_view, 3> kHealthChecks = {"ping", "log", "etcd"};

// All checks, or one of them; they stand for a process that answers.
std::optional<std::string> Health(const net::ServerRequest& request) {
  for (const std::string root : {"healthz", "livez", "readyz"}) {
    std::string_view path = request.path;
    if (!path.starts_with("/" + root)) continue;
    path.remove_prefix(root.size() + 1);
    if (path.starts_with('/') &&
        std::count(kHealthChecks.begin(), kHealthChecks.end(), path.substr(1)) > 0) {
      return "ok";
    }
    if (!path.empty()) return std::nullopt;
    if (!QueryHas(request.query, "verbose")) return "ok";
    std::string text;
    for (const std::string_view check : kHealthChecks) {
      const bool excluded = std::any_of(
          request.query.begin(), request.query.end(),
          [&](const auto& item) { return item.first == "exclude" && item.second == check; });
      text += "[+]" + std::string(check) + (excluded ? " excluded: ok\n" : " ok\n");
    }
    return text + root + " check passed\n";
  }
  return std::nullopt;
}

// YAML is asked for rarely: it is made from the JSON text.
net::ServerResponse AsYaml(net::ServerResponse response) {
  if (!response.body) return response;
  const auto value = ParseJson(*response.body);
  if (!value.ok()) return response;
  response.headers.Set("Content-Type", "application/yaml");
  response.body = std::make_shared<const std::string>(ToYaml(*value));
  return response;
}

}  // namespace

Front::Front(registry::Registry& registry, registry::WatchHub& watches,
             const Authenticator& authenticator, const Authorizer& authorizer,
             PodStreams& pod_streams)
    : registry_(registry),
      watches_(watches),
      authenticator_(authenticator),
      authorizer_(authorizer),
      pod_streams_(pod_streams),
      discovery_(registry.kinds()),
      openapi_(registry.kinds()),
      reviews_(registry, authorizer, authenticator) {}

net::ServerResponse Front::Handle(const net::ServerRequest& request) {
  auto served = Serve(request);
  net::ServerResponse response = served.ok() ? std::move(*served) : ErrorResponse(served.error());
  std::string audit_id(request.headers.Get("Audit-ID"));
  if (audit_id.empty()) audit_id = registry_.random().Uuid();
  response.headers.Set("Audit-Id", std::move(audit_id));
  if (!response.headers.Has("Cache-Control"))
    response.headers.Add("Cache-Control", "no-cache, private");
  return response;
}

Front::Response Front::Serve(const net::ServerRequest& request) {
  auto authenticated = authenticator_.Authenticate(request);
  if (!authenticated.ok()) return ApiError::Unauthorized();
  const registry::UserInfo user =
      TRY(authenticator_.Impersonated(request, *authenticated, authorizer_));
  const RequestInfo info = ParseRequest(request.method, request.path, request.query);
  const AccessQuestion question = QuestionOf(info);
  if (!authorizer_.Allows(user, question)) {
    if (info.is_resource) {
      ApiError error =
          ApiError::Forbidden(info.group, info.resource, info.name, RefusalText(user, question));
      return error;
    }
    return ApiError(403, "Forbidden", "forbidden: " + RefusalText(user, question));
  }
  if (request.body.size() > kMaxBodyBytes) {
    return ApiError(413, "RequestEntityTooLarge",
                    "Request entity too large: limit is " + std::to_string(kMaxBodyBytes));
  }
  if (!info.is_resource) return ServeOther(request, user);
  return ServeResource(request, info, user);
}

Front::Response Front::ServeOther(const net::ServerRequest& request, const registry::UserInfo&) {
  const std::string& path = request.path;
  if (request.method != "GET" && request.method != "HEAD") return ApiError::MethodNotAllowed();
  if (auto answer = discovery_.Answer(request, address_)) return std::move(*answer);
  if (auto answer = openapi_.Answer(request)) return std::move(*answer);
  if (path == "/version" || path == "/version/")
    return JsonResponse(200, ToJson(VersionDocument()));
  if (auto health = Health(request)) return net::ServerResponse::Text(200, std::move(*health));
  if (path == "/openid/v1/jwks") {
    auto response = JsonResponse(200, ToJson(authenticator_.signer().PublicKeys()));
    response.headers.Set("Content-Type", "application/jwk-set+json");
    return response;
  }
  if (path == "/.well-known/openid-configuration") {
    return JsonResponse(
        200, ToJson({{"issuer", std::string(kTokenIssuer)},
                     {"jwks_uri", "https://" + address_ + "/openid/v1/jwks"},
                     {"response_types_supported", JsonArray{Json("id_token")}},
                     {"subject_types_supported", JsonArray{Json("public")}},
                     {"id_token_signing_alg_values_supported", JsonArray{Json("ES256")}}}));
  }
  if (path == "/") {
    JsonArray paths = {"/api",        "/api/v1",     "/apis",   "/healthz", "/livez",
                       "/openapi/v2", "/openapi/v3", "/readyz", "/version"};
    for (const auto& group : registry_.kinds().Groups()) {
      if (!group.name.empty()) paths.emplace_back("/apis/" + group.name);
    }
    return JsonResponse(200, ToJson({{"paths", std::move(paths)}}));
  }
  return net::ServerResponse::Text(404, std::string(kNoPage));
}

Front::Response Front::ServeResource(const net::ServerRequest& request, const RequestInfo& info,
                                     const registry::UserInfo& user) {
  auto resolved = registry_.Resolve(info.group, info.version, info.resource, info.ns, info.name,
                                    info.subresource);
  if (!resolved.ok()) {
    const auto groups = registry_.kinds().Groups();
    const bool known = std::any_of(groups.begin(), groups.end(), [&](const schema::Group& group) {
      return group.name == info.group && std::find(group.versions.begin(), group.versions.end(),
                                                   info.version) != group.versions.end();
    });
    if (!known) return net::ServerResponse::Text(404, std::string(kNoPage));
    return std::move(resolved).error();
  }
  const registry::Target target = std::move(*resolved);
  const schema::Kind& kind = *target.kind;
  const auto* subresource = target.subresource.empty()
                                ? nullptr
                                : kind.FindSubresource(*target.version, target.subresource);
  const auto& verbs = subresource ? subresource->verbs : kind.verbs;
  const bool needs_name = info.verb == "update" || info.verb == "patch" || subresource;
  const bool stray_name = info.verb == "create" && !info.name.empty() && !subresource;
  // Exec comes as GET or POST, whatever discovery says.
  const bool stream = kind.resource == "pods" && kind.group.empty() &&
                      (target.subresource == "exec" || target.subresource == "attach" ||
                       target.subresource == "portforward" || target.subresource == "log");
  if ((needs_name && info.name.empty()) || stray_name ||
      (!stream && std::find(verbs.begin(), verbs.end(), info.verb) == verbs.end())) {
    return ApiError::MethodNotAllowed();
  }
  if (kind.namespaced && kind.stored && target.ns.empty()) {
    // Across all namespaces objects can be listed and watched only.
    if (!info.name.empty()) return ApiError::NoSuchResource();
    if (info.verb == "create" || info.verb == "deletecollection")
      return ApiError::MethodNotAllowed();
  }
  // A namespace itself is in the namespace of its name.
  if (!kind.namespaced && !info.ns.empty() &&
      (info.resource != "namespaces" || info.name != info.ns))
    return ApiError::NoSuchResource();
  if (stream) {
    if (target.subresource == "log") return pod_streams_.Logs(request, target);
    if (target.subresource == "exec") return pod_streams_.Exec(request, target);
    if (target.subresource == "attach") return pod_streams_.Attach(request, target);
    return pod_streams_.PortForward(request, target);
  }

  const View view = TRY(NegotiateView(request));
  Response response = ApiError::MethodNotAllowed();
  registry::WriteContext write;
  if (info.verb == "get" || info.verb == "list") {
    response = Read(request, info, target, view);
  } else if (info.verb == "watch") {
    return Watch(request, target, view);
  } else {
    write = TRY(ParseWrite(request, info, user));
    if (info.verb == "create") {
      response = subresource || !kind.stored ? CreateBelow(request, target, write)
                                             : Create(request, target, write, view);
    } else if (info.verb == "update") {
      response = Update(request, target, write, view);
    } else if (info.verb == "patch") {
      response = Patch(request, target, write, view);
    } else {
      response = Delete(request, info, target, write, view);
    }
  }
  if (!response.ok()) response = ErrorResponse(response.error());
  if (!target.version->deprecation_warning.empty())
    write.warnings.push_back(target.version->deprecation_warning);
  for (const std::string& warning : write.warnings) {
    response->headers.Add("Warning", "299 - " + ToJson(Json(warning)));
  }
  if (view.yaml) return AsYaml(std::move(*response));
  return response;
}

}  // namespace thinsnap::apiserver
