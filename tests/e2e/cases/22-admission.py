#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the API server says of pods, quotas, limits and workloads; all of it by dry runs, so no node is needed."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from cluster import *  # noqa: F401,F403


def app(**resources):
    made = {"name": "app", "image": APP}
    return {**made, "resources": resources} if resources else made


def both(cpu, memory):
    return app(requests={"cpu": cpu, "memory": memory}, limits={"cpu": cpu, "memory": memory})


def tried(manifest):
    return call([*KUBECTL, "-n", NAMESPACE, "create", "--dry-run=server", "-o", "json", "-f", "-"], json.dumps(manifest), check=False)


def made(manifest):
    done = tried(manifest)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def sidecar(manifest):
    return made(manifest)["spec"]["initContainers"][0]


def warnings(manifest, name=None):
    done = tried(manifest)
    assert not done.returncode, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Warning: ") and "udplane" in line]


class Objects:
    """Objects of the namespace that a case needs."""

    def __init__(self, *manifests):
        self.names = [f"{m['kind']}/{m['metadata']['name']}" for m in manifests]
        kubectl("create", "-f", "-", text="\n---\n".join(map(json.dumps, manifests)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        kubectl("delete", *self.names)


def quota(**hard):
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "count"},
            "spec": {"hard": {k.replace("_", "."): v for k, v in hard.items()}}}


def limit_range(**item):
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "bounds"}, "spec": {"limits": [{"type": "Container", **item}]}}


