#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Carrier webhook on the cluster: udplane-injector in its pods, called by the API server."""
import base64
import hashlib
import os
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from cluster import *  # noqa: F401,F403


def annotated(name="server"):
    return pod(name, container("count", "/app/shared-sink", "--bind", "0.0.0.0:5060", volume_library=True), ports="5060",
               annotations={"mode": "latency"})


def system(*words, check=True):
    return call([*KUBECTL, "-n", SYSTEM, *words], check=check).stdout


def try_create(manifest):
    return call([*KUBECTL, "-n", NAMESPACE, "create", "--dry-run=server", "-o", "json", "-f", "-"], json.dumps(manifest), check=False)


def injectors():
    """The pods that serve: those of an earlier release may still be ending."""
    pods = json.loads(system("get", "pods", "-l", "app.kubernetes.io/component=injector", "-o", "json"))["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def metrics():
    """The injectors' own figures, summed; histograms by their upper bound."""
    total = {}
    for pod in injectors():
        text = system("get", "--raw", f"/api/v1/namespaces/{SYSTEM}/pods/{pod['metadata']['name']}:8080/proxy/metrics")
        for line in text.splitlines():
            if line and line[0] != "#":
                key, value = line.rsplit(" ", 1)
                total[key] = total.get(key, 0) + float(value)
    return total


def api_server_metrics():
    """Its times of our webhook, with TLS and HTTP."""
    total = {}
    for line in system("get", "--raw", "/metrics").splitlines():
        if line.startswith("apiserver_admission_webhook_admission_duration_seconds_bucket") and "udplane" in line:
            key, value = line.rsplit(" ", 1)
            total[key] = float(value)
    return total


def within(before, after):
    """For people: how many there were in between, and what part of them lay within each bound."""
    buckets = {k: after[k] - before.get(k, 0) for k in after if "_bucket" in k}
    count = max(buckets.values(), default=0)
    assert count >= 1000, buckets
    share = sorted((float(k.split('le="')[1].split('"')[0]), v / count) for k, v in buckets.items())
    return f"{count:.0f} reviews, within: " + ", ".join(f"{le:g} s {part:.1%}" for le, part in share if part > 0.5)


@case
def accelerated():
    address, _ = create(annotated(), idle())
    send("client", address, 5060, 20000, "--rate", "20000")
    s = settled("server", lambda s: socket_of(s, 5060)["counters"]["rx_delivered"] >= 18000)
    assert socket_of(s, 5060)["state"] == "active", s["sockets"]
    delete("server", "client")


@case
def bad_annotation_denied():
    text = refused(pod("bad", container("app", "/app/sink"), ports="5060-"))
    assert "udplane.io/ports" in text and "allowed" in text, text
    print(text.strip().split("denied the request: ")[-1])


@case
def preloaded():
    """udplane.io/preload reaches the named container, and a name that is none is denied with those that are."""
    def make(value):
        return pod("preload", container("a", "/app/sink"), container("b", "/app/sink"), ports="5060", annotations={"preload": value})
    done = try_create(make("b"))
    assert not done.returncode, done.stderr
    a, b = ({e["name"]: e["value"] for e in c["env"]} for c in json.loads(done.stdout)["spec"]["containers"])
    assert b["LD_PRELOAD"] == "/run/udplane/lib/libudplane-preload.so" and "LD_PRELOAD" not in a, (a, b)
    text = refused(make("b,c"))
    assert 'item 2 "c": no container of this pod; allowed: *, or a comma-separated list of a, b' in text, text


@case
def many_admissions():
    """200 at the same time, none failing; then, four and one at a time, how long they take; the injectors' memory."""
    admissions(annotated("admitted"))
    for concurrent in 4, 1:
        before, seen = metrics(), api_server_metrics()
        admissions(annotated("admitted"), 1000, concurrent)
        print("the injectors' own times:", within(before, metrics()))
        print("as the API server sees them:", within(seen, api_server_metrics()))
    memory = [int(line.split()[1]) for name in os.listdir("/proc") if name.isdigit() for line in resident(name)]
    print("resident KiB of the injectors:", memory)
    assert memory and max(memory) < 32 << 10, memory


def resident(pid):
    try:
        if os.readlink(f"/proc/{pid}/exe").endswith("/udplane-injector"):
            return [line for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS:")]
    except OSError:
        pass
    return []


def certificate():
    """The DER of what the Secret has, as SHA-256."""
    pem = base64.b64decode(system("get", "secret", "udplane-injector-tls", "-o", "jsonpath={.data.tls\\.crt}")).decode()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()


def served():
    """What each injector shows to who connects."""
    addresses = [pod["status"]["podIP"] for pod in injectors()]
    code = "import hashlib, ssl, sys\nfor a in sys.argv[1:]: " \
           "print(hashlib.sha256(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((a, 8443)).strip())).hexdigest())"
    return set(on_node("python3", "-c", code, *addresses).split())


@case
def certificate_rotated():
    """helm upgrade with another `rotation`: a new certificate is served without a restart, and no admission fails during the change."""
    pods = {pod["metadata"]["uid"] for pod in injectors()}
    old = certificate()
    helm("upgrade", "udplane", CHART, "-n", SYSTEM, "--reuse-values", "--set", "webhook.certificates.rotation=two")
    new = certificate()
    assert new != old
    start = time.monotonic()
    until(lambda: admissions_work() and served() == {new}, 150, "the new certificate")
    assert {pod["metadata"]["uid"] for pod in injectors()} == pods
    print(f"served {time.monotonic() - start:.1f} s after the upgrade")


def admissions_work():
    assert injects(), try_create(probe()).stderr
    return True


@case
def certificate_kept_over_upgrades():
    old = certificate()
    helm("upgrade", "udplane", CHART, "-n", SYSTEM, "--reuse-values", "--set", "sidecar.logLevel=debug")
    assert certificate() == old
    helm("rollback", "udplane", "-n", SYSTEM, "--wait", "--timeout", "60s")
    until(injects, 20, "injection after a rollback")


@case
def webhook_down():
    """Pods without annotation start as usual, without delay; an annotated one is refused, and the message names the webhook."""
    name = system("get", "deployments", "-l", "app.kubernetes.io/component=injector", "-o", "name").strip()
    system("scale", name, "--replicas=0")
    until(lambda: not system("get", "pods", "-l", "app.kubernetes.io/component=injector", "-o", "name").strip(), 60, "injectors gone")
    try:
        _, took = timed(create, idle("plain"))
        done, refusal = timed(try_create, annotated())
        print(f"plain pod ready after {took:.1f} s; annotated refused after {refusal:.1f} s: {done.stderr.strip()}")
        assert done.returncode and "webhook" in done.stderr and "udplane" in done.stderr, done.stdout
        delete("plain")
    finally:
        system("scale", name, "--replicas=2")
        until(injects, 60, "injection again")


@case
def carrier_changed():
    """From webhook to policy by an upgrade, without a moment's gap for pods that exist, and uninstalled without a trace."""
    install("policy")
    assert not system("get", "mutatingwebhookconfigurations", "-o", "name").strip()
    uninstall()
    kinds = "mutatingadmissionpolicies,mutatingadmissionpolicybindings,validatingadmissionpolicies,validatingadmissionpolicybindings," \
            "mutatingwebhookconfigurations,validatingwebhookconfigurations"

    def left():
        return system("get", kinds, "-o", "name", check=False) + system("get", "all,configmaps,secrets,serviceaccounts", "-l",
                                                                        "app.kubernetes.io/instance=udplane", "-o", "name")
    until(lambda: "udplane" not in left(), 60, "nothing of the chart")


begin()
install("webhook")
run()
