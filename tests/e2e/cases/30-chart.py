#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the chart makes besides the injection, on an API server that has the kinds of cert-manager and of the Prometheus operator, though
nobody who acts on them: the cases do here what those would do.
"""
import base64
import os
import re
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from cluster import *  # noqa: F401,F403

KINDS = {"cert-manager.io": ["Certificate", "Issuer"], "monitoring.coreos.com": ["PodMonitor", "ServiceMonitor"]}
METRICS, PORT = 9465, 5060
INJECTOR = "app.kubernetes.io/component=injector"
# What dashboards and alerts of users go by; names only ever get more.
NAMES = """udplane_up udplane_info udplane_uptime_seconds udplane_memory_bytes udplane_refused_total udplane_device_rx_seen_total
udplane_device_rx_diverted_total udplane_device_rx_lost_ring_full_total udplane_device_frames_free udplane_worker_awake
udplane_worker_rx_delivered_total udplane_worker_sleep_ns_total udplane_control_clients udplane_control_claims_refused_total
udplane_socket_accelerated udplane_socket_rx_delivered_total udplane_socket_rx_drop_ring_full_total udplane_socket_tx_sent_total
udplane_socket_kernel_rx_total udplane_socket_kernel_tx_total""".split()


def system(*words, text=None, check=True):
    return call([*KUBECTL, "-n", SYSTEM, *words], text, check=check).stdout


def found(kind, name):
    return json.loads(system("get", kind, name, "-o", "json"))


def make_kinds():
    names = []
    for group, kinds in KINDS.items():
        for kind in kinds:
            plural = kind.lower() + "s"
            names.append(f"{plural}.{group}")
            system("create", "-f", "-", text=json.dumps({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": names[-1]},
                "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                         "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                             "type": "object", "properties": {"spec": {"type": "object",
                                                                       "x-kubernetes-preserve-unknown-fields": True}}}}}]}}))
    atexit.register(lambda: system("delete", "customresourcedefinitions", *names, check=False))
    system("wait", "--for=condition=Established", *(f"customresourcedefinition/{n}" for n in names), "--timeout=20s")


def selects(monitor, kind):
    """How many objects of the chart a monitor's selector finds."""
    labels = monitor["spec"]["selector"].get("matchLabels", {})
    return system("get", kind, "-l", ",".join(f"{k}={v}" for k, v in labels.items()), "-o", "name").split()


@case
def everything_on():
    """NetworkPolicy, PodDisruptionBudget, monitors and dashboard are accepted, and each means the pods that it is about."""
    pods = system("get", "pods", "-l", INJECTOR, "-o", "name").split()
    monitor = found("servicemonitor", "udplane-injector")
    service, = selects(monitor, "services")
    ports = [p["name"] for p in found("service", service.split("/")[1])["spec"]["ports"]]
    assert monitor["spec"]["endpoints"][0]["port"] in ports, ports
    assert found("podmonitor", "udplane")["spec"]["podMetricsEndpoints"][0]["port"] == "udplane-metrics"
    budget = until(lambda: (lambda b: b if b.get("status", {}).get("currentHealthy") == 2 else None)(found("pdb", "udplane-injector")), 20,
                   "a budget that sees both injectors")
    assert budget["status"]["disruptionsAllowed"] == 1, budget["status"]
    policy = found("networkpolicy", "udplane-injector")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"] and "egress" not in policy, policy
    assert sorted(system("get", "pods", "-l", ",".join(f"{k}={v}" for k, v in policy["podSelector"]["matchLabels"].items()), "-o",
                         "name").split()) == sorted(pods)


