#include "snapshotter/operator/jobs.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "snapshotter/api/policy.h"

namespace thinsnap::backup {

namespace {

Json WithLabels(Json object, const JobPlan& plan) {
  for (const auto& [key, value] : plan.labels)
    kube::SetLabel(object, key, std::string_view(value.get_string()));
  kube::SetLabel(object, "app.kubernetes.io/component", plan.component);
  return object;
}

// JobSpec from the plan; `settings` may set what a user may set.
JsonObject JobSpecOf(const JobPlan& plan) {
  JsonArray command;
  for (const auto& word : plan.command) command.emplace_back(word);
  JsonObject labels = plan.labels;
  labels["app.kubernetes.io/component"] = plan.component;
  JsonObject container{{"name", plan.component},
                       {"image", plan.image},
                       {"command", std::move(command)},
                       {"imagePullPolicy", "IfNotPresent"}};
  JsonObject pod{{"serviceAccountName", plan.key.name},
                 {"restartPolicy", "Never"},
                 {"containers", JsonArray{std::move(container)}}};
  JsonObject spec{{"backoffLimit", 2},
                  {"template", JsonObject{{"metadata", JsonObject{{"labels", std::move(labels)}}},
                                          {"spec", std::move(pod)}}}};
  for (const char* field : {"backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"}) {
    if (!plan.settings.is_object()) break;
    if (const auto* value = plan.settings.get_object().if_contains(field)) spec[field] = *value;
  }
  return spec;
}

}  // namespace

Json ServiceAccountFor(const JobPlan& plan) {
  auto object = WithLabels(kube::NewObject(kube::types::kServiceAccount, plan.key), plan);
  kube::AddOwnerReference(object, kube::OwnerReference(plan.owner));
  return object;
}

Json RoleBindingFor(const JobPlan& plan) {
  auto object = WithLabels(kube::NewObject(kube::types::kRoleBinding, plan.key), plan);
  kube::AddOwnerReference(object, kube::OwnerReference(plan.owner));
  object.as_object()["roleRef"] = JsonObject{{"apiGroup", "rbac.authorization.k8s.io"},
                                             {"kind", "ClusterRole"},
                                             {"name", plan.cluster_role}};
  object.as_object()["subjects"] = JsonArray{
      JsonObject{{"kind", "ServiceAccount"}, {"name", plan.key.name}, {"namespace", plan.key.ns}}};
  return object;
}

Json JobFor(const JobPlan& plan) {
  auto object = WithLabels(kube::NewObject(kube::types::kJob, plan.key), plan);
  kube::AddOwnerReference(object, kube::OwnerReference(plan.owner));
  object.as_object()["spec"] = JobSpecOf(plan);
  return object;
}

Json CronJobFor(const JobPlan& plan, const Json& scheduler, bool suspend) {
  auto object = WithLabels(kube::NewObject(kube::types::kCronJob, plan.key), plan);
  kube::AddOwnerReference(object, kube::OwnerReference(plan.owner));
  JsonObject labels = plan.labels;
  labels["app.kubernetes.io/component"] = plan.component;
  JsonObject spec{
      {"schedule", StringAt(scheduler, "schedule")},
      {"concurrencyPolicy", StringAt(scheduler, "concurrencyPolicy", "Allow")},
      {"suspend", suspend || BoolAt(scheduler, "suspend")},
      {"successfulJobsHistoryLimit", IntAt(scheduler, "successfulJobsHistoryLimit", 3)},
      {"failedJobsHistoryLimit", IntAt(scheduler, "failedJobsHistoryLimit", 1)},
      {"jobTemplate", JsonObject{{"metadata", JsonObject{{"labels", std::move(labels)}}},
                                 {"spec", JobSpecOf(plan)}}}};
  if (const auto* deadline = Find(scheduler, "startingDeadlineSeconds"))
    spec["startingDeadlineSeconds"] = *deadline;
  object.as_object()["spec"] = std::move(spec);
  return object;
}

Result<Json> EnsureJob(Context& context, const JobPlan& plan) {
  auto existing = TRY(GetIfExists(context.client, kube::types::kJob, plan.key));
  if (existing) return std::move(*existing);
  TRY(EnsureExists(context.client, kube::types::kServiceAccount, ServiceAccountFor(plan)));
  TRY(EnsureExists(context.client, kube::types::kRoleBinding, RoleBindingFor(plan)));
  return EnsureExists(context.client, kube::types::kJob, JobFor(plan));
}

JobState StateOfJob(const Json& job) {
  if (kube::ConditionIs(job, "Complete")) return JobState::kSucceeded;
  if (kube::ConditionIs(job, "Failed")) return JobState::kFailed;
  return JobState::kRunning;
}

std::string FailureOfJob(const Json& job) {
  const auto* failed = kube::FindCondition(job, "Failed");
  if (failed == nullptr) return "";
  return StringAt(*failed, "reason") + ": " + StringAt(*failed, "message");
}

Result<std::vector<std::string>> CommandOfFunction(
    Context& context, const Json& function,
    const std::vector<std::pair<std::string, std::string>>& variables) {
  const auto value = [&](const std::string& name) -> std::optional<std::string> {
    for (const auto& [key, text] : variables) {
      if (key == name) return text;
    }
    return std::nullopt;
  };
  std::vector<std::string> command;
  for (const char* list : {"spec.command", "spec.args"}) {
    for (const auto& word : ArrayAt(function, list)) {
      if (!word.is_string()) continue;
      command.push_back(Substitute(std::string(std::string_view(word.get_string())), value));
    }
  }
  if (command.empty()) {
    return Error(Code::kInvalidArgument,
                 "Function " + kube::NameOf(function) +
                     " has neither spec.command nor spec.args; one is required");
  }
  if (command.front() == "thinsnap-operator")
    command.push_back("--api-domain=" + context.kinds.domain);
  return command;
}

Result<Task> FindTask(Context& context, const std::string& addon, const std::string& list,
                      const std::string& task) {
  const auto addon_object = TRY(GetIfExists(context.client, context.kinds.addon, {"", addon}));
  if (!addon_object) {
    return Error(Code::kNotFound, "Addon " + addon +
                                      " does not exist; accepted are the Addons of the catalog "
                                      "(kubectl get addons." +
                                      context.kinds.addons_group + ")");
  }
  std::string known;
  for (const auto& candidate : ArrayAt(*addon_object, "spec." + list)) {
    const auto name = StringAt(candidate, "name");
    if (CanonicalTaskName(name) != CanonicalTaskName(task)) {
      known += (known.empty() ? "" : ", ") + name;
      continue;
    }
    const auto function_name = StringAt(candidate, "function");
    auto function = TRY(GetIfExists(context.client, context.kinds.function, {"", function_name}));
    if (!function) {
      return Error(Code::kNotFound, "Function " + function_name + ", which Addon " + addon +
                                        " names for task " + name + ", does not exist");
    }
    return Task{candidate, std::move(*function)};
  }
  return Error(Code::kNotFound, "Addon " + addon + " has no task " + task +
                                    "; accepted are: " + (known.empty() ? "none" : known));
}

}  // namespace thinsnap::backup
