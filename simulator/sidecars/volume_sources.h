// What a new volume starts with: a snapshot or another claim. While it is copied from, a finalizer
// keeps the source.
#pragma once

#include <memory>
#include <string>

#include "base/core/result.h"
#include "base/data/json.h"
#include "base/kube/informer.h"
#include "csi/proto/csi.pb.h"
#include "simulator/sidecars/driver.h"

namespace thinsnap::sidecars {

// spec.dataSource, which wins, or spec.dataSourceRef; null for a claim that starts empty.
Json DataSourceOf(const Json& claim);
// A VolumeSnapshot or a claim; other kinds are for populators.
bool IsVolumeSource(const Json& source);
// An unbound claim that was handed to the driver.
bool AwaitsDriver(const Json& claim, const std::string& driver);

// Thread-safe.
class VolumeSources {
 public:
  VolumeSources(kube::KubeClient& client, kube::Informer& claims, std::string driver,
                std::shared_ptr<const DriverFacts> facts)
      : client_(client), claims_(claims), driver_(std::move(driver)), facts_(std::move(facts)) {}

  // Checks the source, holds it and writes it into the request. kFailedPrecondition and kNotFound
  // say what is missing.
  Status Fill(const Json& claim, const Json& source, csi::v1::CreateVolumeRequest& request);
  // Lets the claim's source go, unless another claim is still being made from it.
  Status Release(const Json& claim);
  // Lets the snapshot and the claim of this name go, unless a claim is being made from it.
  Status Sweep(const kube::ObjectKey& source);

 private:
  Status FillSnapshot(const Json& claim, const kube::ObjectKey& key,
                      csi::v1::CreateVolumeRequest& request);
  Status FillClaim(const Json& claim, const kube::ObjectKey& key,
                   csi::v1::CreateVolumeRequest& request);
  Status Hold(const kube::ResourceType& type, Json object, const char* finalizer);
  // A claim other than that of `except_uid` is still being made from the source.
  bool IsAwaited(const std::string& kind, const kube::ObjectKey& key,
                 const std::string& except_uid) const;
  Status Drop(const std::string& kind, const kube::ObjectKey& key);

  kube::KubeClient& client_;
  kube::Informer& claims_;
  const std::string driver_;
  const std::shared_ptr<const DriverFacts> facts_;
};

}  // namespace thinsnap::sidecars
