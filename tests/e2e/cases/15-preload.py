#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplane.io/preload on the cluster: programs with plain sockets, in containers without any right; carrier policy."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from cluster import *  # noqa: F401,F403

NAMED, OTHER = 5060, 5061
LIBRARY = "/run/udplane/lib/libudplane-preload.so"
NOBODY = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
          "capabilities": {"drop": ["ALL"]}}


def plain(name, port):
    """A container whose program knows nothing of udplane: recvmmsg() on a plain socket."""
    return {**container(name, "/app/sink", "--kernel", "--bind", f"0.0.0.0:{port}"), "securityContext": NOBODY}


def shared():
    if not shared.address:
        once = {**container("once", "/app/gen", "--kernel", "--to", "127.0.0.1:9", "--count", "1"), "securityContext": NOBODY}
        server = pod("server", plain("named", NAMED), plain("other", OTHER), ports=f"{NAMED},{OTHER}",
                     annotations={"mode": "latency", "preload": "named,once"}, spec={"initContainers": [once]})
        shared.address, _ = create(server, idle())
    return shared.address


shared.address = None


def loaded(port):
    """Whether the program on the port has mapped the library."""
    pid = until(lambda: processes("server", "sink", f"0.0.0.0:{port}"), 10, "the program")[0]
    with open(f"/proc/{pid}/maps") as maps:
        return LIBRARY in maps.read()


@case
def named_containers_run_with_it():
    """The named one has the library, without any right; the other one has not, nor has the sidecar. The init container ran with it."""
    shared()
    assert loaded(NAMED) and not loaded(OTHER)
    assert not any(restarts("server").values()), restarts("server")
    spec = get("pod", "server")["spec"]
    preloaded = [c["name"] for c in spec["initContainers"] + spec["containers"] if LIBRARY in str(c.get("env"))]
    assert preloaded == ["once", "named"], preloaded
    log = kubectl("logs", "server", "-c", "once") + kubectl("logs", "server", "-c", "named")
    assert "cannot be preloaded" not in log, log


@case
def they_are_fast():
    """What is sent to the named one is diverted and delivered to it; the other one receives by the kernel."""
    address, count = shared(), 20000
    until(lambda: any(k["state"] == "active" for k in stats("server")["sockets"]), 10, "a fast socket")
    send("client", address, NAMED, count, "--rate", "20000")
    s = settled("server", lambda s: socket_of(s, NAMED)["counters"]["rx_delivered"] >= count * 0.9)
    assert [k["local"]["port"] for k in s["sockets"]] == [NAMED], s["sockets"]
    print(f"{socket_of(s, NAMED)['counters']['rx_delivered']} of {count} by the fast path")


begin()
install("policy")
run()
