// What people type: the real kubectl against our server, in every version that is found. Skipped by
// name where there is none.
#include <cctype>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "base/data/json.h"
#include "base/kube/client.h"
#include "base/kube/object.h"
#include "tests/system/echo_server.h"
#include "tests/system/kubectls.h"

namespace thinsnap {
namespace {

constexpr const char* kDeployment = R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: busybox}]}
)";

constexpr const char* kPod = R"(
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: n1, containers: [{name: c, image: i, stdin: true}]}
)";

constexpr const char* kDefinition = R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How big it is.}
              color: {type: string, default: red}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
)";

class KubectlTest : public ::testing::TestWithParam<KubectlClient>, protected EchoServer {
 protected:
  void SetUp() override {
    if (GetParam().path.empty()) GTEST_SKIP() << "no kubectl";
    minor_ = std::stoi(GetParam().version.substr(GetParam().version.find('.') + 1));
    StartServer();
  }

  CommandOutput Run(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), {GetParam().path, "--kubeconfig", config()});
    auto output =
        runner_.Run({.argv = std::move(arguments), .env = {{"HOME", folder_}}, .input = input});
    EXPECT_TRUE(output.ok()) << output.error().ToString();
    return output.ok() ? std::move(*output) : CommandOutput{};
  }

  // Its output; it must succeed.
  std::string Kubectl(std::vector<std::string> arguments, const std::string& input = "") {
    std::string line;
    for (const std::string& argument : arguments) line += " " + argument;
    auto output = Run(std::move(arguments), input);
    EXPECT_EQ(output.exit_code, 0) << "kubectl" << line << "\n" << output.out << output.err;
    return output.out;
  }

  // Its complaint; it must fail.
  std::string Refused(std::vector<std::string> arguments, const std::string& input = "") {
    auto output = Run(std::move(arguments), input);
    EXPECT_NE(output.exit_code, 0) << output.out;
    return output.err;
  }

  static void Expect(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in:\n" << text;
  }

  int minor_ = 0;
};

TEST_P(KubectlTest, FindsOutWhatThereIs) {
  const std::string resources = Kubectl({"api-resources"});
  for (const char* part :
       {"configmaps", "persistentvolumeclaims", "deployments", "cronjobs", "storageclasses"}) {
    Expect(resources, part);
  }
  Expect(Kubectl({"api-versions"}), "batch/v1beta1");
  Expect(Kubectl({"version"}), "1");
  Expect(Kubectl({"get", "--raw", "/healthz"}), "ok");
  Expect(Kubectl({"get", "namespaces"}), "kube-system");
  Expect(Kubectl({"cluster-info"}), "running at");
}

TEST_P(KubectlTest, WorksOnSimpleObjects) {
  Kubectl({"create", "namespace", "n"});
  Kubectl({"create", "configmap", "c", "--from-literal=a=1", "-n", "n"});
  Kubectl({"create", "secret", "generic", "s", "--from-literal=p=q", "-n", "n"});
  EXPECT_EQ(Kubectl({"get", "cm", "c", "-n", "n", "-o", "jsonpath={.data.a}"}), "1");
  Expect(Kubectl({"get", "cm", "-n", "n", "-o", "wide"}), "DATA");
  Expect(Kubectl({"get", "secret", "s", "-n", "n", "-o", "yaml"}), "p: cQ==");
  Expect(Kubectl({"describe", "configmap", "c", "-n", "n"}), "a:");
  Expect(Refused({"create", "configmap", "c", "-n", "n"}), "already exists");
  Expect(Refused({"get", "cm", "missing", "-n", "n"}), "not found");
  Kubectl({"label", "cm", "c", "x=y", "-n", "n"});
  Kubectl({"annotate", "cm", "c", "note=text", "-n", "n"});
  EXPECT_EQ(Kubectl({"get", "cm", "-l", "x=y", "-n", "n", "-o", "name"}), "configmap/c\n");
  Expect(Kubectl({"get", "cm", "--show-labels", "-n", "n"}), "x=y");
  Kubectl({"patch", "cm", "c", "-n", "n", "--type=merge", "-p", R"({"data":{"b":"2"}})"});
  Kubectl({"patch", "cm", "c", "-n", "n", "--type=json", "-p",
           R"([{"op":"remove","path":"/data/a"}])"});
  Kubectl({"patch", "cm", "c", "-n", "n", "-p", R"({"data":{"d":"4"}})"});
  EXPECT_EQ(Kubectl({"get", "cm", "c", "-n", "n", "-o", "jsonpath={.data}"}),
            R"({"b":"2","d":"4"})");
  Kubectl({"delete", "cm", "c", "-n", "n"});
  Expect(Kubectl({"get", "all", "-n", "n"}), "");
}

