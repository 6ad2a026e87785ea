#include "simulator/s3/s3_server.h"

#include "base/net/http_server.h"
#include "simulator/s3/s3_service.h"
#include "simulator/s3/s3_storage.h"

namespace thinsnap::s3 {
namespace {

class StoringS3Server final : public S3Server {
 public:
  StoringS3Server(Runtime& runtime, Random& random, S3Options options,
                  std::unique_ptr<S3Storage> storage)
      : options_(std::move(options)),
        storage_(std::move(storage)),
        service_(runtime, random, *storage_, options_) {}
  ~StoringS3Server() override { Stop(); }

  Status Start(Runtime& runtime) {
    net::HttpServerOptions http;
    http.address = options_.address;
    http.port = options_.port;
    http.tls_cert_pem = options_.tls_cert_pem;
    http.tls_key_pem = options_.tls_key_pem;
    http.max_body_bytes = 6 * kGiB;
    http.stream_bodies = true;
    http.workers = 24;
    http_ = TRY(net::StartHttpServer(
        runtime, std::move(http),
        [this](const net::ServerRequest& request) { return service_.Handle(request); }));
    return {};
  }

  int port() const override { return http_->port(); }
  void Stop() override {
    if (http_ != nullptr) http_->Stop();
  }
  std::string access_key_id() const override { return options_.access_key_id; }
  const Secret& secret_access_key() const override { return options_.secret_access_key; }
  void SetChaos(S3Chaos chaos) override { service_.SetChaos(chaos); }

 private:
  const S3Options options_;
  const std::unique_ptr<S3Storage> storage_;
  S3Service service_;
  std::unique_ptr<net::HttpServer> http_;
};

}  // namespace

Result<std::unique_ptr<S3Server>> StartS3Server(Runtime& runtime, Random& random,
                                                S3Options options) {
  if (options.access_key_id.empty() != options.secret_access_key.empty()) {
    return Error(Code::kInvalidArgument,
                 "S3 server: access key and secret key are given both or neither");
  }
  if (options.access_key_id.empty()) {
    options.access_key_id = "thinsnap-" + random.NameSuffix(12);
    Bytes chance(30);
    random.Fill(chance);
    options.secret_access_key = Secret(Base64UrlEncode(chance));
  }
  auto storage = TRY(S3Storage::Open(random, runtime.clock(), options.data_folder));
  for (const std::string& bucket : options.buckets) {
    if (!IsBucketName(bucket)) {
      return Error(Code::kInvalidArgument,
                   "bucket \"" + bucket +
                       "\": 3 to 63 lower case letters, digits, dots and hyphens are accepted");
    }
    if (auto made = storage->CreateBucket(bucket);
        !made.ok() && made.error().code != "BucketAlreadyOwnedByYou") {
      return Error(Code::kInvalidArgument, "bucket \"" + bucket + "\": " + made.error().message);
    }
  }
  auto server =
      std::make_unique<StoringS3Server>(runtime, random, std::move(options), std::move(storage));
  TRY(server->Start(runtime).In("S3 server"));
  return std::unique_ptr<S3Server>(std::move(server));
}

}  // namespace thinsnap::s3
