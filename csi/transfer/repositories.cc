#include "csi/transfer/repositories.h"

#include <utility>

namespace thinsnap::transfer {
namespace {

constexpr Duration kUnknownWait = std::chrono::seconds(5);

}  // namespace

Repositories::Repositories(Runtime& runtime, Random& random, RepositorySource& source,
                           StoreOpener open_store)
    : runtime_(runtime), random_(random), source_(source), open_store_(std::move(open_store)) {}

Result<RepositoryConfig> Repositories::Config(const std::string& id) {
  return source_.WaitFor(id, runtime_.clock().MonoNow() + kUnknownWait);
}

void Repositories::Forget(const std::string& id) {
  const std::lock_guard lock(mutex_);
  opened_.erase(id);
}

Result<std::shared_ptr<repo::Repository>> Repositories::Open(const std::string& id) {
  auto known = Config(id);
  // Whoever opens has a right to it: the Secret is on its way, or the API server does not answer.
  if (known.Is(Code::kNotFound)) return Error(Code::kUnavailable, known.error().message());
  RepositoryConfig config = TRY(std::move(known));
  {
    const std::lock_guard lock(mutex_);
    const auto found = opened_.find(id);
    if (found != opened_.end() && found->second->config.Equals(config)) {
      return std::shared_ptr<repo::Repository>(found->second, found->second->repository.get());
    }
  }
  auto opened = std::make_shared<Opened>();
  opened->store = TRY(open_store_(config.location).In("repository " + id));
  repo::OpenOptions options;
  options.passphrase = config.passphrase;
  options.expected_id = id;
  options.expected_suite = config.suite;
  auto repository = repo::OpenRepository(*opened->store, runtime_, random_, options);
  if (!repository.ok()) {
    const Code code = repository.error().code();
    // Nothing there or a key that does not fit: repeating does not help until somebody changes
    // something.
    const bool final = code == Code::kNotFound || code == Code::kUnauthenticated;
    return Error(final ? Code::kFailedPrecondition : code, "repository " + id + " at " +
                                                               opened->store->Describe() + ": " +
                                                               repository.error().message());
  }
  opened->repository = std::move(*repository);
  opened->config = std::move(config);
  const std::lock_guard lock(mutex_);
  opened_[id] = opened;
  return std::shared_ptr<repo::Repository>(opened, opened->repository.get());
}

}  // namespace thinsnap::transfer
