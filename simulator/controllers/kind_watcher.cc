#include "simulator/controllers/kind_watcher.h"

#include "simulator/schema/kinds.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectPtr;
using kube::Requeue;
using kube::ResourceType;

// The version to watch: the storage version, which is always served in practice, else any served
// one.
ResourceType TypeOf(const Json& definition) {
  std::string version;
  for (const Json& candidate : ArrayAt(definition, "spec.versions")) {
    if (!BoolAt(candidate, "served")) continue;
    if (version.empty() || BoolAt(candidate, "storage")) version = StringAt(candidate, "name");
  }
  return {StringAt(definition, "spec.group"), version, StringAt(definition, "spec.names.plural"),
          StringAt(definition, "spec.names.kind"),
          StringAt(definition, "spec.scope") == "Namespaced"};
}

}  // namespace

struct KindWatcher::Custom {
  Custom(const Context& context, TaskGroup& parent, ResourceType watched)
      : type(std::move(watched)),
        informer(context.runtime, context.client, type),
        group(context.runtime, &parent) {}

  ResourceType type;
  kube::Informer informer;
  TaskGroup group;  // stopped and joined before the informer goes
};

std::vector<ResourceType> DeletableKinds() {
  std::vector<ResourceType> kinds;
  const schema::KindTable table;
  for (const auto& kind : table.All()) {
    const auto can = [&](const char* verb) {
      return std::find(kind->verbs.begin(), kind->verbs.end(), verb) != kind->verbs.end();
    };
    if (!kind->stored || kind->versions.empty() || kind->resource == "events") continue;
    if (!can("list") || !can("watch") || !can("delete")) continue;
    kinds.push_back({kind->group, kind->versions.front().version, kind->resource, kind->kind,
                     kind->namespaced});
  }
  return kinds;
}

KindWatcher::KindWatcher(const Context& context)
    : context_(context),
      definitions_(context.informers.For(types::kCustomResourceDefinition)),
      queue_(context.runtime, "kind-watcher",
             [this](const kube::ObjectKey& key) { return SyncDefinition(key); }),
      built_in_(DeletableKinds()) {
  queue_.WatchOwn(definitions_);
  for (const auto& type : built_in_) {
    context_.informers.For(type).AddHandler(
        [this, type](const ObjectPtr& old, const ObjectPtr& current) { Tell(type, old, current); });
  }
}

KindWatcher::~KindWatcher() = default;

void KindWatcher::AddHandler(Handler handler) { handlers_.push_back(std::move(handler)); }

void KindWatcher::Start(TaskGroup& group) {
  group_ = &group;
  queue_.Start(group);
}

void KindWatcher::Tell(const ResourceType& type, const ObjectPtr& old, const ObjectPtr& current) {
  for (const auto& handler : handlers_) handler(type, old, current);
}

Result<Requeue> KindWatcher::SyncDefinition(const kube::ObjectKey& key) {
  const ObjectPtr definition = definitions_.Get(key);
  const bool served = definition && kube::ConditionIs(*definition, "Established");
  std::unique_ptr<Custom> gone;
  {
    std::lock_guard lock(mutex_);
    const auto present = custom_.find(key.name);
    if (present != custom_.end()) {
      if (served && present->second->type == TypeOf(*definition)) return Requeue::Done();
      gone = std::move(present->second);
      custom_.erase(present);
    }
  }
  if (gone) {
    gone->group.Stop();
    gone->group.Join();
    for (const auto& object : gone->informer.List()) Tell(gone->type, object, nullptr);
    gone.reset();
  }
  if (!served) return Requeue::Done();
  auto custom = std::make_unique<Custom>(context_, *group_, TypeOf(*definition));
  custom->informer.AddHandler(
      [this, type = custom->type](const ObjectPtr& old, const ObjectPtr& current) {
        Tell(type, old, current);
      });
  custom->informer.Start(custom->group);
  std::lock_guard lock(mutex_);
  custom_[key.name] = std::move(custom);
  return Requeue::Done();
}

std::vector<ResourceType> KindWatcher::Types() const {
  auto all = built_in_;
  for (const auto& definition : definitions_.List()) {
    if (kube::ConditionIs(*definition, "Established")) all.push_back(TypeOf(*definition));
  }
  return all;
}

std::optional<ResourceType> KindWatcher::Find(const std::string& api_version,
                                              const std::string& kind) const {
  const auto slash = api_version.find('/');
  const auto group = slash == std::string::npos ? "" : api_version.substr(0, slash);
  std::optional<ResourceType> other_version;
  for (const auto& type : Types()) {
    if (type.kind != kind || type.group != group) continue;
    if (type.api_version() == api_version) return type;
    other_version = type;
  }
  return other_version;
}

bool KindWatcher::Synced() const {
  const auto definitions = definitions_.List();
  std::lock_guard lock(mutex_);
  for (const ObjectPtr& definition : definitions) {
    if (!kube::ConditionIs(*definition, "Established")) continue;
    const auto custom = custom_.find(kube::NameOf(*definition));
    if (custom == custom_.end() || !custom->second->informer.synced()) return false;
  }
  return true;
}

}  // namespace thinsnap::controllers
