// Pods as a user has them: real containers under a real `up`.
#include <gmock/gmock.h>

#include "base/data/json.h"
#include "base/kube/object.h"
#include "tests/system/kubectls.h"
#include "tests/system/up_fixture.h"

namespace thinsnap::system_test {
namespace {

using testing::HasSubstr;

class PodsTest : public UpTest {};

constexpr char kClass[] = R"yaml(
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: thin}
provisioner: csi.thinsnap.io
# ext4 grows only for CAP_SYS_RESOURCE, which root in a container may lack.
parameters: {csi.storage.k8s.io/fstype: xfs}
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: thin
  resources: {requests: {storage: 1Gi}}
)yaml";

TEST_F(PodsTest, LiveAndDie) {
  StartUp();
  if (HasFatalFailure()) return;
  Apply(R"yaml(
apiVersion: v1
kind: Pod
metadata: {name: ok, labels: {app: x}}
spec:
  restartPolicy: Never
  initContainers:
  - {name: first, image: busybox, command: [sh, -c, "echo init says $WHO > /shared/note"],
     env: [{name: WHO, value: hello}], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - {name: main, image: busybox, command: [sh, -c, "cat /shared/note; echo out; id -u"],
     volumeMounts: [{name: shared, mountPath: /shared}]}
  volumes: [{name: shared, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: bad}
spec:
  restartPolicy: Never
  containers: [{name: main, image: nginx, command: [sh, -c, "test ! -e /home/* && exit 42"]}]
)yaml");
  ASSERT_TRUE(WaitForPodPhase("ok", "Succeeded"));
  EXPECT_EQ(Logs("ok"), "init says hello\nout\n0\n");
  ASSERT_TRUE(WaitForPodPhase("bad", "Failed"));
  EXPECT_EQ(Kubectl({"get", "pod", "bad", "-o",
                     "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}"})
                .out,
            "42");
  const CommandOutput described = Kubectl({"describe", "pod", "ok"});
  EXPECT_THAT(described.out, HasSubstr("Started container main"));
  EXPECT_THAT(described.out, HasSubstr("Successfully assigned default/ok to node-1"));
}

TEST_F(PodsTest, ExecLogsAndCopy) {
  StartUp();
  if (HasFatalFailure()) return;
  Apply(R"yaml(
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: nginx
    command: [sh, -c, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; exec sleep 3600"]
)yaml");
  ASSERT_EQ(Kubectl({"wait", "--for=condition=Ready", "pod/p", "--timeout=60s"}).exit_code, 0);
  EXPECT_EQ(Kubectl({"exec", "p", "--", "sh", "-c", "echo a b; exit 5"}).exit_code, 5);
  EXPECT_EQ(Kubectl({"exec", "-i", "p", "--", "cat"}, "over and back").out, "over and back");
  // The end of a log that is written at this moment: what is there only grows.
  ASSERT_TRUE(WaitFor(kube::types::kPod, {"default", "p"}, [&](const Json*) {
    return Kubectl({"logs", "p", "--tail=1"}).out == "line 20000\n";
  }));
  EXPECT_EQ(Kubectl({"logs", "p"}).out.size(),
            20000 * 6 + 9 + 90 * 2 + 900 * 3 + 9000 * 4 + 10001 * 5);
  ASSERT_EQ(Kubectl({"cp", Program("thinsnap-sim"), "p:/tmp/program"}).exit_code, 0);
  const CommandOutput sum = Kubectl({"exec", "p", "--", "sha256sum", "/tmp/program"});
  EXPECT_EQ(sum.out.substr(0, 64), Run({"sha256sum", Program("thinsnap-sim")}).out.substr(0, 64));
  ASSERT_EQ(Kubectl({"delete", "pod", "p", "--timeout=60s"}).exit_code, 0);
}

// A person's way to a container, by every kubectl that is here: with a file, with a terminal.
TEST_F(PodsTest, ProgramsReadWhatKubectlIsGiven) {
  StartUp();
  if (HasFatalFailure()) return;
  for (const KubectlClient& client : FindKubectls(THINSNAP_BINARY_DIR)) {
    if (client.path.empty()) GTEST_SKIP() << "no kubectl";
    SCOPED_TRACE(client.version);
    const std::vector<std::string> run = {client.path,
                                          "--kubeconfig",
                                          kubeconfig(),
                                          "run",
                                          "reader",
                                          "--rm",
                                          "--image",
                                          "busybox",
                                          "--restart",
                                          "Never",
                                          "--pod-running-timeout",
                                          "1m"};
    std::vector<std::string> with_file = run;
    with_file.insert(with_file.end(), {"-i", "--", "sh", "-c", "wc -c; exit 7"});
    const CommandOutput counted = Run(with_file, std::string(3'000'000, 'z'));
    EXPECT_THAT(counted.out, HasSubstr("3000000\n")) << counted.err;
    EXPECT_EQ(counted.exit_code, 7) << counted.err;
    WaitForGone(kube::types::kPod, {"default", "reader"});

    std::string line;
    for (const std::string& word : run) line += word + " ";
    const CommandOutput typed = Run({"script", "-qec", line + "-it -- sh", "/dev/null"},
                                    "tty; echo said-$((40+2))\nexit 3\n");
    EXPECT_THAT(typed.out, HasSubstr("/dev/pts/0\r\nsaid-42")) << typed.err;
    EXPECT_EQ(typed.exit_code, 3) << typed.out;
    WaitForGone(kube::types::kPod, {"default", "reader"});
  }
}

TEST_F(PodsTest, ServiceAccountsReachTheApiServer) {
  StartUp();
  if (HasFatalFailure()) return;
  Apply(R"yaml(
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: nginx
    command:
    - sh
    - -c
    - |
      cd /var/run/secrets/kubernetes.io/serviceaccount
      curl -sS --cacert ca.crt -H "Authorization: Bearer $(cat token)" \
        https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$(cat namespace)/secrets
)yaml");
  if (access("/usr/bin/curl", X_OK) != 0) GTEST_SKIP() << "needs curl";
  ASSERT_TRUE(WaitForPodPhase("p", "Succeeded"));
  EXPECT_THAT(Logs("p"), HasSubstr("system:serviceaccount:default:default"));
}

TEST_F(PodsTest, AClaimKeepsItsDataAndGrows) {
  StartUp(2);
  if (HasFatalFailure()) return;
  Apply(std::string(kClass) + R"yaml(---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  restartPolicy: Never
  containers: [{name: main, image: busybox, command: [sh, -c, "echo kept > /data/file"],
                volumeMounts: [{name: v, mountPath: /data}]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
)yaml");
  ASSERT_TRUE(WaitForPodPhase("writer", "Succeeded"));
  ASSERT_EQ(Kubectl({"delete", "pod", "writer"}).exit_code, 0);
  Apply(R"yaml(
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: busybox, command: [sh, -c, "cat /data/file; exec sleep 3600"],
                volumeMounts: [{name: v, mountPath: /data}]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
)yaml");
  ASSERT_EQ(Kubectl({"wait", "--for=condition=Ready", "pod/reader", "--timeout=60s"}).exit_code, 0);
  EXPECT_EQ(Logs("reader"), "kept\n");
  ASSERT_EQ(Kubectl({"patch", "pvc", "data", "-p",
                     R"({"spec": {"resources": {"requests": {"storage": "2Gi"}}}})"})
                .exit_code,
            0);
  ASSERT_TRUE(
      WaitFor(kube::types::kPersistentVolumeClaim, {"default", "data"}, [](const Json* claim) {
        return claim != nullptr && StringIn(*claim, "status.capacity", "storage") == "2Gi";
      }));
  const CommandOutput df = Kubectl({"exec", "reader", "--", "df", "-m", "/data"});
  const std::size_t line = df.out.find("/data");
  ASSERT_NE(line, std::string::npos) << df.out;
  EXPECT_THAT(df.out, testing::ContainsRegex(" (19|20)[0-9][0-9] "))
      << "about 2048 MiB less what the filesystem takes";
}

TEST_F(PodsTest, ARawVolumeIsADevice) {
  StartUp();
  if (HasFatalFailure()) return;
  Apply(R"yaml(
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: thin}
provisioner: csi.thinsnap.io
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: raw}
spec:
  accessModes: [ReadWriteOnce]
  volumeMode: Block
  storageClassName: thin
  resources: {requests: {storage: 64Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers: [{name: main, image: nginx, volumeDevices: [{name: v, devicePath: /dev/xvda}],
                command: [sh, -c, "blockdev --getsize64 /dev/xvda && dd if=/dev/urandom of=/dev/xvda bs=1M count=1 conv=fsync"]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: raw}}]
)yaml");
  ASSERT_TRUE(WaitForPodPhase("p", "Succeeded"));
  EXPECT_THAT(Logs("p"), HasSubstr("67108864\n"));
}

TEST_F(PodsTest, MistakesAreSaidInStatusAndEvents) {
  StartUp();
  if (HasFatalFailure()) return;
  Apply(R"yaml(
apiVersion: v1
kind: Pod
metadata: {name: no-secret}
spec:
  containers: [{name: main, image: busybox, env: [{name: P, valueFrom: {secretKeyRef: {name: gone, key: k}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: no-program}
spec:
  restartPolicy: Never
  containers: [{name: main, image: busybox, command: [no-such-program]}]
)yaml");
  ASSERT_TRUE(WaitFor(kube::types::kPod, {"default", "no-secret"}, [](const Json* pod) {
    const JsonArray& statuses = ArrayAt(*pod, "status.containerStatuses");
    return !statuses.empty() && StringAt(statuses[0], "state.waiting.message") ==
                                    "environment variable P: secret gone does not exist";
  }));
  ASSERT_TRUE(WaitForPodPhase("no-program", "Failed"));
  EXPECT_THAT(Kubectl({"describe", "pod", "no-program"}).out, HasSubstr("no-such-program"));
  ASSERT_EQ(Kubectl({"delete", "pod", "no-secret", "no-program", "--timeout=30s"}).exit_code, 0);
}

}  // namespace
}  // namespace thinsnap::system_test
