#include "snapshotter/operator/backend.h"

#include <utility>
#include <vector>

#include "base/core/bytes.h"
#include "base/kube/object.h"
#include "snapshotter/api/kinds.h"

namespace thinsnap::backup {

namespace {

constexpr char kPassphraseKey[] = "RESTIC_PASSWORD";

// "a/b" from parts that may have slashes at either end or be empty.
std::string JoinPath(const std::vector<std::string>& parts) {
  std::string path;
  for (const auto& part : parts) {
    const auto first = part.find_first_not_of('/');
    if (first == std::string::npos) continue;
    if (!path.empty()) path += '/';
    path += part.substr(first, part.find_last_not_of('/') - first + 1);
  }
  return path;
}

Error Wrong(const Json& storage, const std::string& field, const std::string& found,
            const std::string& accepted) {
  return Error(Code::kInvalidArgument, "BackupStorage " + kube::KeyOf(storage).ToString() +
                                           ", spec.storage." + field + ": " + found + "; " +
                                           accepted);
}

Result<store::Location> S3Location(const Json& storage, const Json* secret) {
  const auto* s3 = Find(storage, "spec.storage.s3");
  if (s3 == nullptr)
    return Wrong(storage, "s3", "found nothing",
                 "provider s3 needs {endpoint, bucket, secretName}");
  const auto bucket = StringAt(*s3, "bucket");
  if (bucket.empty() || bucket.find('/') != std::string::npos) {
    return Wrong(storage, "s3.bucket", "found \"" + bucket + "\"",
                 "accepted is the name of a bucket");
  }
  auto endpoint = StringAt(*s3, "endpoint");
  while (!endpoint.empty() && endpoint.back() == '/') endpoint.pop_back();
  const auto path = JoinPath({bucket, StringAt(*s3, "prefix")});

  store::Location location;
  if (endpoint.empty()) {
    location.url = "s3://" + path;
  } else if (endpoint.starts_with("http://") || endpoint.starts_with("https://")) {
    location.url = "s3+" + endpoint + "/" + path;
  } else if (endpoint.find("://") == std::string::npos) {
    location.url = "s3+https://" + endpoint + "/" + path;
  } else {
    return Wrong(storage, "s3.endpoint", "found \"" + endpoint + "\"",
                 "accepted are http://host:port and https://host");
  }
  const auto region = StringAt(*s3, "region");
  if (!region.empty()) location.region = region;
  location.insecure_tls = BoolAt(*s3, "insecureTLS");
  const auto connections = IntAt(*s3, "maxConnections");
  if (connections < 0 || connections > 1000) {
    return Wrong(storage, "s3.maxConnections", "found " + std::to_string(connections),
                 "accepted are 1 to 1000");
  }
  if (connections > 0) location.max_connections = static_cast<int>(connections);
  if (secret == nullptr) return location;

  for (const char* key : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}) {
    if (SecretValue(*secret, key)) continue;
    return Error(
        Code::kFailedPrecondition,
        "Secret " + kube::KeyOf(*secret).ToString() + " has no key " + key +
            "; S3 needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and takes CA_CERT_DATA");
  }
  location.credentials.access_key_id = SecretValue(*secret, "AWS_ACCESS_KEY_ID")->Reveal();
  location.credentials.secret_access_key = *SecretValue(*secret, "AWS_SECRET_ACCESS_KEY");
  if (const auto ca = SecretValue(*secret, "CA_CERT_DATA")) location.ca_pem = ca->Reveal();
  return location;
}

Json Text(const std::string& text) {
  return Json(
      Base64Encode(ByteSpan(reinterpret_cast<const std::uint8_t*>(text.data()), text.size())));
}

}  // namespace

std::string CredentialsSecretName(const Json& storage) {
  if (StringAt(storage, "spec.storage.provider") != "s3") return "";
  return StringAt(storage, "spec.storage.s3.secretName");
}

