#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Node mode: one udplaned on the node's interface, and pods with hostNetwork that share it."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from cluster import *  # noqa: F401,F403

GEN = os.path.join(os.environ.get("UDPLANE_BIN", os.path.join(ROOT, "bazel-bin")), "client/examples/udplane-gen")
SELFTEST = os.path.join(os.environ.get("UDPLANE_BIN", os.path.join(ROOT, "bazel-bin")), "client/selftest/udplane-selftest")
LINK, OUTSIDE, ADDRESS = "ext0", "outside", "192.0.2.1"


def make_link():
    """The node's interface to the world, and the world."""
    atexit.register(lambda: on_node("ip", "netns", "del", OUTSIDE, check=False))
    on_node("ip", "netns", "add", OUTSIDE)
    on_node("ip", "link", "add", LINK, "type", "veth", "peer", "name", "world", "netns", OUTSIDE)
    on_node("ip", "address", "add", f"{ADDRESS}/24", "dev", LINK)
    on_node("ip", "link", "set", LINK, "up")
    on_node("ip", "-n", OUTSIDE, "address", "add", "192.0.2.2/24", "dev", "world")
    on_node("ip", "-n", OUTSIDE, "link", "set", "world", "up")


def from_world(port, count):
    return json.loads(on_node("ip", "netns", "exec", OUTSIDE, GEN, "--kernel", "--to", f"{ADDRESS}:{port}", "--count", str(count), "--rate",
                              "20000", "--json"))


def install_node(*settings):
    install("policy", *(word for setting in ("node.enabled=true", f"node.interface={LINK}", "node.mode=latency", *settings)
                        for word in ("--set", setting)))


def application(name, port):
    return pod(name, container("app", "/app/shared-sink", "--bind", f"{ADDRESS}:{port}", volume_library=True), ports=str(port),
               spec={"hostNetwork": True})


def node_stats():
    name = json.loads(call([*KUBECTL, "-n", SYSTEM, "get", "pods", "-l", "app.kubernetes.io/component=node", "-o", "json"]).stdout)
    name = name["items"][0]["metadata"]["name"]
    return json.loads(call([*KUBECTL, "-n", SYSTEM, "exec", name, "--", "udplanectl", "stats", "--json"]).stdout)


def balanced(ok):
    def look():
        try:
            s = node_stats()
            return s if conserved(s) and ok(s) else None
        except (AssertionError, StopIteration, IndexError, Failed):  # the pod may be the old one, on its way out
            return None
    return until(look, 15, "stats of the node that balance")


@case
def two_pods_share_a_node():
    """Both are fast on a node with kube-proxy, each through a channel of its own; neither got a sidecar, neither restarts."""
    create(application("first", 6000), application("second", 6001))
    for name in ("first", "second"):
        assert "initContainers" not in get("pod", name)["spec"], name
    balanced(lambda s: s["control"]["sockets"] == 2 and all(socket_of(s, p)["state"] == "active" for p in (6000, 6001)))
    for port in (6000, 6001):
        from_world(port, 20000)
    s = balanced(lambda s: all(socket_of(s, p)["counters"]["rx_delivered"] >= 18000 for p in (6000, 6001)))
    first, second = socket_of(s, 6000), socket_of(s, 6001)
    assert first["channel"] != second["channel"], s["sockets"]
    assert (first["tx_reason"], second["tx_reason"]) == ("none", "none"), s["sockets"]
    assert s["route_note"]  # what goes to Services is left to Linux
    assert restarts("first") == restarts("second") == {"app": 0}
    print({p: socket_of(s, p)["counters"]["rx_delivered"] for p in (6000, 6001)}, "of 20000 each;", s["device"]["text"])


@case
def one_pod_goes():
    """Its rings and its port come back; the other one receives on, and nothing of it restarts."""
    before = socket_of(node_stats(), 6001)["counters"]["rx_delivered"]
    delete("first")
    s = balanced(lambda s: s["control"]["sockets"] == 1)
    from_world(6001, 20000)
    # How many it is quick enough for is not the question here.
    s = balanced(lambda s: socket_of(s, 6001)["counters"]["rx_delivered"] >= before + 5000)
    assert s["device"]["counters"]["frames_clients"] <= 2048, s["device"]
    assert restarts("second") == {"app": 0}


@case
def daemon_set_restarted():
    """While the DaemonSet is rolled, pods use the kernel; afterwards they are fast again by themselves."""
    start = node_stats()["start_ns"]
    call([*KUBECTL, "-n", SYSTEM, "rollout", "restart", "ds/udplane-node"])
    call([*KUBECTL, "-n", SYSTEM, "rollout", "status", "ds/udplane-node", "--timeout=60s"])
    balanced(lambda s: s["start_ns"] != start and socket_of(s, 6001)["state"] == "active")
    assert restarts("second") == {"app": 0}


@case
def helm_test():
    """The test of node mode: datagrams that come by the node's interface, here from outside since there is no other node."""
    sender = subprocess.Popen([*ENTER, "ip", "netns", "exec", OUTSIDE, SELFTEST, "send", ADDRESS, "5998", "120"], stdout=subprocess.DEVNULL)
    # Its own sender would take the only node.
    aside = threading.Thread(target=until, args=(lambda: not call([*KUBECTL, "-n", SYSTEM, "scale", "deployment", "udplane-test-node",
                                                                   "--replicas=0"], check=False).returncode, 60), daemon=True)
    aside.start()
    try:
        text = helm("test", "udplane", "-n", SYSTEM, "--timeout", "100s", "--logs", "--filter", "name=udplane-test-node")
    finally:
        sender.kill()
        sender.wait()
    assert re.search("received by the fast path: [1-9]", text) and re.search("ok: [1-9][0-9]* claimed socket", text), text


begin()
make_link()
install_node()
run()
