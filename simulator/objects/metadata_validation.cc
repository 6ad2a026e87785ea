// What metadata must be, whatever the kind.
#include <algorithm>
#include <cctype>

#include "simulator/objects/names.h"
#include "simulator/objects/validation.h"

namespace thinsnap::objects {
namespace {

std::string CheckName(const schema::Kind& kind, std::string_view name) {
  if (kind.group == "rbac.authorization.k8s.io") return CheckPathSegment(name);
  if (kind.group.empty() && (kind.resource == "namespaces" || kind.resource == "services"))
    return CheckDnsLabel(name);
  return CheckDnsSubdomain(name);
}

bool IsStandardFinalizer(std::string_view name) {
  return name == "kubernetes" || name == "orphan" || name == "foregroundDeletion";
}

}  // namespace

void ValidateMetadata(const schema::Kind& kind, const Json& object, schema::FieldErrors& errors) {
  const std::string name = StringAt(object, "metadata.name");
  if (const std::string base = StringAt(object, "metadata.generateName"); !base.empty()) {
    // What is added to it at the end makes a trailing dash good.
    if (const std::string why = CheckName(kind, base + "x"); !why.empty())
      errors.push_back(schema::FieldError::Invalid("metadata.generateName", Json(base), why));
  }
  if (name.empty()) {
    errors.push_back(
        schema::FieldError::Required("metadata.name", "name or generateName is required"));
  } else if (const std::string why = CheckName(kind, name); !why.empty()) {
    errors.push_back(schema::FieldError::Invalid("metadata.name", Json(name), why));
  }
  CheckLabels(object, "metadata.labels", errors);
  std::size_t annotation_bytes = 0;
  if (const JsonObject* annotations = FindObject(object, "metadata.annotations")) {
    for (const auto& [key, value] : *annotations) {
      std::string lower(key);
      std::transform(lower.begin(), lower.end(), lower.begin(),
                     [](char c) { return static_cast<char>(std::tolower(c)); });
      if (const std::string why = CheckQualifiedName(lower); !why.empty()) {
        errors.push_back(schema::FieldError::Invalid("metadata.annotations", Json(key), why));
      }
      annotation_bytes += key.size() + (value.is_string() ? value.get_string().size() : 0);
    }
  }
  if (annotation_bytes > 262144)
    errors.push_back(schema::FieldError::TooLong("metadata.annotations", 262144));
  const JsonArray& finalizers = ArrayAt(object, "metadata.finalizers");
  for (std::size_t i = 0; i < finalizers.size(); ++i) {
    if (!finalizers[i].is_string()) continue;
    const std::string at = "metadata.finalizers[" + std::to_string(i) + "]";
    const std::string_view text(finalizers[i].get_string());
    if (const std::string why = CheckQualifiedName(text); !why.empty()) {
      errors.push_back(schema::FieldError::Invalid("metadata.finalizers", finalizers[i], why));
    } else if (text.find('/') == std::string_view::npos && !IsStandardFinalizer(text)) {
      errors.push_back(schema::FieldError::Invalid(
          at, finalizers[i],
          "name is neither a standard finalizer name nor is it fully qualified"));
    }
  }
  const JsonArray& owners = ArrayAt(object, "metadata.ownerReferences");
  int controllers = 0;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    for (const char* member : {"apiVersion", "kind", "name", "uid"}) {
      if (StringAt(owners[i], member).empty()) {
        errors.push_back(schema::FieldError::Invalid(
            "metadata.ownerReferences." + std::string(member), Json(""), "must not be empty"));
      }
    }
    if (StringAt(owners[i], "kind") == "Event" && StringAt(owners[i], "apiVersion") == "v1") {
      errors.push_back(
          schema::FieldError::Invalid("metadata.ownerReferences", owners[i],
                                      "/v1, Kind=Event is disallowed from being an owner"));
    }
    if (BoolAt(owners[i], "controller")) ++controllers;
  }
  if (controllers > 1) {
    errors.push_back(
        schema::FieldError::Invalid("metadata.ownerReferences", Json(owners),
                                    "Only one reference can have Controller set to true"));
  }
}

void ValidateMetadataUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  if (Find(old, "metadata.deletionTimestamp") == nullptr) return;
  std::string added;
  const JsonArray& before = ArrayAt(old, "metadata.finalizers");
  for (const Json& each : ArrayAt(object, "metadata.finalizers")) {
    if (std::find(before.begin(), before.end(), each) != before.end()) continue;
    added += (added.empty() ? "" : ", ") + ToJson(each);
  }
  if (added.empty()) return;
  errors.push_back(
      schema::FieldError::Forbidden("metadata.finalizers",
                                    "no new finalizers can be added if the object is being "
                                    "deleted, found new finalizers []string{" +
                                        added + "}"));
}

}  // namespace thinsnap::objects
