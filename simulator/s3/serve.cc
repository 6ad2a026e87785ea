#include "simulator/s3/serve.h"

#include <cstdio>

namespace thinsnap::s3 {

Result<int> ServeS3(Runtime& runtime, Random& random, TaskGroup& group, S3Options options) {
  const bool made_up = options.access_key_id.empty();
  const std::string scheme = options.tls_cert_pem.empty() ? "http" : "https";
  const std::string address = options.address;
  const auto server = TRY(StartS3Server(runtime, random, std::move(options)));
  std::printf("S3 endpoint: %s://%s:%d\n", scheme.c_str(), address.c_str(), server->port());
  if (made_up) {
    std::printf("AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n", server->access_key_id().c_str(),
                std::string(server->secret_access_key().Reveal()).c_str());
  }
  std::fflush(stdout);
  const auto stopped = runtime.NewEventCount();
  const auto token = group.OnStop([&] { stopped->Notify(); });
  while (!group.stopped()) {
    const auto seen = stopped->Seen();
    if (group.stopped()) break;
    if (!stopped->Wait(seen).ok()) break;
  }
  server->Stop();
  return 0;
}

}  // namespace thinsnap::s3
