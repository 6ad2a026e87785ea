// The life of a world: orderly ends, power loss, killed processes, a burning node.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <gmock/gmock.h>
#include <unistd.h>

#include "base/data/json.h"
#include "base/kube/object.h"
#include "simulator/containers/remove_tree.h"
#include "tests/system/up_fixture.h"

namespace thinsnap::system_test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using testing::HasSubstr;

class WorldTest : public UpTest {
 protected:
  // A claim, and a pod that counts its starts in it and writes without end.
  void CreateBusyPod() {
    Apply(R"yaml(
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: thin}
provisioner: csi.thinsnap.io
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: thin
  resources: {requests: {storage: 512Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: busy}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "echo start >> /data/starts; sync; touch /ready; while :; do dd if=/dev/zero of=/data/load bs=1M count=64 2>/dev/null; done"]
    readinessProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1, timeoutSeconds: 30}
    volumeMounts: [{name: v, mountPath: /data}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
)yaml");
    WaitForStarts(0);
  }

  // Until the pod is ready with so many restarts.
  void WaitForStarts(int restarts) {
    ASSERT_TRUE(WaitFor(kube::types::kPod, {"default", "busy"}, [&](const Json* pod) {
      if (pod == nullptr || !kube::ConditionIs(*pod, "Ready")) return false;
      const JsonArray& statuses = ArrayAt(*pod, "status.containerStatuses");
      return !statuses.empty() && IntAt(statuses[0], "restartCount") == restarts;
    }));
  }

  // `up` in a chroot of its own mount namespace that holds what programs need, of a tmpfs: its
  // root, or a folder in it.
  void StartInChroot(const std::string& root_below) {
    const char* kEnter = R"sh(
set -eu
base=$1/chroot; root=$base$2; folder=$1; build=$3; shift 3
mkdir "$base"
mount -t tmpfs -o mode=0755 chroot "$base"
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/etc" "$root/run" "$root/tmp" "$root/$folder" "$root/$build"
for each in /usr /bin /sbin /lib /lib32 /lib64; do
  if [ -h $each ]; then cp -d $each "$root$each"; continue; fi
  [ -d $each ] || continue
  mkdir "$root$each"
  mount --rbind $each "$root$each"
done
for each in /proc /sys /dev; do mount --rbind $each "$root$each"; done
for each in "$folder" "$build"; do mount --bind "$each" "$root/$each"; done
exec chroot "$root" "$@"
)sh";
    StartUp(1, {},
            {"unshare", "--mount", "--propagation", "private", "sh", "-c", kEnter, "sh", folder(),
             root_below, THINSNAP_BINARY_DIR});
  }
  // A pod's own file is what exec and exec probes see, and nothing of the machine.
  void ExpectPodsOwnRoot() {
    Apply(R"yaml(
apiVersion: v1
kind: Pod
metadata: {name: own}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "echo mine > /mark; exec sleep 3600"]
    readinessProbe: {exec: {command: [grep, mine, /mark]}, periodSeconds: 1, timeoutSeconds: 30}
)yaml");
    ASSERT_TRUE(WaitFor(kube::types::kPod, {"default", "own"}, [](const Json* pod) {
      return pod != nullptr && kube::ConditionIs(*pod, "Ready");
    }));
    EXPECT_EQ(Kubectl({"exec", "own", "--", "cat", "/mark"}).out, "mine\n");
    const std::string inside = Kubectl({"exec", "own", "--", "ls", "-id", "/"}).out;
    EXPECT_NE(inside, Run({"ls", "-id", "/"}).out);
    EXPECT_NE(Kubectl({"exec", "own", "--", "ls", folder()}).exit_code, 0);
    EXPECT_NE(Kubectl({"exec", "own", "--", "ls", "/proc/self/root" + folder()}).exit_code, 0);
  }

  std::string Starts() { return Kubectl({"exec", "busy", "--", "cat", "/data/starts"}).out; }
  std::string Uid() {
    return Kubectl({"get", "pod", "busy", "-o", "jsonpath={.metadata.uid}"}).out;
  }
};

