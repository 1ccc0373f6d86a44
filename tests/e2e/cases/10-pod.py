#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An annotated pod, from helm install to packets; carrier policy."""
import os
import signal
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from cluster import *  # noqa: F401,F403

PORT, ECHO = 5060, 10000


def server(name="server", **more):
    """Two applications: one counts, with the library from the volume; one answers, with its own."""
    more.setdefault("ports", f"{PORT},{ECHO}-{ECHO + 99}")
    more.setdefault("annotations", {"mode": "latency"})
    return pod(name, container("count", "/app/shared-sink", "--bind", f"0.0.0.0:{PORT}", "--json", volume_library=True),
               container("answer", "/app/pingpong", "--bind", f"0.0.0.0:{ECHO}"), **more)


def shared():
    """The pods that most cases look at."""
    if not shared.address:
        shared.address, _ = create(server(), idle())
    return shared.address


shared.address = None


@case
def accelerated_and_conserved():
    """Every datagram that a client pod sends is diverted, delivered to the socket in the application's container, and counted once."""
    address, count = shared(), 100000
    sent = send("client", address, PORT, count, "--rate", "20000")
    assert sent["packets"] == count, sent
    s = settled("server")
    assert s["backend"] == "af_xdp" and s["device"]["interface"] == "eth0", s
    device, worker, k = s["device"]["counters"], s["workers"][0]["counters"], socket_of(s, PORT)
    assert k["state"] == "active" and k["client"]["kernel_rx"] == 0, k
    # All of them, except what the veth pair may drop before it reaches udplaned on a busy machine.
    taken = k["counters"]["rx_delivered"] + k["counters"]["rx_drop_ring_full"] + k["counters"]["rx_drop_quota"]
    print(f"{count} sent: {device['rx_diverted']} diverted, {k['counters']['rx_delivered']} delivered, "
          f"{k['counters']['rx_drop_ring_full']} dropped as the application's ring was full")
    assert worker["rx_frames"] == taken + worker["rx_drop_no_socket"], (worker, k)
    # Where others hold the cores, the device's ring may run full, which is counted; most must arrive nevertheless.
    lost = device["rx_lost_ring_full"] + device["rx_lost_no_frame"]
    assert worker["rx_frames"] == device["rx_diverted"] - lost, (worker, device)
    delivered = k["counters"]["rx_delivered"]
    assert count * 0.5 <= delivered <= count and delivered + lost >= count * 0.9, (k["counters"], lost)


@case
def containers_share_the_memzones():
    """Both applications of the pod are clients of one sidecar, each with its own channel and its own socket; answers go out fast."""
    address = shared()
    print(within("client", "/app/pingpong", "--kernel", "--to", f"{address}:{ECHO}", "--count", "2000").strip())
    s = settled("server")
    count, answer = socket_of(s, PORT), socket_of(s, ECHO)
    assert s["control"]["sockets"] == 2 and count["channel"] != answer["channel"], s["sockets"]
    assert count["state"] == answer["state"] == "active", s["sockets"]
    assert answer["counters"]["rx_delivered"] >= 2000 and answer["counters"]["tx_sent"] >= 1900, answer


@case
def applications_need_no_privilege():
    """The application containers got a read-only mount and a variable, no capability, no device and no hugepages."""
    shared()
    spec = get("pod", "server")["spec"]
    for c in spec["containers"]:
        assert {"name": "udplane", "mountPath": "/run/udplane", "readOnly": True} in c["volumeMounts"], c
        assert "securityContext" not in c and "hugepages" not in str(c["resources"]), c
    sidecar = spec["initContainers"][0]
    assert sidecar["restartPolicy"] == "Always" and not sidecar["securityContext"].get("privileged"), sidecar
    print("sidecar's capabilities:", *sidecar["securityContext"]["capabilities"]["add"])


@case
def each_capability_is_needed():
    """Without one of them `auto` goes on with the kernel, and says which it misses; none is asked for in vain."""
    manifest = json.loads(kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(server("x"))))
    asked = manifest["spec"]["initContainers"][0]["securityContext"]["capabilities"]["add"]
    pods = []
    for missing in asked:
        made = json.loads(json.dumps(manifest))
        made["metadata"] = {"name": "no-" + missing.lower().replace("_", "-"), "annotations": manifest["metadata"]["annotations"]}
        made["spec"]["initContainers"][0]["securityContext"]["capabilities"]["add"] = [c for c in asked if c != missing]
        pods.append(made)
    try:
        create(*pods)
        for missing, made in zip(asked, pods):
            s = stats(made["metadata"]["name"])
            print(f"without {missing}: {s['backend']}: {s['backend_text']}")
            assert s["backend"] == "kernel", s
            # The text for people may be cut; the log has all of it.
            assert f"CAP_{missing}" in kubectl("logs", made["metadata"]["name"], "-c", "udplane"), missing
    finally:
        delete(*(made["metadata"]["name"] for made in pods))


