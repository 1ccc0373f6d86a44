# SPDX-License-Identifier: Apache-2.0
"""For tests/bench/run: an annotated pod on the node of tests/e2e, flooded through its own veth.

The host's end of the pod's veth is a port of the CNI's bridge. What the generator sends out of that end by XDP_TX goes straight into the
pod's eth0, as it goes from end to end of the plain pair, and the bridge has no part in it. So both sides of the comparison have the same
generator, the same device, and the same cores: generator and NAPI on one, worker (annotation udplane.io/cpus) and application on the
other. What differs is what a pod adds: control groups, limits, and the kubelet's probes.

The application has no CPU request, the worst case: control groups that share a core share it by requests, and sched_yield() does not reach
from one into the other. $UDPLANE_POD_CPU gives it one.
"""
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
E2E = os.path.join(ROOT, "tests", "e2e")
NODE = os.path.join(E2E, "node")
os.environ.setdefault("KUBECTL", f"{NODE}/enter kubectl")
os.environ.setdefault("HELM", f"{NODE}/enter helm")
sys.path.insert(0, E2E)
import cluster  # noqa: E402

SOURCE, PORT = "192.0.2.9", 6000


def tool(*command):
    """Its output goes where this program's errors go: standard output is the table."""
    subprocess.run(command, check=True, stdout=sys.stderr)


def bring_up():
    """The node, unless one is up, with this tree's images; it goes when this program ends."""
    if subprocess.run([f"{NODE}/enter", "true"], stderr=subprocess.DEVNULL).returncode == 0:
        return
    images = tempfile.mkdtemp(prefix="udplane-bench.", dir="/var/tmp")
    atexit.register(shutil.rmtree, images, True)
    tool(os.path.join(ROOT, "deploy", "image", "build"), "--output", images, "sidecar", "injector")
    tool(os.path.join(E2E, "app"), os.path.join(images, "app.tar"))
    atexit.register(subprocess.run, [f"{NODE}/down"])
    tool(f"{NODE}/up", *(os.path.join(images, name) for name in os.listdir(images)))


class Pod:
    """One annotated pod, whose application container waits for sinks to be started in it."""

    def __init__(self, app_cpu, annotations=None):
        self.app_cpu = int(app_cpu)
        bring_up()
        cluster.begin()
        cluster.install("auto")
        manifest = cluster.idle("bench")
        request = os.environ.get("UDPLANE_POD_CPU")
        if request:
            manifest["spec"]["containers"][0]["resources"] = {"requests": {"cpu": request}}
        manifest["metadata"]["annotations"] = {"udplane.io/ports": str(PORT), "udplane.io/mode": "latency", "udplane.io/cpus": app_cpu,
                                               **{f"udplane.io/{k}": v for k, v in (annotations or {}).items()}}
        self.address = cluster.create(manifest)
        eth0 = f"/proc/{cluster.processes('bench', 'udplaned')[0]}/root/sys/class/net/eth0/"
        self.mac, peer = (open(eth0 + name).read().strip() for name in ("address", "iflink"))
        links = json.loads(cluster.on_node("ip", "-j", "link"))
        self.device = next(link["ifname"] for link in links if link["ifindex"] == int(peer))

    def rx(self, generator, peer_cpu, size, seconds):
        """Packets a second that reach the application out of a flood."""
        sink = cluster.background("exec", "bench", "-c", "app", "--", "/app/sink", "--bind", f"{self.address}:{PORT}", "--spin",
                                  "--seconds",
                                  str(seconds), "--json")
        try:
            for pid in cluster.until(lambda: cluster.processes("bench", "sink", "--spin"), 10, "the sink"):
                os.sched_setaffinity(pid, {self.app_cpu})
            # It ends by itself soon after the sink, since no process outside can end one in the node's PID namespace.
            flood = subprocess.Popen([*cluster.ENTER, generator, "--netns-interface", self.device, "--dst-mac", self.mac, "--src-ip",
                                      SOURCE,
                                      "--dst-ip", self.address, "--dport", str(PORT), "--size", str(size), "--seconds", str(seconds + 1),
                                      "--cpu", peer_cpu], stdout=subprocess.DEVNULL)
            out, err = sink.communicate(timeout=seconds + 60)
            flood.wait(timeout=60)
        finally:
            sink.kill()
        if sink.returncode:
            raise SystemExit(f"bench: the sink in the pod: {err}")
        return json.loads(out.strip().splitlines()[-1])["pps"]
