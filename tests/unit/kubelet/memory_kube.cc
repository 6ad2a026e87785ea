#include "tests/unit/kubelet/memory_kube.h"

#include <algorithm>
#include <cstdlib>
#include <tuple>
#include <utility>

#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::kubelet {
namespace {

// Only what kubelets ask for: spec.nodeName=X.
bool Selected(const Json& object, const std::string& field_selector) {
  const std::string prefix = "spec.nodeName=";
  if (!field_selector.starts_with(prefix)) return true;
  return StringAt(object, "spec.nodeName") == field_selector.substr(prefix.size());
}

void Merge(Json& into, const Json& patch) {
  if (!patch.is_object()) {
    into = patch;
    return;
  }
  if (!into.is_object()) into = JsonObject();
  for (const auto& member : patch.get_object()) {
    if (member.value().is_null()) {
      into.get_object().erase(member.key());
    } else {
      Merge(into.get_object()[member.key()], member.value());
    }
  }
}

}  // namespace

Result<Json> MemoryKube::Get(const kube::ResourceType& type, const kube::ObjectKey& key) {
  std::lock_guard lock(mutex_);
  const auto& objects = objects_[type.resource];
  const auto it = objects.find(key);
  if (it == objects.end())
    return Error(Code::kNotFound, type.resource + " \"" + key.name + "\" not found");
  return it->second;
}

Result<kube::ObjectList> MemoryKube::List(const kube::ResourceType& type, const std::string& ns,
                                          const kube::ListOptions& options) {
  std::lock_guard lock(mutex_);
  listed_.insert(type);
  kube::ObjectList list;
  for (const auto& [key, object] : objects_[type.resource]) {
    if ((ns.empty() || key.ns == ns) && Selected(object, options.field_selector))
      list.items.push_back(object);
  }
  list.resource_version = std::to_string(version_);
  return list;
}

Status MemoryKube::Watch(const kube::ResourceType& type, const std::string& ns,
                         const kube::WatchOptions& options,
                         const std::function<Status(kube::WatchEvent)>& on_event) {
  std::uint64_t after = std::strtoull(options.resource_version.c_str(), nullptr, 10);
  for (;;) {
    const std::uint64_t seen = changed_->Seen();
    std::vector<Change> news;
    {
      std::lock_guard lock(mutex_);
      const bool held = hold_watches_;
      auto change = std::upper_bound(
          changes_.begin(), changes_.end(), after,
          [](std::uint64_t version, const Change& other) { return version < other.version; });
      for (; !held && change != changes_.end(); ++change) {
        if (change->resource == type.resource) news.push_back(*change);
      }
      if (!held) after = version_;
    }
    for (Change& change : news) {
      if (!ns.empty() && kube::NamespaceOf(change.event.object) != ns) continue;
      if (Selected(change.event.object, options.field_selector))
        TRY(on_event(std::move(change.event)));
    }
    TRY(changed_->Wait(seen));
  }
}

Result<Json> MemoryKube::Store(const kube::ResourceType& type, Json object,
                               kube::WatchEvent::Type change) {
  ++version_;
  Set(object, "metadata.resourceVersion", std::to_string(version_));
  const kube::ObjectKey key = kube::KeyOf(object);
  if (change == kube::WatchEvent::Type::kDeleted) {
    objects_[type.resource].erase(key);
  } else {
    objects_[type.resource][key] = object;
  }
  changes_.push_back({version_, type.resource, {change, object}});
  changed_->Notify();
  return object;
}

Result<Json> MemoryKube::Create(const kube::ResourceType& type, const Json& object) {
  std::lock_guard lock(mutex_);
  const kube::ObjectKey key = kube::KeyOf(object);
  if (objects_[type.resource].contains(key))
    return Error(Code::kAlreadyExists, key.name + " already exists");
  Json stored = object;
  Set(stored, "apiVersion", type.api_version());
  Set(stored, "kind", type.kind);
  if (kube::UidOf(stored).empty()) Set(stored, "metadata.uid", "uid-" + std::to_string(version_));
  return Store(type, std::move(stored), kube::WatchEvent::Type::kAdded);
}

