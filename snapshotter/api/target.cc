#include "snapshotter/api/target.h"

#include <algorithm>
#include <array>
#include <openssl/evp.h>
#include <set>
#include <utility>

#include "base/core/bytes.h"
#include "base/kube/object.h"
#include "snapshotter/api/kinds.h"

namespace thinsnap::backup {

namespace {

constexpr char kDefaultClassAnnotation[] = "snapshot.storage.kubernetes.io/is-default-class";

// Where the first container that mounts the volume has it.
std::string MountPathOf(const Json& pod_spec, const std::string& volume) {
  for (const auto& container : ArrayAt(pod_spec, "containers")) {
    for (const auto& mount : ArrayAt(container, "volumeMounts")) {
      if (StringAt(mount, "name") == volume) return StringAt(mount, "mountPath");
    }
  }
  return "";
}

std::vector<TargetVolume> TemplateVolumes(const Json& pod_spec) {
  std::vector<TargetVolume> volumes;
  for (const auto& volume : ArrayAt(pod_spec, "volumes")) {
    const auto claim = StringAt(volume, "persistentVolumeClaim.claimName");
    if (!claim.empty()) volumes.push_back({claim, MountPathOf(pod_spec, StringAt(volume, "name"))});
  }
  return volumes;
}

std::vector<TargetComponent> StatefulSetComponents(const Json& set, const Json& pod_spec) {
  std::vector<TargetComponent> components;
  const auto first = IntAt(set, "spec.ordinals.start");
  const auto replicas = IntAt(set, "spec.replicas", 1);
  for (auto ordinal = first; ordinal < first + replicas; ++ordinal) {
    TargetComponent component{"volumesnapshot-pod-" + std::to_string(ordinal), {}};
    for (const auto& claim_template : ArrayAt(set, "spec.volumeClaimTemplates")) {
      const auto name = StringAt(claim_template, "metadata.name");
      component.volumes.push_back({name + "-" + kube::NameOf(set) + "-" + std::to_string(ordinal),
                                   MountPathOf(pod_spec, name)});
    }
    // A claim that all pods share is backed up once.
    if (ordinal == first) {
      for (auto& shared : TemplateVolumes(pod_spec)) component.volumes.push_back(std::move(shared));
    }
    if (!component.volumes.empty()) components.push_back(std::move(component));
  }
  return components;
}

std::string ListOf(const std::vector<std::string>& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + item;
  return text.empty() ? "none" : text;
}

std::vector<std::string> SplitCommas(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  while (from <= text.size()) {
    const auto comma = std::min(text.find(',', from), text.size());
    auto part = text.substr(from, comma - from);
    std::erase(part, ' ');
    if (!part.empty()) parts.push_back(std::move(part));
    from = comma + 1;
  }
  return parts;
}

// The driver that all claims share.
Result<std::string> CommonDriver(const ClassQuestion& question) {
  std::string driver, first_claim;
  for (const auto& [claim, claim_driver] : question.drivers) {
    if (claim_driver.empty()) {
      return Error(Code::kFailedPrecondition,
                   "claim " + question.ns + "/" + claim +
                       " is not bound to a volume of a CSI driver; only those can be snapshotted");
    }
    if (driver.empty()) {
      driver = claim_driver;
      first_claim = claim;
    }
    if (driver != claim_driver) {
      return Error(Code::kFailedPrecondition,
                   "claim " + question.ns + "/" + first_claim + " is of driver " + driver +
                       " and claim " + claim + " of driver " + claim_driver +
                       "; one VolumeSnapshotClass fits volumes of one driver");
    }
  }
  return driver;
}

Result<const Json*> BaseClass(const ClassQuestion& question, const std::string& driver,
                              const std::vector<Json>& classes) {
  std::vector<std::string> fitting;
  std::vector<const Json*> defaults;
  const Json* wanted = nullptr;
  for (const auto& candidate : classes) {
    const auto name = kube::NameOf(candidate);
    if (name == question.wanted) wanted = &candidate;
    if (StringAt(candidate, "driver") != driver) continue;
    if (!StringIn(candidate, "metadata.labels", "thinsnap.io/derived-from").empty()) continue;
    fitting.push_back(name);
    if (kube::AnnotationOf(candidate, kDefaultClassAnnotation) == "true")
      defaults.push_back(&candidate);
  }
  if (question.wanted.empty()) {
    if (defaults.size() == 1) return defaults.front();
    return Error(Code::kFailedPrecondition,
                 "the session's addon task has no param volumeSnapshotClassName, and driver " +
                     driver + " has " + std::to_string(defaults.size()) +
                     " default VolumeSnapshotClasses; accepted are: " + ListOf(fitting));
  }
  if (wanted == nullptr) {
    return Error(Code::kFailedPrecondition,
                 "VolumeSnapshotClass " + question.wanted +
                     ", named in param volumeSnapshotClassName, does not exist; accepted "
                     "for driver " +
                     driver + " are: " + ListOf(fitting));
  }
  if (StringAt(*wanted, "driver") != driver) {
    return Error(Code::kFailedPrecondition, "VolumeSnapshotClass " + question.wanted +
                                                " is of driver " + StringAt(*wanted, "driver") +
                                                ", but the volumes are of driver " + driver +
                                                "; accepted are: " + ListOf(fitting));
  }
  return wanted;
}

Status CheckNamedRepositories(const ClassQuestion& question, const std::string& class_name,
                              const std::vector<std::string>& named) {
  const std::string field = "VolumeSnapshotClass " + class_name + ", parameters.repositories";
  for (const auto& id : named) {
    if (std::find(question.repositories.begin(), question.repositories.end(), id) !=
        question.repositories.end()) {
      continue;
    }
    const auto owner = question.owners.find(id);
    const auto whose = owner == question.owners.end() ? "no Repository of this cluster"
                                                      : "Repository " + owner->second;
    return Error(Code::kPermissionDenied, field + ": found " + id + ", which is " + whose +
                                              "; accepted are the session's own repositories, " +
                                              ListOf(question.repositories) +
                                              ", or a class without the parameter");
  }
  for (const auto& id : question.repositories) {
    if (std::find(named.begin(), named.end(), id) != named.end()) continue;
    return Error(Code::kFailedPrecondition,
                 field + ": found " + ListOf(named) + ", but the session also writes to " + id +
                     "; accepted is a list of all of them, or a class without the parameter");
  }
  return {};
}

}  // namespace

Result<std::vector<TargetComponent>> ComponentsOf(const Json& target) {
  const auto kind = StringAt(target, "kind");
  std::vector<TargetComponent> components;
  if (kind == "PersistentVolumeClaim") {
    components.push_back({"volumesnapshot", {{kube::NameOf(target), ""}}});
  } else {
    static const Json kNothing = JsonObject();
    const auto* found = Find(target, "spec.template.spec");
    const auto& pod_spec = found != nullptr ? *found : kNothing;
    if (kind == "StatefulSet") {
      components = StatefulSetComponents(target, pod_spec);
    } else if (auto volumes = TemplateVolumes(pod_spec); !volumes.empty()) {
      components.push_back({"volumesnapshot", std::move(volumes)});
    }
  }
  if (components.empty()) {
    return Error(Code::kInvalidArgument,
                 kind + " " + kube::KeyOf(target).ToString() +
                     " has no claims; only volumes of PersistentVolumeClaims can be "
                     "snapshotted");
  }
  return components;
}

Result<Json> ReadTarget(kube::KubeClient& client, const Json& configuration) {
  const auto kind = StringAt(configuration, "spec.target.kind");
  const kube::ResourceType* type = nullptr;
  for (const auto* candidate : {&kube::types::kPersistentVolumeClaim, &kube::types::kDeployment,
                                &kube::types::kStatefulSet, &kube::types::kDaemonSet}) {
    if (candidate->kind == kind) type = candidate;
  }
  if (type == nullptr) {
    return Error(
        Code::kInvalidArgument,
        "spec.target.kind: found \"" + kind +
            "\"; accepted are PersistentVolumeClaim, Deployment, StatefulSet and DaemonSet");
  }
  const kube::ObjectKey key{kube::NamespaceOf(configuration),
                            StringAt(configuration, "spec.target.name")};
  auto target = client.Get(*type, key);
  if (target.Is(Code::kNotFound)) {
    return Error(Code::kNotFound, "target " + kind + " " + key.ToString() + " does not exist");
  }
  if (!target.ok())
    return std::move(target).error().In("reading target " + kind + " " + key.ToString());
  // Items and answers may leave the kind out.
  target->as_object()["kind"] = kind;
  return target;
}

std::string DerivedClassName(const std::string& name, std::vector<std::string> repositories) {
  std::sort(repositories.begin(), repositories.end());
  repositories.erase(std::unique(repositories.begin(), repositories.end()), repositories.end());
  std::string text = name;
  for (const auto& id : repositories) text += "\n" + id;
  std::array<std::uint8_t, 32> digest{};
  unsigned int size = digest.size();
  ASSERT(EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) == 1);
  return "thinsnap-" + HexEncode(ByteSpan(digest.data(), 8));
}

