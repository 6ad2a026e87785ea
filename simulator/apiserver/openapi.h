// OpenApi: the documents by which kubectl explains and checks: one v2 document of everything, and a
// v3 document for each group version, made from the schemas of their kinds.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/core/guarded.h"
#include "base/data/json.h"
#include "base/net/http_server.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::apiserver {

// Thread-safe.
class OpenApi {
 public:
  explicit OpenApi(const schema::KindTable& kinds) : kinds_(kinds) {}

  // Answers /openapi/v2 and what lies under /openapi/v3; nullopt for other paths.
  std::optional<net::ServerResponse> Answer(const net::ServerRequest& request);

 private:
  struct Document {
    std::shared_ptr<const std::string> body;
    std::string hash;
  };
  // Built at the first request, again when the kinds have changed.
  std::optional<Document> Of(const std::string& group, const std::string& version) REQUIRES(mutex_);
  Document Everything(bool protobuf) REQUIRES(mutex_);
  Json Index() REQUIRES(mutex_);

  const schema::KindTable& kinds_;
  std::mutex mutex_;
  std::uint64_t generation_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, Document> documents_
      GUARDED_BY(mutex_);  // by "api/v1", "apis/apps/v1"; "v2", "v2 json"
};

}  // namespace thinsnap::apiserver
