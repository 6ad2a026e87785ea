// BackupTest: an `up` with a bucket, where the guide of a stand-alone PVC was prepared: storage,
// classes, Secrets, the claim and its pod. What the tests of mistakes and of bad days share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/data/json.h"
#include "simulator/s3/s3_server.h"
#include "snapshotter/api/kinds.h"
#include "snapshotter/store/object_store.h"
#include "tests/system/up_fixture.h"

namespace thinsnap::system_test {

// One mistake: an object of a guide, edited, and where it is said.
struct Mistake {
  std::string name;
  std::function<void(Json&)> edit;
  std::string condition;
  std::vector<std::string> said;
};

class BackupTest : public UpTest {
 protected:
  // Starts bucket and cluster and applies what the guide begins with.
  void Prepare(const std::string& pool_size, const std::string& claim_size);
  // A bucket of its own server.
  std::unique_ptr<s3::S3Server> StartBucket(const std::string& name);
  static std::string Endpoint(const s3::S3Server& server) {
    return "http://127.0.0.1:" + std::to_string(server.port());
  }

  // A file of docs/guides with its variables filled in.
  std::string Guide(const std::string& file);
  // The first document of the guide's file under another name.
  Json Edited(const std::string& file, const Mistake& mistake);
  static Json& Session(Json& configuration);
  static Json& ClaimTemplate(Json& restore);

  // All are applied at once; then each has to say its sentence, in a condition and in an event.
  void ExpectSaid(const kube::ResourceType& type, const std::string& file,
                  const std::vector<Mistake>& mistakes);
  void ExpectSaid(const kube::ResourceType& type, const Mistake& mistake);
  // A Warning about an object of this name in namespace demo, also one that is gone.
  bool WaitForWarning(const std::string& object, const std::vector<std::string>& said);
  static std::string Message(const Json& object, const std::string& condition);

  bool WaitForPhase(const kube::ResourceType& type, const std::string& name,
                    const std::string& phase);
  // Runs the session of a configuration under this name; the name of its first Snapshot.
  std::string BackUp(const std::string& name, const std::string& phase = "Succeeded",
                     const std::string& configuration = "pvc-volume-snapshot");
  // The guide's configuration is Ready and its pod runs.
  void PrepareBackup();
  // Applies a RestoreSession and a claim of this name, from the Snapshot.
  void Restore(const std::string& name, const std::string& snapshot);
  // Runs a shell command in the guide's pod.
  void InPod(const std::string& command);

  std::unique_ptr<store::ObjectStore> Bucket(const std::string& path);
  // For what has no watch: looks until it is so. Adds a failure after two minutes.
  bool Eventually(const std::string& what, const std::function<bool()>& check);

  const backup::Kinds kinds_{"kubestash.com"};
  std::unique_ptr<s3::S3Server> server_;

 private:
  std::string claim_size_;
};

}  // namespace thinsnap::system_test
