// A CSI driver in memory, which answers as it is told: errors wait in queues, snapshots become
// ready after a while.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "csi/proto/csi_service.h"

namespace thinsnap::testing {

class FakeDriver final : public proto::CsiService {
 public:
  // What the next calls of a verb answer, before any work: a code for each call.
  void FailNext(const std::string& verb, std::vector<Code> codes);
  // The next calls of a verb do their work and then lose the answer.
  void LoseNext(const std::string& verb, int count = 1);
  // Calls of CreateSnapshot for one name that answer not ready.
  void set_polls_until_ready(int polls) { polls_until_ready_ = polls; }
  void set_attaches(bool attaches) { attaches_ = attaches; }
  void set_forget_source(bool forget) { forget_source_ = forget; }
  // A snapshot that was there before the cluster.
  void AddSnapshot(const std::string& id);

  int Calls(const std::string& verb);
  std::vector<std::string> volumes();
  std::vector<std::string> snapshots();
  csi::v1::CreateVolumeRequest last_create_volume();
  csi::v1::CreateSnapshotRequest last_create_snapshot();

  Result<csi::v1::GetPluginInfoResponse> GetPluginInfo(
      const proto::Call&, const csi::v1::GetPluginInfoRequest&) override;
  Result<csi::v1::GetPluginCapabilitiesResponse> GetPluginCapabilities(
      const proto::Call&, const csi::v1::GetPluginCapabilitiesRequest&) override;
  Result<csi::v1::ProbeResponse> Probe(const proto::Call&, const csi::v1::ProbeRequest&) override;
  Result<csi::v1::ControllerGetCapabilitiesResponse> ControllerGetCapabilities(
      const proto::Call&, const csi::v1::ControllerGetCapabilitiesRequest&) override;
  Result<csi::v1::CreateVolumeResponse> CreateVolume(const proto::Call&,
                                                     const csi::v1::CreateVolumeRequest&) override;
  Result<csi::v1::DeleteVolumeResponse> DeleteVolume(const proto::Call&,
                                                     const csi::v1::DeleteVolumeRequest&) override;
  Result<csi::v1::CreateSnapshotResponse> CreateSnapshot(
      const proto::Call&, const csi::v1::CreateSnapshotRequest&) override;
  Result<csi::v1::DeleteSnapshotResponse> DeleteSnapshot(
      const proto::Call&, const csi::v1::DeleteSnapshotRequest&) override;
  Result<csi::v1::ListSnapshotsResponse> ListSnapshots(
      const proto::Call&, const csi::v1::ListSnapshotsRequest&) override;
  Result<csi::v1::ControllerExpandVolumeResponse> ControllerExpandVolume(
      const proto::Call&, const csi::v1::ControllerExpandVolumeRequest&) override;

 private:
  // Counts the call; an Error if it is to fail now. Under the mutex.
  Status Enter(const std::string& verb);
  Status Leave(const std::string& verb);

  std::mutex mutex_;
  std::map<std::string, std::deque<Code>> failures_;
  std::map<std::string, int> lost_, calls_, polls_;
  std::map<std::string, csi::v1::Volume> volumes_;      // by name
  std::map<std::string, csi::v1::Snapshot> snapshots_;  // by name
  csi::v1::CreateVolumeRequest last_create_volume_;
  csi::v1::CreateSnapshotRequest last_create_snapshot_;
  int polls_until_ready_ = 0;
  bool attaches_ = false;
  bool forget_source_ = false;
};

}  // namespace thinsnap::testing