TEST_P(KubectlTest, AppliesOnBothSides) {
  const std::string one =
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '1'}\n";
  const std::string two = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '2'}\n";
  Expect(Kubectl({"apply", "-f", "-"}, one), "created");
  Expect(Kubectl({"apply", "-f", "-"}, one), "unchanged");
  Expect(Kubectl({"apply", "-f", "-"}, two), "configured");
  EXPECT_EQ(Kubectl({"get", "cm", "c", "-o", "jsonpath={.data}"}), R"({"a":"2"})");
  Expect(Kubectl({"apply", "--server-side", "--force-conflicts", "-f", "-"}, one),
         "serverside-applied");
  EXPECT_EQ(Kubectl({"get", "cm", "c", "-o", "jsonpath={.data}"}), R"({"a":"1","b":"1"})");
  Kubectl({"delete", "-f", "-"}, one);
}

TEST_P(KubectlTest, RunsDeployments) {
  Kubectl({"apply", "-f", "-"}, kDeployment);
  Expect(Kubectl({"get", "deploy", "web"}), "READY");
  Kubectl({"scale", "deploy", "web", "--replicas=3"});
  EXPECT_EQ(Kubectl({"get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"}), "3");
  Kubectl({"set", "image", "deploy/web", "c=busybox:2"});
  EXPECT_EQ(
      Kubectl({"get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"}),
      "busybox:2");
  Expect(Kubectl({"rollout", "status", "deploy/web", "--watch=false"}), "Waiting");
  Expect(Kubectl({"describe", "deploy", "web"}), "3 desired");
  Expect(Kubectl({"get", "all"}), "deployment.apps/web");
  Kubectl({"delete", "deploy", "web"});
}

TEST_P(KubectlTest, FillsInWhatTheClusterDecides) {
  Kubectl({"create", "service", "nodeport", "web", "--tcp=80:8080"});
  Expect(
      Kubectl({"get", "svc", "web", "-o", "jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}"}),
      "10.96.");
  const std::string port =
      Kubectl({"get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"});
  Expect(Kubectl({"get", "svc", "web"}), "80:" + port + "/TCP");
  Expect(Refused({"create", "service", "nodeport", "other", "--tcp=80", "--node-port=" + port}),
         "provided port is already allocated");

  // Up to 1.32 it writes autoscaling/v1.
  Kubectl({"apply", "-f", "-"}, kDeployment);
  Kubectl({"autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=60"});
  EXPECT_EQ(Kubectl({"get", "horizontalpodautoscalers.v2.autoscaling", "web", "-o",
                     "jsonpath={.spec.metrics[0].resource.target.averageUtilization}"}),
            "60");
  EXPECT_EQ(Kubectl({"get", "horizontalpodautoscalers.v1.autoscaling", "web", "-o",
                     "jsonpath={.spec.targetCPUUtilizationPercentage}"}),
            "60");

  Kubectl({"apply", "-f", "-"}, R"({"apiVersion": "v1", "kind": "LimitRange",
    "metadata": {"name": "limits"}, "spec": {"limits": [
      {"type": "Container", "default": {"memory": "64Mi"}, "max": {"memory": "128Mi"}}]}})");
  Kubectl({"run", "small", "--image=busybox"});
  EXPECT_EQ(Kubectl({"get", "pod", "small", "-o",
                     "jsonpath={.spec.containers[0].resources.limits.memory}"}),
            "64Mi");
  Expect(Refused({"apply", "-f", "-"}, R"({"apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "big"}, "spec": {"containers": [{"name": "c", "image": "busybox",
      "resources": {"limits": {"memory": "1Gi"}}}]}})"),
         "maximum memory usage per Container is 128Mi, but limit is 1Gi");
}

