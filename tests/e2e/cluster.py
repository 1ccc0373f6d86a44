# SPDX-License-Identifier: Apache-2.0
"""For the cases in Python: the cluster that tests/e2e/run has brought up, by kubectl and helm as people use them.

$KUBECTL and $HELM are commands (words are split). Cases are functions marked @case; run() prints PASS, FAIL or SKIP for each and exits.
Everything is made in one namespace of the script, which goes with it, as do releases installed by install().
"""
import atexit
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
from harness import Skip, case, conserved, run, until  # noqa: E402,F401

KUBECTL = shlex.split(os.environ.get("KUBECTL", "kubectl"))
HELM = shlex.split(os.environ.get("HELM", "helm"))
ENTER = [os.path.join(os.environ.get("UDPLANE_NODE", os.path.join(ROOT, "tests", "e2e", "node")), "enter")]
CHART = os.path.join(ROOT, "helm", "udplane")
APP = "localhost/udplane-app:1"
NAMESPACE = f"e2e-{os.getpid()}"
SYSTEM = "udplane-system"


class Failed(AssertionError):
    pass


def call(command, text=None, check=True):
    done = subprocess.run(command, input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if check and done.returncode:
        raise Failed(f"{shlex.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def kubectl(*words, text=None):
    return call([*KUBECTL, "-n", NAMESPACE, *words], text).stdout


def helm(*words):
    return call([*HELM, *words]).stdout


def on_node(*command, text=None, check=True):
    """A command in the node's namespaces, with its KUBECONFIG."""
    return call([*ENTER, *command], text, check).stdout


def get(kind, name):
    return json.loads(kubectl("get", kind, name, "-o", "json"))


def refused(manifest, *words):
    """What kubectl says when it cannot create the manifest; fails when it can."""
    done = call([*KUBECTL, "-n", NAMESPACE, "create", *words, "-f", "-"], json.dumps(manifest), check=False)
    assert done.returncode, "was not refused: " + done.stdout
    return done.stderr


def background(*words):
    """kubectl on the side; .communicate() ends it."""
    return subprocess.Popen([*KUBECTL, "-n", NAMESPACE, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# --- making things -------------------------------------------------------------------------------------------------


def container(name, *command, volume_library=False):
    made = {"name": name, "image": APP, "imagePullPolicy": "Never", "command": list(command)}
    if volume_library:
        made["env"] = [{"name": "LD_LIBRARY_PATH", "value": "/run/udplane/lib"}]
    return made


def pod(name, *containers, ports=None, annotations=None, spec=None, labels=None):
    """A manifest. ports: udplane.io/ports; annotations: without "udplane.io/"."""
    notes = {f"udplane.io/{key}": value for key, value in (annotations or {}).items()}
    if ports:
        notes["udplane.io/ports"] = ports
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": notes, "labels": labels or {}},
        "spec": {"terminationGracePeriodSeconds": 2, "automountServiceAccountToken": False, "containers": list(containers), **(spec or {})},
    }


def idle(name="client"):
    """A pod that waits to be told: `within(name, ...)`."""
    return pod(name, container("app", "/app/sink", "--kernel", "--bind", "0.0.0.0:1"))


def ready(name, seconds=40):
    """Waits for a pod; returns its address."""
    def look():
        status = get("pod", name)["status"]
        return status.get("podIP") if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])) else None
    try:
        return until(look, seconds, f"pod {name} ready")
    except AssertionError:
        print(kubectl("describe", "pod", name))
        print(call([*KUBECTL, "-n", NAMESPACE, "logs", name, "-c", "udplane"], check=False).stdout)
        raise


def create(*manifests):
    """Creates pods and waits for all of them; returns their addresses."""
    kubectl("create", "-f", "-", text="\n---\n".join(json.dumps(m) for m in manifests))
    addresses = [ready(m["metadata"]["name"]) for m in manifests if m["kind"] == "Pod"]
    return addresses[0] if len(addresses) == 1 else addresses


def delete(*names):
    for name in names:
        call([*KUBECTL, "-n", NAMESPACE, "delete", "pod", name, "--now", "--ignore-not-found"], check=False)


def within(name, *command, container=None):
    return kubectl("exec", name, *(["-c", container] if container else []), "--", *command)


def stats(name):
    return json.loads(within(name, "udplanectl", "stats", "--json", container="udplane"))


def settled(name, ok=lambda s: True):
    """Stats that balance, once they do and ok(stats) holds: frames on their way make them differ for a moment."""
    last = None

    def look():
        nonlocal last
        last = stats(name)
        try:
            return conserved(last) and not last["conservation"]["in_flight"] and ok(last)
        except AssertionError:
            return False
    try:
        until(look, 10, "stats that balance")
    except AssertionError:
        print(json.dumps(last, indent=1))
        conserved(last)
        raise
    return last


def socket_of(s, port):
    return next(k for k in s["sockets"] if k["local"]["port"] == port)