Result<Json> MemoryKube::Update(const kube::ResourceType& type, const Json& object,
                                const std::string&) {
  if (before_update) TRY(before_update(type, object));
  std::lock_guard lock(mutex_);
  if (!objects_[type.resource].contains(kube::KeyOf(object)))
    return Error(Code::kNotFound, "not found");
  return Store(type, object, kube::WatchEvent::Type::kModified);
}

Result<Json> MemoryKube::Patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                               kube::PatchType, const Json& patch, const kube::PatchOptions&) {
  if (!patch.is_object()) return Error(Code::kUnimplemented, "only merge patches are known here");
  std::lock_guard lock(mutex_);
  const auto it = objects_[type.resource].find(key);
  if (it == objects_[type.resource].end()) return Error(Code::kNotFound, "not found");
  const std::string uid = StringAt(patch, "metadata.uid");
  if (!uid.empty() && uid != kube::UidOf(it->second)) return Error(Code::kAborted, "another uid");
  Json object = it->second;
  Merge(object, patch);
  return Store(type, std::move(object), kube::WatchEvent::Type::kModified);
}

Result<Json> MemoryKube::Delete(const kube::ResourceType& type, const kube::ObjectKey& key,
                                const kube::DeleteOptions& options) {
  std::lock_guard lock(mutex_);
  const auto it = objects_[type.resource].find(key);
  if (it == objects_[type.resource].end()) return Error(Code::kNotFound, "not found");
  Json object = it->second;
  const std::int64_t grace = options.grace_period_seconds.value_or(
      static_cast<int>(IntAt(object, "spec.terminationGracePeriodSeconds", 30)));
  if (type.resource != "pods" || grace == 0)
    return Store(type, std::move(object), kube::WatchEvent::Type::kDeleted);
  Set(object, "metadata.deletionTimestamp", FormatRfc3339(clock_.Now()));
  Set(object, "metadata.deletionGracePeriodSeconds", grace);
  return Store(type, std::move(object), kube::WatchEvent::Type::kModified);
}

Result<Json> MemoryKube::CreateSubresource(const kube::ResourceType& type,
                                           const kube::ObjectKey& key,
                                           const std::string& subresource, const Json& object) {
  if (subresource == "binding") {
    return Patch(type, key, kube::PatchType::kMerge,
                 JsonObject{{"spec", JsonObject{{"nodeName", StringAt(object, "target.name")}}}});
  }
  if (subresource != "token") return Error(Code::kUnimplemented, subresource);
  return Json(JsonObject{{"status", JsonObject{{"token", "token-of-" + key.name}}}});
}

void MemoryKube::Put(const kube::ResourceType& type, Json object) {
  std::lock_guard lock(mutex_);
  const bool known = objects_[type.resource].contains(kube::KeyOf(object));
  std::ignore = Store(type, std::move(object),
                      known ? kube::WatchEvent::Type::kModified : kube::WatchEvent::Type::kAdded);
}

void MemoryKube::HoldWatches(bool hold) {
  std::lock_guard lock(mutex_);
  hold_watches_ = hold;
  changed_->Notify();
}

std::set<kube::ResourceType> MemoryKube::listed() {
  std::lock_guard lock(mutex_);
  return listed_;
}

bool MemoryKube::WaitFor(const kube::ResourceType& type, const kube::ObjectKey& key,
                         const std::function<bool(const Json* object)>& check) {
  const MonoTime deadline = clock_.MonoNow() + std::chrono::minutes(1);
  for (;;) {
    const std::uint64_t seen = changed_->Seen();
    const Result<Json> object = Get(type, key);
    if (check(object.ok() ? &*object : nullptr)) return true;
    if (!changed_->Wait(seen, deadline).ok()) return false;
  }
}

}  // namespace thinsnap::kubelet
