#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <utility>

#include "base/core/file.h"
#include "base/core/log.h"
#include "base/net/http_server.h"
#include "simulator/apiserver/api_server.h"
#include "simulator/apiserver/credentials.h"
#include "simulator/apiserver/front.h"
#include "simulator/apiserver/in_process_client.h"
#include "simulator/registry/watch.h"

namespace thinsnap::apiserver {
namespace {

constexpr auto kClientValidity = std::chrono::hours(24 * 365 * 5);
constexpr auto kHousekeeping = std::chrono::seconds(30);
// All of a kind may be sent at the beginning of a watch.
constexpr std::uint64_t kMaxPending = 64 * kMiB;
constexpr auto kEventLife = std::chrono::hours(1);

// Empty for a server that keeps everything in memory.
std::string CredentialsFolder(const Options& options) {
  return options.data_folder.empty() ? "" : options.data_folder + "/pki";
}

class Server final : public ApiServer {
 public:
  Server(Runtime& runtime, Random& random, Options options, Credentials credentials,
         std::unique_ptr<objects::VersionedStore> store, std::unique_ptr<TokenSigner> signer,
         streams::ContainerAccess* access)
      : runtime_(runtime),
        options_(std::move(options)),
        credentials_(std::move(credentials)),
        store_(std::move(store)),
        registry_(*store_, kinds_, runtime.clock(), random, {options_.service_accounts}),
        watches_(runtime, registry_, options_.bookmark_interval),
        authenticator_(*store_, std::move(signer), runtime.clock(), random),
        authorizer_(*store_),
        pod_streams_(runtime, registry_, access),
        reviews_(registry_, authorizer_, authenticator_),
        front_(registry_, watches_, authenticator_, authorizer_, pod_streams_),
        tasks_(runtime) {}

  ~Server() override { Stop(); }

  Status Open() {
    TRY(registry_.Bootstrap(credentials_.authority.cert_pem));
    if (!options_.without_http) TRY(StartFront());
    tasks_.Spawn("apiserver housekeeping", [this] { KeepHouse(); });
    return {};
  }

  void Stop() override {
    if (stopped_.exchange(true)) return;
    tasks_.Stop();
    watches_.Stop();
    if (http_) http_->Stop();
    tasks_.Join();
    store_->Checkpoint().IgnoreError();  // a missed checkpoint costs only the next start's time
  }

  void SetAccess(streams::ContainerAccess* access) override { pod_streams_.SetAccess(access); }
  int port() const override { return port_; }
  std::string url() const override {
    const bool any = options_.address == "0.0.0.0" || options_.address == "::";
    return "https://" + (any ? "127.0.0.1" : options_.address) + ":" + std::to_string(port_);
  }
  std::string ca_pem() const override { return credentials_.authority.cert_pem; }
  Result<std::string> Kubeconfig() const override {
    const net::KeyPair admin =
        TRY(LoadAdmin(CredentialsFolder(options_), credentials_.authority, runtime_.clock()));
    return FormatKubeconfig(url(), credentials_.authority.cert_pem, "admin", admin);
  }

  Result<std::string> KubeconfigFor(const registry::UserInfo& user) const override {
    const net::KeyPair client = TRY(Issue(user));
    return FormatKubeconfig(url(), credentials_.authority.cert_pem, user.name, client);
  }

  Result<ServiceAccountToken> IssueToken(const std::string& ns, const std::string& service_account,
                                         Duration validity, const std::string& pod,
                                         const std::string& pod_uid,
                                         const std::vector<std::string>& audiences) override {
    return authenticator_.Issue(ns, service_account, validity, pod, pod_uid, audiences);
  }

  std::unique_ptr<kube::KubeClient> MakeClient(registry::UserInfo user) override {
    return MakeRegistryClient(runtime_, registry_, watches_, authorizer_, reviews_,
                              std::move(user));
  }

 private:
  Result<net::KeyPair> Issue(const registry::UserInfo& user) const {
    net::CertificateRequest request;
    request.common_name = user.name;
    request.organizations = user.groups;
    request.validity = kClientValidity;
    return net::IssueCertificate(credentials_.authority, request, runtime_.clock());
  }