def restarts(name):
    """Restart counts of all containers, native sidecars included."""
    status = get("pod", name)["status"]
    return {c["name"]: c["restartCount"] for c in status.get("containerStatuses", []) + status.get("initContainerStatuses", [])}


def processes(name, program, word=""):
    """The host's numbers of the processes of a pod that run `program`, with `word` among their arguments."""
    uid, found = get("pod", name)["metadata"]["uid"], []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == program and uid in open(f"/proc/{pid}/cgroup").read():
                if not word or word in open(f"/proc/{pid}/cmdline").read().split("\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def daemon(name):
    """The host's number of the process that does the work: the child of the sidecar's first process."""
    found = processes(name, "udplaned")

    def parent(pid):
        return int(re.search(r"^PPid:\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M)[1])
    first = next(pid for pid in found if parent(pid) not in found)
    return next(pid for pid in found if parent(pid) == first)


class Watched:
    """Fails if the pod was not ready for a moment between the two ends of a `with`."""

    def __init__(self, name):
        self.watch = subprocess.Popen([*KUBECTL, "-n", NAMESPACE, "get", "pod", name, "-w", "-o",
                                       'jsonpath={.status.conditions[?(@.type=="Ready")].status}{"\\n"}'],
                                      text=True, stdout=subprocess.PIPE, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        os.killpg(self.watch.pid, signal.SIGTERM)  # nsenter has a child
        seen = self.watch.communicate()[0].split()
        assert kind or (seen and set(seen) == {"True"}), seen


def send(client, address, port, count, *more):
    """A plain sender in pod `client`."""
    return json.loads(within(client, "/app/gen", "--kernel", "--to", f"{address}:{port}", "--count", str(count), "--json", *more))


def admissions(manifest, count=200, concurrent=200):
    """Dry-run creations, `concurrent` at the same time; none may fail, and all must be injected. Returns the figures."""
    done = json.loads(on_node(os.path.join(ROOT, "tests", "e2e", "admissions.py"), NAMESPACE, str(count), str(concurrent),
                              text=json.dumps(manifest)))
    print(f"{count} admissions, {concurrent} at the same time: {done['seconds']} s, median {done['median_ms']} ms, "
          f"p99 {done['p99_ms']} ms, {len(done['failed'])} failed")
    assert not done["failed"], done["failed"][0]
    assert done["injected"] == count, done
    return done


def scrape(namespace, name, port):
    """/metrics of a pod, read as Prometheus would: {family: (type, {labels: value})}. Fails where its text format is wrong."""
    text = call([*KUBECTL, "get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics"]).stdout
    families, family, kind = {}, None, None
    assert text.endswith("\n"), text[-100:]
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family, kind, meaning = line.split(" ", 3)[2], None, line.split(" ", 3)[3]
            assert meaning.strip() and family not in families, line
        elif line.startswith("# TYPE "):
            kind = line.split(" ")[3]
            assert line.split(" ")[2] == family and kind in ("counter", "gauge", "histogram"), line
            assert family.endswith("_total") == (kind == "counter"), line
            families[family] = kind, {}
        else:
            match = SAMPLE.fullmatch(line)
            assert match and kind, line
            suffix = match[1].removeprefix(family) if match[1].startswith(family) else None
            assert suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",)), line
            series = suffix + (match[2] or "")
            assert series not in families[family][1], "twice: " + line
            families[family][1][series] = float(match[3])
    return families


SAMPLE = re.compile(r'([a-z_][a-z0-9_]*)(\{[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\[\\"n])*")*\})? (\S+)')


# --- the chart -----------------------------------------------------------------------------------------------------


def probe():
    return pod("probe", container("app", "/app/sink"), ports="1")


def injects():
    done = call([*KUBECTL, "-n", NAMESPACE, "create", "--dry-run=server", "-o", "json", "-f", "-"], json.dumps(probe()), check=False)
    return not done.returncode and '"udplane"' in done.stdout


def install(carrier, *words):
    """Installs the chart, or changes the installed one, and waits until it acts; uninstalled when the script ends."""
    if carrier == "policy" and "mutatingadmissionpolicies" not in kubectl("api-resources", "-o", "name"):
        print("skipped: this API server has no MutatingAdmissionPolicy")
        sys.exit(77)
    atexit.register(uninstall)
    helm("upgrade", "--install", "udplane", CHART, "-n", SYSTEM, "--create-namespace", "--wait", "--timeout", "90s", "--set",
         f"carrier={carrier}", *words)
    until(injects, 30, f"injection by {carrier}")


def uninstall():
    call([*HELM, "uninstall", "udplane", "-n", SYSTEM, "--ignore-not-found", "--wait"], check=False)


def begin():
    call([*KUBECTL, "create", "namespace", NAMESPACE])
    atexit.register(lambda: call([*KUBECTL, "delete", "namespace", NAMESPACE, "--wait=false"], check=False))
    until(lambda: not call([*KUBECTL, "-n", NAMESPACE, "get", "serviceaccount", "default"], check=False).returncode, 20, "service account")


def timed(function, *args):
    start = time.monotonic()
    value = function(*args)
    return value, time.monotonic() - start