@case
def guaranteed_stays_guaranteed():
    """Request and limit are equal, a whole CPU; by annotation, what it says; a Burstable pod has no CPU limit."""
    assert sidecar(pod("p", both("2", "1Gi"), ports="53"))["resources"] == {
        "requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
    asked = pod("p", both("2", "1Gi"), ports="53", annotations={"cpu": "2", "memory": "256Mi"})
    assert sidecar(asked)["resources"] == {"requests": {"cpu": "2", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "256Mi"}}
    usual = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    assert sidecar(pod("p", app(), ports="53"))["resources"] == usual
    assert made(pod("p", both("2", "1Gi"), ports="53"))["status"]["qosClass"] == "Guaranteed"


@case
def pods_with_resources_of_their_own():
    """The sidecar shares them, and the class is the pod's."""
    whole = {"cpu": "2", "memory": "1Gi"}
    got = made(pod("p", app(), ports="53", spec={"resources": {"requests": whole, "limits": whole}}))
    assert not got["spec"]["initContainers"][0].get("resources"), got["spec"]["initContainers"][0]
    assert got["status"]["qosClass"] == "Guaranteed"


@case
def quota_on_limits():
    """Denied in our words, with the annotation that helps; with it, admitted; by the namespace's annotation, too."""
    with Objects(quota(limits_cpu="10", limits_memory="10Gi")):
        text = tried(pod("p", both("1", "1Gi"), app(limits={"cpu": "1", "memory": "1Gi"}, requests={"cpu": "100m"}) | {"name": "b"},
                         ports="53")).stderr
        assert 'annotation udplane.io/cpu: missing, and ResourceQuota "count" counts limits.cpu' in text and "100m/2" in text, text
        unequal = app(limits={"cpu": "1", "memory": "1Gi"}, requests={"cpu": "100m", "memory": "1Gi"})
        made(pod("p", unequal, ports="53", annotations={"cpu": "100m/2"}))
        kubectl("annotate", "namespace", NAMESPACE, "udplane.io/cpu=100m/2")
        try:
            until(lambda: not tried(pod("p", unequal, ports="53")).returncode, 20, "the namespace's annotation")
        finally:
            kubectl("annotate", "namespace", NAMESPACE, "udplane.io/cpu-")


@case
def limit_ranges():
    """The sidecar is brought within minimum and maximum; a Guaranteed pod stays so."""
    with Objects(limit_range(max={"cpu": "500m", "memory": "300Mi"}, min={"cpu": "200m", "memory": "64Mi"})):
        small = app(requests={"cpu": "300m", "memory": "100Mi"}, limits={"cpu": "400m", "memory": "200Mi"})

        def fits():
            done = tried(pod("p", small, ports="53"))
            return json.loads(done.stdout) if not done.returncode else None
        got = until(fits, 20, "a pod within its limits")["spec"]["initContainers"][0]["resources"]
        assert got == {"requests": {"cpu": "200m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "300Mi"}}, got
        got = made(pod("p", both("300m", "200Mi"), ports="53"))
        assert got["status"]["qosClass"] == "Guaranteed", got["spec"]["initContainers"][0]["resources"]


@case
def namespace_defaults():
    """A Namespace's annotations are those of its annotated pods, and a pod's own win; a bad one is denied like a pod's."""
    kubectl("annotate", "namespace", NAMESPACE, "udplane.io/mode=latency", "udplane.io/image=example/fast:1", "udplane.io/ports=1")
    try:
        def taken():
            got = made(pod("p", app(), ports="53", annotations={"mode": "powersave"}))
            return got if got["spec"]["initContainers"][0]["image"] == "example/fast:1" else None
        got = until(taken, 20, "the namespace's image")
        notes = got["metadata"]["annotations"]
        assert notes["udplane.io/mode"] == "powersave" and notes["udplane.io/image"] == "example/fast:1", notes
        assert notes["udplane.io/ports"] == "53"
        assert "initContainers" not in made(pod("p", app()))["spec"]
        kubectl("annotate", "namespace", NAMESPACE, "udplane.io/mode=fast", "--overwrite")
        text = until(lambda: tried(pod("p", app(), ports="53")).stderr, 20, "a denial")
        assert 'annotation udplane.io/mode: "fast": unknown value; allowed: latency, balanced, powersave' in text, text
    finally:
        kubectl("annotate", "namespace", NAMESPACE, "udplane.io/mode-", "udplane.io/image-", "udplane.io/ports-")
        until(lambda: not tried(pod("p", app(), ports="53")).returncode, 20, "the defaults")


@case
def token_is_not_mounted():
    """The application has the service account's token, the sidecar has not."""
    manifest = pod("p", app(), ports="53")
    del manifest["spec"]["automountServiceAccountToken"]
    spec = made(manifest)["spec"]

    def token(c):
        return [m["name"] for m in c["volumeMounts"] if m["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"]
    assert token(spec["containers"][0])[0].startswith("kube-api-access"), spec["containers"][0]
    for c in spec["initContainers"]:
        assert token(c) == ["udplane-annotations"], c


@case
def windows_pods_left_alone():
    windows = pod("p", app(), ports="53", spec={"os": {"name": "windows"}})
    assert "initContainers" not in made(windows)["spec"]
    assert "initContainers" not in made(pod("p", app(), ports="53", spec={"nodeSelector": {"kubernetes.io/os": "windows"}}))["spec"]


def workload(kind, template=None, own=None):
    """kind with annotations on its pod template and on itself."""
    inner = pod("x", app(), annotations=template, labels={"app": "x"})
    inner = {"metadata": {k: v for k, v in inner["metadata"].items() if k != "name"}, "spec": inner["spec"]}
    selector = {"matchLabels": {"app": "x"}}
    if kind in ("Job", "CronJob"):
        inner["spec"]["restartPolicy"] = "Never"
    spec = {"Deployment": {"selector": selector, "template": inner}, "DaemonSet": {"selector": selector, "template": inner},
            "StatefulSet": {"selector": selector, "serviceName": "x", "template": inner}, "Job": {"template": inner},
            "CronJob": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": inner}}}}[kind]
    return {"apiVersion": "batch/v1" if kind in ("Job", "CronJob") else "apps/v1", "kind": kind,
            "metadata": {"name": "x", "annotations": {f"udplane.io/{k}": v for k, v in (own or {}).items()}}, "spec": spec}


@case
def workloads_warn():
    """Bad and unknown annotations of a template, and those on the workload itself: a warning when it is made, and nothing else."""
    for kind in "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob":
        text, = warnings(workload(kind, {"ports": "5060-"}))
        assert '"5060-": range with an end missing; allowed: ports' in text and "will be denied" in text, text
        text, = warnings(workload(kind, {"ports": "53", "prots": "1"}))
        assert "udplane.io/prots: unknown; allowed: ports" in text, text
        text, = warnings(workload(kind, None, {"ports": "53"}))
        assert f"udplane.io/ports: without effect on the {kind} itself" in text and "template.metadata.annotations" in text, text
        assert not warnings(workload(kind, {"ports": "53"})), kind
        assert not warnings(workload(kind)), kind


@case
def changes_of_running_pods():
    """What takes effect only later says so at once; ports take effect now."""
    manifest = pod("late", app(), ports="53", spec={"nodeSelector": {"nowhere": "true"}})
    kubectl("create", "-f", "-", text=json.dumps(manifest))
    try:
        for key, value, words in (("mode", "latency", "when the sidecar starts again"), ("workers", "2", "when the sidecar starts again"),
                                  ("cpu", "1", "when the pod is created again"), ("image", "x/y:1", "when the pod is created again")):
            text = call([*KUBECTL, "-n", NAMESPACE, "annotate", "pod", "late", f"udplane.io/{key}={value}"]).stderr
            assert f"annotation udplane.io/{key}: takes effect {words}" in text and text.count("Warning") == 1, text
        text = call([*KUBECTL, "-n", NAMESPACE, "annotate", "pod", "late", "--overwrite", "udplane.io/ports=54"]).stderr
        assert "Warning" not in text, text
        text = call([*KUBECTL, "-n", NAMESPACE, "annotate", "pod", "late", "--overwrite", "udplane.io/mode-"]).stderr
        assert "takes effect when the sidecar starts again" in text, text
    finally:
        delete("late")


@case
def ports_of_the_node():
    """Node mode: a pod that asks for ports of NodePorts or of masquerading is denied, unless the node has declared them."""
    def asks(ports):
        return tried(pod("p", app(), ports=ports, spec={"hostNetwork": True}))

    def upgrade(settings):
        helm("upgrade", "udplane", CHART, "-n", SYSTEM, "--set", "carrier=policy," + settings)
    upgrade("node.enabled=true")
    try:
        until(lambda: not asks("6000,7000-7009").returncode, 30, "node mode")
        for ports, item in (("30000", "30000"), ("53,32768-40000", "32768-40000"), ("1-65535", "1-65535")):
            text = asks(ports).stderr
            assert f"annotation udplane.io/ports: {item}: not among the ports that the nodes divert; allowed: within one of" in text, text
        upgrade("node.enabled=true,node.ports=1-40000")
        until(lambda: not asks("30000,32768-40000").returncode, 30, "ports that were declared")
    finally:
        upgrade("node.enabled=false")
        until(lambda: "the nodes run no udplaned" in asks("6000").stderr, 30, "no node mode")


@case
def without_the_carrier():
    """Injection is gone (here: its policy), or the pipeline has not patched: an annotated pod is denied, with what to do."""
    plain = pod("p", app(), ports="53")
    call([*KUBECTL, "delete", "mutatingadmissionpolicybinding", "udplane"])
    try:
        done = until(lambda: (lambda d: d if d.returncode else None)(tried(plain)), 20, "a denial")
        assert "annotation udplane.io/ports: nothing has given this pod udplane" in done.stderr, done.stderr
        print(done.stderr.strip())
        assert not tried(pod("p", app())).returncode
        assert not tried(pod("p", app(), ports="53", annotations={"inject": "false"})).returncode
        text = tried(pod("p", app(), ports="53-")).stderr
        assert "range with an end missing" in text, text
    finally:
        helm("upgrade", "udplane", CHART, "-n", SYSTEM, "--set", "carrier=none")
        until(lambda: "udplane-injector patch" in tried(plain).stderr, 30, "a denial that names the tool")
        patched = call([os.path.join(os.environ.get("UDPLANE_BIN", os.path.join(ROOT, "bazel-bin")), "deploy/injector/udplane-injector"),
                        "patch"], json.dumps(plain)).stdout
        assert not tried(json.loads(patched)).returncode, tried(json.loads(patched)).stderr
        helm("upgrade", "udplane", CHART, "-n", SYSTEM, "--set", "carrier=none,injection.withoutSidecar=Warn")
        until(lambda: "Warning" in (lambda d: d.stderr if not d.returncode else "")(tried(plain)), 30, "a warning")
        install("policy")


begin()
install("policy")
run()
