#include "csi/transfer/repository_source.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/core/log.h"
#include "base/data/json.h"
#include "base/data/yaml.h"
#include "csi/pool/tags.h"

namespace thinsnap::transfer {
namespace {

constexpr char kIdLabel[] = "thinsnap.io/repository";
constexpr Duration kFolderPoll = std::chrono::milliseconds(250);
constexpr std::uint64_t kLargestFile = kMiB;

Error Invalid(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

std::string SecretText(const Secret& secret) { return std::string(secret.Reveal()); }

// A Secret's data, decoded.
Result<std::map<std::string, std::string>> DecodeData(const Json& object) {
  std::map<std::string, std::string> values;
  const JsonObject* data = FindObject(object, "data");
  if (data == nullptr) return values;
  for (const auto& [key, value] : *data) {
    if (!value.is_string()) return Invalid("data." + std::string(key) + " is no string");
    const auto bytes = Base64Decode(std::string(value.as_string()));
    if (!bytes.ok()) return Invalid("data." + std::string(key) + " is not base64");
    values[std::string(key)] = std::string(AsText(*bytes));
  }
  return values;
}

}  // namespace

bool RepositoryConfig::Admits(const std::string& ns) const {
  return std::any_of(namespaces.begin(), namespaces.end(),
                     [&](const std::string& listed) { return listed == "*" || listed == ns; });
}

bool RepositoryConfig::Equals(const RepositoryConfig& other) const {
  const auto passphrase_of = [](const RepositoryConfig& c) {
    return c.passphrase ? SecretText(*c.passphrase) : std::string();
  };
  const auto& a = location;
  const auto& b = other.location;
  return id == other.id && suite == other.suite && a.url == b.url && a.region == b.region &&
         a.ca_pem == b.ca_pem && a.insecure_tls == b.insecure_tls &&
         a.credentials.access_key_id == b.credentials.access_key_id &&
         SecretText(a.credentials.secret_access_key) ==
             SecretText(b.credentials.secret_access_key) &&
         passphrase.has_value() == other.passphrase.has_value() &&
         passphrase_of(*this) == passphrase_of(other);
}

Result<RepositoryConfig> ReadRepositoryConfig(const std::map<std::string, std::string>& values) {
  static const std::set<std::string> kKeys = {
      "id",     "suite",       "url",        "region",     "accessKeyId", "secretAccessKey",
      "caCert", "insecureTLS", "passphrase", "namespaces", "state"};
  for (const auto& [key, value] : values) {
    if (!kKeys.contains(key)) {
      return Invalid("key \"" + key +
                     "\" is unknown; id, suite, url, region, accessKeyId, secretAccessKey, caCert, "
                     "insecureTLS, passphrase, namespaces and state are accepted");
    }
  }
  const auto get = [&](const char* key) {
    const auto found = values.find(key);
    return found == values.end() ? std::string() : found->second;
  };
  RepositoryConfig config;
  config.id = get("id");
  if (config.id.empty()) return Invalid("key \"id\" is missing");
  const std::string suite = get("suite");
  if (suite != "plain" && suite != "sealed") {
    return Invalid("key \"suite\" is \"" + suite + "\"; plain and sealed are accepted");
  }
  config.suite = suite == "plain" ? repo::Suite::kPlain : repo::Suite::kSealed;
  config.location.url = get("url");
  if (config.location.url.empty()) return Invalid("key \"url\" is missing");
  if (const std::string region = get("region"); !region.empty()) config.location.region = region;
  config.location.credentials.access_key_id = get("accessKeyId");
  config.location.credentials.secret_access_key = Secret(get("secretAccessKey"));
  config.location.ca_pem = get("caCert");
  config.location.insecure_tls = get("insecureTLS") == "true";
  if (std::string passphrase = get("passphrase"); !passphrase.empty()) {
    config.passphrase = Secret(std::move(passphrase));
  }
  config.namespaces = tags::SplitList(get("namespaces"));
  const std::string state = get("state");
  if (!state.empty() && state != "ready" && state != "wiping") {
    return Invalid("key \"state\" is \"" + state + "\"; ready and wiping are accepted");
  }
  config.wiping = state == "wiping";
  return config;
}

SecretRepositorySource::SecretRepositorySource(Runtime& runtime, kube::KubeClient& client,
                                               std::string ns)
    : ns_(std::move(ns)),
      informer_(runtime, client, kube::types::kSecret, ns_, kIdLabel),
      changed_(runtime.NewEventCount()) {
  informer_.AddHandler([this](const kube::ObjectPtr& old, const kube::ObjectPtr& current) {
    const std::string id = kube::LabelOf(current ? *current : *old, kIdLabel);
    {
      const std::lock_guard lock(mutex_);
      configs_.erase(id);
      if (current) {
        auto values = DecodeData(*current);
        auto config =
            values.ok() ? ReadRepositoryConfig(*values) : Result<RepositoryConfig>(values.error());
        if (config.ok() && config->id != id) {
          config =
              Invalid("key \"id\" is \"" + config->id + "\", but the label says \"" + id + "\"");
        }
        configs_.emplace(id, std::move(config).In("Secret " + kube::KeyOf(*current).ToString()));
      }
    }
    changed_->Notify();
    if (handler_) handler_(id);
  });
}

void SecretRepositorySource::OnChange(std::function<void(const std::string& id)> handler) {
  handler_ = std::move(handler);
}

Result<RepositoryConfig> SecretRepositorySource::Find(const std::string& id) {
  // Asked first: what a list that comes meanwhile brings is in the cache then.
  Status synced = informer_.CheckSynced();
  const std::lock_guard lock(mutex_);
  const auto found = configs_.find(id);
  if (found != configs_.end()) return found->second;
  TRY(std::move(synced).In("repository " + id));
  return Error(Code::kNotFound, "repository " + id +
                                    " is unknown: there is no Secret in namespace " + ns_ +
                                    " with label " + kIdLabel + "=" + id);
}

Result<RepositoryConfig> SecretRepositorySource::WaitFor(const std::string& id, MonoTime deadline) {
  for (;;) {
    const auto seen = changed_->Seen();
    auto found = Find(id);
    if (!found.Is(Code::kNotFound) && !found.Is(Code::kUnavailable)) return found;
    const Status waited = changed_->Wait(seen, deadline);
    if (waited.Is(Code::kDeadlineExceeded)) return Find(id);
    TRY(waited);
  }
}

FolderRepositorySource::FolderRepositorySource(Runtime& runtime, std::string folder)
    : runtime_(runtime), folder_(std::move(folder)) {}

Result<RepositoryConfig> FolderRepositorySource::Find(const std::string& id) {
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(folder_, error)) {
    const std::string extension = file.path().extension();
    if (extension != ".yaml" && extension != ".yml" && extension != ".json") continue;
    const auto text = ReadFile(file.path(), kLargestFile);
    // A file may go while the folder is read.
    if (!text.ok()) continue;
    const auto parsed = ParseYaml(*text);
    std::map<std::string, std::string> values;
    if (parsed.ok() && parsed->is_object()) {
      for (const auto& [key, value] : parsed->as_object()) {
        values[std::string(key)] =
            value.is_string() ? std::string(value.as_string()) : ToJson(value);
      }
    }
    if (values["id"] != id) continue;
    return ReadRepositoryConfig(values).In(file.path().string());
  }
  return Error(Code::kNotFound, "repository " + id + " is unknown: no .yaml or .json file of " +
                                    folder_ + " has that id");
}

Result<RepositoryConfig> FolderRepositorySource::WaitFor(const std::string& id, MonoTime deadline) {
  for (;;) {
    auto found = Find(id);
    if (!found.Is(Code::kNotFound) || runtime_.clock().MonoNow() >= deadline) return found;
    TRY(runtime_.SleepFor(kFolderPoll));
  }
}

Result<RepositoryConfig> NoRepositorySource::Find(const std::string& id) {
  return Error(Code::kNotFound, "repository " + id +
                                    " is unknown: this driver was started without Kubernetes and "
                                    "without --repositories");
}

}  // namespace thinsnap::transfer
