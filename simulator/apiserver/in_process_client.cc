#include "simulator/apiserver/in_process_client.h"

#include <deque>
#include <mutex>
#include <utility>

#include "base/core/guarded.h"
#include "base/kube/object.h"

namespace thinsnap::apiserver {

using kube::ObjectKey;
using kube::ResourceType;
using schema::ApiError;
using schema::ApiResult;

namespace {

ApiResult<Json> ObjectOf(ApiResult<registry::Written> result) {
  registry::Written written = TRY(std::move(result));
  return std::move(written.object);
}

constexpr std::size_t kMaxQueued =
    65536;  // events; a reader this far behind is cut off and lists again

// Hands events over to the thread that blocks in Watch.
class QueueSink final : public registry::WatchSink {
 public:
  QueueSink(Runtime& runtime, const registry::Registry& registry, registry::Target target)
      : registry_(registry), target_(std::move(target)), changed_(runtime.NewEventCount()) {}

  bool OnEvent(registry::WatchEventType type, const objects::ObjectRef& object) override {
    return Push({type, object, 0});
  }
  bool OnBookmark(objects::Revision revision, bool) override {
    return Push({registry::WatchEventType::kAdded, nullptr, revision});
  }
  void OnEnd() override {
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_->Notify();
  }

  // Until the watch ends or `on_event` wants no more.
  Status Drain(const std::function<Status(kube::WatchEvent)>& on_event) {
    for (;;) {
      const auto seen = changed_->Seen();
      std::deque<Item> items;
      bool ended = false;
      {
        std::lock_guard lock(mutex_);
        items.swap(items_);
        ended = ended_;
      }
      for (const Item& item : items) {
        TRY(Runtime::CheckCancelled());
        TRY(on_event(ToEvent(item)));
      }
      if (items.empty()) {
        if (ended) return {};
        TRY(changed_->Wait(seen));
      }
    }
  }

 private:
  struct Item {
    registry::WatchEventType type;
    objects::ObjectRef object;  // null: a bookmark
    objects::Revision revision;
  };

  bool Push(Item item) {
    {
      std::lock_guard lock(mutex_);
      if (ended_ || items_.size() >= kMaxQueued) {
        ended_ = true;
        return false;
      }
      items_.push_back(std::move(item));
    }
    changed_->Notify();
    return true;
  }

  kube::WatchEvent ToEvent(const Item& item) const {
    using Type = kube::WatchEvent::Type;
    if (!item.object) {
      return {Type::kBookmark,
              {{"apiVersion", target_.api_version()},
               {"kind", target_.kind->kind},
               {"metadata", {{"resourceVersion", std::to_string(item.revision)}}}}};
    }
    const Type type = item.type == registry::WatchEventType::kAdded      ? Type::kAdded
                      : item.type == registry::WatchEventType::kModified ? Type::kModified
                                                                         : Type::kDeleted;
    return {type, registry_.Show(*item.object, target_)};
  }

  const registry::Registry& registry_;
  const registry::Target target_;
  std::unique_ptr<EventCount> changed_;
  std::mutex mutex_;
  std::deque<Item> items_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
};

class RegistryClient final : public kube::KubeClient {
 public:
  RegistryClient(Runtime& runtime, registry::Registry& registry, registry::WatchHub& watches,
                 const Authorizer& authorizer, const Reviews& reviews, registry::UserInfo user)
      : runtime_(runtime),
        registry_(registry),
        watches_(watches),
        authorizer_(authorizer),
        reviews_(reviews),
        user_(std::move(user)) {}

  Result<Json> Get(const ResourceType& type, const ObjectKey& key) override {
    return Out([&]() -> ApiResult<Json> {
      const registry::Target target = TRY(Aim("get", type, key));
      const auto object = TRY(registry_.Get(target));
      return registry_.Show(*object, target);
    });
  }

  Result<kube::ObjectList> List(const ResourceType& type, const std::string& ns,
                                const kube::ListOptions& options) override {
    auto list = [&]() -> ApiResult<kube::ObjectList> {
      const registry::Target target = TRY(Aim("list", type, {ns, ""}));
      registry::ListQuery query;
      query.label_selector = options.label_selector;
      query.field_selector = options.field_selector;
      query.resource_version = options.resource_version;
      const registry::ListPage page = TRY(registry_.List(target, query));
      kube::ObjectList out;
      out.resource_version = std::to_string(page.revision);
      out.items.reserve(page.items.size());
      for (const auto& item : page.items) out.items.push_back(registry_.Show(*item, target));
      return out;
    }();
    if (!list.ok()) return list.error().ToError();
    return std::move(*list);
  }

  Status Watch(const ResourceType& type, const std::string& ns, const kube::WatchOptions& options,
               const std::function<Status(kube::WatchEvent)>& on_event) override {
    auto target = Aim("watch", type, {ns, ""});
    if (!target.ok()) return target.error().ToError();
    registry::WatchQuery query;
    query.label_selector = options.label_selector;
    query.field_selector = options.field_selector;
    query.resource_version = options.resource_version;
    query.timeout_seconds = options.timeout_seconds;
    query.bookmarks = true;
    auto sink = std::make_shared<QueueSink>(runtime_, registry_, *target);
    auto handle = watches_.Start(*target, query, sink);
    if (!handle.ok()) return handle.error().ToError();
    auto status = sink->Drain(on_event);
    (*handle)->Close();
    return status;
  }

