#include "simulator/apiserver/discovery.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/core/bytes.h"
#include "base/net/media_type.h"
#include "simulator/apiserver/negotiate.h"

namespace thinsnap::apiserver {

using schema::Kind;
using schema::KindVersion;

namespace {

JsonArray ToArray(const std::vector<std::string>& items) {
  return JsonArray(items.begin(), items.end());
}

net::ServerResponse JsonResponse(const Json& document,
                                 const std::string& content_type = "application/json") {
  net::ServerResponse response;
  response.headers.Add("Content-Type", content_type);
  response.headers.Add("Vary", "Accept");
  response.body = std::make_shared<const std::string>(ToJson(document));
  return response;
}

struct ServedKind {
  schema::KindRef kind;
  const KindVersion* version;
};

std::vector<ServedKind> KindsOf(const schema::KindTable& kinds, std::string_view group,
                                std::string_view version) {
  std::vector<ServedKind> out;
  for (const auto& kind : kinds.All()) {
    if (kind->group != group) continue;
    if (const KindVersion* served = kind->FindVersion(version)) out.push_back({kind, served});
  }
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a.kind->resource < b.kind->resource; });
  return out;
}

std::string GroupVersion(const std::string& group, const std::string& version) {
  return group.empty() ? version : group + "/" + version;
}

// The version of the aggregated document that the client takes first, or "" for the old form.
std::string AggregatedVersionOf(const net::ServerRequest& request) {
  for (const net::MediaType& media : net::ParseAccept(request.headers.Get("Accept"))) {
    if (media.type != "application/json" && media.type != "*/*") continue;
    if (media.Parameter("as").empty()) return "";
    if (media.Parameter("as") != "APIGroupDiscoveryList" ||
        media.Parameter("g") != "apidiscovery.k8s.io")
      continue;
    const std::string version(media.Parameter("v"));
    if (version == "v2" || version == "v2beta1") return version;
  }
  return "";
}

}  // namespace

std::string StorageVersionHash(const Kind& kind) {
  const std::uint64_t hash =
      std::hash<std::string>()(kind.group + "/" + kind.storage_version + "/" + kind.kind);
  Bytes bytes;
  AppendLe(bytes, hash);
  return Base64Encode(bytes);
}

Json Discovery::ResourceList(const std::string& group, const std::string& version) const {
  JsonArray resources;
  for (const auto& [kind, served] : KindsOf(kinds_, group, version)) {
    if (!kind->verbs.empty()) {
      JsonObject resource = {{"name", kind->resource},
                             {"singularName", kind->singular},
                             {"namespaced", kind->namespaced},
                             {"kind", kind->kind},
                             {"verbs", ToArray(kind->verbs)}};
      if (!kind->short_names.empty()) resource["shortNames"] = ToArray(kind->short_names);
      if (!kind->categories.empty()) resource["categories"] = ToArray(kind->categories);
      if (kind->stored) resource["storageVersionHash"] = StorageVersionHash(*kind);
      resources.push_back(std::move(resource));
    }
    for (const auto& sub : served->subresources) {
      JsonObject resource = {{"name", kind->resource + "/" + sub.name},
                             {"singularName", ""},
                             {"namespaced", kind->namespaced},
                             {"kind", sub.kind},
                             {"verbs", ToArray(sub.verbs)}};
      if (!sub.version.empty()) {
        if (!sub.group.empty()) resource["group"] = sub.group;
        resource["version"] = sub.version;
      }
      resources.push_back(std::move(resource));
    }
  }
  JsonObject list = {{"kind", "APIResourceList"}};
  if (!group.empty()) list["apiVersion"] = "v1";
  list["groupVersion"] = GroupVersion(group, version);
  list["resources"] = std::move(resources);
  return list;
}

Json Discovery::GroupDocument(const schema::Group& group) const {
  JsonArray versions;
  for (const std::string& version : group.versions) {
    versions.push_back({{"groupVersion", GroupVersion(group.name, version)}, {"version", version}});
  }
  Json preferred = versions.front();
  return {{"name", group.name},
          {"versions", std::move(versions)},
          {"preferredVersion", std::move(preferred)}};
}