TEST_P(KubectlTest, EditsThroughAnEditor) {
  Kubectl({"create", "configmap", "c", "--from-literal=a=before"});
  const std::string editor = folder_ + "/editor";
  ASSERT_TRUE(WriteFileAtomic(editor, "#!/bin/sh\nsed -i s/before/after/ \"$1\"\n", 0755).ok());
  auto output = runner_.Run({.argv = {GetParam().path, "--kubeconfig", config(), "edit", "cm", "c"},
                             .env = {{"HOME", folder_}, {"KUBE_EDITOR", editor}},
                             .input = ""});
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->exit_code, 0) << output->err;
  EXPECT_EQ(Kubectl({"get", "cm", "c", "-o", "jsonpath={.data.a}"}), "after");
}

TEST_P(KubectlTest, ServesCustomResources) {
  Kubectl({"apply", "-f", "-"}, kDefinition);
  Kubectl({"wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=10s"});
  Kubectl({"apply", "-f", "-"},
          "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 2}\n");
  const std::string table = Kubectl({"get", "widgets"});
  Expect(table, "SIZE");
  EXPECT_EQ(Kubectl({"get", "wd", "w", "-o", "jsonpath={.spec.color}"}), "red");
  Expect(Kubectl({"get", "all"}), "widget.example.com/w");
  Expect(Kubectl({"explain", "widget.spec.size"}), "How big it is.");
  Expect(
      Refused({"apply", "-f", "-"},
              "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: x}\nspec: {size: 0}\n"),
      "spec.size");
  Kubectl({"patch", "widget", "w", "--type=merge", "-p", R"({"spec":{"size":5}})"});
  Kubectl({"delete", "crd", "widgets.example.com"});
  // Depending on what the client has cached.
  EXPECT_NE(Refused({"get", "widgets"}), "");
}

TEST_P(KubectlTest, Explains) {
  Expect(Kubectl({"explain", "pvc.spec.resources"}), "requests");
  Expect(Kubectl({"explain", "cronjob.spec.jobTemplate"}), "spec");
  Expect(Kubectl({"explain", "deployment", "--recursive"}), "livenessProbe");
  Expect(Refused({"explain", "pod.spec.nothing"}), "does not exist");
}

TEST_P(KubectlTest, SaysWhoMayDoWhat) {
  EXPECT_EQ(Kubectl({"auth", "can-i", "create", "pods"}), "yes\n");
  const auto no =
      Run({"auth", "can-i", "list", "secrets", "--as=system:serviceaccount:default:default"});
  EXPECT_EQ(no.out, "no\n");
  Kubectl({"create", "serviceaccount", "sa"});
  Kubectl({"create", "role", "reader", "--verb=get,list", "--resource=secrets"});
  Kubectl({"create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:sa"});
  EXPECT_EQ(Kubectl({"auth", "can-i", "list", "secrets", "--as=system:serviceaccount:default:sa"}),
            "yes\n");
  if (minor_ >= 24) {
    const std::string token = Kubectl({"create", "token", "sa"});
    Expect(token, "eyJ");
    const std::string as_sa = "--token=" + token.substr(0, token.find('\n'));
    if (minor_ >= 28) Expect(Kubectl({"auth", "whoami"}), "kubernetes-admin");
    EXPECT_FALSE(as_sa.empty());
  }
}

TEST_P(KubectlTest, TriggersCronJobs) {
  Kubectl({"apply", "-f", "-"}, R"(
apiVersion: batch/v1
kind: CronJob
metadata: {name: trigger}
spec:
  schedule: "*/5 * * * *"
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}
)");
  const std::string from =
      minor_ < 21 ? "--from=cronjob.v1beta1.batch/trigger" : "--from=cronjob/trigger";
  Kubectl({"create", "job", "now", from});
  EXPECT_EQ(
      Kubectl({"get", "job", "now", "-o", "jsonpath={.spec.template.spec.containers[0].image}"}),
      "busybox");
  Expect(Kubectl({"get", "cronjobs"}), "*/5 * * * *");
}

