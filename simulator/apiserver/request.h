// What a request asks for: verb, kind, namespace, name, subresource, from its method, path and
// query.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/net/http.h"

namespace thinsnap::apiserver {

struct RequestInfo {
  // get list watch create update patch delete deletecollection; of other paths the method in lower
  // case.
  std::string verb;
  std::string path;
  bool is_resource = false;  // else only verb and path mean something
  std::string group, version, resource, subresource, ns, name;
};

// The path is decoded. What is no resource path stays is_resource == false.
RequestInfo ParseRequest(std::string_view method, std::string_view path, const net::Query& query);

// As Kubernetes reads booleans in queries: "false" in any case and "0" are false, anything else
// given is true.
bool QueryFlag(const net::Query& query, std::string_view name);
std::string_view QueryValue(const net::Query& query, std::string_view name,
                            std::string_view fallback = "");
bool QueryHas(const net::Query& query, std::string_view name);

// The default field manager: the user agent up to the first '/'.
std::string ManagerOf(std::string_view user_agent);

}  // namespace thinsnap::apiserver