Json Discovery::AggregatedVersion(const std::string& group, const std::string& version) const {
  JsonArray resources;
  for (const auto& [kind, served] : KindsOf(kinds_, group, version)) {
    const std::string scope = kind->namespaced ? "Namespaced" : "Cluster";
    JsonObject resource = {
        {"resource", kind->resource},
        {"responseKind", {{"group", group}, {"version", version}, {"kind", kind->kind}}},
        {"scope", scope},
        {"singularResource", kind->singular},
        {"verbs", ToArray(kind->verbs)}};
    if (!kind->short_names.empty()) resource["shortNames"] = ToArray(kind->short_names);
    if (!kind->categories.empty()) resource["categories"] = ToArray(kind->categories);
    JsonArray subresources;
    for (const auto& sub : served->subresources) {
      subresources.push_back({{"subresource", sub.name},
                              {"responseKind",
                               {{"group", sub.version.empty() ? group : sub.group},
                                {"version", sub.version.empty() ? version : sub.version},
                                {"kind", sub.kind}}},
                              {"verbs", ToArray(sub.verbs)}});
    }
    if (!subresources.empty()) resource["subresources"] = std::move(subresources);
    resources.push_back(std::move(resource));
  }
  return {{"version", version}, {"resources", std::move(resources)}, {"freshness", "Current"}};
}

Json Discovery::Aggregated(bool core, std::string_view version) const {
  JsonArray items;
  for (const auto& group : kinds_.Groups()) {
    if (group.name.empty() != core) continue;
    JsonArray versions;
    for (const std::string& served : group.versions)
      versions.push_back(AggregatedVersion(group.name, served));
    JsonObject metadata;
    if (!core) metadata["name"] = group.name;
    items.push_back({{"metadata", std::move(metadata)}, {"versions", std::move(versions)}});
  }
  return {{"kind", "APIGroupDiscoveryList"},
          {"apiVersion", "apidiscovery.k8s.io/" + std::string(version)},
          {"metadata", JsonObject()},
          {"items", std::move(items)}};
}

std::optional<net::ServerResponse> Discovery::Answer(const net::ServerRequest& request,
                                                     const std::string& server_address) const {
  std::string path = request.path;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (path == "/api" || path == "/apis") {
    const bool core = path == "/api";
    const std::string aggregated = AggregatedVersionOf(request);
    if (!aggregated.empty()) {
      return JsonResponse(
          Aggregated(core, aggregated),
          "application/json;g=apidiscovery.k8s.io;v=" + aggregated + ";as=APIGroupDiscoveryList");
    }
    if (core) {
      JsonArray addresses;
      addresses.push_back({{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", server_address}});
      return JsonResponse({{"kind", "APIVersions"},
                           {"versions", {"v1"}},
                           {"serverAddressByClientCIDRs", std::move(addresses)}});
    }
    JsonArray groups;
    for (const auto& group : kinds_.Groups()) {
      if (!group.name.empty()) groups.push_back(GroupDocument(group));
    }
    return JsonResponse(
        {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(groups)}});
  }
  if (path == "/api/v1") return JsonResponse(ResourceList("", "v1"));
  if (!path.starts_with("/apis/")) return std::nullopt;
  const std::string rest = path.substr(6);
  const auto slash = rest.find('/');
  const std::string name = rest.substr(0, slash);
  for (const auto& group : kinds_.Groups()) {
    if (group.name != name || name.empty()) continue;
    if (slash == std::string::npos) {
      Json document = GroupDocument(group);
      JsonObject full = {{"kind", "APIGroup"}, {"apiVersion", "v1"}};
      for (auto& member : document.as_object()) full[member.key()] = std::move(member.value());
      return JsonResponse(full);
    }
    const std::string version = rest.substr(slash + 1);
    if (std::find(group.versions.begin(), group.versions.end(), version) != group.versions.end()) {
      return JsonResponse(ResourceList(name, version));
    }
  }
  return std::nullopt;
}

}  // namespace thinsnap::apiserver