TEST_P(KubectlTest, ReadsLogsAndExecutes) {
  Kubectl({"apply", "-f", "-"}, kPod);
  EXPECT_EQ(Kubectl({"logs", "p"}), "one\ntwo\n");
  EXPECT_EQ(Kubectl({"logs", "p", "--tail=1", "-c", "c"}), "two\n");
  Expect(Refused({"logs", "p", "--previous"}), "it has not run before");
  Expect(Refused({"logs", "p", "-c", "d"}), "container d is not valid for pod p");
  EXPECT_EQ(Kubectl({"exec", "p", "--", "echo", "a", "b"}), "a b\n");
  EXPECT_EQ(Kubectl({"exec", "-i", "p", "--", "cat"}, "some\nlines\n"), "some\nlines\n");
  const std::string large(300000, 'x');
  EXPECT_TRUE(Kubectl({"exec", "-i", "p", "--", "cat"}, large) == large);
  const auto failed = Run({"exec", "p", "--", "fail", "7"});
  EXPECT_EQ(failed.exit_code, 7);
  Expect(failed.err, "bad");
  Expect(Refused({"exec", "p", "--", "nothing"}), "not found");
  // A client that reads slowly holds the program back, and loses nothing.
  const auto counted = runner_.Run(
      {.argv = {"sh", "-c", R"sh("$@" exec p -- zeros 100 | ("$@" get ns >&2; wc -c))sh", "sh",
                GetParam().path, "--kubeconfig", config()},
       .env = {{"HOME", folder_}},
       .input = ""});
  ASSERT_TRUE(counted.ok());
  EXPECT_EQ(std::stoll(counted->out), 100LL << 20) << counted->err;
  Expect(Kubectl({"attach", "p"}), "what it says");
  Expect(Kubectl({"attach", "-i", "p"}, "read this\n"), "read this");
  Kubectl({"delete", "pod", "p", "--now", "--wait=false"});
}

constexpr const char* kForward = R"sh(
exec {says}< <(exec "$@" port-forward pod/p :7 2>&1)
forward=$!
read -r line <&$says
port=${line#*127.0.0.1:}
exec {to}<>"/dev/tcp/127.0.0.1/${port%% *}"
echo "there and back" >&$to
read -r answer <&$to
echo "$answer"
kill $forward
)sh";

TEST_P(KubectlTest, ForwardsPorts) {
  Kubectl({"apply", "-f", "-"}, kPod);
  Expect(Refused({"port-forward", "pod/p", ":7"}), "not running");
  const auto made = apiserver::MakeInProcessKubeClient(*server_, "kubelet")
                        ->Patch(kube::types::kPod, {"default", "p"}, kube::PatchType::kMerge,
                                {{"status", {{"phase", "Running"}}}},
                                {.subresource = "status", .field_manager = "", .force = false});
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  const auto said = runner_.Run(
      {.argv = {"bash", "-c", kForward, "bash", GetParam().path, "--kubeconfig", config()},
       .env = {{"HOME", folder_}},
       .input = ""});
  ASSERT_TRUE(said.ok()) << said.error().ToString();
  EXPECT_EQ(said->out, "there and back\n") << said->err;
}

TEST_P(KubectlTest, WaitsAndWatches) {
  Kubectl({"create", "configmap", "c"});
  if (minor_ >= 23) Kubectl({"wait", "--for=delete", "cm/missing", "--timeout=5s"});
  const std::string watched =
      Kubectl({"get", "cm", "c", "-w", "--request-timeout=2s", "-o", "name"});
  Expect(watched, "configmap/c");
  if (minor_ >= 23) Kubectl({"wait", "--for=jsonpath={.metadata.name}=c", "cm/c", "--timeout=5s"});
}

INSTANTIATE_TEST_SUITE_P(Clients, KubectlTest,
                         ::testing::ValuesIn(FindKubectls(THINSNAP_BINARY_DIR)),
                         [](const auto& each) {
                           std::string name;
                           for (const char c : each.param.version)
                             name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace thinsnap
