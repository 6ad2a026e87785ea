#include "base/kube/http_kube_client.h"

#include <algorithm>
#include <mutex>

#include "base/core/file.h"
#include "base/core/guarded.h"
#include "base/kube/object.h"
#include "base/net/http_client.h"
#include "base/net/http_status.h"

namespace thinsnap::kube {
namespace {

constexpr Duration kWatchSlack = std::chrono::seconds(5);

Code CodeOfStatus(int status, const std::string& reason) {
  if (reason == "AlreadyExists") return Code::kAlreadyExists;
  if (reason == "Conflict") return Code::kAborted;
  return net::CodeOfHttpStatus(status);
}

Error ErrorOfAnswer(int status, const std::string& body) {
  const Result<Json> parsed = ParseJson(body);
  std::string message, reason;
  if (parsed.ok()) {
    message = StringAt(*parsed, "message");
    reason = StringAt(*parsed, "reason");
  }
  if (message.empty()) message = "the API server answered " + std::to_string(status);
  return Error(CodeOfStatus(status, reason), message);
}

const char* ContentTypeOf(PatchType type) {
  switch (type) {
    case PatchType::kJson:
      return "application/json-patch+json";
    case PatchType::kMerge:
      return "application/merge-patch+json";
    case PatchType::kStrategicMerge:
      return "application/strategic-merge-patch+json";
    case PatchType::kApply:
      return "application/apply-patch+yaml";
  }
  return "";
}

class HttpKubeClient final : public KubeClient {
 public:
  HttpKubeClient(ClientConfig config, std::string user_agent)
      : config_(std::move(config)),
        user_agent_(std::move(user_agent)),
        cert_pem_(config_.client_cert_pem),
        key_pem_(config_.client_key_pem),
        http_(Connect()) {
    while (config_.server.ends_with('/')) config_.server.pop_back();
  }

  Result<Json> Get(const ResourceType& type, const ObjectKey& key) override {
    return Call("GET", Path(type, key.ns, key.name), {}, nullptr, "");
  }

  Result<ObjectList> List(const ResourceType& type, const std::string& ns,
                          const ListOptions& options) override {
    ObjectList all;
    std::string next;
    do {
      net::Query query;
      if (!options.label_selector.empty())
        query.emplace_back("labelSelector", options.label_selector);
      if (!options.field_selector.empty())
        query.emplace_back("fieldSelector", options.field_selector);
      query.emplace_back("limit", std::to_string(options.limit > 0 ? options.limit : 500));
      if (!next.empty()) {
        query.emplace_back("continue", next);
      } else if (!options.resource_version.empty()) {
        query.emplace_back("resourceVersion", options.resource_version);
      }
      Json page = TRY(Call("GET", Path(type, ns, ""), query, nullptr, ""));
      next = StringAt(page, "metadata.continue");
      all.resource_version = ResourceVersionOf(page);
      Json* items = FindMutable(page, "items");
      if (items == nullptr || !items->is_array()) continue;
      for (Json& item : items->get_array()) {
        // Built-in lists leave out of their items what the list says.
        if (item.is_object() && StringAt(item, "kind").empty()) {
          Set(item, "apiVersion", Json(type.api_version()));
          Set(item, "kind", Json(type.kind));
        }
        all.items.push_back(std::move(item));
      }
    } while (!next.empty());
    return all;
  }

