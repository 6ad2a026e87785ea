// Admission: what the server itself changes in new objects and what it forbids for reasons outside
// of the object. Each plugin is a function; they run in the order of their list.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/random.h"
#include "base/data/json.h"
#include "simulator/objects/api_error.h"
#include "simulator/objects/kinds.h"
#include "simulator/objects/store.h"

namespace thinsnap::apiserver {

struct AdmissionOptions {
  // False: pods get no service account, and namespaces neither the default one nor the root CA, as
  // in a cluster without controllers.
  bool service_accounts = true;
};

struct AdmissionContext {
  const objects::Kind& kind;
  const std::string& ns;
  const objects::VersionedStore& store;
  Random& random;
};

class Admission {
 public:
  explicit Admission(AdmissionOptions options) : options_(options) {}
  const AdmissionOptions& options() const { return options_; }

  // Before defaults are final: changes the new object.
  objects::ApiStatus MutateCreate(const AdmissionContext& context, Json& object) const;
  // After validation.
  objects::ApiStatus CheckUpdate(const AdmissionContext& context, const Json& old,
                                 const Json& object) const;

  // Runs `create` unless a quota of the namespace forbids the object; nothing else is counted
  // meanwhile.
  objects::ApiStatus Charge(const AdmissionContext& context, const Json& object,
                            const std::function<objects::ApiStatus()>& create);

 private:
  AdmissionOptions options_;
  std::mutex quota_mutex_;
};

}  // namespace thinsnap::apiserver
