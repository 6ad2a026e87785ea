// Parameters of StorageClasses and VolumeSnapshotClasses: what is the driver's and what is the
// sidecars', and the Secrets that the latter name.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "base/data/json.h"
#include "base/kube/client.h"

namespace thinsnap::sidecars {

using Parameters = std::map<std::string, std::string>;

// spec-less classes keep them under "parameters".
Parameters ParametersOf(const Json& class_object);

// Without the keys of csi.storage.k8s.io/, of which each must be known. kInvalidArgument names an
// unknown one.
Result<Parameters> DriverParameters(const Parameters& all);

// The values of ${pv.name} and the like.
using Variables = std::map<std::string, std::string>;

// The Secret that `<prefix>-secret-name` and `<prefix>-secret-namespace` (after
// csi.storage.k8s.io/) name, templates filled in. Nullopt if neither is there; kInvalidArgument if
// only one is, or a template is unknown. A StorageClass's plain secret-name and secret-namespace
// stand in for any prefix.
Result<std::optional<kube::ObjectKey>> SecretReference(const Parameters& parameters,
                                                       std::string_view prefix,
                                                       const Variables& variables);

// The Secret's data, decoded; empty for no reference.
Result<std::map<std::string, std::string>> ReadSecret(kube::KubeClient& client,
                                                      const std::optional<kube::ObjectKey>& key);

// "1Gi" for 2^30: the largest binary suffix that leaves no fraction.
std::string BinaryQuantity(std::int64_t bytes);
// Bytes of a quantity; 0 if unreadable.
std::int64_t QuantityBytes(const Json* value);

}  // namespace thinsnap::sidecars
