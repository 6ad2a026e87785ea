#include "simulator/objects/store.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "base/core/guarded.h"
#include "simulator/objects/object_file.h"

namespace thinsnap::objects {
namespace {

using Place = std::pair<std::string, std::string>;  // namespace, name

Place PlaceOf(const StoreKey& key) { return {key.ns, key.name}; }

std::string Describe(const StoreKey& key) {
  return key.resource + " \"" + (key.ns.empty() ? key.name : key.ns + "/" + key.name) + "\"";
}

}  // namespace

StoredObject::StoredObject(StoreKey key, Json value, Revision revision)
    : key_(std::move(key)), value_(std::move(value)), revision_(revision) {}

const std::string& StoredObject::bytes() const {
  std::call_once(once_, [this] { bytes_ = ToJson(value_); });
  return bytes_;
}

struct VersionedStore::State {
  struct Watcher {
    std::string resource;  // empty: all
    OnEvent on_event;
  };
  struct Resource {
    std::map<Place, ObjectRef> objects;
    std::deque<StoreEvent> log;
    Revision complete_after = 0;  // the log has every event above this revision
  };

  // Constant after Open.
  StoreOptions options;
  std::unique_ptr<ObjectFile> file;

  mutable std::mutex mutex;
  Revision revision GUARDED_BY(mutex) = 0;
  // Resources without an entry have had no event since this revision.
  Revision compacted GUARDED_BY(mutex) = 0;
  std::map<std::string, Resource, std::less<>> resources GUARDED_BY(mutex);
  std::map<std::uint64_t, Watcher> watchers GUARDED_BY(mutex);
  std::uint64_t next_watcher GUARDED_BY(mutex) = 1;

  Resource& ResourceOf(const std::string& name) REQUIRES(mutex) {
    const auto [found, added] = resources.try_emplace(name);
    if (added) found->second.complete_after = compacted;
    return found->second;
  }

  void Publish(Resource& resource, StoreEvent event) REQUIRES(mutex) {
    for (const auto& [id, watcher] : watchers) {
      if (watcher.resource.empty() || watcher.resource == event.object->key().resource)
        watcher.on_event(event);
    }
    resource.log.push_back(std::move(event));
    while (resource.log.size() > options.log_events_per_resource) {
      resource.complete_after = resource.log.front().revision;
      resource.log.pop_front();
    }
  }

  // The objects as they were; nullopt when the log does not reach back.
  std::optional<std::map<Place, ObjectRef>> At(const Resource& resource, Revision at) const {
    if (at < resource.complete_after) return std::nullopt;
    auto objects = resource.objects;
    for (auto event = resource.log.rbegin(); event != resource.log.rend() && event->revision > at;
         ++event) {
      const auto place = PlaceOf(event->object->key());
      if (event->previous) {
        objects[place] = event->previous;
      } else {
        objects.erase(place);
      }
    }
    return objects;
  }

  static StoreList Cut(const std::map<Place, ObjectRef>& objects, const StoreListOptions& options,
                       Revision revision) {
    StoreList list;
    list.revision = revision;
    auto next = objects.begin();
    if (!options.after_name.empty()) {
      next = objects.upper_bound({options.after_ns, options.after_name});
    } else if (!options.ns.empty()) {
      next = objects.lower_bound({options.ns, ""});
    }
    for (; next != objects.end(); ++next) {
      if (!options.ns.empty() && next->first.first != options.ns) break;
      if (options.filter && !options.filter(*next->second)) continue;
      if (options.limit != 0 && list.items.size() >= options.limit) {
        list.more = true;
        ++list.remaining;
        continue;
      }
      list.items.push_back(next->second);
    }
    return list;
  }