Result<store::Location> StorageLocation(const Json& storage, const Json* secret) {
  const auto provider = StringAt(storage, "spec.storage.provider");
  if (provider == "s3") return S3Location(storage, secret);
  // A folder would have to be the same one on the operator and on every node.
  return Wrong(storage, "provider",
               provider.empty() ? "found nothing" : "found \"" + provider + "\"",
               "accepted by this version is s3");
}

store::Location Below(store::Location location, const std::string& directory) {
  const auto path = JoinPath({directory});
  if (path.empty()) return location;
  if (!location.url.ends_with('/')) location.url += '/';
  location.url += path;
  return location;
}

std::optional<Secret> SecretValue(const Json& secret, const std::string& key) {
  const auto encoded = StringIn(secret, "data", key);
  if (encoded.empty()) return std::nullopt;
  const auto bytes = Base64Decode(encoded);
  if (!bytes.ok() || bytes->empty()) return std::nullopt;
  return Secret(std::string(bytes->begin(), bytes->end()));
}

Json DriverSecret(const DriverAccess& access, const std::string& operator_namespace) {
  auto secret =
      kube::NewObject(kube::types::kSecret, {operator_namespace, DriverSecretName(access.id)});
  kube::SetLabel(secret, "thinsnap.io/repository", access.id);
  JsonObject data;
  data["id"] = Text(access.id);
  data["suite"] = Text(access.suite == repo::Suite::kSealed ? "sealed" : "plain");
  data["url"] = Text(access.location.url);
  data["region"] = Text(access.location.region);
  data["accessKeyId"] = Text(access.location.credentials.access_key_id);
  data["secretAccessKey"] =
      Text(std::string(access.location.credentials.secret_access_key.Reveal()));
  data["caCert"] = Text(access.location.ca_pem);
  data["insecureTLS"] = Text(access.location.insecure_tls ? "true" : "false");
  if (access.passphrase) data["passphrase"] = Text(std::string(access.passphrase->Reveal()));
  data["namespaces"] = Text(access.namespaces);
  data["state"] = Text(access.state);
  secret.as_object()["type"] = "Opaque";
  secret.as_object()["data"] = std::move(data);
  return secret;
}

Result<store::Location> LocationOfDriverSecret(const Json& secret) {
  const auto text = [&](const char* key) {
    const auto value = SecretValue(secret, key);
    return value ? std::string(value->Reveal()) : std::string();
  };
  store::Location location;
  location.url = text("url");
  if (location.url.empty()) {
    return Error(Code::kFailedPrecondition,
                 "Secret " + kube::KeyOf(secret).ToString() + " has no key url");
  }
  if (const auto region = text("region"); !region.empty()) location.region = region;
  location.credentials.access_key_id = text("accessKeyId");
  location.credentials.secret_access_key = Secret(text("secretAccessKey"));
  location.ca_pem = text("caCert");
  location.insecure_tls = text("insecureTLS") == "true";
  return location;
}

Result<Backends::Access> Backends::AccessOf(const Json& storage) {
  // A wrong spec is reported before a missing Secret: both have to be put right, and the spec is
  // nearer.
  TRY(StorageLocation(storage, nullptr));
  const auto name = CredentialsSecretName(storage);
  if (name.empty()) return Access {
      TRY(StorageLocation(storage, nullptr))
      , ""
    };
  const kube::ObjectKey key{kube::NamespaceOf(storage), name};
  auto secret = client_.Get(kube::types::kSecret, key);
  if (secret.Is(Code::kNotFound)) {
    return Error(Code::kNotFound,
                 "Secret " + key.ToString() +
                     ", named in spec.storage.s3.secretName of BackupStorage " +
                     kube::NameOf(storage) +
                     ", does not exist; accepted is a Secret with AWS_ACCESS_KEY_ID and "
                     "AWS_SECRET_ACCESS_KEY");
  }
  if (!secret.ok()) return std::move(secret).error().In("reading Secret " + key.ToString());
  auto location = TRY(StorageLocation(storage, &*secret));
  return Access{std::move(location), kube::UidOf(*secret) + "/" + kube::ResourceVersionOf(*secret)};
}