@case
def sidecar_serves_metrics():
    """Prometheus' text format, with the names that are promised, and what udplanectl says at the same time."""
    address, _ = create(pod("server", container("count", "/app/shared-sink", "--bind", f"0.0.0.0:{PORT}", volume_library=True),
                            ports=str(PORT),
                            annotations={"mode": "latency"}), idle())
    spec = get("pod", "server")["spec"]
    assert [c["name"] for c in spec["initContainers"]] == ["udplane", "udplane-metrics"], spec["initContainers"]
    context = spec["initContainers"][1]["securityContext"]
    assert context["runAsNonRoot"] and context["capabilities"] == {"drop": ["ALL"]}, context
    send("client", address, PORT, 20000, "--rate", "20000")
    settled("server", lambda s: socket_of(s, PORT)["counters"]["rx_delivered"] >= 18000)
    families, s = scrape(NAMESPACE, "server", METRICS), stats("server")
    assert not set(NAMES) - set(families), set(NAMES) - set(families)
    delivered = families["udplane_socket_rx_delivered_total"][1]
    assert list(delivered.values()) == [socket_of(s, PORT)["counters"]["rx_delivered"]], (delivered, s["sockets"])
    assert f'port="{PORT}"' in list(delivered)[0], delivered
    assert families["udplane_up"][1] == {"": 1} and 'backend="af_xdp"' in list(families["udplane_info"][1])[0], families["udplane_info"]
    print(len(families), "families,", sum(len(v) for _, v in families.values()), "series;", *delivered)


@case
def metrics_outlive_the_sidecar():
    """While no udplaned answers a scrape says just that."""
    pid = daemon("server")
    os.kill(pid, signal.SIGSTOP)  # its first process would start another one at once
    until(lambda: scrape(NAMESPACE, "server", METRICS)["udplane_up"][1] == {"": 0}, 10, "udplane_up 0")
    os.kill(pid, signal.SIGCONT)
    until(lambda: scrape(NAMESPACE, "server", METRICS)["udplane_up"][1] == {"": 1}, 30, "udplane_up 1")


@case
def dashboard_names_what_exists():
    injector = system("get", "pods", "-l", INJECTOR, "-o", "jsonpath={.items[0].metadata.name}")
    there = set(scrape(SYSTEM, injector, 8080)) | set(scrape(NAMESPACE, "server", METRICS))
    delete("server", "client")
    dashboard = json.loads(found("configmap", "udplane-dashboard")["data"]["udplane.json"])
    named = {re.sub("_bucket$", "", name) for panel in dashboard["panels"] for target in panel["targets"]
             for name in re.findall(r"\budplane_[a-z_]+", target["expr"])}
    assert len(named) > 8 and not named - there, named - there
    print(*sorted(named))


def issue():
    """As cert-manager would: a Secret for the Certificate, and the CA in the webhooks that ask for it by annotation."""
    certificate = found("certificate", "udplane-injector")["spec"]
    issuer = found("issuer", certificate["issuerRef"]["name"])
    assert issuer["kind"] == certificate["issuerRef"]["kind"] and issuer["spec"] == {"selfSigned": {}}, issuer
    with tempfile.TemporaryDirectory() as made:
        call(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj",
              "/CN=stub",
              "-addext", "subjectAltName=" + ",".join("DNS:" + n for n in certificate["dnsNames"]), "-keyout", f"{made}/tls.key", "-out",
              f"{made}/tls.crt"])
        pem, key = (base64.b64encode(open(f"{made}/tls.{end}", "rb").read()).decode() for end in ("crt", "key"))
    system("create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {
        "name": certificate["secretName"]}, "data": {"tls.crt": pem, "tls.key": key, "ca.crt": pem}}))
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        asked = found(kind, "udplane")["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
        assert asked == f"{SYSTEM}/udplane-injector", asked
        system("patch", kind, "udplane", "--type=json", "-p", json.dumps([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle",
                                                                           "value": pem}]))
    return certificate["secretName"]


@case
def cert_manager_mode():
    """The Certificate that the chart asks for is one that the API server trusts the injector by; an upgrade keeps what was injected."""
    uninstall()
    words = ["upgrade", "--install", "udplane", CHART, "-n", SYSTEM, "--set", "carrier=webhook,webhook.certificates.mode=certManager"]
    helm(*words)
    secret = issue()
    atexit.register(lambda: system("delete", "secret", secret, "--ignore-not-found", check=False))
    system("rollout", "status", "deployment", "udplane-injector", "--timeout=60s")
    until(injects, 30, "injection")
    helm(*words, "--set", "sidecar.logLevel=debug")
    until(injects, 30, "injection after an upgrade")


begin()
call([*KUBECTL, "create", "namespace", SYSTEM], check=False)
make_kinds()
install("webhook", *(word for value in ("serviceMonitor", "podMonitor", "grafanaDashboard", "sidecar.metrics", "webhook.networkPolicy")
                     for word in ("--set", f"{value}.enabled=true")))
run()