  Result<ObjectRef> Write(StoreKey key, Json value, Resource& resource, ObjectRef previous)
      REQUIRES(mutex) {
    const Revision next = revision + 1;
    Set(value, "metadata.resourceVersion", Json(std::to_string(next)));
    auto object = std::make_shared<const StoredObject>(std::move(key), std::move(value), next);
    if (file) TRY(file->Put(object->key(), next, object->bytes()));
    revision = next;
    resource.objects[PlaceOf(object->key())] = object;
    const auto type = previous ? StoreEvent::Type::kUpdated : StoreEvent::Type::kCreated;
    Publish(resource, {type, next, object, std::move(previous)});
    return object;
  }
};

namespace {

Status CheckExpected(const StoreKey& key, const ObjectRef& stored, Revision expected) {
  if (expected != 0 && stored->revision() != expected) {
    return Error(Code::kAborted, Describe(key) + " is at revision " +
                                     std::to_string(stored->revision()) + ", not at " +
                                     std::to_string(expected));
  }
  return {};
}

}  // namespace

VersionedStore::VersionedStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
VersionedStore::~VersionedStore() = default;

Result<std::unique_ptr<VersionedStore>> VersionedStore::Open(StoreOptions options) {
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  const std::lock_guard lock(state->mutex);
  state->revision = state->options.first_revision;
  if (!state->options.path.empty()) {
    state->file = TRY(ObjectFile::Open(state->options.path));
    state->revision = std::max(state->revision, TRY(state->file->ReadRevision()));
    TRY(state->file->ReadAll([&state](StoreKey key, Revision revision,
                                      std::string_view bytes) REQUIRES(state->mutex) -> Status {
      auto value = ParseJson(bytes);
      if (!value.ok()) {
        return Error(Code::kDataLoss,
                     Describe(key) + " in the file is no JSON: " + value.error().message());
      }
      auto& objects = state->resources[key.resource].objects;
      const auto place = PlaceOf(key);
      objects[place] =
          std::make_shared<const StoredObject>(std::move(key), *std::move(value), revision);
      return {};
    }));
  }
  state->compacted = state->revision;
  for (auto& [name, resource] : state->resources) resource.complete_after = state->revision;
  return std::unique_ptr<VersionedStore>(new VersionedStore(std::move(state)));
}

Revision VersionedStore::revision() const {
  std::lock_guard lock(state_->mutex);
  return state_->revision;
}

ObjectRef VersionedStore::Get(const StoreKey& key) const {
  std::lock_guard lock(state_->mutex);
  const auto resource = state_->resources.find(key.resource);
  if (resource == state_->resources.end()) return nullptr;
  const auto found = resource->second.objects.find(PlaceOf(key));
  return found == resource->second.objects.end() ? nullptr : found->second;
}

Result<StoreList> VersionedStore::List(const std::string& name,
                                       const StoreListOptions& options) const {
  std::lock_guard lock(state_->mutex);
  const auto found = state_->resources.find(name);
  if (options.at && *options.at > state_->revision) {
    return Error(Code::kInvalidArgument, "revision " + std::to_string(*options.at) +
                                             " is of the future; now it is " +
                                             std::to_string(state_->revision));
  }
  if (found == state_->resources.end()) {
    if (options.at && *options.at < state_->compacted) {
      return Error(Code::kOutOfRange,
                   "revision " + std::to_string(*options.at) + " is older than what is kept");
    }
    StoreList empty;
    empty.revision = options.at.value_or(state_->revision);
    return empty;
  }
  if (!options.at) return State::Cut(found->second.objects, options, state_->revision);
  const auto past = state_->At(found->second, *options.at);
  if (!past) {
    return Error(Code::kOutOfRange,
                 "revision " + std::to_string(*options.at) + " is older than what is kept");
  }
  return State::Cut(*past, options, *options.at);
}

std::size_t VersionedStore::Count(const std::string& name) const {
  std::lock_guard lock(state_->mutex);
  const auto found = state_->resources.find(name);
  return found == state_->resources.end() ? 0 : found->second.objects.size();
}

Result<ObjectRef> VersionedStore::Create(StoreKey key, Json value) {
  ASSERT(!key.resource.empty() && !key.name.empty());
  std::lock_guard lock(state_->mutex);
  auto& resource = state_->ResourceOf(key.resource);
  if (resource.objects.contains(PlaceOf(key)))
    return Error(Code::kAlreadyExists, Describe(key) + " already exists");
  return state_->Write(std::move(key), std::move(value), resource, nullptr);
}

Result<ObjectRef> VersionedStore::Update(StoreKey key, Json value, Revision expected) {
  std::lock_guard lock(state_->mutex);
  auto& resource = state_->ResourceOf(key.resource);
  const auto found = resource.objects.find(PlaceOf(key));
  if (found == resource.objects.end()) return Error(Code::kNotFound, Describe(key) + " not found");
  TRY(CheckExpected(key, found->second, expected));
  return state_->Write(std::move(key), std::move(value), resource, found->second);
}

Result<ObjectRef> VersionedStore::Delete(const StoreKey& key, Revision expected,
                                         std::optional<Json> last) {
  std::lock_guard lock(state_->mutex);
  auto& resource = state_->ResourceOf(key.resource);
  const auto found = resource.objects.find(PlaceOf(key));
  if (found == resource.objects.end()) return Error(Code::kNotFound, Describe(key) + " not found");
  TRY(CheckExpected(key, found->second, expected));
  const ObjectRef previous = found->second;
  const Revision next = state_->revision + 1;
  Json value = last ? *std::move(last) : previous->value();
  Set(value, "metadata.resourceVersion", Json(std::to_string(next)));
  if (state_->file) TRY(state_->file->Remove(key, next));
  state_->revision = next;
  resource.objects.erase(found);
  auto object = std::make_shared<const StoredObject>(key, std::move(value), next);
  state_->Publish(resource, {StoreEvent::Type::kDeleted, next, object, previous});
  return ObjectRef(object);
}

namespace {

class WatchSubscription final : public VersionedStore::Subscription {
 public:
  explicit WatchSubscription(std::function<void()> end) : end_(std::move(end)) {}
  ~WatchSubscription() override { end_(); }