Result<Backends::Passphrase> Backends::PassphraseFrom(const kube::ObjectKey& key) {
  auto secret = client_.Get(kube::types::kSecret, key);
  if (secret.Is(Code::kNotFound)) {
    return Error(Code::kNotFound,
                 "encryption Secret " + key.ToString() +
                     " does not exist; accepted is a Secret with the key RESTIC_PASSWORD");
  }
  if (!secret.ok()) return std::move(secret).error().In("reading Secret " + key.ToString());
  auto text = SecretValue(*secret, kPassphraseKey);
  if (!text) {
    return Error(Code::kNotFound,
                 "encryption Secret " + key.ToString() +
                     " has no key RESTIC_PASSWORD, or it is empty; it is required");
  }
  return Passphrase{std::move(*text),
                    kube::UidOf(*secret) + "/" + kube::ResourceVersionOf(*secret)};
}

Result<std::optional<Backends::Passphrase>> Backends::PassphraseOf(const Json& repository,
                                                                   const Json& storage) {
  const auto name = StringAt(repository, "spec.encryptionSecret.name");
  if (name.empty()) return std::optional<Passphrase>();
  const auto ns =
      StringAt(repository, "spec.encryptionSecret.namespace", kube::NamespaceOf(repository));
  const kube::ObjectKey key{ns.empty() ? kube::NamespaceOf(repository) : ns, name};
  if (key.ns != kube::NamespaceOf(repository) && key.ns != kube::NamespaceOf(storage)) {
    return Error(Code::kPermissionDenied,
                 "Repository " + kube::KeyOf(repository).ToString() +
                     ", spec.encryptionSecret.namespace: found " + key.ns +
                     "; accepted are its own namespace and that of its BackupStorage, " +
                     kube::NamespaceOf(storage));
  }
  return std::optional<Passphrase>(TRY(PassphraseFrom(key)));
}

Result<std::shared_ptr<store::ObjectStore>> Backends::OpenStorage(const Access& access) {
  {
    std::lock_guard lock(mutex_);
    const auto found = stores_.find(access.location.url);
    if (found != stores_.end() && found->second.first == access.version)
      return found->second.second;
  }
  std::shared_ptr<store::ObjectStore> opened = TRY(open_store_(access.location));
  std::lock_guard lock(mutex_);
  stores_[access.location.url] = {access.version, opened};
  return opened;
}

Result<std::shared_ptr<store::ObjectStore>> Backends::OpenFolder(const Access& access,
                                                                 const std::string& directory) {
  return OpenStorage({Below(access.location, directory), access.version});
}

Result<OpenRepository> Backends::Open(const Access& access, const std::string& directory,
                                      const std::optional<Passphrase>& passphrase,
                                      const std::string& pinned_id,
                                      const std::optional<repo::Suite>& pinned_suite) {
  const auto url = Below(access.location, directory).url;
  const auto version =
      access.version + "|" + (passphrase ? passphrase->version : "") + "|" + pinned_id;
  {
    std::lock_guard lock(mutex_);
    const auto found = entries_.find(url);
    if (found != entries_.end() && found->second.version == version) return found->second.open;
  }
  OpenRepository open;
  open.store = TRY(OpenFolder(access, directory));
  repo::OpenOptions options;
  if (passphrase) options.passphrase = passphrase->text;
  options.expected_id = pinned_id;
  options.expected_suite = pinned_suite;
  open.repository = TRY(repo::OpenRepository(*open.store, runtime_, random_, options));
  std::lock_guard lock(mutex_);
  entries_[url] = {version, open};
  return open;
}

void Backends::Forget(const Access& access, const std::string& directory) {
  const auto url = Below(access.location, directory).url;
  std::lock_guard lock(mutex_);
  entries_.erase(url);
  stores_.erase(url);
}

}  // namespace thinsnap::backup
