#include "snapshotter/operator/context.h"

#include <utility>

namespace thinsnap::backup {

bool Memory::Due(const std::string& key, MonoTime now, Duration interval) {
  std::lock_guard lock(mutex_);
  const auto [entry, is_new] = last_.emplace(key, now);
  if (is_new) return true;
  if (now - entry->second < interval) return false;
  entry->second = now;
  return true;
}

bool Memory::Knows(const std::string& key, const std::string& value) {
  std::lock_guard lock(mutex_);
  const auto found = values_.find(key);
  return found != values_.end() && found->second == value;
}

void Memory::Learn(const std::string& key, const std::string& value) {
  std::lock_guard lock(mutex_);
  values_[key] = value;
}

bool MayPass(const Error& error) {
  switch (error.code()) {
    case Code::kCancelled:
    case Code::kDeadlineExceeded:
    case Code::kResourceExhausted:
    case Code::kAborted:
    case Code::kInternal:
    case Code::kUnavailable:
    case Code::kUnknownOutcome:
      return true;
    default:
      return false;
  }
}

Result<std::optional<Json>> GetIfExists(kube::KubeClient& client, const kube::ResourceType& type,
                                        const kube::ObjectKey& key) {
  auto object = client.Get(type, key);
  if (object.ok()) return std::optional<Json>(std::move(*object));
  if (object.Is(Code::kNotFound)) return std::optional<Json>();
  return std::move(object).error().In("reading " + type.kind + " " + key.ToString());
}

Result<Json> EnsureExists(kube::KubeClient& client, const kube::ResourceType& type,
                          const Json& object) {
  const auto key = kube::KeyOf(object);
  auto existing = client.Get(type, key);
  if (existing.ok()) return existing;
  if (!existing.Is(Code::kNotFound))
    return std::move(existing).error().In("reading " + type.kind + " " + key.ToString());
  auto created = client.Create(type, object);
  if (created.Is(Code::kAlreadyExists) || created.Is(Code::kUnknownOutcome))
    return client.Get(type, key);
  if (!created.ok())
    return std::move(created).error().In("creating " + type.kind + " " + key.ToString());
  return created;
}

Status DeleteIfExists(kube::KubeClient& client, const kube::ResourceType& type,
                      const kube::ObjectKey& key) {
  kube::DeleteOptions options;
  options.propagation_policy = "Background";
  auto deleted = client.Delete(type, key, options);
  if (deleted.ok() || deleted.Is(Code::kNotFound)) return {};
  return std::move(deleted).error().In("deleting " + type.kind + " " + key.ToString());
}

Status WriteStatus(Context& context, const kube::ResourceType& type, const Json& before,
                   Json& after) {
  const auto* old_status = Find(before, "status");
  const auto* new_status = Find(after, "status");
  if (new_status == nullptr || (old_status != nullptr && *old_status == *new_status)) return {};
  after = TRY(context.client.Update(type, after, "status"));
  return {};
}

Status EnsureFinalizer(Context& context, const kube::ResourceType& type, Json& object) {
  if (kube::HasFinalizer(object, context.kinds.finalizer)) return {};
  kube::AddFinalizer(object, context.kinds.finalizer);
  object = TRY(context.client.Update(type, object));
  return {};
}

Status DropFinalizer(Context& context, const kube::ResourceType& type, Json& object) {
  if (!kube::HasFinalizer(object, context.kinds.finalizer)) return {};
  kube::RemoveFinalizer(object, context.kinds.finalizer);
  auto updated = context.client.Update(type, object);
  if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
  return {};
}

void Report(Context& context, Json& object, std::string_view condition, bool status,
            std::string_view reason, std::string_view message, bool good) {
  if (!kube::SetCondition(object, condition, status, reason, message, context.Now())) return;
  context.events.Emit(object, good ? "Normal" : "Warning", reason, message);
}

void ReportTrouble(Context& context, Json& object, std::string_view condition,
                   std::string_view reason, const std::vector<std::string>& sentences) {
  if (sentences.empty()) {
    RemoveCondition(object, condition);
  } else {
    Report(context, object, condition, false, reason, Joined(sentences, " "));
  }
}

Result<std::string> ClusterUid(Context& context) {
  const auto object = TRY(context.client.Get(kube::types::kNamespace, {"", "kube-system"}));
  return kube::UidOf(object);
}

}  // namespace thinsnap::backup
