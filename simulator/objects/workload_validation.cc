// Those who make pods: what they may ask for, and what must stay as it was.
#include <cctype>
#include <charconv>
#include <optional>

#include "simulator/objects/cron.h"
#include "simulator/objects/field_rules.h"
#include "simulator/objects/names.h"
#include "simulator/objects/selectors.h"
#include "simulator/objects/validation.h"

namespace thinsnap::objects {
namespace {

schema::FieldError Mismatch(const Json& object, const std::string& template_at) {
  const JsonObject* labels = FindObject(object, template_at + ".metadata.labels");
  return schema::FieldError::Invalid(template_at + ".metadata.labels",
                                     labels == nullptr ? Json(nullptr) : Json(*labels),
                                     "`selector` does not match template `labels`");
}

void ValidateSelector(const Json& object, const std::string& template_at,
                      schema::FieldErrors& errors) {
  const Json* selector = Find(object, "spec.selector");
  if (selector == nullptr || !selector->is_object()) {
    errors.push_back(schema::FieldError::Required("spec.selector"));
    errors.push_back(Mismatch(object, template_at));
    return;
  }
  if (selector->get_object().empty()) {
    std::string kind = StringAt(object, "kind");
    for (char& c : kind) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    errors.push_back(schema::FieldError::Invalid("spec.selector", *selector,
                                                 "empty selector is invalid for " + kind));
    return;
  }
  field::Selector(selector, "spec.selector", "", errors);
  const auto parsed = LabelSelector::FromObject(*selector);
  if (!parsed.ok()) {
    errors.push_back(
        schema::FieldError::Invalid("spec.selector", *selector, parsed.error().message));
    return;
  }
  const JsonObject* labels = FindObject(object, template_at + ".metadata.labels");
  const JsonObject none;
  if (!parsed->MatchesLabels(labels == nullptr ? none : *labels)) {
    errors.push_back(Mismatch(object, template_at));
  }
}

void ValidateTemplate(const Json& object, const std::string& at, schema::FieldErrors& errors) {
  if (const Json* labels = Find(object, at + ".metadata.labels"))
    field::Labels(labels, at + ".labels", "", errors);
  if (const Json* containers = Find(object, at + ".spec.ephemeralContainers")) {
    field::Absent(containers, at + ".spec.ephemeralContainers",
                  "ephemeral containers not allowed in pod template", errors);
  }
  ValidatePodSpec(object, at + ".spec", errors);
}

// A count of pods, or a share of them. nullopt when it is neither, which is told.
std::optional<std::int64_t> CheckShare(const Json& object, const std::string& path,
                                       schema::FieldErrors& errors) {
  const Json* value = Find(object, path);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) {
    RequireNotNegative(object, path, errors);
    return value->to_number<std::int64_t>();
  }
  const std::string_view text = value->is_string() ? std::string_view(value->get_string()) : "";
  std::int64_t share = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), share);
  if (status == std::errc() && std::string_view(end, text.data() + text.size()) == "%" &&
      share >= 0) {
    return share;
  }
  errors.push_back(schema::FieldError::Invalid(
      path, *value,
      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
      "'93%', regex used for validation is '[0-9]+%')"));
  return std::nullopt;
}

void ValidateStrategy(const Json& object, schema::FieldErrors& errors) {
  const std::string type = StringAt(object, "spec.strategy.type");
  const std::string rolling = "spec.strategy.rollingUpdate";
  if (type != "Recreate" && type != "RollingUpdate") {
    const Json* strategy = Find(object, "spec.strategy");
    errors.push_back(schema::FieldError::Unsupported("spec.strategy", strategy ? *strategy : Json(),
                                                     {"Recreate", "RollingUpdate"}));
  } else if (type == "Recreate" && Find(object, rolling) != nullptr) {
    errors.push_back(schema::FieldError::Forbidden(
        rolling, "may not be specified when strategy `type` is 'Recreate'"));
  } else if (type == "RollingUpdate") {
    const auto unavailable = CheckShare(object, rolling + ".maxUnavailable", errors);
    const auto surge = CheckShare(object, rolling + ".maxSurge", errors);
    if (unavailable == 0 && surge == 0) {
      errors.push_back(schema::FieldError::Invalid(rolling + ".maxUnavailable", Json(0),
                                                   "may not be 0 when `maxSurge` is 0"));
    }
  }
  RequireNotNegative(object, "spec.minReadySeconds", errors);
  const std::int64_t deadline = IntAt(object, "spec.progressDeadlineSeconds", 600);
  if (deadline <= IntAt(object, "spec.minReadySeconds")) {
    errors.push_back(schema::FieldError::Invalid("spec.progressDeadlineSeconds", Json(deadline),
                                                 "must be greater than minReadySeconds"));
  }
}

}  // namespace

void ValidateWorkload(const Json& object, schema::FieldErrors& errors) {
  RequireNotNegative(object, "spec.replicas", errors);
  ValidateSelector(object, "spec.template", errors);
  ValidateTemplate(object, "spec.template", errors);
  if (errors.empty()) RequireOneOf(object, "spec.template.spec.restartPolicy", {"Always"}, errors);
}

