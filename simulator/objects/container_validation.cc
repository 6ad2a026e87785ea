// What a container may say, and what contradicts itself.
#include <array>
#include <set>
#include <utility>

#include "simulator/objects/kind_fields.h"
#include "simulator/objects/names.h"
#include "simulator/objects/validation.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::objects {
namespace {

std::string Index(const std::string& at, const char* list, std::size_t i) {
  return at + "." + list + "[" + std::to_string(i) + "]";
}

void CheckPort(std::int64_t port, const std::string& at, schema::FieldErrors& errors) {
  if (port < 1 || port > 65535)
    errors.push_back(
        schema::FieldError::Invalid(at, Json(port), "must be between 1 and 65535, inclusive"));
}

void CheckPorts(const Json& container, const std::string& at, schema::FieldErrors& errors) {
  const JsonArray& ports = ArrayAt(container, "ports");
  std::set<std::string> names, host_ports;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string here = Index(at, "ports", i);
    if (const std::int64_t number = IntAt(ports[i], "hostPort"); number != 0) {
      const std::string place = StringAt(ports[i], "protocol", "TCP") + "/" +
                                StringAt(ports[i], "hostIP") + "/" + std::to_string(number);
      if (!host_ports.insert(place).second)
        errors.push_back(schema::FieldError::Duplicate(here + ".hostPort", Json(place)));
    }
    if (IntAt(ports[i], "containerPort") == 0) {
      errors.push_back(schema::FieldError::Required(here + ".containerPort"));
    } else {
      CheckPort(IntAt(ports[i], "containerPort"), here + ".containerPort", errors);
    }
    if (Find(ports[i], "hostPort") != nullptr && IntAt(ports[i], "hostPort") != 0)
      CheckPort(IntAt(ports[i], "hostPort"), here + ".hostPort", errors);
    RequireOneOf(ports[i], "protocol", {"SCTP", "TCP", "UDP"}, errors, here);
    const std::string name = StringAt(ports[i], "name");
    if (!name.empty() && !names.insert(name).second)
      errors.push_back(schema::FieldError::Duplicate(here + ".name", Json(name)));
  }
}

// What the downward API can tell as a variable.
bool IsPodField(std::string_view path) {
  static const std::set<std::string_view> kFields = {
      "metadata.name",      "metadata.namespace",      "metadata.uid",
      "spec.nodeName",      "status.hostIP",           "status.hostIPs",
      "status.podIP",       "status.podIPs",           "spec.restartPolicy",
      "spec.schedulerName", "spec.serviceAccountName", "status.phase"};
  return kFields.contains(path) || path.starts_with("metadata.labels['") ||
         path.starts_with("metadata.annotations['");
}

void CheckVariable(const Json& variable, const std::string& at, schema::FieldErrors& errors) {
  const std::string name = StringAt(variable, "name");
  bool printable = true;
  for (const char c : name) printable = printable && c >= ' ' && c <= '~' && c != '=';
  if (name.empty()) {
    errors.push_back(schema::FieldError::Required(at + ".name"));
  } else if (!printable) {
    errors.push_back(
        schema::FieldError::Invalid(at + ".name", Json(name),
                                    "a valid environment variable name must consist only of "
                                    "printable ASCII characters other than '='"));
  }
  const JsonObject* from = FindObject(variable, "valueFrom");
  if (from == nullptr) return;
  if (!StringAt(variable, "value").empty()) {
    errors.push_back(schema::FieldError::Invalid(at + ".valueFrom", Json(""),
                                                 "may not be specified when `value` is not empty"));
  }
  if (from->empty()) {
    errors.push_back(
        schema::FieldError::Invalid(at + ".valueFrom", Json(""),
                                    "must specify one of: `fieldRef`, `resourceFieldRef`, "
                                    "`configMapKeyRef` or `secretKeyRef`"));
  } else if (from->size() > 1) {
    errors.push_back(schema::FieldError::Invalid(
        at + ".valueFrom", Json(""), "may not have more than one field specified at a time"));
  }
  for (const char* source : {"configMapKeyRef", "secretKeyRef"}) {
    if (!from->contains(source)) continue;
    for (const char* member : {"name", "key"}) {
      const std::string path = std::string("valueFrom.") + source + "." + member;
      if (StringAt(variable, path).empty())
        errors.push_back(schema::FieldError::Required(at + "." + path));
    }
  }
  if (!from->contains("fieldRef")) return;
  const std::string path = StringAt(variable, "valueFrom.fieldRef.fieldPath");
  if (path.empty()) {
    errors.push_back(schema::FieldError::Required(at + ".valueFrom.fieldRef.fieldPath"));
  } else if (!IsPodField(path)) {
    errors.push_back(schema::FieldError::Invalid(
        at + ".valueFrom.fieldRef.fieldPath", Json(path),
        "error converting fieldPath: field label not supported: " + path));
  }
}

