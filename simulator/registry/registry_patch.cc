// Patches, server-side apply and the scale subresource: writes that are made from what is stored.
#include <utility>

#include "simulator/objects/apply.h"
#include "simulator/objects/patch.h"
#include "simulator/registry/registry.h"

namespace thinsnap::registry {

using schema::ApiError;
using schema::ApiResult;

namespace {

std::string NameIn(const Json& object) { return StringAt(object, "metadata.name"); }

// Decoding writes structs that Go's types always have; who applies owns what he said, no more.
void KeepGiven(Json& decoded, const Json& given) {
  if (JsonObject* object = decoded.if_object(); object && given.is_object()) {
    std::vector<std::string> added;
    for (auto& [key, value] : *object) {
      const Json* said = given.as_object().if_contains(key);
      if (!said) {
        added.emplace_back(key);
      } else {
        KeepGiven(value, *said);
      }
    }
    for (const std::string& key : added) object->erase(key);
  } else if (JsonArray* array = decoded.if_array(); array && given.is_array()) {
    const JsonArray& said = given.as_array();
    for (std::size_t i = 0; i < array->size() && i < said.size(); ++i)
      KeepGiven((*array)[i], said[i]);
  }
}

}  // namespace

objects::FieldManager ManagerFor(const Target& target, const WriteContext& write) {
  return {write.manager, target.api_version(), target.subresource};
}

ApiResult<Json> Registry::Patched(const Target& target, PatchKind kind, const Json& old,
                                  const Json& patch, const std::vector<std::string>& duplicates,
                                  WriteContext& write) const {
  auto patched = kind == PatchKind::kJson ? objects::ApplyJsonPatch(old, patch)
                 : kind == PatchKind::kMerge
                     ? objects::ApplyMergePatch(old, patch)
                     : objects::ApplyStrategicMergePatch(old, patch, *target.version->schema);
  if (!patched.ok()) return std::move(patched).error();
  const std::string name = NameIn(*patched);
  if (name != target.name) {
    return ApiError::BadRequest("the name of the object (" + name +
                                ") does not match the name on the URL (" + target.name + ")");
  }
  auto decoded = TRY(schema::DecodeValue(*target.kind, *target.version, std::move(*patched),
                                         write.validation, duplicates));
  write.warnings.insert(write.warnings.end(), decoded.warnings.begin(), decoded.warnings.end());
  schema::ApplyDefaults(*target.kind, *target.version, decoded.object);
  return std::move(decoded.object);
}

ApiResult<Written> Registry::Patch(const Target& target, PatchKind kind, const Json& patch,
                                   const std::vector<std::string>& duplicates,
                                   WriteContext& write) {
  if (kind == PatchKind::kApply) return ApplyPatch(target, patch, duplicates, write);
  return Modify(
      target, [&](const Json& old) { return Patched(target, kind, old, patch, duplicates, write); },
      {}, write);
}

ApiResult<Written> Registry::ApplyPatch(const Target& target, const Json& patch,
                                        const std::vector<std::string>& duplicates,
                                        WriteContext& write) {
  const std::string name = NameIn(patch);
  if (!name.empty() && name != target.name) {
    return ApiError::BadRequest("the name of the object (" + name +
                                ") does not match the name on the URL (" + target.name + ")");
  }
  auto decoded =
      TRY(schema::DecodeValue(*target.kind, *target.version, patch, write.validation, duplicates));
  if (StringAt(patch, "kind").empty() || StringAt(patch, "apiVersion").empty()) {
    return ApiError::BadRequest(
        "an applied object must say its apiVersion and kind: " + target.api_version() + " and " +
        target.kind->kind + " are expected here");
  }
  // What has no place in a type cannot be owned. Custom resources are pruned instead.
  if (!target.kind->custom && !decoded.warnings.empty()) {
    return ApiError::BadRequest("failed to create typed patch object (" + target.ns + "/" +
                                target.name + "; " + target.api_version() +
                                ", Kind=" + target.kind->kind + "): " + decoded.warnings.front());
  }
  Json wanted = std::move(decoded.object);
  KeepGiven(wanted, patch);
  // What an endpoint does not write cannot be owned there.
  if (target.subresource == "status") {
    JsonObject kept;
    for (auto& [key, value] : wanted.as_object()) {
      if (key == "apiVersion" || key == "kind" || key == "metadata" || key == "status")
        kept[key] = std::move(value);
    }
    wanted = std::move(kept);
  } else if (target.subresource.empty() && target.kind->has_status) {
    wanted.as_object().erase("status");
  }
  Set(wanted, "metadata.name", target.name);
  if (target.kind->namespaced) Set(wanted, "metadata.namespace", target.ns);
  write.warnings.insert(write.warnings.end(), decoded.warnings.begin(), decoded.warnings.end());
  const schema::Schema& schema = *target.version->schema;
  const auto manager = ManagerFor(target, write);
  const auto apply = [&](const Json* live) -> ApiResult<Json> {
    Json next =
        TRY(objects::ApplyConfiguration(schema, live, wanted, manager, write.force, clock_.Now()));
    auto whole = TRY(schema::DecodeValue(*target.kind, *target.version, std::move(next),
                                         schema::FieldValidation::kIgnore));
    schema::ApplyDefaults(*target.kind, *target.version, whole.object);
    return std::move(whole.object);
  };

  // Made here unless it is there; whoever makes it in between is met as an existing object in the
  // next round.
  for (int race = 0; race < kRaces; ++race) {
    if (!store_.Get(target.Key())) {
      if (!target.subresource.empty()) {
        return ApiError::NotFound(target.kind->group, target.kind->resource, target.name);
      }
      if (!StringAt(wanted, "metadata.uid").empty()) {
        return ApiError::Conflict(target.kind->group, target.kind->resource, target.name,
                                  "uid mismatch: the provided object specified uid " +
                                      StringAt(wanted, "metadata.uid") +
                                      ", and no existing object was found");
      }
      auto written = Insert(target, TRY(apply(nullptr)), true, write);
      if (written.ok() || written.error().reason != "AlreadyExists") return written;
      continue;
    }
    ModifyMode mode;
    mode.tracked = true;
    auto written = Modify(target, [&](const Json& old) { return apply(&old); }, mode, write);
    if (written.ok() || written.error().reason != "NotFound" || !target.subresource.empty())
      return written;
  }
  return ApiError::Conflict(target.kind->group, target.kind->resource, target.name);
}

ApiResult<Json> Registry::GetScale(const Target& target) const {
  const auto ref = TRY(Get(target));
  return objects::GetScale(*target.kind, *target.version, Show(*ref, target));
}

ApiResult<Written> Registry::UpdateScale(const Target& target, const Json& scale,
                                         WriteContext& write) {
  if (const std::string name = NameIn(scale); name != target.name) {
    return ApiError::BadRequest("the name of the object (" + name +
                                ") does not match the name on the URL (" + target.name + ")");
  }
  ModifyMode mode;
  mode.plain_update = !StringAt(scale, "metadata.resourceVersion").empty();
  auto written = Modify(
      target,
      [&](const Json& old) -> ApiResult<Json> {
        Json next = old;
        TRY(objects::SetScale(*target.version, scale, next));
        const std::string version = StringAt(scale, "metadata.resourceVersion");
        if (!version.empty()) Set(next, "metadata.resourceVersion", version);
        return next;
      },
      mode, write);
  if (!written.ok()) return written;
  written->object = TRY(objects::GetScale(*target.kind, *target.version, written->object));
  return written;
}

ApiResult<Written> Registry::PatchScale(const Target& target, PatchKind kind, const Json& patch,
                                        WriteContext& write) {
  const Json scale = TRY(GetScale(target));
  auto patched = kind == PatchKind::kJson ? objects::ApplyJsonPatch(scale, patch)
                                          : objects::ApplyMergePatch(scale, patch);
  if (!patched.ok()) return std::move(patched).error();
  if (!Find(patch, "metadata.resourceVersion")) Remove(*patched, "metadata.resourceVersion");
  return UpdateScale(target, *patched, write);
}

}  // namespace thinsnap::registry