@case
def ports_change_live():
    """kubectl annotate takes a port from the fast path and gives it back, without a restart, and the application keeps receiving."""
    address = shared()

    def accelerated(port):
        return socket_of(stats("server"), port)["state"] == "active"

    kubectl("annotate", "pod", "server", f"udplane.io/ports={ECHO}-{ECHO + 99}", "--overwrite")
    _, took = timed(until, lambda: not accelerated(PORT), 90, "port given to the kernel")
    before = stats("server")
    assert before["ports"]["count"] == 100 and socket_of(before, PORT)["reason"] == "port_not_asked_for", before["ports"]
    send("client", address, PORT, 1000, "--rate", "20000")
    assert socket_of(stats("server"), PORT)["counters"] == socket_of(before, PORT)["counters"]
    kubectl("annotate", "pod", "server", f"udplane.io/ports={PORT},{ECHO}-{ECHO + 99}", "--overwrite")
    _, back = timed(until, lambda: stats("server")["ports"]["count"] == 101, 90, "port asked for again")
    until(lambda: accelerated(PORT), 10, "port accelerated again")
    assert not any(restarts("server").values()), restarts("server")
    print(f"taken {took:.1f} s after the annotation, given back {back:.1f} s after")


@case
def daemon_killed_twice():
    """kill -9 of udplaned, as when memory is short, twice within seconds: the pod stays ready, no container restarts, and it is fast
    again."""
    address = shared()
    was, pings = restarts("server"), Pings(address)
    with Watched("server"):
        for _ in range(2):
            first = stats("server")
            os.kill(daemon("server"), signal.SIGKILL)
            text = within("server", "udplanectl", "health", container="udplane")
            assert text.startswith(("degraded", "ok")), text
            until(lambda: answers("server") and stats("server")["start_ns"] != first["start_ns"], 20, "another udplaned")
            until(lambda: [k["state"] == "active" for k in stats("server")["sockets"]] == [True, True], 20, "both sockets fast again")
    asked, lost = pings.end()
    print(f"{asked} requests meanwhile, {lost} without an answer")
    assert asked > 500 and lost <= 4, (asked, lost)
    assert restarts("server") == was, restarts("server")


def answers(name):
    return within(name, "udplanectl", "health", container="udplane").startswith("ok")


@case
def sidecar_killed():
    """kill -9 of the container while traffic runs: no application restarts, traffic goes on through the kernel, and is fast again after."""
    address = shared()
    was = restarts("server")
    first = stats("server")
    flood = background("exec", "client", "--", "/app/gen", "--kernel", "--to", f"{address}:{PORT}", "--rate", "20000", "--seconds", "8",
                       "--json")
    pings = Pings(address)
    time.sleep(0.5)
    os.kill(processes("server", "udplaned")[0], signal.SIGKILL)
    until(lambda: restarts("server")["udplane"] == was["udplane"] + 1, 20, "restart of the sidecar")
    ready("server")
    # The clients re-attach by themselves.
    until(lambda: [k["state"] == "active" for k in stats("server")["sockets"]] == [True, True], 20, "both sockets fast again")
    out, err = flood.communicate(timeout=30)
    assert flood.returncode == 0, err
    asked, lost = pings.end()
    print(f"{asked} requests meanwhile, {lost} without an answer")
    # What is inside the device's queues when it goes; a request waits a second for its answer.
    assert asked > 1000 and lost <= 4, (asked, lost)
    s = settled("server")
    assert s["start_ns"] != first["start_ns"] and socket_of(s, PORT)["counters"]["rx_delivered"] > 0
    now = restarts("server")
    assert now["count"] == was["count"] and now["answer"] == was["answer"], now