  Status Watch(const ResourceType& type, const std::string& ns, const WatchOptions& options,
               const std::function<Status(WatchEvent)>& on_event) override {
    net::Query query = {{"watch", "1"},
                        {"allowWatchBookmarks", "true"},
                        {"timeoutSeconds", std::to_string(options.timeout_seconds)}};
    if (!options.resource_version.empty())
      query.emplace_back("resourceVersion", options.resource_version);
    if (!options.label_selector.empty())
      query.emplace_back("labelSelector", options.label_selector);
    if (!options.field_selector.empty())
      query.emplace_back("fieldSelector", options.field_selector);
    std::string pending;
    net::HttpRequest request = TRY(NewRequest("GET", Path(type, ns, ""), query));
    // The server ends it then at the latest; where it does not, nobody is there any more.
    request.max_silence = std::chrono::seconds(options.timeout_seconds) + kWatchSlack;
    request.on_data = [&](ByteSpan bytes) -> Status {
      pending += AsText(bytes);
      std::size_t start = 0;
      for (std::size_t end = pending.find('\n'); end != std::string::npos;
           end = pending.find('\n', start)) {
        const std::string_view line = std::string_view(pending).substr(start, end - start);
        start = end + 1;
        if (!line.empty()) TRY(HandOver(line, on_event));
      }
      pending.erase(0, start);
      return {};
    };
    const net::HttpResponse response = TRY(Http()->Do(request));
    if (response.status / 100 != 2) return ErrorOfAnswer(response.status, response.body);
    return {};
  }

  Result<Json> Create(const ResourceType& type, const Json& object) override {
    return Call("POST", Path(type, NamespaceOf(object), ""), {}, &object, "application/json",
                &type);
  }

  Result<Json> Update(const ResourceType& type, const Json& object,
                      const std::string& subresource) override {
    return Call("PUT", Path(type, NamespaceOf(object), NameOf(object), subresource), {}, &object,
                "application/json", &type);
  }

  Result<Json> Patch(const ResourceType& type, const ObjectKey& key, PatchType patch_type,
                     const Json& patch, const PatchOptions& options) override {
    net::Query query;
    if (!options.field_manager.empty()) query.emplace_back("fieldManager", options.field_manager);
    if (options.force) query.emplace_back("force", "true");
    return Call("PATCH", Path(type, key.ns, key.name, options.subresource), query, &patch,
                ContentTypeOf(patch_type));
  }

  Result<Json> Delete(const ResourceType& type, const ObjectKey& key,
                      const DeleteOptions& options) override {
    Json body = JsonObject({{"apiVersion", "v1"}, {"kind", "DeleteOptions"}});
    if (options.grace_period_seconds)
      Set(body, "gracePeriodSeconds", *options.grace_period_seconds);
    if (!options.propagation_policy.empty()) {
      Set(body, "propagationPolicy", Json(options.propagation_policy));
    }
    if (!options.uid.empty()) Set(body, "preconditions.uid", Json(options.uid));
    if (!options.resource_version.empty()) {
      Set(body, "preconditions.resourceVersion", Json(options.resource_version));
    }
    return Call("DELETE", Path(type, key.ns, key.name), {}, &body, "application/json");
  }

  Result<Json> CreateSubresource(const ResourceType& type, const ObjectKey& key,
                                 const std::string& subresource, const Json& object) override {
    return Call("POST", Path(type, key.ns, key.name, subresource), {}, &object, "application/json");
  }

 private:
  static std::string Path(const ResourceType& type, const std::string& ns, const std::string& name,
                          const std::string& subresource = "") {
    std::string path =
        type.group.empty() ? "/api/" + type.version : "/apis/" + type.group + "/" + type.version;
    if (type.namespaced && !ns.empty()) path += "/namespaces/" + net::UrlEscape(ns);
    path += "/" + type.resource;
    if (!name.empty()) path += "/" + net::UrlEscape(name);
    if (!subresource.empty()) path += "/" + subresource;
    return path;
  }

  static Status HandOver(std::string_view line, const std::function<Status(WatchEvent)>& on_event) {
    Json event = TRY(ParseJson(line).In("watch event"));
    const std::string type = StringAt(event, "type");
    Json* object = FindMutable(event, "object");
    if (object == nullptr) return Error(Code::kInternal, "watch event without object");
    if (type == "ERROR") {
      return Error(
          CodeOfStatus(static_cast<int>(IntAt(*object, "code", 500)), StringAt(*object, "reason")),
          StringAt(*object, "message", "the watch failed"));
    }
    WatchEvent::Type kind = WatchEvent::Type::kModified;
    if (type == "ADDED") kind = WatchEvent::Type::kAdded;
    if (type == "DELETED") kind = WatchEvent::Type::kDeleted;
    if (type == "BOOKMARK") kind = WatchEvent::Type::kBookmark;
    return on_event({kind, std::move(*object)});
  }