TEST_F(WorldTest, AnOrderlyEndLeavesNothingAndGoesOn) {
  StartUp(2);
  if (HasFatalFailure()) return;
  CreateBusyPod();
  if (HasFatalFailure()) return;
  const std::string uid = Uid();
  const CommandOutput server =
      Kubectl({"config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"});
  EXPECT_EQ(StopUp(), 0);
  EXPECT_EQ(Said(), "");
  ExpectNothingLeft();
  StartUp(2);
  if (HasFatalFailure()) return;
  WaitForStarts(1);
  EXPECT_EQ(Uid(), uid);
  EXPECT_EQ(Starts(), "start\nstart\n");
  EXPECT_EQ(
      Kubectl({"config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"}).out,
      server.out);
}

TEST_F(WorldTest, PowerLossUnderLoadLeavesNothingAndGoesOn) {
  StartUp(2);
  if (HasFatalFailure()) return;
  CreateBusyPod();
  if (HasFatalFailure()) return;
  const std::string uid = Uid();
  for (int loss = 1; loss <= 3; ++loss) {
    KillUp();
    ExpectNothingLeft();
    StartUp(2);
    if (HasFatalFailure()) return;
    WaitForStarts(loss);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(Uid(), uid);
  EXPECT_EQ(Starts(), "start\nstart\nstart\nstart\n");
}

TEST_F(WorldTest, StartedAgainBeforeItsFormerLifeHasEnded) {
  StartUp(2);
  if (HasFatalFailure()) return;
  CreateBusyPod();
  if (HasFatalFailure()) return;
  Apply(R"yaml(
apiVersion: v1
kind: Pod
metadata: {name: done}
spec:
  restartPolicy: Never
  containers: [{name: main, image: busybox, command: [echo, all is said]}]
)yaml");
  ASSERT_TRUE(WaitForPodPhase("done", "Succeeded"));
  for (int loss = 1; loss <= 3; ++loss) {
    KillUp();
    StartUp(2);
    if (HasFatalFailure()) return;
    WaitForStarts(loss);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(Starts(), "start\nstart\nstart\nstart\n");
  EXPECT_EQ(Logs("done"), "all is said\n") << "of a pod that ended before";
}

TEST_F(WorldTest, PowerLossWhileSnapshotsAreCut) {
  StartUp(1);
  if (HasFatalFailure()) return;
  CreateBusyPod();
  if (HasFatalFailure()) return;
  Apply(R"yaml(
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: local}
driver: csi.thinsnap.io
deletionPolicy: Delete
)yaml");
  for (int loss = 1; loss <= 3; ++loss) {
    for (int number = 0; number < 3; ++number) {
      Apply(
          "apiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshot\nmetadata: {name: s" +
          std::to_string(loss) + std::to_string(number) +
          "}\nspec: {volumeSnapshotClassName: local, source: {persistentVolumeClaimName: data}}\n");
    }
    KillUp();
    // A filesystem that still stood still would keep its processes and its device for ever.
    ExpectNothingLeft();
    StartUp(1);
    if (HasFatalFailure()) return;
    WaitForStarts(loss);
    if (HasFatalFailure()) return;
  }
  for (int loss = 1; loss <= 3; ++loss) {
    for (int number = 0; number < 3; ++number) {
      EXPECT_TRUE(WaitFor(
          kube::types::kVolumeSnapshot,
          {"default", "s" + std::to_string(loss) + std::to_string(number)},
          [](const Json* object) { return object && BoolAt(*object, "status.readyToUse"); }));
    }
  }
}

TEST_F(WorldTest, PowerLossRightAfterTheStart) {
  for (int loss = 0; loss < 3; ++loss) {
    StartUp(1);
    if (HasFatalFailure()) return;
    KillUp();
    ExpectNothingLeft();
  }
  StartUp(1);
}

TEST_F(WorldTest, AKilledDriverComesBackAndDisturbsNoMount) {
  StartUp();
  if (HasFatalFailure()) return;
  CreateBusyPod();
  if (HasFatalFailure()) return;
  for (const pid_t pid : Processes("--socket")) kill(pid, SIGKILL);
  EXPECT_EQ(Starts(), "start\n");
  // The new one knows the volume: it is given back when the pod goes.
  ASSERT_EQ(Kubectl({"delete", "pod", "busy", "--timeout=60s"}).exit_code, 0);
  ASSERT_EQ(Kubectl({"delete", "pvc", "data", "--timeout=60s"}).exit_code, 0);
}

TEST_F(WorldTest, AKilledNodeStartsAgainWithItsPods) {
  StartUp();
  if (HasFatalFailure()) return;
  CreateBusyPod();
  if (HasFatalFailure()) return;
  const std::string uid = Uid();
  for (const pid_t pid : Processes("--pool-bytes")) kill(pid, SIGKILL);
  WaitForStarts(1);
  EXPECT_EQ(Uid(), uid);
  EXPECT_EQ(Starts(), "start\nstart\n");
  EXPECT_THAT(Said(), HasSubstr("thinsnap-sim: node-1: ended with code 137"));
}

TEST_F(WorldTest, KilledProgramsComeBack) {
  StartUp();
  if (HasFatalFailure()) return;
  for (const char* program : {"thinsnap-csi", "thinsnap-operator"}) {
    const std::vector<pid_t> before = Processes(program);
    ASSERT_EQ(before.size(), 1U) << program;
    kill(before[0], SIGKILL);
    const MonoTime deadline = clock_.MonoNow() + seconds(60);
    std::vector<pid_t> after;
    do {
      ASSERT_TRUE(runtime_.SleepFor(std::chrono::milliseconds(20)).ok());
      after = Processes(program);
    } while ((after.empty() || after[0] == before[0]) && clock_.MonoNow() < deadline);
    EXPECT_EQ(after.size(), 1U) << program;
  }
  // And the driver's controller still makes volumes.
  CreateBusyPod();
}

TEST_F(WorldTest, ADestroyedNodeNeverComesBack) {
  StartUp(2);
  if (HasFatalFailure()) return;
  CreateBusyPod();
  if (HasFatalFailure()) return;
  const std::string node = Kubectl({"get", "pod", "busy", "-o", "jsonpath={.spec.nodeName}"}).out;
  const CommandOutput unknown =
      Run({Program("thinsnap-sim"), "destroy-node", "node-9", "--data", data()});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("there is no node node-9; the nodes are node-1, node-2"));
  ASSERT_EQ(Run({Program("thinsnap-sim"), "destroy-node", node}).exit_code, 0)
      << "found through KUBECONFIG";
  EXPECT_NE(access((data() + "/nodes/" + node).c_str(), F_OK), 0);
  ASSERT_EQ(Kubectl({"delete", "node", node}).exit_code, 0);
  ASSERT_TRUE(WaitForGone(kube::types::kPod, {"default", "busy"}));
  EXPECT_EQ(StopUp(), 0);
  StartUp(2);
  if (HasFatalFailure()) return;
  const CommandOutput nodes = Kubectl({"get", "nodes", "-o", "name"});
  EXPECT_EQ(nodes.out, node == "node-1" ? "node/node-2\n" : "node/node-1\n");
}