class Pings(threading.Thread):
    """Requests of the client pod, one after another, until end()."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.asked, self.lost, self.error, self.stop = address, 0, 0, None, False
        self.start()

    def run(self):
        while not self.stop and not self.error:
            try:
                out = within("client", "/app/pingpong", "--kernel", "--to", f"{self.address}:{ECHO}", "--count", "1000")
                self.asked += 1000
                self.lost += int(out.split(",")[1].split()[0])
            except Failed as error:
                self.error = error

    def end(self):
        self.stop = True
        self.join()
        assert not self.error, self.error
        return self.asked, self.lost


@case
def bad_annotations_denied():
    """With what is wrong and what is allowed; nothing is made."""
    for key, value, words in (("ports", "5060-", "5060-"), ("ports", "0", "0"), ("ports", "70000", "70000"), ("mode", "fast", "latency"),
                              ("backend", "dpdk", "af_xdp"), ("hugepages", "yes", "required"), ("cpus", "x", "x"), ("prots", "1", "prots")):
        notes = {"ports": "1", **{key: value}}
        text = refused(pod("bad", container("app", "/app/sink"), annotations=notes))
        assert f"udplane.io/{key}" in text and words in text and "allowed" in text, text
        print(text.strip().split("denied request: ")[-1])


@case
def unannotated_untouched():
    """A pod without annotation is as the API server makes it, and an opted-out one, too."""
    for manifest in (idle("plain"), pod("out", container("app", "/app/sink"), ports="1", annotations={"inject": "false"})):
        text = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(manifest))
        assert "initContainers" not in text and "/run/udplane" not in text, text


@case
def hugepages_required():
    """The annotation requests them for the sidecar only, and all shared memory is in them."""
    create(server("huge", ports=f"{PORT},{ECHO}", annotations={"hugepages": "required"}))
    try:
        spec = get("pod", "huge")["spec"]
        assert "hugepages-2Mi" in spec["initContainers"][0]["resources"]["limits"] and "hugepages" not in str(spec["containers"]), spec
        s = until(lambda: (lambda s: s if s["control"]["sockets"] == 2 else None)(stats("huge")), 10, "two sockets")
        assert s["memory"]["page_bytes"] == 0 and s["memory"]["hugepage_bytes"] > 32 << 20, s["memory"]
        print(f"{s['memory']['hugepage_bytes'] >> 20} MiB in hugepages")
    finally:
        delete("huge")


@case
def no_hugepages_left():
    """Without a request, `auto` goes on with ordinary pages and says why; `required` on a node without free ones says so in an event."""
    shared()
    s = stats("server")
    assert s["memory"]["hugepage_bytes"] == 0 and s["memory"]["page_bytes"] > 0 and "hugepages" in s["mode_text"], s["memory"]
    print(s["mode_text"])
    manifest = server("hungry", annotations={"hugepages": "required"})
    takes_all = pod("takes-all", container("app", "/app/sink", "--kernel", "--bind", "0.0.0.0:1"))
    free = get("node", kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"))["status"]["allocatable"]["hugepages-2Mi"]
    everything = {"hugepages-2Mi": free, "memory": "64Mi", "cpu": "10m"}
    takes_all["spec"]["containers"][0]["resources"] = {"requests": everything, "limits": everything}
    create(takes_all)
    try:
        kubectl("create", "-f", "-", text=json.dumps(manifest))
        text = until(lambda: (lambda t: t if "Insufficient hugepages-2Mi" in t else None)(
            kubectl("get", "events", "--field-selector", "involvedObject.name=hungry", "-o", "jsonpath={.items[*].message}")), 20, "event")
        print(text)
    finally:
        delete("takes-all", "hungry")


@case
def kernel_backend():
    """annotation udplane.io/backend kernel: no device is touched, no capability asked for, and the pod works as without udplane."""
    address = create(server("slow", annotations={"backend": "kernel"}))
    try:
        shared()
        out = within("client", "/app/pingpong", "--kernel", "--to", f"{address}:{ECHO}", "--count", "200")
        assert " 0 lost" in out, out
        s = stats("slow")
        assert s["backend"] == "kernel" and s["control"]["sockets"] == 0, s
        why = call([*KUBECTL, "-n", NAMESPACE, "exec", "slow", "-c", "udplane", "--", "udplanectl", "why", str(ECHO)], check=False).stdout
        assert "kernel" in why, why
        print(why.strip())
    finally:
        delete("slow")


@case
def pod_security_baseline():
    """A namespace that enforces `baseline` refuses the sidecar's capabilities, and the message names them."""
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=baseline")
    try:
        text = refused(server("secure"))
        assert "NET_ADMIN" in text and "udplane" in text, text
        print(text.strip())
        assert "initContainers" in kubectl("create", "--dry-run=server", "-o", "json", "-f", "-",
                                           text=json.dumps(server("secure", annotations={"backend": "kernel"})))
    finally:
        kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce-")


@case
def ready_soon():
    """An annotated pod is ready less than 2 s after a plain one; median of three each."""
    took = {"plain": [], "annotated": []}
    for i in range(3):
        for kind in took:
            name = f"{kind}-{i}"
            manifest = server(name) if kind == "annotated" else pod(
                name, *(container(c, "/app/sink", "--kernel", "--bind", f"0.0.0.0:{p}") for c, p in (("count", PORT), ("answer", ECHO))))
            _, seconds = timed(create, manifest)
            took[kind].append(seconds)
            delete(name)
    plain, annotated = (statistics.median(took[kind]) for kind in ("plain", "annotated"))
    print(f"plain {plain:.2f} s ({min(took['plain']):.2f}-{max(took['plain']):.2f}), "
          f"annotated {annotated:.2f} s ({min(took['annotated']):.2f}-{max(took['annotated']):.2f})")
    assert annotated - plain < 2, took


