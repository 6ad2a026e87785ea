# The official Python client against the API server whose kubeconfig is the argument. Ends with 77
# where the package is missing. Its containers know the commands of echo_containers.h.
import json
import sys
import threading

try:
    from kubernetes import client, config, dynamic, watch
    from kubernetes.stream import portforward, stream
except ImportError:
    print("no python3-kubernetes")
    sys.exit(77)

config.load_kube_config(sys.argv[1])
core, apps, custom = client.CoreV1Api(), client.AppsV1Api(), client.CustomObjectsApi()
NS, GROUP = "default", "python.example.com"


def status_of(call, *args):
    try:
        call(*args)
    except client.ApiException as error:
        return error.status
    return 200


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def objects():
    made = core.create_namespaced_config_map(NS, config_map("c", a="1"))
    made.data["b"] = "2"
    core.replace_namespaced_config_map("c", NS, made)
    assert status_of(core.replace_namespaced_config_map, "c", NS, made) == 409
    core.patch_namespaced_config_map("c", NS, {"data": {"d": "3"}})
    patched = core.patch_namespaced_config_map("c", NS, [{"op": "remove", "path": "/data/a"}])
    assert patched.data == {"b": "2", "d": "3"}, patched.data
    page = core.list_namespaced_config_map(NS, limit=1)
    rest = core.list_namespaced_config_map(NS, limit=100, _continue=page.metadata._continue)
    assert len(page.items) == 1 and not rest.metadata._continue
    core.delete_namespaced_config_map("c", NS)
    assert status_of(core.read_namespaced_config_map, "c", NS) == 404
    bad = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "C_", "image": "i"}]}}
    assert status_of(core.create_namespaced_pod, NS, bad) == 422


def watching():
    start = core.list_namespaced_config_map(NS).metadata.resource_version
    for i in range(3):
        core.create_namespaced_config_map(NS, config_map("w%d" % i))
    watcher, seen = watch.Watch(), []
    for event in watcher.stream(core.list_namespaced_config_map, NS, resource_version=start,
                                timeout_seconds=30):
        seen.append(event["object"].metadata.name)
        if len(seen) == 2:
            watcher.stop()
    # Goes on behind what it has seen.
    again = watch.Watch()
    for event in again.stream(core.list_namespaced_config_map, NS,
                              resource_version=watcher.resource_version, timeout_seconds=30):
        seen.append(event["object"].metadata.name)
        again.stop()
    assert seen == ["w0", "w1", "w2"], seen


def containers():
    core.create_namespaced_pod(NS, {"metadata": {"name": "p"}, "spec": {
        "nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}})
    core.patch_namespaced_pod_status("p", NS, {"status": {"phase": "Running"}})
    assert core.read_namespaced_pod_log("p", NS) == "one\ntwo\n"
    options = dict(stderr=True, stdout=True, tty=False)
    run = lambda command, stdin=False, **more: stream(
        core.connect_get_namespaced_pod_exec, "p", NS, command=command, stdin=stdin, **options,
        **more)
    assert run(["echo", "a", "b"]) == "a b\n"
    session = run(["cat"], stdin=True, _preload_content=False)
    session.write_stdin("there and back\n")
    assert session.readline_stdout(timeout=30) == "there and back"
    session.close()
    failed = run(["fail", "4"], _preload_content=False)
    failed.run_forever(timeout=30)
    assert failed.returncode == 4, failed.returncode
    said = stream(core.connect_get_namespaced_pod_attach, "p", NS, stdin=False, **options)
    assert said == "what it says\n", said
    ports = portforward(core.connect_get_namespaced_pod_portforward, "p", NS, ports="7")
    port = ports.socket(7)
    port.setblocking(True)
    port.settimeout(30)
    port.sendall(b"there")
    assert port.recv(5) == b"there"
    port.close()


def custom_resources():
    schema = {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"n": {"type": "integer"}}},
        "status": {"type": "object", "properties": {"n": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
               "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n",
                                                        "statusReplicasPath": ".status.n"}}}
    client.ApiextensionsV1Api().create_custom_resource_definition({
        "metadata": {"name": "gizmos." + GROUP}, "spec": {
            "group": GROUP, "scope": "Namespaced", "versions": [version],
            "names": {"plural": "gizmos", "kind": "Gizmo"}}})
    where = (GROUP, "v1", NS, "gizmos")
    custom.create_namespaced_custom_object(*where, {
        "apiVersion": GROUP + "/v1", "kind": "Gizmo", "metadata": {"name": "g"}, "spec": {"n": 1}})
    gizmo = custom.get_namespaced_custom_object(*where, "g")
    gizmo["spec"]["n"] = 2
    custom.replace_namespaced_custom_object(*where, "g", gizmo)
    custom.patch_namespaced_custom_object_status(*where, "g", {"status": {"n": 1}})
    scale = custom.get_namespaced_custom_object_scale(*where, "g")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 1), scale
    found = dynamic.DynamicClient(client.ApiClient())
    gizmos = found.resources.get(api_version=GROUP + "/v1", kind="Gizmo")
    gizmos.patch(namespace=NS, name="g", body={"spec": {"n": 7}},
                 content_type="application/merge-patch+json")
    assert gizmos.get(namespace=NS, name="g").spec.n == 7
    custom.delete_collection_namespaced_custom_object(*where)
    assert custom.list_namespaced_custom_object(*where)["items"] == []


def workloads():
    apps.create_namespaced_deployment(NS, {"metadata": {"name": "d"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "d"}}, "template": {
            "metadata": {"labels": {"a": "d"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    scale = apps.read_namespaced_deployment_scale("d", NS)
    scale.spec.replicas = 3
    apps.replace_namespaced_deployment_scale("d", NS, scale)
    assert apps.read_namespaced_deployment("d", NS).spec.replicas == 3


def access():
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    mine = client.AuthorizationV1Api().create_self_subject_access_review(review)
    assert mine.status.allowed
    token = client.AuthenticationV1Api().create_token_review({"spec": {"token": "nonsense"}})
    assert not token.status.authenticated


def leader():
    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
    leads = threading.Event()
    election = electionconfig.Config(
        ConfigMapLock("lock", NS, "me"), lease_duration=15, renew_deadline=10, retry_period=1,
        onstarted_leading=leads.set, onstopped_leading=lambda: None)
    threading.Thread(target=leaderelection.LeaderElection(election).run, daemon=True).start()
    assert leads.wait(60)
    lock = core.read_namespaced_config_map("lock", NS)
    record = json.loads(lock.metadata.annotations["control-plane.alpha.kubernetes.io/leader"])
    assert record["holderIdentity"] == "me", record


for step in (objects, watching, containers, custom_resources, workloads, access, leader):
    step()
    print(step.__name__, flush=True)
