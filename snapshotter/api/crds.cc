#include "snapshotter/api/crds.h"

#include <string_view>

#include "base/data/yaml.h"
#include "snapshotter/api/embedded.h"

namespace thinsnap::backup {

namespace {

// The groups are the only place where the manifests name the domain, always with a dot before it.
std::string WithDomain(std::string_view text, const std::string& domain) {
  const std::string from = std::string(".") + kDefaultApiDomain;
  std::string result;
  for (;;) {
    const auto at = text.find(from);
    result += text.substr(0, at);
    if (at == std::string_view::npos) return result;
    result += "." + domain;
    text.remove_prefix(at + from.size());
  }
}

std::vector<Json> Parse(std::string_view text, const std::string& domain) {
  auto documents = ParseYamlStream(WithDomain(text, domain));
  ASSERT(documents.ok());  // a test reads every file of deploy/
  return std::move(documents).value();
}

}  // namespace

std::vector<Json> OperatorCrds(const std::string& domain) { return Parse(kCrdManifests, domain); }

std::vector<Json> CatalogObjects(const std::string& domain) {
  return Parse(kCatalogManifests, domain);
}

}  // namespace thinsnap::backup
