// What single built-in kinds refuse, beyond the rules of all: called by ValidateCreate and
// ValidateUpdate. The kinds are spread over the files *validation.cc.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/data/json.h"
#include "simulator/objects/api_error.h"
#include "simulator/objects/kinds.h"

namespace thinsnap::objects {

void ValidateKind(const Kind& kind, const Json& object, FieldErrors& errors);
// What must stay as it was.
void ValidateKindUpdate(const Kind& kind, const Json& old, const Json& object, FieldErrors& errors);

// Pods and the templates of those who make them. `at` is "spec" or "spec.template.spec".
void ValidatePodSpec(const Json& object, const std::string& at, FieldErrors& errors);
void ValidatePodUpdate(const Json& old, const Json& object, FieldErrors& errors);
// One of them. `names` are those of the containers before it.
void ValidateContainer(const Json& container, const std::string& at, bool init,
                       const std::set<std::string>& volumes, std::set<std::string>& names,
                       FieldErrors& errors);

void ValidateWorkload(const Json& object, FieldErrors& errors);
void ValidateDeployment(const Json& object, FieldErrors& errors);
void ValidateStatefulSet(const Json& object, FieldErrors& errors);
void ValidateJobSpec(const Json& object, const std::string& at, FieldErrors& errors);
void ValidateCronJob(const Json& object, FieldErrors& errors);
void ValidateJobUpdate(const Json& old, const Json& object, FieldErrors& errors);
void ValidateStatefulSetUpdate(const Json& old, const Json& object, FieldErrors& errors);
void ValidateClaimSpec(const Json& object, const std::string& at, FieldErrors& errors);

// The words of all. Each appends what is wrong with the value at `path`; `at` is where `object`
// itself stands.
bool RequireText(const Json& object, const std::string& path, FieldErrors& errors);
void RequireOneOf(const Json& object, const std::string& path,
                  const std::vector<std::string>& allowed, FieldErrors& errors,
                  const std::string& at = "");
void RequireNotNegative(const Json& object, const std::string& path, FieldErrors& errors);
bool Same(const Json& old, const Json& object, std::string_view path);
void Immutable(const Json& old, const Json& object, const std::string& path, FieldErrors& errors);

}  // namespace thinsnap::objects