  Result<Json> Create(const ResourceType& type, const Json& object) override {
    return Out([&]() -> ApiResult<Json> {
      const registry::Target target = TRY(Aim("create", type, {kube::NamespaceOf(object), ""}));
      registry::WriteContext write = NewWrite();
      if (!target.kind->stored) return ObjectOf(reviews_.Create(target, object, write));
      Json decoded = TRY(Decode(target, object, write));
      return ObjectOf(registry_.Create(target, std::move(decoded), write));
    });
  }

  Result<Json> Update(const ResourceType& type, const Json& object,
                      const std::string& subresource) override {
    return Out([&]() -> ApiResult<Json> {
      const registry::Target target = TRY(Aim("update", type, kube::KeyOf(object), subresource));
      registry::WriteContext write = NewWrite();
      if (subresource == "scale") return ObjectOf(registry_.UpdateScale(target, object, write));
      Json decoded = TRY(Decode(target, object, write));
      return ObjectOf(registry_.Update(target, std::move(decoded), write));
    });
  }

  Result<Json> Patch(const ResourceType& type, const ObjectKey& key, kube::PatchType patch_type,
                     const Json& patch, const kube::PatchOptions& options) override {
    return Out([&]() -> ApiResult<Json> {
      const registry::Target target = TRY(Aim("patch", type, key, options.subresource));
      registry::WriteContext write = NewWrite();
      if (!options.field_manager.empty()) write.manager = options.field_manager;
      write.force = options.force;
      const registry::PatchKind kind =
          patch_type == kube::PatchType::kJson    ? registry::PatchKind::kJson
          : patch_type == kube::PatchType::kMerge ? registry::PatchKind::kMerge
          : patch_type == kube::PatchType::kApply ? registry::PatchKind::kApply
                                                  : registry::PatchKind::kStrategic;
      if (kind == registry::PatchKind::kStrategic && target.kind->custom) {
        return ApiError::UnsupportedMediaType({"application/json-patch+json",
                                               "application/merge-patch+json",
                                               "application/apply-patch+yaml"});
      }
      if (options.subresource == "scale")
        return ObjectOf(registry_.PatchScale(target, kind, patch, write));
      return ObjectOf(registry_.Patch(target, kind, patch, {}, write));
    });
  }

  Result<Json> Delete(const ResourceType& type, const ObjectKey& key,
                      const kube::DeleteOptions& options) override {
    return Out([&]() -> ApiResult<Json> {
      const registry::Target target = TRY(Aim("delete", type, key));
      objects::DeleteRequest request;
      if (options.grace_period_seconds)
        request.grace_period_seconds = *options.grace_period_seconds;
      request.propagation_policy = options.propagation_policy;
      request.uid = options.uid;
      request.resource_version = options.resource_version;
      registry::WriteContext write = NewWrite();
      return ObjectOf(registry_.Delete(target, request, write));
    });
  }

  Result<Json> CreateSubresource(const ResourceType& type, const ObjectKey& key,
                                 const std::string& subresource, const Json& object) override {
    return Out([&]() -> ApiResult<Json> {
      const registry::Target target = TRY(Aim("create", type, key, subresource));
      registry::WriteContext write = NewWrite();
      return ObjectOf(reviews_.Create(target, object, write));
    });
  }

 private:
  template <typename Work>
  static Result<Json> Out(const Work& work) {
    TRY(Runtime::CheckCancelled());
    ApiResult<Json> result = work();
    if (!result.ok()) return result.error().ToError();
    return std::move(*result);
  }

  registry::WriteContext NewWrite() const {
    registry::WriteContext write;
    write.user = user_;
    write.manager = ManagerOf(user_.name.substr(user_.name.rfind(':') + 1));
    return write;
  }

  ApiResult<registry::Target> Aim(const char* verb, const ResourceType& type, const ObjectKey& key,
                                  const std::string& subresource = "") const {
    registry::Target target = TRY(
        registry_.Resolve(type.group, type.version, type.resource, key.ns, key.name, subresource));
    std::string resource = type.resource;
    if (!subresource.empty()) resource += "/" + subresource;
    const AccessQuestion question{verb, type.group, std::move(resource), target.ns, key.name, ""};
    if (!authorizer_.Allows(user_, question)) {
      return ApiError::Forbidden(type.group, type.resource, key.name, RefusalText(user_, question));
    }
    if (target.kind->namespaced && target.kind->stored && target.ns.empty() &&
        verb != std::string_view("list") && verb != std::string_view("watch")) {
      return ApiError::BadRequest("a namespace is required for " + type.resource);
    }
    return target;
  }

  static ApiResult<Json> Decode(const registry::Target& target, const Json& object,
                                registry::WriteContext& write) {
    auto decoded =
        TRY(schema::DecodeValue(*target.kind, *target.version, object, write.validation));
    schema::ApplyDefaults(*target.kind, *target.version, decoded.object);
    return std::move(decoded.object);
  }

  Runtime& runtime_;
  registry::Registry& registry_;
  registry::WatchHub& watches_;
  const Authorizer& authorizer_;
  const Reviews& reviews_;
  const registry::UserInfo user_;
};

}  // namespace

std::unique_ptr<kube::KubeClient> MakeRegistryClient(Runtime& runtime, registry::Registry& registry,
                                                     registry::WatchHub& watches,
                                                     const Authorizer& authorizer,
                                                     const Reviews& reviews,
                                                     registry::UserInfo user) {
  return std::make_unique<RegistryClient>(runtime, registry, watches, authorizer, reviews,
                                          std::move(user));
}

}  // namespace thinsnap::apiserver
