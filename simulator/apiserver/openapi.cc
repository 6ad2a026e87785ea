#include "simulator/apiserver/openapi.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/core/bytes.h"
#include "simulator/schema/openapi_schemas.h"
#include "simulator/schema/swagger.h"

namespace thinsnap::apiserver {

using schema::Kind;
using schema::KindVersion;

namespace {

constexpr std::string_view kV2Type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
constexpr std::string_view kV2Proto = "com.github.proto-openapi.spec.v2";

std::string HashOf(std::string_view text) {
  // FNV-1a: the same on every machine and in every run, so that clients may cache across restarts.
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  Bytes bytes;
  AppendLe(bytes, hash);
  return HexEncode(bytes);
}

std::string GroupVersionPath(const std::string& group, const std::string& version) {
  return group.empty() ? "api/" + version : "apis/" + group + "/" + version;
}

Json Info() { return {{"title", "Kubernetes"}, {"version", "v1.33.0"}}; }

// Paths with the operations of their kinds, in the form of either version.
class PathWriter {
 public:
  explicit PathWriter(schema::OpenApiVersion version) : version_(version), schemas_(version) {}

  void Add(const Kind& kind, const KindVersion& version) {
    if (!version.schema) return;
    const std::string name = schemas_.AddKind(kind, version);
    const Json of = {{"group", kind.group}, {"kind", kind.kind}, {"version", version.version}};
    JsonObject on_collection, on_object;
    const auto add = [&](const char* verb, JsonObject& to, const char* method, const char* action) {
      if (std::find(kind.verbs.begin(), kind.verbs.end(), verb) != kind.verbs.end())
        to[method] = Operation(action, of, name, kind.custom);
    };
    add("list", on_collection, "get", "list");
    add("create", on_collection, "post", "post");
    add("get", on_object, "get", "get");
    add("update", on_object, "put", "put");
    add("patch", on_object, "patch", "patch");
    add("delete", on_object, "delete", "delete");
    std::string path = "/" + GroupVersionPath(kind.group, version.version);
    path += (kind.namespaced ? "/namespaces/{namespace}/" : "/") + kind.resource;
    JsonArray parameters;
    if (kind.namespaced) parameters.push_back(PathParameter("namespace"));
    Put(path, std::move(on_collection), parameters);
    parameters.push_back(PathParameter("name"));
    Put(path + "/{name}", std::move(on_object), parameters);
  }

  bool empty() const { return paths_.empty(); }

  Json TakeDocument() {
    if (version_ == schema::OpenApiVersion::kV2) {
      return {{"swagger", "2.0"},
              {"info", Info()},
              {"paths", std::move(paths_)},
              {"definitions", schemas_.Take()}};
    }
    return {{"openapi", "3.0.0"},
            {"info", Info()},
            {"paths", std::move(paths_)},
            {"components", {{"schemas", schemas_.Take()}}}};
  }

 private:
  bool v2() const { return version_ == schema::OpenApiVersion::kV2; }

  void Put(const std::string& path, JsonObject operations, const JsonArray& parameters) {
    if (operations.empty()) return;
    if (!parameters.empty()) operations["parameters"] = parameters;
    paths_[path] = std::move(operations);
  }

  Json QueryParameter(const char* name) const {
    if (v2()) return {{"name", name}, {"in", "query"}, {"type", "string"}, {"uniqueItems", true}};
    return {
        {"name", name}, {"in", "query"}, {"schema", {{"type", "string"}, {"uniqueItems", true}}}};
  }

  Json PathParameter(const char* name) const {
    if (v2()) return {{"name", name}, {"in", "path"}, {"required", true}, {"type", "string"}};
    return {{"name", name},
            {"in", "path"},
            {"required", true},
            {"schema", {{"type", "string"}, {"uniqueItems", true}}}};
  }

  Json Operation(std::string_view action, const Json& of, const std::string& schema, bool custom) {
    const bool reads = action == "list" || action == "get";
    JsonArray parameters = {QueryParameter("pretty")};
    if (!reads) {
      parameters.push_back(QueryParameter("dryRun"));
      parameters.push_back(QueryParameter("fieldManager"));
      parameters.push_back(QueryParameter("fieldValidation"));
    }
    JsonObject ok = {{"description", "OK"}};
    const Json reference = schemas_.Reference(schema);
    if (v2()) {
      ok["schema"] = reference;
    } else {
      ok["content"] = {{"application/json", {{"schema", reference}}}};
    }
    JsonObject operation = {{"parameters", std::move(parameters)},
                            {"responses", {{"200", std::move(ok)}}},
                            {"x-kubernetes-action", action},
                            {"x-kubernetes-group-version-kind", of}};
    if (v2()) {
      operation["produces"] = {"application/json", "application/yaml"};
      operation["consumes"] = JsonArray{"*/*"};
      if (action == "patch") {
        operation["consumes"] = {"application/json-patch+json", "application/merge-patch+json",
                                 "application/apply-patch+yaml"};
        // By this kubectl knows that it may send strategic merge patches.
        if (!custom)
          operation["consumes"].as_array().push_back("application/strategic-merge-patch+json");
      }
    }
    return operation;
  }