  std::shared_ptr<net::HttpClient> Connect() {
    net::HttpClientOptions options;
    options.ca_pem = config_.ca_pem;
    options.client_cert_pem = cert_pem_;
    options.client_key_pem = key_pem_;
    options.insecure = config_.insecure;
    // Each informer's watch holds one.
    options.max_connections = 64;
    return net::MakeHttpClient(std::move(options));
  }

  // New connections when the client's certificate was replaced; calls under way keep theirs. Files
  // that cannot be read just now are being replaced.
  std::shared_ptr<net::HttpClient> Http() {
    const std::lock_guard lock(mutex_);
    const auto read = [](const std::string& path, std::string_view known) {
      auto text = path.empty() ? Result<std::string>(std::string(known)) : ReadFile(path, kMiB);
      return text.ok() ? std::move(*text) : std::string(known);
    };
    std::string cert = read(config_.client_cert_file, cert_pem_);
    Secret key(read(config_.client_key_file, key_pem_.Reveal()));
    if (cert != cert_pem_ || !key.Equals(key_pem_.Reveal())) {
      cert_pem_ = std::move(cert);
      key_pem_ = std::move(key);
      http_ = Connect();
    }
    return http_;
  }

  Result<net::HttpRequest> NewRequest(const std::string& method, const std::string& path,
                                      const net::Query& query) {
    net::HttpRequest request;
    request.method = method;
    request.url = config_.server + path;
    if (!query.empty()) request.url += "?" + net::FormatQuery(query);
    request.headers.Add("Accept", "application/json");
    request.headers.Add("User-Agent", user_agent_);
    if (!config_.token_file.empty()) {
      // Projected tokens are replaced in place before they expire; the file is small and read from
      // memory.
      std::string token = TRY(ReadFile(config_.token_file, 64 * kKiB));
      while (token.ends_with('\n')) token.pop_back();
      request.headers.Add("Authorization", "Bearer " + token);
    } else if (!config_.token.empty()) {
      request.headers.Add("Authorization", "Bearer " + std::string(config_.token.Reveal()));
    }
    return request;
  }

  Result<Json> Call(const std::string& method, const std::string& path, const net::Query& query,
                    const Json* body, const std::string& content_type,
                    const ResourceType* fill_type = nullptr) {
    net::HttpRequest request = TRY(NewRequest(method, path, query));
    std::string text;
    if (body != nullptr) {
      if (fill_type != nullptr && StringAt(*body, "kind").empty()) {
        Json filled = *body;
        Set(filled, "apiVersion", Json(fill_type->api_version()));
        Set(filled, "kind", Json(fill_type->kind));
        text = ToJson(filled);
      } else {
        text = ToJson(*body);
      }
      request.body = AsBytes(text);
      request.headers.Add("Content-Type", content_type);
    }
    const net::HttpResponse response = TRY(Http()->Do(request).In(method + " " + path));
    if (response.status / 100 != 2) return ErrorOfAnswer(response.status, response.body);
    return ParseJson(response.body).In("answer to " + method + " " + path);
  }

  ClientConfig config_;
  const std::string user_agent_;
  std::mutex mutex_;
  std::string cert_pem_ GUARDED_BY(mutex_);
  Secret key_pem_ GUARDED_BY(mutex_);
  std::shared_ptr<net::HttpClient> http_ GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<KubeClient> MakeHttpKubeClient(ClientConfig config, std::string user_agent) {
  return std::make_unique<HttpKubeClient>(std::move(config), std::move(user_agent));
}

}  // namespace thinsnap::kube