void CheckResources(const Json& container, const std::string& at, schema::FieldErrors& errors) {
  for (const char* list : {"limits", "requests"}) {
    const JsonObject* amounts = FindObject(container, std::string("resources.") + list);
    if (amounts == nullptr) continue;
    for (const auto& [key, value] : *amounts) {
      const std::string name(key), here = at + ".resources." + list;
      const bool standard = name == "cpu" || name == "memory" || name == "ephemeral-storage" ||
                            name.starts_with("hugepages-");
      if (!standard && name.find('/') == std::string::npos) {
        errors.push_back(
            schema::FieldError::Invalid(here + "[" + name + "]", Json(name),
                                        "must be a standard resource type or fully qualified"));
        continue;
      }
      const std::string text = StringIn(container, std::string("resources.") + list, name);
      const auto amount = schema::Quantity::Parse(text);
      if (amount.ok() && amount->Sign() < 0) {
        errors.push_back(schema::FieldError::Invalid(here + "[" + name + "]", Json(text),
                                                     "must be greater than or equal to 0"));
      }
      if (list[0] != 'r') continue;
      const std::string limit_text = StringIn(container, "resources.limits", name);
      const auto limit = schema::Quantity::Parse(limit_text);
      if (!limit_text.empty() && amount.ok() && limit.ok() && *amount > *limit) {
        errors.push_back(schema::FieldError::Invalid(
            here, Json(text), "must be less than or equal to " + name + " limit of " + limit_text));
      }
    }
  }
}

void CheckProbe(const Json& container, const std::string& name, const std::string& at,
                schema::FieldErrors& errors) {
  const Json* probe = Find(container, name);
  if (probe == nullptr) return;
  const std::string here = at + "." + name;
  int handlers = 0;
  for (const char* handler : {"exec", "httpGet", "tcpSocket", "grpc"}) {
    if (Find(*probe, handler) == nullptr) continue;
    if (++handlers > 1) {
      errors.push_back(schema::FieldError::Forbidden(here + "." + handler,
                                                     "may not specify more than 1 handler type"));
    }
  }
  if (handlers == 0)
    errors.push_back(schema::FieldError::Required(here, "must specify a handler type"));
  if (Find(*probe, "exec") != nullptr && ArrayAt(*probe, "exec.command").empty())
    errors.push_back(schema::FieldError::Required(here + ".exec.command"));
  for (const std::string port : {"httpGet.port", "tcpSocket.port", "grpc.port"}) {
    const Json* value = Find(*probe, port);
    if (value != nullptr && value->is_number())
      CheckPort(value->to_number<std::int64_t>(), here + "." + port, errors);
  }
  CheckFields(*probe, kProbeFields, here, errors);
  if (const std::int64_t wins = IntAt(*probe, "successThreshold", 1);
      name != "readinessProbe" && wins > 1) {
    errors.push_back(
        schema::FieldError::Invalid(here + ".successThreshold", Json(wins), "must be 1"));
  }
}

void CheckMounts(const Json& container, const std::string& at, const std::set<std::string>& volumes,
                 schema::FieldErrors& errors) {
  for (const auto& [list, path] : {std::pair<const char*, const char*>{"volumeMounts", "mountPath"},
                                   {"volumeDevices", "devicePath"}}) {
    const JsonArray& mounts = ArrayAt(container, list);
    std::set<std::string> places;
    for (std::size_t i = 0; i < mounts.size(); ++i) {
      const std::string here = Index(at, list, i);
      const std::string volume = StringAt(mounts[i], "name"), place = StringAt(mounts[i], path);
      if (volume.empty()) {
        errors.push_back(schema::FieldError::Required(here + ".name"));
      } else if (!volumes.contains(volume)) {
        errors.push_back(schema::FieldError::NotFound(here + ".name", Json(volume)));
      }
      if (place.empty()) {
        errors.push_back(schema::FieldError::Required(here + "." + path));
      } else if (!places.insert(place).second) {
        errors.push_back(
            schema::FieldError::Invalid(here + "." + path, Json(place), "must be unique"));
      }
    }
  }
}