  const schema::OpenApiVersion version_;
  schema::SchemaWriter schemas_;
  JsonObject paths_;
};

}  // namespace

std::optional<OpenApi::Document> OpenApi::Of(const std::string& group, const std::string& version) {
  const std::string key = GroupVersionPath(group, version);
  if (const auto found = documents_.find(key); found != documents_.end()) return found->second;
  PathWriter writer(schema::OpenApiVersion::kV3);
  for (const auto& kind : kinds_.All()) {
    const KindVersion* served = kind->group == group ? kind->FindVersion(version) : nullptr;
    if (served) writer.Add(*kind, *served);
  }
  if (writer.empty()) return std::nullopt;
  Document made{std::make_shared<const std::string>(ToJson(writer.TakeDocument())), ""};
  made.hash = HashOf(*made.body);
  documents_[key] = made;
  return made;
}

OpenApi::Document OpenApi::Everything(bool protobuf) {
  const std::string key = protobuf ? "v2" : "v2 json";
  if (const auto found = documents_.find(key); found != documents_.end()) return found->second;
  PathWriter writer(schema::OpenApiVersion::kV2);
  for (const auto& kind : kinds_.All()) {
    for (const KindVersion& version : kind->versions) writer.Add(*kind, version);
  }
  const Json document = writer.TakeDocument();
  Document made{std::make_shared<const std::string>(protobuf ? schema::EncodeSwagger(document)
                                                             : ToJson(document)),
                ""};
  made.hash = HashOf(*made.body);
  documents_[key] = made;
  return made;
}

Json OpenApi::Index() {
  JsonObject paths;
  for (const auto& group : kinds_.Groups()) {
    for (const std::string& version : group.versions) {
      const std::string key = GroupVersionPath(group.name, version);
      bool custom = false;
      for (const auto& kind : kinds_.All())
        custom = custom || (kind->group == group.name && kind->custom);
      // Built-in groups change with the program only; documents of custom ones are small.
      std::string hash = HashOf(key + THINSNAP_VERSION);
      if (custom) {
        if (const auto document = Of(group.name, version)) hash = document->hash;
      }
      paths[key] = {{"serverRelativeURL", "/openapi/v3/" + key + "?hash=" + hash}};
    }
  }
  return {{"paths", std::move(paths)}};
}

std::optional<net::ServerResponse> OpenApi::Answer(const net::ServerRequest& request) {
  constexpr std::string_view kV2 = "/openapi/v2", kV3 = "/openapi/v3";
  if (request.path != kV2 && !request.path.starts_with(kV3)) return std::nullopt;

  std::lock_guard lock(mutex_);
  if (const auto generation = kinds_.generation(); generation != generation_) {
    generation_ = generation;
    documents_.clear();
  }
  std::optional<Document> document;
  std::string type = "application/json";
  if (request.path == kV2) {
    // Its name was written with an '@' once.
    const auto accept = request.headers.Get("Accept");
    const bool protobuf = accept.find(kV2Proto) != std::string_view::npos;
    if (protobuf) type = kV2Type;
    document = Everything(protobuf);
  } else {
    std::string rest = request.path.substr(kV3.size());
    while (rest.ends_with('/')) rest.pop_back();
    if (rest.empty()) return net::ServerResponse::Text(200, ToJson(Index()), type);
    if (rest.starts_with("/api/")) {
      document = Of("", rest.substr(5));
    } else if (const auto slash = rest.find('/', 6);
               rest.starts_with("/apis/") && slash != std::string::npos) {
      document = Of(rest.substr(6, slash - 6), rest.substr(slash + 1));
    }
  }
  if (!document) return std::nullopt;
  auto response = net::ServerResponse::Text(200, "", type);
  response.body = document->body;
  response.headers.Add("ETag", "\"" + document->hash + "\"");
  if (request.headers.Get("If-None-Match") == "\"" + document->hash + "\"") {
    response.status = 304;
    response.body = nullptr;
  }
  return response;
}

}  // namespace thinsnap::apiserver