  Status StartFront() {
    const std::string port_file =
        options_.data_folder.empty() ? "" : options_.data_folder + "/port";
    int wanted = options_.port;
    if (wanted == 0 && !port_file.empty()) {
      if (auto before = ReadFile(port_file); before.ok()) wanted = std::atoi(before->c_str());
    }
    auto started = StartOn(wanted);
    if (!started.ok() && options_.port == 0 && wanted != 0) started = StartOn(0);
    http_ = TRY(std::move(started));
    port_ = http_->port();
    front_.SetAddress(options_.address + ":" + std::to_string(port_));
    if (!port_file.empty()) TRY(WriteFileAtomic(port_file, std::to_string(port_)));
    return {};
  }

  Result<std::unique_ptr<net::HttpServer>> StartOn(int port) {
    net::HttpServerOptions options;
    options.address = options_.address;
    options.port = port;
    options.tls_cert_pem = credentials_.server.cert_pem;
    options.tls_key_pem = credentials_.server.key_pem;
    options.client_ca_pem = credentials_.authority.cert_pem;
    options.io_threads = options_.io_threads;
    options.workers = options_.workers;
    options.max_pending_bytes = kMaxPending;
    // Larger ones than the API takes are read as well, so that the refusal is a Status.
    options.max_body_bytes = 8 * kMaxBodyBytes;
    return net::StartHttpServer(
        runtime_, std::move(options),
        [this](const net::ServerRequest& request) { return front_.Handle(request); });
  }

  // Events live an hour; the store's log is moved into its file now and then.
  void KeepHouse() {
    while (runtime_.SleepFor(kHousekeeping).ok()) {
      const WallTime oldest = runtime_.clock().Now() - kEventLife;
      auto events = store_->List("events");
      if (events.ok()) {
        for (const auto& event : events->items) {
          std::string last = StringAt(event->value(), "lastTimestamp");
          if (last.empty()) last = StringAt(event->value(), "metadata.creationTimestamp");
          const auto when = ParseRfc3339(last);
          if (!when.ok() || *when >= oldest) continue;
          auto removed = store_->Delete(event->key(), event->revision());
          if (!removed.ok() && !removed.Is(Code::kAborted) && !removed.Is(Code::kNotFound)) {
            LogWarning("apiserver", "cannot remove an old event: " + removed.error().message());
          }
        }
      }
      if (auto done = store_->Checkpoint(); !done.ok())
        LogWarning("apiserver", done.error().message());
    }
  }

  Runtime& runtime_;
  const Options options_;
  const Credentials credentials_;
  std::unique_ptr<objects::VersionedStore> store_;
  schema::KindTable kinds_;
  registry::Registry registry_;
  registry::WatchHub watches_;
  Authenticator authenticator_;
  Authorizer authorizer_;
  PodStreams pod_streams_;
  Reviews reviews_;
  Front front_;
  int port_ = 0;
  std::atomic<bool> stopped_{false};
  std::unique_ptr<net::HttpServer> http_;
  TaskGroup tasks_;
};

}  // namespace

Result<std::unique_ptr<ApiServer>> ApiServer::Start(Runtime& runtime, Random& random,
                                                    Options options,
                                                    streams::ContainerAccess* access) {
  objects::StoreOptions store_options;
  store_options.log_events_per_resource = options.watch_history;
  if (!options.data_folder.empty()) {
    TRY(MakeFolders(options.data_folder, 0700));
    store_options.path = options.data_folder + "/objects.db";
  }
  auto credentials = TRY(LoadCredentials(CredentialsFolder(options), options.address,
                                         options.extra_names, runtime.clock()));
  auto signer = TRY(TokenSigner::FromKey(credentials.token_key));
  auto store = TRY(objects::VersionedStore::Open(std::move(store_options)));
  auto server =
      std::make_unique<Server>(runtime, random, std::move(options), std::move(credentials),
                               std::move(store), std::move(signer), access);
  TRY(server->Open());
  return std::unique_ptr<ApiServer>(std::move(server));
}

std::unique_ptr<kube::KubeClient> MakeInProcessKubeClient(ApiServer& server,
                                                          const std::string& user,
                                                          const std::vector<std::string>& groups) {
  return server.MakeClient({user, groups});
}

}  // namespace thinsnap::apiserver