void ValidateDeployment(const Json& object, schema::FieldErrors& errors) {
  ValidateWorkload(object, errors);
  ValidateStrategy(object, errors);
}

void ValidateDaemonSet(const Json& object, schema::FieldErrors& errors) {
  ValidateWorkload(object, errors);
  const std::string rolling = "spec.updateStrategy.rollingUpdate";
  const auto unavailable = CheckShare(object, rolling + ".maxUnavailable", errors);
  const auto surge = CheckShare(object, rolling + ".maxSurge", errors);
  if (unavailable == 0 && surge == 0) {
    errors.push_back(schema::FieldError::Required(rolling + ".maxUnavailable",
                                                  "cannot be 0 when maxSurge is 0"));
  } else if (unavailable.value_or(0) > 0 && surge.value_or(0) > 0) {
    errors.push_back(schema::FieldError::Invalid(rolling + ".maxSurge",
                                                 ValueAt(object, rolling + ".maxSurge"),
                                                 "may not be set when maxUnavailable is non-zero"));
  }
}

void ValidateStatefulSet(const Json& object, schema::FieldErrors& errors) {
  ValidateWorkload(object, errors);
  const JsonArray& claims = ArrayAt(object, "spec.volumeClaimTemplates");
  for (std::size_t i = 0; i < claims.size(); ++i) {
    ValidateClaimSpec(claims[i], "spec", "spec.volumeClaimTemplates[" + std::to_string(i) + "]",
                      errors);
  }
}

void ValidateJobSpec(const Json& object, const std::string& at, schema::FieldErrors& errors) {
  for (const char* member : {".parallelism", ".completions", ".backoffLimit",
                             ".activeDeadlineSeconds", ".ttlSecondsAfterFinished"}) {
    RequireNotNegative(object, at + member, errors);
  }
  ValidateTemplate(object, at + ".template", errors);
  const std::string policy = StringAt(object, at + ".template.spec.restartPolicy");
  if (policy == "Always") {
    errors.push_back(schema::FieldError::Required(at + ".template.spec.restartPolicy",
                                                  "valid values: \"OnFailure\", \"Never\""));
  }
  if (StringAt(object, at + ".completionMode") == "Indexed" &&
      Find(object, at + ".completions") == nullptr) {
    errors.push_back(
        schema::FieldError::Required(at + ".completions", "when completion mode is Indexed"));
  }
}

void ValidateCronJob(const Json& object, schema::FieldErrors& errors) {
  const std::string schedule = StringAt(object, "spec.schedule");
  if (schedule.empty()) {
    errors.push_back(schema::FieldError::Required("spec.schedule"));
  } else if (const std::string why = CheckCronSchedule(schedule); !why.empty()) {
    errors.push_back(schema::FieldError::Invalid("spec.schedule", Json(schedule), why));
  }
  if (const std::string zone = StringAt(object, "spec.timeZone"); !zone.empty()) {
    if (const std::string why = CheckTimeZone(zone); !why.empty()) {
      errors.push_back(schema::FieldError::Invalid("spec.timeZone", Json(zone), why));
    }
  }
  RequireOneOf(object, "spec.concurrencyPolicy", {"Allow", "Forbid", "Replace"}, errors);
  if (StringAt(object, "metadata.name").size() > 52) {
    errors.push_back(schema::FieldError::Invalid("metadata.name",
                                                 Json(StringAt(object, "metadata.name")),
                                                 "must be no more than 52 characters"));
  }
  ValidateJobSpec(object, "spec.jobTemplate.spec", errors);
}

void ValidateJobUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  for (const char* path : {"spec.completions", "spec.selector", "spec.completionMode"})
    Immutable(old, object, path, errors);
  const bool suspended = BoolAt(old, "spec.suspend") && StringAt(old, "status.startTime").empty();
  Json before = Json(JsonObject()), after = before;
  if (const Json* spec = Find(old, "spec.template")) before = *spec;
  if (const Json* spec = Find(object, "spec.template")) after = *spec;
  if (suspended) {
    // Where its pods go may be decided until they are made.
    for (const char* path : {"metadata.labels", "metadata.annotations", "spec.nodeSelector",
                             "spec.tolerations", "spec.affinity", "spec.schedulingGates"}) {
      Remove(before, path), Remove(after, path);
    }
  }
  if (before != after) {
    errors.push_back(schema::FieldError::Invalid("spec.template", after, "field is immutable"));
  }
}

void ValidateStatefulSetUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  const auto strip = [](const Json& set) {
    Json spec = ValueAt(set, "spec");
    for (const char* member :
         {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
          "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}) {
      Remove(spec, member);
    }
    return spec;
  };
  if (strip(old) != strip(object)) {
    errors.push_back(schema::FieldError::Forbidden(
        "spec",
        "updates to statefulset spec for fields other than 'replicas', "
        "'ordinals', 'template', 'updateStrategy', "
        "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
        "'minReadySeconds' are forbidden"));
  }
}

}  // namespace thinsnap::objects
