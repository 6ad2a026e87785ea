// S3Service: the operations of S3 by request, over the storage.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/guarded.h"
#include "base/net/http_server.h"
#include "simulator/s3/s3_auth.h"
#include "simulator/s3/s3_server.h"
#include "simulator/s3/s3_storage.h"

namespace thinsnap::s3 {

// A request after its door: who sent it is known, its bucket and key are apart.
struct S3Call {
  const net::ServerRequest& request;
  Authenticated auth;
  std::string bucket;
  std::string key;

  bool Has(std::string_view parameter) const;
  std::string Header(std::string_view name) const { return std::string(request.headers.Get(name)); }
};

// A body on its way to the disk, with what was computed on the way.
struct ReceivedBody {
  std::unique_ptr<DraftFile> draft;
  std::string md5_hex;
  net::Headers checksums;  // x-amz-checksum-*, verified
};

bool IsBucketName(std::string_view name);

class S3Service {
 public:
  S3Service(Runtime& runtime, Random& random, S3Storage& storage, const S3Options& options)
      : runtime_(runtime), random_(random), storage_(storage), options_(options) {
    SetChaos(options.chaos);
  }

  net::ServerResponse Handle(const net::ServerRequest& request);
  void SetChaos(S3Chaos chaos);

 private:
  using Answer = S3Result<net::ServerResponse>;

  Answer Route(const net::ServerRequest& request);
  Answer RouteBucket(const S3Call& call);
  Answer RouteObject(const S3Call& call);

  Answer ListBuckets();
  Answer CreateBucket(const S3Call& call);
  Answer ListVersions(const S3Call& call);
  Answer DeleteObjects(const S3Call& call);
  Answer ListObjects(const S3Call& call, bool version2);

  Answer PutObject(const S3Call& call);
  Answer GetObject(const S3Call& call);
  Answer CopyObject(const S3Call& call);

  Answer ListUploads(const S3Call& call);
  Answer CreateUpload(const S3Call& call);
  Answer UploadPart(const S3Call& call);
  Answer ListParts(const S3Call& call);
  Answer CompleteUpload(const S3Call& call);

  S3Result<ReceivedBody> Receive(const S3Call& call);
  // A small body, kept; verified like a large one.
  S3Result<std::string> ReceiveText(const S3Call& call);
  S3Status ReadBody(const S3Call& call, const std::function<S3Status(ByteSpan)>& sink,
                    std::string& md5_hex, net::Headers& checksums);
  // From x-amz-copy-source.
  S3Result<StoredObject> OpenCopySource(const S3Call& call);

  struct Fate {
    bool fail = false, drop = false, lose_answer = false;
    Duration latency = Duration::zero();
  };
  Fate NextFate();

  Runtime& runtime_;
  Random& random_;
  S3Storage& storage_;
  const S3Options& options_;
  std::mutex chaos_mutex_;
  S3Chaos chaos_ GUARDED_BY(chaos_mutex_);
  std::unique_ptr<SeededRandom> chaos_random_ GUARDED_BY(chaos_mutex_);
};

// Shared by the operations.
net::ServerResponse XmlResponse(const std::string& root, const std::string& content);
std::string XmlTag(const std::string& name, const std::string& text);
// "2026-11-21T02:57:00.000Z"
std::string FormatS3Time(WallTime time);
// An entity tag without its quotes.
std::string Unquote(std::string text);
net::Headers KeptHeaders(const net::ServerRequest& request);
S3Result<std::uint64_t> ParseNumber(const std::string& text, const std::string& what,
                                    std::uint64_t max);

// The checksums in the headers, by their names.
S3Result<std::map<std::string, std::string>> GivenChecksums(const S3Call& call);

struct ByteSlice {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
// Of a Range header, cut to the size. What is no range at all is ignored, as HTTP wants it.
S3Result<std::optional<ByteSlice>> ReadRange(const std::string& header, std::uint64_t size);

inline constexpr const char* kS3Namespace = "http://s3.amazonaws.com/doc/2006-03-01/";

}  // namespace thinsnap::s3
