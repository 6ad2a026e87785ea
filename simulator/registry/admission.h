// Admission: what the server itself changes in new objects and what it forbids for reasons outside
// of the object. Each plugin is a function; they run in the order of their list.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/random.h"
#include "base/data/json.h"
#include "simulator/objects/store.h"
#include "simulator/registry/service_addresses.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::registry {

struct AdmissionOptions {
  // False: pods get no service account, and namespaces neither the default one nor the root CA, as
  // in a cluster without controllers.
  bool service_accounts = true;
};

struct AdmissionContext {
  const schema::Kind& kind;
  const std::string& ns;
  const objects::VersionedStore& store;
  Random& random;
};

class Admission {
 public:
  explicit Admission(AdmissionOptions options) : options_(options) {}
  const AdmissionOptions& options() const { return options_; }

  // Before defaults are final: changes the new object.
  schema::ApiStatus MutateCreate(const AdmissionContext& context, Json& object) const;
  void MutateUpdate(const AdmissionContext& context, Json& object) const;
  // After validation.
  schema::ApiStatus CheckUpdate(const AdmissionContext& context, const Json& old,
                                const Json& object) const;

  // What the cluster cannot do without stays.
  schema::ApiStatus CheckDelete(const AdmissionContext& context, const std::string& name) const;

  // What is given out to objects of a kind: fills it in, after validation. `old` is null for a new
  // object; the result is held until the object is stored.
  ServiceAddresses::Held Allocate(const AdmissionContext& context, const Json* old, Json& object);

  // Runs `create` unless a quota of the namespace forbids the object; nothing else is counted
  // meanwhile.
  schema::ApiStatus Charge(const AdmissionContext& context, const Json& object,
                           const std::function<schema::ApiStatus()>& create);

 private:
  AdmissionOptions options_;
  std::mutex quota_mutex_;
  ServiceAddresses service_addresses_;
};

}  // namespace thinsnap::registry
