#include "simulator/apiserver/reviews.h"

#include <algorithm>
#include <utility>

#include "base/data/json.h"

namespace thinsnap::apiserver {

using schema::ApiError;
using schema::ApiResult;
using schema::FieldError;

namespace {

constexpr std::int64_t kDefaultTokenSeconds = 3600;
constexpr std::int64_t kMinTokenSeconds = 600;

std::vector<std::string> Strings(const Json& object, std::string_view path) {
  std::vector<std::string> out;
  for (const Json& item : ArrayAt(object, path)) {
    if (item.is_string()) out.emplace_back(item.as_string());
  }
  return out;
}

JsonArray ToArray(const std::vector<std::string>& items) {
  return JsonArray(items.begin(), items.end());
}

AccessQuestion QuestionIn(const Json& review) {
  if (Find(review, "spec.nonResourceAttributes")) {
    return {StringAt(review, "spec.nonResourceAttributes.verb"), "", "", "", "",
            StringAt(review, "spec.nonResourceAttributes.path")};
  }
  const std::string at = "spec.resourceAttributes.";
  std::string resource = StringAt(review, at + "resource");
  const std::string subresource = StringAt(review, at + "subresource");
  if (!subresource.empty()) resource += "/" + subresource;
  return {StringAt(review, at + "verb"),      StringAt(review, at + "group"), std::move(resource),
          StringAt(review, at + "namespace"), StringAt(review, at + "name"),  ""};
}

// What is posted to a pod names that pod or none.
ApiResult<void> CheckSubject(const registry::Target& target, const Json& body,
                             const std::string& kind) {
  if (StringAt(body, "metadata.namespace", target.ns) != target.ns) {
    return ApiError::BadRequest(
        "the namespace of the provided object does not match the namespace sent on the request");
  }
  if (StringAt(body, "metadata.name", target.name) != target.name)
    return ApiError::BadRequest("name in URL does not match name in " + kind + " object");
  return {};
}

// A question is of a resource or of another path.
ApiResult<void> CheckQuestion(const registry::Target& target, const Json& review) {
  const Json* resource = Find(review, "spec.resourceAttributes");
  const Json* path = Find(review, "spec.nonResourceAttributes");
  schema::FieldErrors errors;
  if (resource != nullptr && path != nullptr) {
    errors.push_back(
        FieldError::Invalid("spec.nonResourceAttributes", *path,
                            "cannot be specified in combination with resourceAttributes"));
  } else if (resource == nullptr && path == nullptr) {
    errors.push_back(FieldError::Invalid(
        "spec.resourceAttributes", Json(),
        "exactly one of nonResourceAttributes or resourceAttributes must be specified"));
  } else if (target.kind->kind == "LocalSubjectAccessReview" && path != nullptr) {
    errors.push_back(FieldError::Invalid("spec.nonResourceAttributes", *path,
                                         "disallowed on this kind of request"));
  } else if (const std::string ns = StringAt(review, "spec.resourceAttributes.namespace");
             target.kind->kind == "LocalSubjectAccessReview" && ns != target.ns) {
    errors.push_back(FieldError::Invalid("spec.resourceAttributes.namespace", Json(ns),
                                         "must match metadata.namespace"));
  }
  if (errors.empty()) return {};
  return ApiError::Invalid(target.kind->group, target.kind->kind, "", std::move(errors));
}

Json UserJson(const registry::UserInfo& user) {
  return {{"username", user.name}, {"groups", ToArray(user.groups)}};
}

}  // namespace

std::string Reviews::BodyMessage(const registry::Target& target) {
  if (target.subresource == "binding") return "k8s.io.api.core.v1.Binding";
  if (target.subresource == "eviction") return "k8s.io.api.policy.v1.Eviction";
  if (target.subresource == "token") return "k8s.io.api.authentication.v1.TokenRequest";
  return "";
}

ApiResult<registry::Written> Reviews::Create(const registry::Target& target, Json body,
                                             registry::WriteContext& write) const {
  if (target.subresource == "binding" || target.subresource == "eviction") {
    const bool binding = target.subresource == "binding";
    TRY(CheckSubject(target, body, binding ? "Binding" : "Eviction"));
    return binding ? registry_.Bind(target, body, write) : Evict(target, body, write);
  }
  if (target.subresource == "token") {
    Json token = TRY(RequestToken(target, std::move(body)));
    return registry::Written{std::move(token), 201};
  }
  if (!target.subresource.empty()) return ApiError::MethodNotAllowed();
  if (target.kind->kind == "Binding") {
    auto pod = TRY(
        registry_.Resolve("", "v1", "pods", target.ns, StringAt(body, "metadata.name"), "binding"));
    return registry_.Bind(pod, body, write);
  }
  Json answer = TRY(Answer(target, write.user, std::move(body)));
  return registry::Written{std::move(answer), 201};
}

ApiResult<registry::Written> Reviews::Evict(const registry::Target& target, const Json& eviction,
                                            registry::WriteContext& write) const {
  registry::Target pod = target;
  pod.subresource.clear();
  const Json* options = Find(eviction, "deleteOptions");
  const auto request = TRY(objects::ParseDeleteOptions(options ? *options : Json(JsonObject())));
  write.dry_run = write.dry_run || !ArrayAt(eviction, "deleteOptions.dryRun").empty();
  TRY(registry_.Delete(pod, request, write));
  return registry::Written{{{"kind", "Status"},
                            {"apiVersion", "v1"},
                            {"metadata", JsonObject()},
                            {"status", "Success"},
                            {"code", 201}},
                           201};
}

ApiResult<Json> Reviews::Answer(const registry::Target& target, const registry::UserInfo& user,
                                Json review) const {
  const std::string& kind = target.kind->kind;
  if (!Find(review, "metadata")) Set(review, "metadata", JsonObject());
  if (kind.ends_with("AccessReview")) TRY(CheckQuestion(target, review));
  auto judge = [&](const registry::UserInfo& who) {
    const AccessQuestion question = QuestionIn(review);
    JsonObject status{{"allowed", authorizer_.Allows(who, question)}};
    if (const std::string reason = authorizer_.Grounds(who, question); !reason.empty())
      status["reason"] = reason;
    Set(review, "status", std::move(status));
  };
  if (kind == "SelfSubjectAccessReview") {
    judge(user);
  } else if (kind == "SubjectAccessReview" || kind == "LocalSubjectAccessReview") {
    registry::UserInfo who{StringAt(review, "spec.user"), Strings(review, "spec.groups")};
    if (who.name.empty() && who.groups.empty()) {
      return ApiError::Invalid(
          target.kind->group, kind, "",
          {FieldError::Invalid("spec.user", Json(""),
                               "at least one of user or group must be specified")});
    }
    judge(who);
  } else if (kind == "SelfSubjectRulesReview") {
    const std::string ns = StringAt(review, "spec.namespace");
    if (ns.empty()) return ApiError::BadRequest("no namespace on request");
    JsonArray resource_rules, path_rules;
    for (const PolicyRule& rule : authorizer_.RulesFor(user, ns)) {
      (rule.paths.empty() ? resource_rules : path_rules).push_back(rule.ToJson());
    }
    Set(review, "status",
        {{"resourceRules", std::move(resource_rules)},
         {"nonResourceRules", std::move(path_rules)},
         {"incomplete", false}});
  } else if (kind == "SelfSubjectReview") {
    Set(review, "status", {{"userInfo", UserJson(user)}});
  } else if (kind == "TokenReview") {
    if (StringAt(review, "spec.token").empty())
      return ApiError::BadRequest("token is required for TokenReview in authentication");
    const auto owner = authenticator_.OwnerOf(StringAt(review, "spec.token"));
    const auto wanted = Strings(review, "spec.audiences");
    JsonObject status;
    if (!owner.ok()) {
      status = {{"user", JsonObject()}, {"error", owner.error().message()}};
    } else {
      const auto& has = owner->claims.audiences;
      JsonArray both;
      for (const std::string& audience : wanted.empty() ? has : wanted) {
        if (std::find(has.begin(), has.end(), audience) != has.end()) both.emplace_back(audience);
      }
      if (both.empty()) {
        status = {{"user", JsonObject()}, {"error", "the token is for other audiences"}};
      } else {
        Json info = UserJson(owner->user);
        Set(info, "uid", owner->uid);
        status = {
            {"authenticated", true}, {"user", std::move(info)}, {"audiences", std::move(both)}};
      }
    }
    Set(review, "status", std::move(status));
  } else {
    return ApiError::NoSuchResource();
  }
  return review;
}

ApiResult<Json> Reviews::RequestToken(const registry::Target& target, Json request) const {
  registry::Target account = target;
  account.subresource.clear();
  TRY(registry_.Get(account));
  std::int64_t seconds = IntAt(request, "spec.expirationSeconds", kDefaultTokenSeconds);
  if (seconds < kMinTokenSeconds) {
    return ApiError::Invalid(
        "authentication.k8s.io", "TokenRequest", target.name,
        {FieldError::Invalid("spec.expirationSeconds", Json(seconds),
                             "may not specify a duration less than 10 minutes")});
  }
  if (const std::string name = StringAt(request, "metadata.name", target.name);
      name != target.name) {
    return ApiError::Invalid(
        "authentication.k8s.io", "TokenRequest", target.name,
        {FieldError::Invalid("metadata.name", Json(name),
                             "must match the service account name if specified")});
  }
  std::string pod, pod_uid;
  if (StringAt(request, "spec.boundObjectRef.kind") == "Pod") {
    pod = StringAt(request, "spec.boundObjectRef.name");
    const auto found = registry_.store().Get({"pods", target.ns, pod});
    if (!found) return ApiError::NotFound("", "pods", pod);
    pod_uid = StringAt(found->value(), "metadata.uid");
    const std::string given = StringAt(request, "spec.boundObjectRef.uid");
    if (!given.empty() && given != pod_uid) {
      return ApiError::Conflict("", "pods", pod,
                                "the UID in the bound object reference (" + given +
                                    ") does not match the UID in record (" + pod_uid + ")");
    }
  }
  auto token = authenticator_.Issue(target.ns, target.name, std::chrono::seconds(seconds), pod,
                                    pod_uid, Strings(request, "spec.audiences"));
  if (!token.ok()) return ApiError::From(token.error());
  Json answer = std::move(request);
  Set(answer, "apiVersion", "authentication.k8s.io/v1");
  Set(answer, "kind", "TokenRequest");
  Set(answer, "metadata.name", target.name);
  Set(answer, "metadata.namespace", target.ns);
  Set(answer, "metadata.creationTimestamp", FormatRfc3339(registry_.clock().Now()));
  Set(answer, "spec.expirationSeconds", seconds);
  if (ArrayAt(answer, "spec.audiences").empty()) {
    Set(answer, "spec.audiences", JsonArray{Json(std::string(kTokenIssuer))});
  }
  Set(answer, "status",
      {{"token", std::string(token->token.Reveal())},
       {"expirationTimestamp", FormatRfc3339(token->expires)}});
  return answer;
}

}  // namespace thinsnap::apiserver