 private:
  std::function<void()> end_;
};

}  // namespace

Result<std::unique_ptr<VersionedStore::Subscription>> VersionedStore::Watch(const std::string& name,
                                                                            Revision after,
                                                                            OnEvent on_event) {
  State* state = state_.get();
  std::lock_guard lock(state->mutex);
  if (after < state->compacted) {
    return Error(Code::kOutOfRange, "too old resource version: " + std::to_string(after) + " (" +
                                        std::to_string(state->compacted) + ")");
  }
  std::vector<const StoreEvent*> missed;
  for (const auto& [resource_name, resource] : state->resources) {
    if (!name.empty() && resource_name != name) continue;
    if (after < resource.complete_after) {
      return Error(Code::kOutOfRange, "too old resource version: " + std::to_string(after) + " (" +
                                          std::to_string(resource.complete_after) + ")");
    }
    auto first = std::upper_bound(
        resource.log.begin(), resource.log.end(), after,
        [](Revision revision, const StoreEvent& event) { return revision < event.revision; });
    for (; first != resource.log.end(); ++first) missed.push_back(&*first);
  }
  std::sort(missed.begin(), missed.end(),
            [](const StoreEvent* a, const StoreEvent* b) { return a->revision < b->revision; });
  for (const StoreEvent* event : missed) on_event(*event);
  const auto id = state->next_watcher++;
  // A revision of the future hears nothing until it has come.
  auto from_then_on = [after, inner = std::move(on_event)](const StoreEvent& event) {
    if (event.revision > after) inner(event);
  };
  state->watchers.emplace(id, State::Watcher{name, std::move(from_then_on)});
  return std::unique_ptr<Subscription>(std::make_unique<WatchSubscription>([state, id] {
    std::lock_guard end_lock(state->mutex);
    state->watchers.erase(id);
  }));
}

VersionedStore::ListAndSubscription VersionedStore::ListAndWatch(const std::string& name,
                                                                 const StoreListOptions& options,
                                                                 OnEvent on_event) {
  State* state = state_.get();
  std::lock_guard lock(state->mutex);
  ListAndSubscription result;
  const auto found = state->resources.find(name);
  result.list.revision = state->revision;
  if (found != state->resources.end())
    result.list = State::Cut(found->second.objects, options, state->revision);
  const auto id = state->next_watcher++;
  state->watchers.emplace(id, State::Watcher{name, std::move(on_event)});
  result.subscription = std::make_unique<WatchSubscription>([state, id] {
    std::lock_guard end_lock(state->mutex);
    state->watchers.erase(id);
  });
  return result;
}

void VersionedStore::AtRevision(const std::function<void(Revision)>& action) const {
  std::lock_guard lock(state_->mutex);
  action(state_->revision);
}

void VersionedStore::Compact() {
  std::lock_guard lock(state_->mutex);
  state_->compacted = state_->revision;
  for (auto& [name, resource] : state_->resources) {
    resource.log.clear();
    resource.complete_after = state_->revision;
  }
}

Status VersionedStore::Checkpoint() { return state_->file ? state_->file->Checkpoint() : Status(); }

}  // namespace thinsnap::objects
