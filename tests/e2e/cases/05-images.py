#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The images by themselves: they start with a read-only root and no more than they need, and hold nothing to be abused."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from cluster import *  # noqa: F401,F403

VERSION = next(line.split('"')[1] for line in open(os.path.join(ROOT, "include/udplane/udplane.h")) if "define UDPLANE_VERSION" in line)


def bare(name, image, *args, add=(), **more):
    made = pod(name, {"name": "it", "image": image, "imagePullPolicy": "Never", "args": list(args),
                      "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                                          "capabilities": {"drop": ["ALL"], "add": list(add)}, **more}})
    made["spec"]["restartPolicy"] = "Never"
    return made


def ended(manifest):
    """Runs it to its end; its log."""
    name = manifest["metadata"]["name"]
    kubectl("create", "-f", "-", text=json.dumps(manifest))
    until(lambda: get("pod", name)["status"]["phase"] in ("Succeeded", "Failed"), 20, f"{name} ends")
    return kubectl("logs", name)


@case
def dpdk_runs():
    """All that DPDK needs is in the image: EAL, bus, mempool and a driver load, and traffic flows from a virtual device."""
    made = bare("dpdk", f"udplane/sidecar:{VERSION}-dpdk", "--backend", "vfio", "--device", "net_null0", "--ports", "5000", "--hugepages",
                "off", "--address", "192.0.2.1/24", add=["NET_ADMIN", "IPC_LOCK"])
    made["spec"]["volumes"] = [{"name": "run", "emptyDir": {"medium": "Memory"}}, {"name": "tun", "hostPath": {"path": "/dev/net/tun"}}]
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "run", "mountPath": "/run/udplane"},
                                                     {"name": "tun", "mountPath": "/dev/net/tun"}]
    create(made)

    def running():
        done = call([*KUBECTL, "-n", NAMESPACE, "exec", "dpdk", "--", "udplanectl", "stats", "--json"], check=False)
        return json.loads(done.stdout) if not done.returncode else None
    try:
        s = until(running, 10, "stats")
    except AssertionError:
        print(kubectl("logs", "dpdk"))
        raise
    assert s["backend"] == "vfio", s["backend_text"]
    print(s["backend_text"], "-", s["device"]["text"])


@case
def without_dpdk_says_so():
    """The smaller image refuses backend vfio by naming what is missing."""
    made = bare("nodpdk", f"udplane/sidecar:{VERSION}", "--backend", "vfio", "--device", "net_null0", "--ports", "5000")
    made["spec"]["volumes"] = [{"name": "run", "emptyDir": {"medium": "Memory"}}]
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "run", "mountPath": "/run/udplane"}]
    text = ended(made)
    assert "the image with DPDK" in text, text
    print(text.strip().splitlines()[-1])


@case
def injector_is_nobody():
    """The injector runs as a user that is not root, by its image alone."""
    assert VERSION in ended(bare("injector", f"udplane/injector:{VERSION}", "--version", runAsNonRoot=True))


@case
def no_shell():
    for image in ("sidecar", "injector"):
        name = f"shell-{image}"
        made = bare(name, f"udplane/{image}:{VERSION}")
        made["spec"]["containers"][0]["command"] = ["/bin/sh", "-c", "true"]
        kubectl("create", "-f", "-", text=json.dumps(made))
        until(lambda: "no such file" in kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o",
                                                "jsonpath={.items[*].message}"), 20, "refusal")


begin()
run()
