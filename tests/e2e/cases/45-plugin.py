#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kubectl udplane in the cluster: check, capture, and an upgrade of a sidecar in place while datagrams go both ways."""
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from cluster import *  # noqa: F401,F403

PORT = 5060
PLUGIN = os.path.join(ROOT, "deploy", "plugin", "kubectl-udplane")


def plugin(*words, check=True):
    done = subprocess.run([sys.executable, PLUGIN, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, "KUBECTL": shlex.join(KUBECTL)}, timeout=200)
    if check and done.returncode:
        raise AssertionError(f"kubectl udplane {words}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def server():
    return pod("server", container("app", "/app/pingpong", "--bind", f"0.0.0.0:{PORT}", "--count", "0"), ports=str(PORT),
               annotations={"mode": "latency"})


def ask(address, count, rate):
    return ("exec", "client", "--", "/app/pingpong", "--kernel", "--to", f"{address}:{PORT}", "--count", str(count), "--rate", str(rate),
            "--json")


def carried():
    """What the sidecar of now has received and sent by the fast path."""
    counters = stats("server")["workers"][0]["counters"]
    return min(counters["rx_delivered"], counters["tx_sent"])


@case
def check_capture_and_report():
    assert plugin("check", "--pre").returncode == 0
    address = create(server())
    create(idle())
    done = plugin("check", "-n", NAMESPACE, "--wait", "60")
    assert "ok: 0 error, 0 warning" in done.stdout, done.stdout
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "capture")
        words = ("capture", "-n", NAMESPACE, "server", "--port", str(PORT), "-c", "10", "-w", file)
        capture = subprocess.Popen([sys.executable, PLUGIN, *words],
                                   env={**os.environ, "KUBECTL": shlex.join(KUBECTL)})
        until(lambda: os.path.exists(file) and os.path.getsize(file), 20, "the capture")
        kubectl(*ask(address, 100, 1000))
        assert capture.wait(20) == 0
        with open(file, "rb") as f:
            data = f.read()
        assert data.count(b"pingpong, ") + data.count(b", socket ") >= 10, len(data)
        report = os.path.join(folder, "report")
        plugin("bug-report", "-n", NAMESPACE, "-o", report)
        with tarfile.open(report) as tar:
            assert any(n.endswith("/server/stats.json") for n in tar.getnames()), tar.getnames()
    delete("server", "client")


@case
def an_upgrade_replaces_the_sidecar_and_loses_nothing():
    """Round trips at a steady rate while `kubectl udplane upgrade` replaces the sidecar of a running pod."""
    address = create(server())
    create(idle())
    image = next(c["image"] for c in get("pod", "server")["spec"]["initContainers"] if c["name"] == "udplane")
    other = image + "-again"
    on_node("ctr", "-n", "k8s.io", "images", "tag", "docker.io/" + image, "docker.io/" + other)
    load = background(*ask(address, 30000, 1000))
    until(lambda: carried() > 1000, 20, "the fast path")
    with Watched("server"):
        print("  ", plugin("upgrade", "-n", NAMESPACE, "--image", other).stdout.splitlines()[-1])
        until(lambda: carried() > 1000, 20, "the fast path again")
    result = json.loads(load.communicate(timeout=120)[0].splitlines()[-1])
    print("  ", result)
    assert result["lost"] == 0, result
    assert restarts("server") == {"app": 0, "udplane": 1}, restarts("server")
    assert "0 stale sidecars" in plugin("upgrade", "-n", NAMESPACE, "--image", other, "--dry-run").stdout
    done = plugin("upgrade", "-n", NAMESPACE, "--image", image + "-missing", "--timeout", "60", check=False)
    assert done.returncode == 1 and f"{other} again" in done.stderr, done
    until(lambda: carried() >= 0 and plugin("stats", "-n", NAMESPACE, "server").returncode == 0, 30, "the former sidecar")
    delete("server", "client")


begin()
install("auto")
run()
