// Pure parts of the provisioner: the request for a claim's volume, and the PersistentVolume that
// comes of the answer.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"
#include "base/kube/informer.h"
#include "base/kube/object.h"
#include "csi/proto/csi.pb.h"
#include "simulator/sidecars/driver.h"
#include "simulator/sidecars/start.h"

namespace thinsnap::sidecars {

inline constexpr char kVolumeFinalizer[] = "external-provisioner.volume.kubernetes.io/finalizer";
inline constexpr char kDeletionSecretNameOfVolume[] =
    "volume.kubernetes.io/provisioner-deletion-secret-name";
inline constexpr char kDeletionSecretNamespaceOfVolume[] =
    "volume.kubernetes.io/provisioner-deletion-secret-namespace";

inline std::string VolumeNameOf(const Json& claim) { return "pvc-" + kube::UidOf(claim); }

// Where the volume may be: nodes by CSINode, the labels that the driver's topology keys name.
// `selected_node` is empty for immediate binding. kNotFound: that node does not exist.
// kFailedPrecondition: the driver is not there yet.
struct TopologyInput {
  std::string driver;
  std::string selected_node;
  bool strict = false;
  Json storage_class;
  std::vector<kube::ObjectPtr> nodes, csi_nodes;
  std::string seed;  // spreads the preference of claims without a node
};
Result<csi::v1::TopologyRequirement> PlanTopology(const TopologyInput& input);

// Everything but topology, source and secrets.
Result<csi::v1::CreateVolumeRequest> VolumeRequest(const Json& claim, const Json& storage_class,
                                                   const DriverFacts& driver,
                                                   const SidecarOptions& options);

// The snapshot may become this claim's volume: bound both ways, ready, of this driver, not larger,
// of the same mode. kFailedPrecondition is told and repeated.
Status CheckSnapshotSource(const Json& claim, const Json& snapshot, const Json& content,
                           const std::string& driver);
// The same for a claim that is cloned.
Status CheckClaimSource(const Json& claim, const Json& source, const Json& source_volume,
                        const std::string& driver);

// kFailedPrecondition: the answer does not fit the request; the volume has to go.
Status CheckVolume(const csi::v1::CreateVolumeRequest& request, const csi::v1::Volume& volume);

Result<Json> NewVolume(const Json& claim, const Json& storage_class,
                       const csi::v1::CreateVolumeRequest& request, const csi::v1::Volume& volume,
                       const std::string& driver, const std::string& identity);

}  // namespace thinsnap::sidecars
