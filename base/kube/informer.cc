#include "base/kube/informer.h"

#include <algorithm>
#include <chrono>

#include "base/core/log.h"

namespace thinsnap::kube {

Informer::Informer(Runtime& runtime, KubeClient& client, ResourceType type, std::string ns,
                   std::string label_selector, std::string field_selector)
    : runtime_(runtime),
      client_(client),
      type_(std::move(type)),
      ns_(std::move(ns)),
      label_selector_(std::move(label_selector)),
      field_selector_(std::move(field_selector)),
      changed_(runtime.NewEventCount()) {}

void Informer::AddHandler(Handler handler) { handlers_.push_back(std::move(handler)); }

void Informer::Start(TaskGroup& group) {
  group.Spawn("watch-" + type_.resource, [this] { Loop(); });
}

Status Informer::WaitForSync(MonoTime deadline) {
  for (;;) {
    const auto seen = changed_->Seen();
    const Status now = CheckSynced();
    if (now.ok()) return {};
    const Status waited = changed_->Wait(seen, deadline);
    if (waited.Is(Code::kDeadlineExceeded)) {
      return Error(Code::kDeadlineExceeded, now.error().message());
    }
    TRY(waited);
  }
}

bool Informer::synced() const {
  const std::lock_guard lock(mutex_);
  return synced_;
}

Status Informer::CheckSynced() const {
  const std::lock_guard lock(mutex_);
  if (synced_) return {};
  return Error(Code::kUnavailable, "the " + type_.resource + (ns_.empty() ? "" : " of " + ns_) +
                                       " could not be listed yet" +
                                       (trouble_.empty() ? "" : ": " + trouble_));
}

ObjectPtr Informer::Get(const ObjectKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  return found == objects_.end() ? nullptr : found->second;
}

std::vector<ObjectPtr> Informer::List(const std::string& ns) const {
  std::vector<ObjectPtr> all;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, object] : objects_) {
    if (ns.empty() || key.ns == ns) all.push_back(object);
  }
  return all;
}

void Informer::Loop() {
  constexpr Duration kFirst = std::chrono::milliseconds(200);
  constexpr Duration kLongest = std::chrono::seconds(30);
  Duration backoff = kFirst;
  for (;;) {
    const MonoTime started = runtime_.clock().MonoNow();
    const Status ended = ListAndWatch();
    if (Runtime::Cancelled()) return;
    // What stood for so long was no failed try.
    if (ended.ok() || runtime_.clock().MonoNow() - started > kLongest) backoff = kFirst;
    if (ended.ok()) continue;
    Tell(ended.error());
    if (!runtime_.SleepFor(backoff).ok()) return;
    backoff = std::min(backoff * 2, kLongest);
  }
}

void Informer::Tell(const Error& trouble) {
  const std::string text = trouble.ToString();
  {
    const std::lock_guard lock(mutex_);
    trouble_ = text;
  }
  changed_->Notify();
  const bool news = text != told_;
  Log(news ? LogLevel::kWarning : LogLevel::kDebug, "informer",
      type_.resource + (ns_.empty() ? "" : " of " + ns_) + ": " + text);
  told_ = text;
}

// OK when the watch had to start over from a new list, an error when the server is in trouble.
Status Informer::ListAndWatch() {
  ListOptions list_options;
  list_options.label_selector = label_selector_;
  list_options.field_selector = field_selector_;
  Replace(TRY(client_.List(type_, ns_, list_options)));
  for (;;) {
    TRY(Runtime::CheckCancelled());
    WatchOptions options;
    options.label_selector = label_selector_;
    options.field_selector = field_selector_;
    {
      const std::lock_guard lock(mutex_);
      options.resource_version = resource_version_;
    }
    const MonoTime started = runtime_.clock().MonoNow();
    Status watched = client_.Watch(type_, ns_, options, [this](WatchEvent event) -> Status {
      Apply(std::move(event));
      return Runtime::CheckCancelled();
    });
    if (watched.ok() || watched.Is(Code::kOutOfRange)) told_.clear();
    if (watched.Is(Code::kOutOfRange)) return {};
    if (!watched.ok()) return watched;
    // A server that ends watches at once must not be asked in a tight loop.
    if (runtime_.clock().MonoNow() - started < std::chrono::seconds(1)) {
      TRY(runtime_.SleepFor(std::chrono::milliseconds(200)));
    }
  }
}

void Informer::Replace(ObjectList list) {
  std::vector<std::pair<ObjectPtr, ObjectPtr>> changes;
  {
    const std::lock_guard lock(mutex_);
    std::map<ObjectKey, ObjectPtr> fresh;
    for (Json& item : list.items) {
      if (item.is_object()) {
        // Items of a list carry no apiVersion and kind of their own.
        item.get_object()["apiVersion"] = type_.api_version();
        item.get_object()["kind"] = type_.kind;
      }
      const ObjectKey key = KeyOf(item);
      ObjectPtr old;
      if (const auto found = objects_.find(key); found != objects_.end()) {
        old = found->second;
        objects_.erase(found);
      }
      if (old != nullptr && ResourceVersionOf(*old) == ResourceVersionOf(item)) {
        fresh[key] = old;
        continue;
      }
      auto current = std::make_shared<const Json>(std::move(item));
      fresh[key] = current;
      changes.emplace_back(std::move(old), std::move(current));
    }
    for (auto& [key, gone] : objects_) changes.emplace_back(gone, nullptr);
    objects_ = std::move(fresh);
    resource_version_ = std::move(list.resource_version);
  }
  for (const auto& [old, current] : changes) Notify(old, current);
  {
    const std::lock_guard lock(mutex_);
    synced_ = true;
    trouble_.clear();
  }
  changed_->Notify();
}

void Informer::Apply(WatchEvent event) {
  ObjectPtr old;
  ObjectPtr current;
  {
    const std::lock_guard lock(mutex_);
    resource_version_ = ResourceVersionOf(event.object);
    if (event.type == WatchEvent::Type::kBookmark) return;
    const ObjectKey key = KeyOf(event.object);
    if (const auto found = objects_.find(key); found != objects_.end()) old = found->second;
    if (event.type == WatchEvent::Type::kDeleted) {
      objects_.erase(key);
      // Handlers see the last state, which the event carries.
      if (old == nullptr) old = std::make_shared<const Json>(std::move(event.object));
    } else {
      current = std::make_shared<const Json>(std::move(event.object));
      objects_[key] = current;
    }
  }
  Notify(old, current);
  changed_->Notify();
}

void Informer::Notify(const ObjectPtr& old, const ObjectPtr& current) {
  for (const Handler& handler : handlers_) handler(old, current);
}

Informer& InformerSet::For(const ResourceType& type) {
  auto& informer = informers_[type];
  if (informer == nullptr) informer = std::make_unique<Informer>(runtime_, client_, type);
  return *informer;
}

void InformerSet::StartAll(TaskGroup& group) {
  for (auto& [type, informer] : informers_) informer->Start(group);
}

Status InformerSet::WaitForSync(MonoTime deadline) {
  for (auto& [type, informer] : informers_) TRY(informer->WaitForSync(deadline));
  return {};
}

}  // namespace thinsnap::kube
