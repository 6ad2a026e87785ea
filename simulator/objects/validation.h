// What single built-in kinds refuse, beyond the rules of all: called by ValidateCreate and
// ValidateUpdate.
#pragma once

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

// Shared by both files. Adds "Required value" or "Unsupported value".
bool RequireText(const Json& object, const std::string& path, FieldErrors& errors);
void RequireOneOf(const Json& object, const std::string& path,
                  const std::vector<std::string>& allowed, FieldErrors& errors);

}  // namespace thinsnap::objects