Result<ClassAnswer> ChooseClass(const ClassQuestion& question, const std::vector<Json>& classes) {
  const auto driver = TRY(CommonDriver(question));
  const Json* base = TRY(BaseClass(question, driver, classes));
  const auto name = kube::NameOf(*base);
  if (driver != question.our_driver) return ClassAnswer{name, Json()};
  const auto named = SplitCommas(StringIn(*base, "parameters", "repositories"));
  if (!named.empty()) {
    TRY(CheckNamedRepositories(question, name, named));
    return ClassAnswer{name, Json()};
  }

  ClassAnswer answer{DerivedClassName(name, question.repositories), Json()};
  auto derived = kube::NewObject(kube::types::kVolumeSnapshotClass, {"", answer.name});
  kube::SetLabel(derived, "thinsnap.io/derived-from", ValidName(name, ""));
  for (const auto& id : question.repositories)
    kube::SetLabel(derived, "repository.thinsnap.io/" + id, "true");
  JsonObject parameters;
  if (const auto* own = FindObject(*base, "parameters")) parameters = *own;
  std::string list;
  for (const auto& id : question.repositories) list += (list.empty() ? "" : ",") + id;
  parameters["repositories"] = list;
  auto& object = derived.as_object();
  object["driver"] = driver;
  object["deletionPolicy"] = StringAt(*base, "deletionPolicy", "Delete");
  object["parameters"] = std::move(parameters);
  answer.derived = std::move(derived);
  return answer;
}

Result<std::map<std::string, std::string>> DriversOf(
    kube::KubeClient& client, const std::string& ns,
    const std::vector<TargetComponent>& components) {
  std::map<std::string, std::string> drivers;
  for (const auto& component : components) {
    for (const auto& volume : component.volumes) {
      auto claim = client.Get(kube::types::kPersistentVolumeClaim, {ns, volume.claim});
      if (claim.Is(Code::kNotFound)) {
        return Error(Code::kNotFound, "claim " + ns + "/" + volume.claim + " of component " +
                                          component.name + " does not exist");
      }
      if (!claim.ok())
        return std::move(claim).error().In("reading claim " + ns + "/" + volume.claim);
      const auto volume_name = StringAt(*claim, "spec.volumeName");
      drivers[volume.claim] = "";
      if (volume_name.empty()) continue;
      auto persistent_volume = client.Get(kube::types::kPersistentVolume, {"", volume_name});
      if (persistent_volume.Is(Code::kNotFound)) continue;
      if (!persistent_volume.ok())
        return std::move(persistent_volume).error().In("reading volume " + volume_name);
      drivers[volume.claim] = StringAt(*persistent_volume, "spec.csi.driver");
    }
  }
  return drivers;
}

}  // namespace thinsnap::backup
