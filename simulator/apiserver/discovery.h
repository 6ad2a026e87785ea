// Discovery documents: which groups, versions and resources there are, in the old form and in the
// aggregated one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/data/json.h"
#include "base/net/http_server.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::apiserver {

class Discovery {
 public:
  explicit Discovery(const schema::KindTable& kinds) : kinds_(kinds) {}

  // Answers /api, /apis and what lies below them up to a version; nullopt for other paths and
  // unknown groups.
  std::optional<net::ServerResponse> Answer(const net::ServerRequest& request,
                                            const std::string& server_address) const;

 private:
  Json ResourceList(const std::string& group, const std::string& version) const;
  Json GroupDocument(const schema::Group& group) const;
  // version: of apidiscovery.k8s.io. core: the core group only, else all others.
  Json Aggregated(bool core, std::string_view version) const;
  Json AggregatedVersion(const std::string& group, const std::string& version) const;

  const schema::KindTable& kinds_;
};

// The hash that says "stored the same way".
std::string StorageVersionHash(const schema::Kind& kind);

}  // namespace thinsnap::apiserver
