#include <array>
#include <utility>

#include "simulator/objects/apply.h"
#include "simulator/registry/registry.h"
#include "simulator/schema/custom.h"

namespace thinsnap::registry {

using schema::ApiError;
using schema::ApiResult;
using schema::ApiStatus;
using schema::FieldError;
using schema::FieldErrors;

namespace {

constexpr int kNameTries = 8;  // of generateName
constexpr std::size_t kMaxObjectBytes = std::size_t{1536} * 1024;

ApiError Invalid(const Target& target, const std::string& name, FieldErrors errors) {
  return ApiError::Invalid(target.kind->group, target.kind->kind, name, std::move(errors));
}

ApiStatus CheckSize(const Json& stored) {
  if (ToJson(stored).size() <= kMaxObjectBytes) return {};
  return ApiError(413, "RequestEntityTooLarge", "the object would be larger than 1.5 MiB");
}

std::string NameIn(const Json& object) { return StringAt(object, "metadata.name"); }

// What is put must say its name.
ApiStatus CheckNamed(const Json& object, const Target& target) {
  const std::string name = NameIn(object);
  if (name == target.name) return {};
  if (name.empty()) {
    return ApiError::BadRequest("the name of the object (" + target.name +
                                " based on URL) was undeterminable: name must be provided");
  }
  return ApiError::BadRequest("the name of the object (" + name +
                              ") does not match the name on the URL (" + target.name + ")");
}

// apiVersion, kind and metadata first: lists rely on it, and people like it.
Json Ordered(Json object) {
  JsonObject* members = object.if_object();
  static constexpr std::array<std::string_view, 3> kFirst = {"apiVersion", "kind", "metadata"};
  if (!members || members->size() < kFirst.size()) return object;
  auto at = members->begin();
  bool in_order = true;
  for (const auto name : kFirst) in_order = in_order && std::string_view((at++)->key()) == name;
  if (in_order) return object;
  JsonObject ordered;
  ordered.reserve(members->size());
  for (const auto name : kFirst) {
    if (auto* member = members->if_contains(name)) ordered.emplace(name, std::move(*member));
  }
  for (auto& member : *members) {
    if (!ordered.contains(member.key())) ordered.emplace(member.key(), std::move(member.value()));
  }
  return ordered;
}

Json SuccessStatus(const Target& target, const Json& object) {
  JsonObject details = {{"name", NameIn(object)}};
  if (!target.kind->group.empty()) details["group"] = target.kind->group;
  details["kind"] = target.kind->resource;
  details["uid"] = StringAt(object, "metadata.uid");
  return {{"kind", "Status"},
          {"apiVersion", "v1"},
          {"metadata", JsonObject()},
          {"status", "Success"},
          {"details", std::move(details)}};
}

}  // namespace

ApiStatus Registry::CheckNamespace(const Target& target, const std::string& name) const {
  if (!target.kind->namespaced) return {};
  const auto ns = store_.Get({"namespaces", "", target.ns});
  if (!ns) return ApiError::NotFound("", "namespaces", target.ns);
  if (StringAt(ns->value(), "metadata.deletionTimestamp").empty()) return {};
  ApiError error = ApiError::Forbidden(
      target.kind->group, target.kind->resource, name,
      "unable to create new content in namespace " + target.ns + " because it is being terminated");
  error.causes = {{"NamespaceTerminating", "metadata.namespace",
                   "namespace " + target.ns + " is being terminated"}};
  return error;
}

Json Registry::ToStored(const Target& target, Json object) const {
  const std::string& resource = target.kind->storage_resource;
  if (resource != target.kind->group_resource()) {
    const auto dot = resource.find('.');
    const auto to = kinds_.FindResource(dot == std::string::npos ? "" : resource.substr(dot + 1),
                                        resource.substr(0, dot));
    if (to)
      object = schema::ConvertObject(*target.kind, *to, to->storage_version, std::move(object));
  } else if (target.version->version != target.kind->storage_version) {
    object = schema::ConvertObject(*target.kind, *target.kind, target.kind->storage_version,
                                   std::move(object));
    // What is stored is of the storage version, whichever it was written in.
    const schema::KindVersion* stored = target.kind->FindVersion(target.kind->storage_version);
    if (target.kind->custom && stored != nullptr) {
      schema::Prune(*stored->schema, object);
      schema::ApplyDefaults(*target.kind, *stored, object);
    }
  }
  return Ordered(std::move(object));
}

ApiResult<Written> Registry::Create(const Target& target, Json object, WriteContext& write) {
  return Insert(target, std::move(object), false, write);
}

ApiResult<Written> Registry::Insert(const Target& target, Json object, bool tracked,
                                    WriteContext& write) {
  const schema::Kind& kind = *target.kind;
  const std::string ns_given = StringAt(object, "metadata.namespace");
  if (!ns_given.empty() && ns_given != target.ns) {
    return ApiError::BadRequest(
        "the namespace of the provided object does not match the namespace sent on the request");
  }
  TRY(CheckNamespace(target, NameIn(object)));
  if (kind.custom) {
    const auto definition =
        store_.Get({"customresourcedefinitions.apiextensions.k8s.io", "", kind.group_resource()});
    if (definition && !StringAt(definition->value(), "metadata.deletionTimestamp").empty()) {
      return ApiError(405, "MethodNotAllowed",
                      "create not allowed while custom resource definition is terminating");
    }
  }
  // A client owns what it sent, not what admission and the kind's own steps add.
  if (!tracked) {
    objects::TrackUpdate(*target.version->schema, nullptr, object, ManagerFor(target, write),
                         clock_.Now());
  }
  const AdmissionContext admission{kind, target.ns, store_, random_};
  TRY(admission_.MutateCreate(admission, object));
  const bool generated = NameIn(object).empty();
  for (int attempt = 1;; ++attempt) {
    Json made = object;
    TRY(objects::PrepareCreate(kind, *target.version, target.ns, made, clock_.Now(), random_));
    FieldErrors errors = objects::ValidateCreate(kind, *target.version, made);
    if (!errors.empty()) return Invalid(target, NameIn(made), std::move(errors));
    auto held = admission_.Allocate(admission, nullptr, made);
    if (!held.errors.empty()) return Invalid(target, NameIn(made), std::move(held.errors));
    Target named = target;
    named.name = NameIn(made);
    Json stored = ToStored(named, made);
    TRY(CheckSize(stored));
    Written written{std::move(made), 201};
    if (write.dry_run) {
      if (!store_.Get(named.Key())) return written;
      if (generated && attempt < kNameTries) continue;
      return ApiError::AlreadyExists(kind.group, kind.resource, named.name);
    }
    objects::ObjectRef result;
    const ApiStatus done = admission_.Charge(admission, stored, [&]() -> ApiStatus {
      auto created = store_.Create(named.Key(), std::move(stored));
      if (!created.ok()) return Fail(created.error(), named);
      result = std::move(*created);
      return {};
    });
    if (!done.ok()) {
      if (done.error().reason == "AlreadyExists" && generated && attempt < kNameTries) continue;
      return done.error();
    }
    written.object = Show(*result, named);
    AfterWrite(named, *result, false);
    return written;
  }
}

ApiResult<Written> Registry::Modify(const Target& target, const Change& change, ModifyMode mode,
                                    WriteContext& write) {
  const schema::Kind& kind = *target.kind;
  for (int race = 0; race < kRaces; ++race) {
    const objects::ObjectRef ref = TRY(Get(target));
    const Json old = Show(*ref, target);
    const auto warnings_before = write.warnings.size();
    Json next = TRY(change(old));

    const std::string version_given = StringAt(next, "metadata.resourceVersion");
    if (mode.plain_update && version_given.empty() && kind.rv_required_on_update) {
      return Invalid(target, target.name,
                     {FieldError::Invalid("metadata.resourceVersion", Json(0),
                                          "must be specified for an update")});
    }
    const std::string uid_given = StringAt(next, "metadata.uid");
    if (!uid_given.empty() && uid_given != StringAt(old, "metadata.uid")) {
      if (!mode.plain_update) {
        return Invalid(
            target, target.name,
            {FieldError::Invalid("metadata.uid", Json(uid_given), "field is immutable")});
      }
      return ApiError::Conflict(kind.group, kind.resource, target.name,
                                "Precondition failed: UID in precondition: " + uid_given +
                                    ", UID in object meta: " + StringAt(old, "metadata.uid"));
    }
    bool unconditional = mode.unconditional;
    if (!version_given.empty() && version_given != "0") {
      if (version_given.find_first_not_of("0123456789") != std::string::npos) {
        return ApiError::BadRequest("metadata.resourceVersion: Invalid value: \"" + version_given +
                                    "\": a decimal number is expected");
      }
      if (version_given != std::to_string(ref->revision())) {
        return ApiError::Conflict(kind.group, kind.resource, target.name);
      }
      // A PUT that names the version has lost when another write came between; a patch carries the
      // version of the object that it was applied to.
      if (mode.plain_update) unconditional = false;
    }

    TRY(objects::PrepareUpdate(kind, *target.version, target.subresource, old, next));
    const AdmissionContext admission{kind, target.ns, store_, random_};
    if (target.subresource.empty()) admission_.MutateUpdate(admission, next);
    FieldErrors errors =
        objects::ValidateUpdate(kind, *target.version, target.subresource, old, next);
    if (!errors.empty()) return Invalid(target, target.name, std::move(errors));
    ServiceAddresses::Held held;
    if (target.subresource.empty()) {
      TRY(admission_.CheckUpdate(admission, old, next));
      held = admission_.Allocate(admission, &old, next);
      if (!held.errors.empty()) return Invalid(target, target.name, std::move(held.errors));
    }
    if (!mode.tracked) {
      objects::TrackUpdate(*target.version->schema, &old, next, ManagerFor(target, write),
                           clock_.Now());
    }
    Set(next, "metadata.resourceVersion", std::to_string(ref->revision()));
    const bool remove = objects::MustBeRemoved(kind, next);
    if (write.dry_run) return Written{std::move(next), 200};
    if (!remove && objects::IsNoOp(old, next)) return Written{old, 200};

    Json stored = ToStored(target, std::move(next));
    if (!remove) TRY(CheckSize(stored));
    auto result = remove ? store_.Delete(target.Key(), ref->revision(), std::move(stored))
                         : store_.Update(target.Key(), std::move(stored), ref->revision());
    if (result.ok()) {
      Written written{Show(**result, target), 200};
      AfterWrite(target, **result, remove);
      return written;
    }
    if (!result.Is(Code::kAborted) || !unconditional) return Fail(result.error(), target);
    write.warnings.resize(warnings_before);
  }
  return ApiError::Conflict(kind.group, kind.resource, target.name);
}

ApiResult<Written> Registry::Update(const Target& target, Json object, WriteContext& write) {
  TRY(CheckNamed(object, target));
  const std::string ns_given = StringAt(object, "metadata.namespace");
  if (!ns_given.empty() && ns_given != target.ns) {
    return ApiError::BadRequest(
        "the namespace of the provided object does not match the namespace sent on the request");
  }
  if (target.kind->create_on_update && target.subresource.empty() && !store_.Get(target.Key())) {
    return Insert(target, std::move(object), false, write);
  }
  ModifyMode mode;
  mode.plain_update = true;
  return Modify(target, [&](const Json&) -> ApiResult<Json> { return object; }, mode, write);
}

ApiResult<Written> Registry::Delete(const Target& target, const objects::DeleteRequest& request,
                                    WriteContext& write) {
  for (int race = 0; race < kRaces; ++race) {
    const objects::ObjectRef ref = TRY(Get(target));
    TRY(admission_.CheckDelete({*target.kind, target.ns, store_, random_}, target.name));
    Json object = Show(*ref, target);
    const auto outcome = TRY(objects::PrepareDelete(*target.kind, object, request, clock_.Now()));
    const bool remove = outcome == objects::DeleteOutcome::kRemove;
    Json answer =
        remove && !target.kind->delete_returns_object ? SuccessStatus(target, object) : object;
    if (outcome == objects::DeleteOutcome::kNone || write.dry_run)
      return Written{std::move(answer), 200};
    Json stored = ToStored(target, std::move(object));
    auto result = remove ? store_.Delete(target.Key(), ref->revision(), std::move(stored))
                         : store_.Update(target.Key(), std::move(stored), ref->revision());
    if (result.ok()) {
      if (!remove || target.kind->delete_returns_object) answer = Show(**result, target);
      AfterWrite(target, **result, remove);
      return Written{std::move(answer), 200};
    }
    if (!result.Is(Code::kAborted)) return Fail(result.error(), target);
  }
  return ApiError::Conflict(target.kind->group, target.kind->resource, target.name);
}

ApiResult<Written> Registry::DeleteCollection(const Target& target, const ListQuery& query,
                                              const objects::DeleteRequest& request,
                                              WriteContext& write) {
  const ListPage page = TRY(List(target, query));
  JsonArray items;
  for (const auto& item : page.items) {
    Target one = target;
    one.ns = item->key().ns;
    one.name = item->key().name;
    Json shown = Show(*item, one);
    for (const char* member : {"kind", "apiVersion"}) Remove(shown, member);  // said by the list
    items.push_back(std::move(shown));
    auto deleted = Delete(one, request, write);
    if (!deleted.ok() && deleted.error().reason != "NotFound") return std::move(deleted).error();
  }
  JsonObject metadata = {{"resourceVersion", std::to_string(store_.revision())}};
  if (!page.continue_token.empty()) metadata["continue"] = page.continue_token;
  Json list = {{"kind", target.kind->list_kind},
               {"apiVersion", target.api_version()},
               {"metadata", std::move(metadata)},
               {"items", std::move(items)}};
  return Written{std::move(list), 200};
}

ApiResult<Written> Registry::Bind(const Target& target, const Json& binding, WriteContext& write) {
  Target pod = target;
  pod.subresource.clear();
  for (int race = 0; race < kRaces; ++race) {
    const objects::ObjectRef ref = TRY(Get(pod));
    Json object = ref->value();
    TRY(objects::BindPod(object, binding, clock_.Now()));
    if (write.dry_run) break;
    auto result = store_.Update(pod.Key(), std::move(object), ref->revision());
    if (result.ok()) break;
    if (!result.Is(Code::kAborted)) return Fail(result.error(), pod);
  }
  return Written{{{"kind", "Status"},
                  {"apiVersion", "v1"},
                  {"metadata", JsonObject()},
                  {"status", "Success"},
                  {"code", 201}},
                 201};
}

}  // namespace thinsnap::registry