// What single mounts and the rights of the container ask of each other.
void CheckMountOptions(const Json& container, const std::string& at, schema::FieldErrors& errors) {
  const bool privileged = BoolAt(container, "securityContext.privileged");
  if (privileged && !BoolAt(container, "securityContext.allowPrivilegeEscalation", true)) {
    errors.push_back(schema::FieldError::Invalid(
        at + ".securityContext", ValueAt(container, "securityContext"),
        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
  }
  for (const Json& mount : ArrayAt(container, "volumeMounts")) {
    const std::string here = at + ".volumeMounts";
    if (StringAt(mount, "mountPropagation") == "Bidirectional" && !privileged) {
      errors.push_back(schema::FieldError::Forbidden(
          here + ".mountPropagation",
          "Bidirectional mount propagation is available only to privileged containers"));
    }
    const std::string recursive = StringAt(mount, "recursiveReadOnly");
    if ((recursive == "Enabled" || recursive == "IfPossible") && !BoolAt(mount, "readOnly")) {
      errors.push_back(schema::FieldError::Forbidden(
          here + ".recursiveReadOnly", "may only be specified when readOnly is true"));
    }
    if (!StringAt(mount, "subPath").empty() && !StringAt(mount, "subPathExpr").empty()) {
      errors.push_back(
          schema::FieldError::Invalid(here + ".subPathExpr", Json(StringAt(mount, "subPathExpr")),
                                      "subPathExpr and subPath are mutually exclusive"));
    }
  }
  if (StringAt(container, "securityContext.seccompProfile.type") == "Localhost" &&
      StringAt(container, "securityContext.seccompProfile.localhostProfile").empty()) {
    errors.push_back(
        schema::FieldError::Required(at + ".securityContext.seccompProfile.localhostProfile",
                                     "must be set when seccomp type is Localhost"));
  }
}

}  // namespace

void ValidateContainer(const Json& container, const std::string& at, bool init,
                       const std::set<std::string>& volumes, std::set<std::string>& names,
                       schema::FieldErrors& errors) {
  const std::string name = StringAt(container, "name");
  if (name.empty()) {
    errors.push_back(schema::FieldError::Required(at + ".name"));
  } else if (const std::string why = CheckDnsLabel(name); !why.empty()) {
    errors.push_back(schema::FieldError::Invalid(at + ".name", Json(name), why));
  } else if (!names.insert(name).second) {
    errors.push_back(schema::FieldError::Duplicate(at + ".name", Json(name)));
  }
  if (StringAt(container, "image").empty())
    errors.push_back(schema::FieldError::Required(at + ".image"));
  CheckFields(container, kContainerFields, at, errors);
  CheckPorts(container, at, errors);
  const JsonArray& sources = ArrayAt(container, "envFrom");
  for (const Json& source : sources) {
    const int given = (Find(source, "configMapRef") != nullptr ? 1 : 0) +
                      (Find(source, "secretRef") != nullptr ? 1 : 0);
    if (given == 1) continue;
    errors.push_back(schema::FieldError::Invalid(
        at + ".envFrom", Json(""),
        given == 0 ? "must specify one of: `configMapRef` or `secretRef`"
                   : "may not have more than one field specified at a time"));
  }
  CheckMountOptions(container, at, errors);
  const JsonArray& env = ArrayAt(container, "env");
  for (std::size_t i = 0; i < env.size(); ++i) CheckVariable(env[i], Index(at, "env", i), errors);
  CheckResources(container, at, errors);
  CheckMounts(container, at, volumes, errors);
  // An init container that is restarted runs beside the others, and may be probed as they are.
  const bool short_lived = init && StringAt(container, "restartPolicy") != "Always";
  for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    if (!short_lived) {
      CheckProbe(container, probe, at, errors);
    } else if (Find(container, probe) != nullptr) {
      errors.push_back(schema::FieldError::Forbidden(
          at + "." + probe, "may not be set for init containers without restartPolicy=Always"));
    }
  }
}

}  // namespace thinsnap::objects
