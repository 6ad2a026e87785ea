// What single built-in kinds refuse, beyond the rules of all: called by ValidateCreate and
// ValidateUpdate. The kinds are spread over the files *validation.cc.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::objects {

void ValidateMetadata(const schema::Kind& kind, const Json& object, schema::FieldErrors& errors);
void ValidateMetadataUpdate(const Json& old, const Json& object, schema::FieldErrors& errors);

void ValidateKind(const schema::Kind& kind, const Json& object, schema::FieldErrors& errors);
// What must stay as it was.
void ValidateKindUpdate(const schema::Kind& kind, const Json& old, const Json& object,
                        schema::FieldErrors& errors);

// Pods and the templates of those who make them. `at` is "spec" or "spec.template.spec".
void ValidatePodSpec(const Json& object, const std::string& at, schema::FieldErrors& errors);
// The containers that were put into a pod that runs.
void ValidateEphemeralContainers(const Json& old, const Json& object, schema::FieldErrors& errors);
void ValidatePodUpdate(const Json& old, const Json& object, schema::FieldErrors& errors);
// One of them. `names` are those of the containers before it.
void ValidateContainer(const Json& container, const std::string& at, bool init,
                       const std::set<std::string>& volumes, std::set<std::string>& names,
                       schema::FieldErrors& errors);

void ValidateService(const Json& object, schema::FieldErrors& errors);
void ValidateServiceUpdate(const Json& old, const Json& object, schema::FieldErrors& errors);

void ValidateWorkload(const Json& object, schema::FieldErrors& errors);
void ValidateDeployment(const Json& object, schema::FieldErrors& errors);
void ValidateDaemonSet(const Json& object, schema::FieldErrors& errors);
void ValidateStatefulSet(const Json& object, schema::FieldErrors& errors);
void ValidateJobSpec(const Json& object, const std::string& at, schema::FieldErrors& errors);
void ValidateCronJob(const Json& object, schema::FieldErrors& errors);
void ValidateJobUpdate(const Json& old, const Json& object, schema::FieldErrors& errors);
void ValidateStatefulSetUpdate(const Json& old, const Json& object, schema::FieldErrors& errors);
void ValidateClaimSpec(const Json& object, const std::string& at, schema::FieldErrors& errors);
// Of a claim inside another object, which stands at `at`.
void ValidateClaimSpec(const Json& claim, const std::string& spec, const std::string& at,
                       schema::FieldErrors& errors);

// The words of all. Each appends what is wrong with the value at `path`; `at` is where `object`
// itself stands.
bool RequireText(const Json& object, const std::string& path, schema::FieldErrors& errors);
void RequireOneOf(const Json& object, const std::string& path,
                  const std::vector<std::string>& allowed, schema::FieldErrors& errors,
                  const std::string& at = "");
void RequireNotNegative(const Json& object, const std::string& path, schema::FieldErrors& errors);
bool Same(const Json& old, const Json& object, std::string_view path);
void Immutable(const Json& old, const Json& object, const std::string& path,
               schema::FieldErrors& errors);

}  // namespace thinsnap::objects