@case
def rolling_update_under_load():
    """A Deployment is rolled while its pods answer: every request to a ready pod is answered, and no container ends by itself."""
    template = server("x", labels={"app": "rolled"})
    kubectl("create", "-f", "-", text=json.dumps({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "rolled"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "rolled"}},
                 "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                 "template": {"metadata": {k: v for k, v in template["metadata"].items() if k != "name"}, "spec": template["spec"]}}}))
    kubectl("create", "-f", "-", text=json.dumps({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "rolled"},
        "spec": {"selector": {"app": "rolled"}, "ports": [{"port": ECHO, "protocol": "UDP"}]}}))
    try:
        shared()
        kubectl("rollout", "status", "deployment", "rolled", "--timeout=60s")
        service = get("service", "rolled")["spec"]["clusterIP"]
        kubectl("rollout", "restart", "deployment", "rolled")
        rolling = background("rollout", "status", "deployment", "rolled", "--timeout=90s")
        pings = Pings(service)
        _, error = rolling.communicate(timeout=100)
        answered, lost = pings.end()
        assert rolling.returncode == 0, error
        names = kubectl("get", "pods", "-l", "app=rolled", "--field-selector", "status.phase=Running", "-o", "name").split()
        assert len(names) >= 2
        print(f"{answered} requests to the service during the roll, {lost} without an answer")
        # A flow that conntrack has pinned to a pod is lost with it, as with plain pods; whole rounds are not.
        assert lost < answered / 10, (lost, answered)
    finally:
        kubectl("delete", "deployment,service", "rolled", "--wait=false")


@case
def many_admissions():
    """200 at the same time, none failing."""
    admissions(server("admitted"))


@case
def helm_test():
    """Datagrams of a second pod take the fast path, and the log of the test pod says how many."""
    text = helm("test", "udplane", "-n", SYSTEM, "--timeout", "90s", "--logs")
    assert "received by the fast path" in text and "ok: 1 claimed socket" in text, text
    print("\n".join(line for line in text.splitlines() if "fast path" in line))


@case
def helm_test_without_the_fast_path():
    """Where nothing is accelerated it fails, and the log says why."""
    helm("upgrade", "udplane", CHART, "-n", SYSTEM, "--reuse-values", "--set", "defaults.backend=kernel,test.timeoutSeconds=8")
    try:
        until(lambda: '"kernel"' in tried_backend(), 30, "the changed default")
        done = call([*HELM, "test", "udplane", "-n", SYSTEM, "--timeout", "90s"], check=False)
        assert done.returncode, done.stdout
        text = call([*KUBECTL, "-n", SYSTEM, "logs", "udplane-test", "-c", "test"]).stdout
        assert "FAILED: within 8 s, the fast path has carried 0 datagrams" in text and "kernel" in text, text
    finally:
        helm("upgrade", "udplane", CHART, "-n", SYSTEM, "--reuse-values", "--set", "defaults.backend=auto,test.timeoutSeconds=60")
        # helm uninstall does not know what a test leaves for helm test --logs
        call([*KUBECTL, "-n", SYSTEM, "delete", "all", "-l", "app.kubernetes.io/component=test"])


def tried_backend():
    made = json.loads(kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(probe())))
    return json.dumps([e["value"] for e in made["spec"]["initContainers"][0]["env"] if e["name"] == "UDPLANE_BACKEND"])


@case
def guaranteed():
    """A Guaranteed pod is still one, on the node, and fast; its sidecar has a CPU of its own and no token."""
    one = {"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    manifest = server("guaranteed", annotations={"mode": "latency", "cpu": "300m", "workers": "1", "frames": "8192", "log-level": "debug"})
    del manifest["spec"]["automountServiceAccountToken"]
    for c in manifest["spec"]["containers"]:
        c["resources"] = one
    create(manifest)
    try:
        assert get("pod", "guaranteed")["status"]["qosClass"] == "Guaranteed"
        until(lambda: [k["state"] for k in stats("guaranteed")["sockets"]] == ["active", "active"], 20, "two fast sockets")
        assert stats("guaranteed")["device"]["counters"]["frames_total"] == 8192, stats("guaranteed")["device"]
        pid = processes("guaranteed", "udplaned")[0]
        assert os.listdir(f"/proc/{pid}/root/var/run/secrets/kubernetes.io/serviceaccount/") == ["annotations"] or \
            "token" not in os.listdir(f"/proc/{pid}/root/var/run/secrets/kubernetes.io/serviceaccount/")
        pid = processes("guaranteed", "pingpong")[0]
        assert "token" in os.listdir(f"/proc/{pid}/root/var/run/secrets/kubernetes.io/serviceaccount/")
    finally:
        delete("guaranteed")


begin()
install("policy")
run()
