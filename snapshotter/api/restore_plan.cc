#include "snapshotter/api/restore_plan.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/core/bytes.h"
#include "base/kube/object.h"
#include "snapshotter/api/policy.h"

namespace thinsnap::backup {

namespace {

constexpr char kOrdinal[] = "${POD_ORDINAL}";
constexpr char kField[] = "spec.addon.tasks[0].targetVolumes.volumeClaimTemplates";

std::string OrdinalOf(std::string_view component) {
  const auto dash = component.rfind('-');
  return component.starts_with("volumesnapshot-pod-") ? std::string(component.substr(dash + 1))
                                                      : "";
}

void ExpandStrings(Json& value,
                   const std::function<std::optional<std::string>(const std::string&)>& lookup) {
  if (value.is_string()) {
    const std::string text(std::string_view(value.get_string()));
    if (text.find("${") != std::string::npos) value = Json(Substitute(text, lookup));
  } else if (value.is_object()) {
    for (auto& [key, member] : value.get_object()) ExpandStrings(member, lookup);
  } else if (value.is_array()) {
    for (auto& element : value.get_array()) ExpandStrings(element, lookup);
  }
}

std::string TemplateName(const Json& claim_template) {
  return StringAt(claim_template, "metadata.name");
}

std::string NamesOf(const std::vector<SourceVolume>& sources) {
  std::string names;
  for (const auto& source : sources) names += (names.empty() ? "" : ", ") + source.claim;
  return names.empty() ? "none" : names;
}

Error Invalid(const std::string& found, const std::string& accepted) {
  return Error(Code::kInvalidArgument, std::string(kField) + ": " + found + "; " + accepted);
}

// Takes the pairs out of both lists.
template <typename Fits>
void TakePairs(std::vector<SourceVolume>& sources, std::vector<Json>& templates,
               std::vector<PlannedVolume>& plan, Fits fits) {
  for (auto it = templates.begin(); it != templates.end();) {
    const auto source =
        std::find_if(sources.begin(), sources.end(), [&](const auto& s) { return fits(s, *it); });
    if (source == sources.end()) {
      ++it;
      continue;
    }
    plan.push_back({*source, *it});
    sources.erase(source);
    it = templates.erase(it);
  }
}

Status Match(std::vector<SourceVolume> sources, std::vector<Json> templates,
             const std::string& annotation, std::vector<PlannedVolume>& plan) {
  const auto all = NamesOf(sources);
  const auto count = sources.size();
  const auto given = templates.size();
  for (const auto& item : templates) {
    const auto wanted = kube::AnnotationOf(item, annotation);
    if (wanted.empty()) continue;
    const bool there = std::any_of(sources.begin(), sources.end(),
                                   [&](const auto& s) { return s.claim == wanted; });
    if (!there) {
      return Invalid("template " + TemplateName(item) + " has annotation " + annotation + " = " +
                         wanted + ", which the Snapshot does not hold",
                     "accepted are: " + all);
    }
  }
  TakePairs(sources, templates, plan, [&](const SourceVolume& source, const Json& item) {
    return kube::AnnotationOf(item, annotation) == source.claim;
  });
  TakePairs(sources, templates, plan, [&](const SourceVolume& source, const Json& item) {
    return TemplateName(item) == source.claim;
  });
  if (templates.empty()) return {};
  if (templates.size() != sources.size()) {
    return Invalid("found " + std::to_string(given) + " templates for " + std::to_string(count) +
                       " volumes (" + all + ")",
                   "accepted are as many templates as volumes, in their order, or templates that "
                   "name their volume in "
                   "annotation " +
                       annotation);
  }
  for (std::size_t i = 0; i < templates.size(); ++i) plan.push_back({sources[i], templates[i]});
  return {};
}

Status CheckPlan(const std::vector<PlannedVolume>& plan) {
  std::set<std::string> names;
  for (const auto& volume : plan) {
    if (!names.insert(volume.claim()).second) {
      return Invalid(
          "two volumes would be restored into claim " + volume.claim(),
          "each needs a name of its own; for a StatefulSet it holds " + std::string(kOrdinal));
    }
    const auto requested = StringAt(volume.claim_template, "spec.resources.requests.storage");
    auto size = ParseQuantity(requested);
    if (!size.ok())
      return Invalid("template " + volume.claim() + " requests \"" + requested + "\"",
                     size.error().message());
    if (*size < volume.source.size_bytes) {
      return Invalid("template " + volume.claim() + " requests " + requested + " for volume " +
                         volume.source.claim + " of " + FormatSize(volume.source.size_bytes),
                     "accepted is at least the size of the volume");
    }
    const auto mode = StringAt(volume.claim_template, "spec.volumeMode", "Filesystem");
    if (!volume.source.volume_mode.empty() && mode != volume.source.volume_mode) {
      return Invalid(
          "template " + volume.claim() + " has volumeMode " + mode,
          "accepted is " + volume.source.volume_mode + ", that of volume " + volume.source.claim);
    }
  }
  return {};
}

}  // namespace

std::string PlannedVolume::claim() const { return TemplateName(claim_template); }

Result<std::uint64_t> ParseQuantity(std::string_view text) {
  const auto refuse = [] {
    return Error(Code::kInvalidArgument, "accepted are sizes like 1Gi, 500M or 1073741824");
  };
  static const std::map<std::string_view, double> kUnits{{"", 1},
                                                         {"k", 1e3},
                                                         {"M", 1e6},
                                                         {"G", 1e9},
                                                         {"T", 1e12},
                                                         {"P", 1e15},
                                                         {"Ki", 1024.0},
                                                         {"Mi", 1048576.0},
                                                         {"Gi", 1073741824.0},
                                                         {"Ti", 1099511627776.0},
                                                         {"Pi", 1125899906842624.0}};
  double number = 0;
  std::size_t i = 0;
  std::size_t digits = 0;
  for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0; ++i, ++digits) {
    number = number * 10 + (text[i] - '0');
  }
  if (i < text.size() && text[i] == '.') {
    double scale = 0.1;
    for (++i; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0;
         ++i, ++digits, scale /= 10) {
      number += scale * (text[i] - '0');
    }
  }
  const auto unit = kUnits.find(text.substr(i));
  if (digits == 0 || unit == kUnits.end() || number * unit->second > 1e18) return refuse();
  return static_cast<std::uint64_t>(std::llround(number * unit->second));
}