TEST_F(WorldTest, AFolderThatIsRemovedEndsIt) {
  StartUp();
  if (HasFatalFailure()) return;
  containers::RemoveTree(data());
  EXPECT_EQ(AwaitUp(), 1);
  EXPECT_THAT(Said(), HasSubstr("was removed while the cluster ran on it"));
  ExpectNothingLeft();
}

TEST_F(WorldTest, InAChrootPodsKeepToTheirOwnRoot) {
  // The chroot is a folder, and it is a mount point.
  for (const char* below : {"/folder", ""}) {
    SCOPED_TRACE(std::string("root of the chroot: tmpfs") + below);
    StartInChroot(below);
    if (HasFatalFailure()) return;
    ExpectPodsOwnRoot();
    EXPECT_EQ(StopUp(), 0);
    ExpectNothingLeft();
    containers::RemoveTree(data());
    fs::remove(folder() + "/chroot");
  }
}

TEST_F(WorldTest, ABusyPortIsSaidSo) {
  StartUp();
  if (HasFatalFailure()) return;
  const std::string server =
      Kubectl({"config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"}).out;
  const std::string port = server.substr(server.rfind(':') + 1);
  const CommandOutput second =
      Run({Program("thinsnap-sim"), "up", "--data", data() + ".other", "--port", port});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, HasSubstr("address 127.0.0.1:" + port + " is in use"));
}

TEST_F(WorldTest, ASecondUpOnTheFolderIsRefused) {
  StartUp();
  if (HasFatalFailure()) return;
  const CommandOutput second = Run({Program("thinsnap-sim"), "up", "--data", data()});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, HasSubstr("another `thinsnap-sim up` runs on the folder"));
}

}  // namespace
}  // namespace thinsnap::system_test
