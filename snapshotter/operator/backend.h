// Backend: from BackupStorage, Repository and their Secrets to an open store or repository. The
// only part of the operator that sees credentials; they go on in the driver's Secret and nowhere
// else.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/core/guarded.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "base/data/json.h"
#include "base/kube/client.h"
#include "snapshotter/repo/repository.h"
#include "snapshotter/store/location.h"

namespace thinsnap::backup {

// Where a BackupStorage points to. The Secret is the one that the spec names, null where it names
// none. kInvalidArgument: the spec is wrong or asks for another provider; kFailedPrecondition: keys
// are missing in the Secret.
Result<store::Location> StorageLocation(const Json& storage, const Json* secret);
// The name of the Secret with the credentials; empty where there is none.
std::string CredentialsSecretName(const Json& storage);
// The same with a folder below; empty parts are dropped.
store::Location Below(store::Location location, const std::string& directory);
// A decoded value of a Secret.
std::optional<Secret> SecretValue(const Json& secret, const std::string& key);

// What the driver needs to reach a repository, for the operator's namespace. An empty list of
// namespaces: nobody may export into it.
struct DriverAccess {
  std::string id;
  repo::Suite suite = repo::Suite::kPlain;
  store::Location location;
  std::optional<Secret> passphrase;
  std::string namespaces;
  std::string state = "ready";  // or "wiping"
};
Json DriverSecret(const DriverAccess& access, const std::string& operator_namespace);
// The address of a repository back out of its driver Secret: all that a wipe still has when the
// namespace is gone.
Result<store::Location> LocationOfDriverSecret(const Json& secret);

// An open repository and the store below it.
struct OpenRepository {
  std::shared_ptr<store::ObjectStore> store;
  std::shared_ptr<repo::Repository> repository;
};

// How a store is opened: store::OpenStore in production.
using StoreOpener =
    std::function<Result<std::unique_ptr<store::ObjectStore>>(const store::Location& location)>;

// Opens and remembers. Thread-safe; an entry is opened anew when a Secret or an address changed.
class Backends {
 public:
  Backends(Runtime& runtime, Random& random, kube::KubeClient& client, StoreOpener open_store)
      : runtime_(runtime), random_(random), client_(client), open_store_(std::move(open_store)) {}

  struct Access {
    store::Location location;
    std::string version;  // changes with the Secret
  };
  // kNotFound: the Secret is missing; else as StorageLocation.
  Result<Access> AccessOf(const Json& storage);
  // Nothing where the Repository names no encryptionSecret. kNotFound: it or its key is missing;
  // kPermissionDenied: it lies in a namespace that this Repository may not take it from.
  struct Passphrase {
    Secret text;
    std::string version;
  };
  Result<std::optional<Passphrase>> PassphraseOf(const Json& repository, const Json& storage);
  // A passphrase from the Secret that is named, key RESTIC_PASSWORD.
  Result<Passphrase> PassphraseFrom(const kube::ObjectKey& secret);

  // The store at bucket and prefix.
  Result<std::shared_ptr<store::ObjectStore>> OpenStorage(const Access& access);
  // The store at a Repository's folder.
  Result<std::shared_ptr<store::ObjectStore>> OpenFolder(const Access& access,
                                                         const std::string& directory);
  Result<OpenRepository> Open(const Access& access, const std::string& directory,
                              const std::optional<Passphrase>& passphrase,
                              const std::string& pinned_id,
                              const std::optional<repo::Suite>& pinned_suite);
  // Drops what is remembered of an address, so that the next caller looks again.
  void Forget(const Access& access, const std::string& directory);

 private:
  struct Entry {
    std::string version;
    OpenRepository open;
  };

  Runtime& runtime_;
  Random& random_;
  kube::KubeClient& client_;
  const StoreOpener open_store_;
  std::mutex mutex_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mutex_);  // by URL
  std::map<std::string, std::pair<std::string, std::shared_ptr<store::ObjectStore>>> stores_
      GUARDED_BY(mutex_);
};

}  // namespace thinsnap::backup
