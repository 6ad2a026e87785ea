#include "snapshotter/operator/configuration_check.h"

#include <set>
#include <utility>

#include "snapshotter/api/policy.h"
#include "snapshotter/api/retention.h"
#include "snapshotter/operator/jobs.h"

namespace thinsnap::backup {

Status CheckBackends(Context& context, Json& configuration, ConfigurationFindings& findings) {
  const auto ns = kube::NamespaceOf(configuration);
  const auto ns_object = TRY(GetIfExists(context.client, kube::types::kNamespace, {"", ns}));
  const Json* labels = ns_object ? &*ns_object : nullptr;
  JsonArray backends;
  std::size_t index = 0;
  for (const auto& backend : ArrayAt(configuration, "spec.backends")) {
    const auto field = "spec.backends[" + std::to_string(index++) + "].";
    static const Json kNothing = JsonObject();
    const auto reference_at = [&](const char* member) {
      const auto* reference = Find(backend, member);
      return ReferenceKey(reference == nullptr ? kNothing : *reference, ns);
    };
    const auto storage_key = reference_at("storageRef");
    const auto policy_key = reference_at("retentionPolicy");
    // A reference that is missing and has no default is said by the validation.
    if (storage_key.name.empty() || policy_key.name.empty()) continue;
    const auto storage =
        TRY(GetIfExists(context.client, context.kinds.backup_storage, storage_key));
    const auto policy =
        TRY(GetIfExists(context.client, context.kinds.retention_policy, policy_key));
    JsonObject storage_status{{"ref", ReferenceTo(storage_key)}};
    JsonObject policy_status{{"ref", ReferenceTo(policy_key)}, {"found", policy.has_value()}};
    bool ready = policy.has_value();
    const auto lacking = [&](JsonObject& status, std::vector<std::string>& list,
                             const std::string& sentence) {
      status["reason"] = sentence;
      list.push_back(field + sentence + ".");
      ready = false;
    };
    if (!storage) {
      lacking(storage_status, findings.backends,
              "storageRef: BackupStorage " + storage_key.ToString() +
                  " does not exist; accepted is one that does (kubectl get backupstorages -A)");
    } else if (!MayUse(*storage, ns, labels)) {
      lacking(storage_status, findings.wrong,
              "storageRef: " + UsageRefusal(*storage, "BackupStorage", ns));
    } else {
      const auto phase = StringAt(*storage, "status.phase", "NotReady");
      storage_status["phase"] = phase;
      if (phase != "Ready") {
        lacking(storage_status, findings.backends,
                "storageRef: BackupStorage " + storage_key.ToString() +
                    " is not Ready: " + FalseConditions(*storage));
      }
    }
    if (!policy) {
      lacking(policy_status, findings.backends,
              "retentionPolicy: RetentionPolicy " + policy_key.ToString() +
                  " does not exist; accepted is one that does");
    } else if (!MayUse(*policy, ns, labels)) {
      lacking(policy_status, findings.wrong,
              "retentionPolicy: " + UsageRefusal(*policy, "RetentionPolicy", ns));
    } else if (const auto* spec = Find(*policy, "spec")) {
      if (const auto rules = ParseRetentionRules(*spec); !rules.ok()) {
        lacking(policy_status, findings.wrong,
                "retentionPolicy: RetentionPolicy " + policy_key.ToString() + ", " +
                    rules.error().message());
      }
    }
    backends.push_back(JsonObject{{"name", StringAt(backend, "name")},
                                  {"ready", ready},
                                  {"storage", std::move(storage_status)},
                                  {"retentionPolicy", std::move(policy_status)}});
  }
  Set(configuration, "status.backends", std::move(backends));
  return {};
}

Status CheckAddons(Context& context, Json& configuration, ConfigurationFindings& findings) {
  JsonArray dependencies;
  std::size_t index = 0;
  for (const auto& session : ArrayAt(configuration, "spec.sessions")) {
    const auto field = "spec.sessions[" + std::to_string(index++) + "].addon";
    const auto addon = StringAt(session, "addon.name");
    const auto& tasks = ArrayAt(session, "addon.tasks");
    if (addon.empty() || tasks.size() != 1) continue;
    const auto task = FindTask(context, addon, "backupTasks", StringAt(tasks[0], "name"));
    if (!task.ok() && !task.Is(Code::kNotFound)) return task.error();
    dependencies.push_back(JsonObject{{"apiGroup", context.kinds.addons_group},
                                      {"kind", "Addon"},
                                      {"name", addon},
                                      {"found", task.ok()}});
    if (!task.ok()) {
      findings.addons.push_back(field + ": " + task.error().message() + ".");
      continue;
    }
    const auto* params = FindObject(tasks[0], "params");
    if (params == nullptr) continue;
    std::string known;
    std::set<std::string> names;
    for (const auto& parameter : ArrayAt(task->definition, "parameters")) {
      names.insert(StringAt(parameter, "name"));
      known += (known.empty() ? "" : ", ") + StringAt(parameter, "name");
    }
    for (const auto& entry : *params) {
      if (names.contains(std::string(entry.key()))) continue;
      findings.wrong.push_back(field + ".tasks[0].params: found " + std::string(entry.key()) +
                               "; accepted by Addon " + addon +
                               " are: " + (known.empty() ? "none" : known) + ".");
    }
  }
  Set(configuration, "status.dependencies", std::move(dependencies));
  return {};
}

}  // namespace thinsnap::backup