std::string QuantityText(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
  std::size_t unit = 0;
  for (; bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return std::to_string(bytes) + kUnits[unit];
}

Result<std::vector<SourceVolume>> SourcesOf(const Json& snapshot,
                                            const std::vector<std::string>& components) {
  std::vector<SourceVolume> sources;
  const auto* all = FindObject(snapshot, "status.components");
  std::vector<std::string> names;
  if (all != nullptr) {
    for (const auto& entry : *all) names.emplace_back(entry.key());
  }
  // Numbers sort as numbers: pod-2 before pod-10.
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return std::pair(a.size(), a) < std::pair(b.size(), b);
  });
  for (const auto& wanted : components) {
    if (std::find(names.begin(), names.end(), wanted) != names.end()) continue;
    std::string known;
    for (const auto& name : names) known += (known.empty() ? "" : ", ") + name;
    return Error(Code::kInvalidArgument, "spec.dataSource.components: found " + wanted +
                                             "; Snapshot " + kube::NameOf(snapshot) +
                                             " has: " + (known.empty() ? "none" : known));
  }
  for (const auto& name : names) {
    if (!components.empty() &&
        std::find(components.begin(), components.end(), name) == components.end())
      continue;
    const auto& component = all->at(name);
    for (const auto& stat : ArrayAt(component, "volumeSnapshotterStats")) {
      SourceVolume source;
      source.component = name;
      source.claim = StringAt(stat, "pvcName");
      source.volume_snapshot = StringAt(stat, "volumeSnapshotName");
      source.handle = StringAt(stat, "volumeSnapshotHandle");
      source.driver = StringAt(stat, "driver");
      source.volume_mode = StringAt(stat, "volumeMode");
      const auto size = ParseQuantity(StringAt(stat, "restoreSize"));
      source.size_bytes = size.ok() ? *size : 0;
      sources.push_back(std::move(source));
    }
  }
  if (sources.empty()) {
    return Error(Code::kInvalidArgument, "Snapshot " + kube::NameOf(snapshot) +
                                             " holds no volumes; accepted is one that "
                                             "was taken with task volume-snapshot");
  }
  return sources;
}

Json ExpandTemplate(const Json& claim_template, std::string_view component) {
  Json expanded = claim_template;
  const auto ordinal = OrdinalOf(component);
  ExpandStrings(expanded, [&](const std::string& name) -> std::optional<std::string> {
    if (name == "POD_ORDINAL") return ordinal;
    if (name == "COMPONENT_NAME") return std::string(component);
    return std::nullopt;
  });
  return expanded;
}

Result<std::vector<PlannedVolume>> PlanRestore(const std::vector<SourceVolume>& sources,
                                               const JsonArray& templates,
                                               const std::string& annotation) {
  std::vector<PlannedVolume> plan;
  std::vector<Json> each_pod, once;
  for (const auto& item : templates) {
    (TemplateName(item).find(kOrdinal) != std::string::npos ? each_pod : once).push_back(item);
  }
  std::map<std::string, std::vector<SourceVolume>> by_component;
  std::vector<std::string> order;
  std::vector<SourceVolume> rest;
  for (const auto& source : sources) {
    if (each_pod.empty() || OrdinalOf(source.component).empty()) {
      rest.push_back(source);
      continue;
    }
    if (!by_component.contains(source.component)) order.push_back(source.component);
    by_component[source.component].push_back(source);
  }
  if (!each_pod.empty() && order.empty()) {
    return Invalid("found " + std::string(kOrdinal) + " in a name",
                   "accepted without it: the Snapshot is not of a StatefulSet");
  }
  for (const auto& component : order) {
    std::vector<Json> expanded;
    for (const auto& item : each_pod) expanded.push_back(ExpandTemplate(item, component));
    // A claim that all pods share is in one component only; it needs a template of its own.
    auto own = by_component[component];
    std::vector<SourceVolume> of_pod;
    for (auto& source : own) {
      const bool per_pod = source.claim.ends_with("-" + OrdinalOf(component));
      (per_pod || own.size() == each_pod.size() ? of_pod : rest).push_back(std::move(source));
    }
    TRY(Match(std::move(of_pod), std::move(expanded), annotation, plan));
  }
  if (!once.empty() || (order.empty() && !rest.empty()))
    TRY(Match(std::move(rest), std::move(once), annotation, plan));
  TRY(CheckPlan(plan));
  return plan;
}

}  // namespace thinsnap::backup
