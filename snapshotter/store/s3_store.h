// S3ObjectStore: S3's REST protocol, one request for each call. Every request is signed (SigV4);
// conditional writes are If-None-Match and If-Match. Repeats nothing.
#pragma once

#include <memory>
#include <string>

#include "base/net/http_client.h"
#include "snapshotter/store/location.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::store {

struct S3Bucket {
  std::string endpoint;  // https://host[:port], no path
  std::string bucket;
  std::string prefix;         // "" or "a/b/": in front of every key
  bool virtual_host = false;  // https://bucket.host instead of https://host/bucket
  std::string region;
};

class S3ObjectStore final : public ObjectStore {
 public:
  S3ObjectStore(Clock& clock, std::unique_ptr<net::HttpClient> http, S3Bucket bucket,
                Credentials credentials);

  Result<PutResult> Put(const std::string& key, ByteSpan body,
                        const PutCondition& condition = {}) override;
  Result<Object> Get(const std::string& key,
                     std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(const std::string& key) override;
  Result<Page> List(const std::string& prefix, const std::string& after = "") override;
  Status Delete(const std::string& key) override;
  std::string Describe() const override { return "s3://" + bucket_.bucket + "/" + bucket_.prefix; }

 private:
  struct Call {
    std::string method;
    std::string key;  // empty: the bucket
    net::Query query;
    net::Headers headers;
    ByteSpan body;
  };

  // Where a request goes.
  struct Place {
    std::string base_url;  // up to the host
    std::string host;      // as in the Host header
    std::string path;      // decoded
    net::Query query;
  };

  Result<net::HttpResponse> Send(const Call& call);
  Result<net::HttpResponse> SendTo(const Place& place, const Call& call);
  // kFailedPrecondition for a place that is less secure.
  static Result<Place> Redirected(const Place& from, std::string_view location);
  // One request; `last` becomes the last full key of the answer.
  Result<Page> ListOnce(const std::string& prefix, const std::string& start, std::string& last);
  Status CheckFullKey(const std::string& key) const;
  Error Explain(const Call& call, const net::HttpResponse& response) const;

  Clock& clock_;
  const std::unique_ptr<net::HttpClient> http_;
  const S3Bucket bucket_;
  const Credentials credentials_;
  std::string base_url_;
  std::string host_;
};

}  // namespace thinsnap::store
