// Where the driver learns of repositories: Secrets of its own namespace, or files of a folder with
// the same keys. Addresses, credentials and passphrases come this way only, never in a CSI request
// or a tag.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "base/data/json_fwd.h"
#include "base/kube/informer.h"
#include "snapshotter/repo/repository.h"
#include "snapshotter/store/location.h"

namespace thinsnap::transfer {

struct RepositoryConfig {
  std::string id;
  repo::Suite suite = repo::Suite::kSealed;
  store::Location location;
  std::optional<Secret> passphrase;     // absent for a plain one
  std::vector<std::string> namespaces;  // that may export into it; "*": all
  bool wiping = false;                  // takes no exports any more

  bool Admits(const std::string& ns) const;
  bool Equals(const RepositoryConfig& other) const;
};

// Keys: id, suite, url, region, accessKeyId, secretAccessKey, caCert, insecureTLS, passphrase,
// namespaces, state. Errors name key and what is accepted, never a secret.
Result<RepositoryConfig> ReadRepositoryConfig(const std::map<std::string, std::string>& values);

// Thread-safe.
class RepositorySource {
 public:
  virtual ~RepositorySource() = default;
  virtual void Start(TaskGroup&) {}
  // kNotFound says where it was looked for.
  virtual Result<RepositoryConfig> Find(const std::string& id) = 0;
  // Find, but an unknown one is waited for: the operator may be about to write it.
  virtual Result<RepositoryConfig> WaitFor(const std::string& id, MonoTime deadline) = 0;
  // Called with the id after a change, from a task that must not block. Set before Start.
  virtual void OnChange(std::function<void(const std::string& id)> handler) = 0;
};

// Secrets labelled thinsnap.io/repository=<id>.
class SecretRepositorySource final : public RepositorySource {
 public:
  SecretRepositorySource(Runtime& runtime, kube::KubeClient& client, std::string ns);
  void Start(TaskGroup& group) override { informer_.Start(group); }

  Result<RepositoryConfig> Find(const std::string& id) override;
  Result<RepositoryConfig> WaitFor(const std::string& id, MonoTime deadline) override;
  void OnChange(std::function<void(const std::string& id)> handler) override;

 private:
  const std::string ns_;
  kube::Informer informer_;
  std::unique_ptr<EventCount> changed_;
  std::function<void(const std::string&)> handler_;
  std::mutex mutex_;
  std::map<std::string, Result<RepositoryConfig>> configs_ GUARDED_BY(mutex_);  // by id
};

// One YAML or JSON file for each repository, read anew each time.
class FolderRepositorySource final : public RepositorySource {
 public:
  FolderRepositorySource(Runtime& runtime, std::string folder);
  Result<RepositoryConfig> Find(const std::string& id) override;
  Result<RepositoryConfig> WaitFor(const std::string& id, MonoTime deadline) override;
  void OnChange(std::function<void(const std::string& id)>) override {}

 private:
  Runtime& runtime_;
  const std::string folder_;
};

// For a driver that was given neither: every id is unknown.
class NoRepositorySource final : public RepositorySource {
 public:
  Result<RepositoryConfig> Find(const std::string& id) override;
  Result<RepositoryConfig> WaitFor(const std::string& id, MonoTime) override { return Find(id); }
  void OnChange(std::function<void(const std::string& id)>) override {}
};

}  // namespace thinsnap::transfer
