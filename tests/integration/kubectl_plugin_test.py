#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kubectl-udplane against a kubectl that this script plays: a world in a file, which `set image` changes. The real one: tests/e2e."""
import importlib.machinery
import importlib.util
import tarfile

from harness import *

PLUGIN = os.path.join(ROOT, "deploy", "plugin", "kubectl-udplane")
DIR = os.path.dirname(SOCKET)
WORLD = os.path.join(DIR, "world.json")
NEW, OLD = "udplane/sidecar:2", "udplane/sidecar:1"

KUBECTL = r'''
import json, os, sys
path = os.environ["WORLD"]
world = json.load(open(path))
words = [w for w in sys.argv[1:] if w != "-A"]
namespace = None
if words[0] == "-n":
    namespace, words = words[1], words[2:]
world["calls"].append(words)
def say(value):
    json.dump(value, sys.stdout)
def save():
    json.dump(world, open(path, "w"))
save()
def pod(name):
    return next(p for p in world["pods"] if p["metadata"]["name"] == name)
def sidecar(p):
    return p["spec"]["initContainers"][0], p["status"]["initContainerStatuses"][0]
if words[0] == "version":
    say({"serverVersion": {"gitVersion": world["version"]}})
elif words[0] == "api-resources":
    print("mutatingadmissionpolicies.admissionregistration.k8s.io")
elif words[0] == "get" and words[1] == "pod":
    p = pod(words[2])
    if p.get("pending"):
        c, s = sidecar(p)
        s.update(p.pop("pending"))
        save()
    say(p)
elif words[0] == "get":
    kind = "workloads" if words[1].startswith("deployments,") and "-l" not in words else words[1].split(",")[0]
    say({"items": world.get(kind, [])})
elif words[0] == "create":
    p = json.load(sys.stdin)
    if world["image"]:
        p["spec"]["initContainers"] = [{"name": "udplane", "image": world["image"]}]
    say(p)
elif words[:2] == ["set", "image"]:
    p = pod(words[2].removeprefix("pod/"))
    c, s = sidecar(p)
    c["image"] = words[3].split("=")[1]
    outcome = world["outcome"] if c["image"] == world["image"] else {}
    if outcome.get("app"):
        p["status"]["containerStatuses"][0]["restartCount"] += 1
    p["pending"] = outcome.get("sidecar", {"restartCount": s["restartCount"] + 1})
    save()
elif words[0] == "exec":
    p = pod(words[1])
    verb = words[words.index("--") + 2:]
    answer = p.get("answers", {}).get(verb[0] + (" accelerated" if "--accelerated" in verb else ""), {})
    sys.stdout.write(answer.get("out", ""))
    sys.exit(answer.get("status", 0))
elif words[0] == "logs":
    print("log of", words[1])
'''


def make_pod(name, image=NEW, **changes):
    made = {
        "kind": "Pod", "metadata": {"name": name, "namespace": "apps", "annotations": {"udplane.io/ports": "53"}},
        "spec": {"initContainers": [{"name": "udplane", "image": image, "env": [{"name": "UDPLANE_MODE", "value": "balanced"}]}],
                 "containers": [{"name": "app", "image": "app:1", "args": ["--token=hunter2"],
                                 "env": [{"name": "PASSWORD", "value": "hunter2"}]}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "app", "restartCount": 0, "state": {"running": {}}}],
                   "initContainerStatuses": [{"name": "udplane", "restartCount": 0, "state": {"running": {}}}]},
        "answers": {"stats": {"out": json.dumps({"backend": "af_xdp", "device": {"trouble": ""}})}},
    }
    made.update(changes)
    return made


def world(**changes):
    made = {
        "calls": [], "version": "v1.36.1", "image": NEW, "outcome": {},
        "nodes": [{"kind": "Node", "metadata": {"name": "n1"}, "status": {
            "nodeInfo": {"operatingSystem": "linux", "kernelVersion": "6.1.0"}, "allocatable": {"hugepages-2Mi": "64Mi"}}}],
        "mutatingwebhookconfigurations": [{"kind": "MutatingWebhookConfiguration", "metadata": {"name": "udplane"}}],
        "deployments": [], "workloads": [], "pods": [make_pod("one"), make_pod("two")],
    }
    made.update(changes)
    return made


def run_plugin(state, *words, **kw):
    """Its finished process, and the world after it."""
    with open(WORLD, "w") as f:
        json.dump(state, f)
    with open(os.path.join(DIR, "kubectl"), "w") as f:
        f.write(f"#!{sys.executable} -SEs\n" + KUBECTL)
    os.chmod(f.name, 0o755)
    environment = {**os.environ, "PATH": DIR + ":" + os.environ["PATH"], "WORLD": WORLD}
    environment.pop("KUBECTL", None)
    done = subprocess.run([PLUGIN, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, timeout=60, **kw)
    with open(WORLD) as f:
        return done, json.load(f)


def images(state):
    return [p["spec"]["initContainers"][0]["image"] for p in state["pods"]]


def broken_pods():
    """Code -> a pod in which it is found."""
    plain, waiting, crashed, slow, trouble = (make_pod(code) for code in ("UDP101", "UDP103", "UDP104", "UDP107", "UDP108"))
    plain["spec"].pop("initContainers")
    waiting["status"]["initContainerStatuses"][0]["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    crashed["status"]["initContainerStatuses"][0].update(restartCount=3, lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}})
    slow["answers"]["health accelerated"] = {"status": 1, "out": json.dumps({"text": "1 of 2 sockets"})}
    trouble["answers"]["stats"]["out"] = json.dumps({"backend": "af_xdp", "device": {"trouble": "another program"}})
    kernel = make_pod("UDP106", answers={"stats": {"out": json.dumps({"backend": "kernel", "backend_text": "no CAP_BPF"})}})
    deaf = make_pod("UDP109", answers={"stats": {"status": 1, "out": "hung"}})
    return [plain, waiting, crashed, make_pod("UDP105", OLD), kernel, slow, trouble, deaf]


def broken():
    """Worlds in which each object is named after what is wrong with it, and what is wrong with the cluster."""
    node = world()["nodes"][0]["status"]
    nodes = [{"kind": "Node", "metadata": {"name": "UDP004"},
              "status": {**node, "nodeInfo": {"operatingSystem": "linux", "kernelVersion": "5.10.0-1"}}},
             {"kind": "Node", "metadata": {"name": "UDP006"}, "status": {**node, "allocatable": {}}}]
    workload = {"kind": "Deployment", "metadata": {"name": "UDP102", "namespace": "apps", "annotations": {"udplane.io/ports": "53"}},
                "spec": {"template": {"metadata": {}}}}
    webhook = {"kind": "Deployment", "metadata": {"name": "UDP005", "namespace": "udplane"}, "status": {}}
    yield world(pods=[*broken_pods(), make_pod("good")], nodes=nodes, workloads=[workload], deployments=[webhook]), {"UDP003"}
    yield world(version="v1.28.3", mutatingwebhookconfigurations=[], image=None), {"UDP001", "UDP002", "UDP003", "UDP007"}


@case
def check_finds_what_is_wrong_and_nothing_else():
    done, _ = run_plugin(world(), "check", "-A")
    assert done.returncode == 0 and "ok: 0 error, 0 warning, 1 info" in done.stdout, done
    codes = set()
    for state, of_cluster in broken():
        done, _ = run_plugin(state, "check", "-A", "-o", "json")
        answer = json.loads(done.stdout)
        assert not answer["ok"] and done.returncode == 1, done
        things = [p["metadata"]["name"] for kind in ("pods", "nodes", "workloads", "deployments") for p in state[kind]]
        expected = of_cluster | {t for t in things if t.startswith("UDP")}
        assert sorted(f["code"] for f in answer["findings"]) == sorted(expected), done.stdout
        for f in answer["findings"]:
            assert f["object"].endswith(f["code"] if f["code"] not in of_cluster else "cluster"), f
            assert f["link"].endswith(f"docs/findings.md#{f['code'].lower()}") and f["text"], f
        codes |= expected
    assert codes == set(plugin().CODES), codes ^ set(plugin().CODES)
    done, _ = run_plugin(world(pods=[make_pod("one", OLD)]), "check", "-A")
    assert done.returncode == 0 and "ok: 0 error, 1 warning" in done.stdout, done  # a warning alone is no failure


def plugin():
    """The plugin as a module."""
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("plugin", PLUGIN)
    made = importlib.util.module_from_spec(importlib.util.spec_from_loader("plugin", loader))
    loader.exec_module(made)
    return made


@case
def every_code_is_documented():
    with open(os.path.join(ROOT, "docs", "findings.md")) as f:
        headings = {line.split()[1] for line in f if line.startswith("## UDP")}
    assert headings == set(plugin().CODES), headings ^ set(plugin().CODES)


@case
def check_waits_and_looks_at_the_cluster_alone():
    done, after = run_plugin(world(pods=[]), "check", "--pre")
    assert done.returncode == 0 and not any(w[:2] == ["get", "pods"] for w in after["calls"]), done
    start = time.monotonic()
    done, after = run_plugin(world(pods=broken_pods()[1:2]), "check", "-A", "--wait", "3")
    assert done.returncode == 1 and time.monotonic() - start > 3, done
    assert sum(w[0] == "version" for w in after["calls"]) > 1, after["calls"]


@case
def upgrade_replaces_stale_sidecars_one_after_the_other():
    state = world(pods=[make_pod("one", OLD), make_pod("two"), make_pod("three", OLD)])
    done, after = run_plugin(state, "upgrade", "-A", "--dry-run")
    assert done.returncode == 0 and "2 stale sidecars" in done.stdout and images(after) == [OLD, NEW, OLD], done
    done, after = run_plugin(state, "upgrade", "-A")
    assert done.returncode == 0 and images(after) == [NEW] * 3, done
    sets = [w for w in after["calls"] if w[:2] == ["set", "image"]]
    assert [w[2:] for w in sets] == [["pod/one", f"udplane={NEW}"], ["pod/three", f"udplane={NEW}"]], sets
    between = after["calls"][after["calls"].index(sets[0]):after["calls"].index(sets[1])]
    assert any("health" in w for w in between), "no look at its health before the next one"


@case
def upgrade_stops_and_puts_back_what_fails():
    no_image = {"sidecar": {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}}
    for outcome, words in ((no_image, "ErrImagePull: not found"),
                           ({"app": True}, "a container of the application was restarted"),
                           ({"sidecar": {}}, "did not come about within 1.0 s")):
        state = world(pods=[make_pod("one", OLD), make_pod("two", OLD)], outcome=outcome)
        done, after = run_plugin(state, "upgrade", "-A", "--timeout", "1")
        assert done.returncode == 1 and words in done.stderr and f"{OLD} again" in done.stderr, done
        assert images(after) == [OLD, OLD], images(after)
    done, after = run_plugin(world(pods=[make_pod("one", OLD)], image=None), "upgrade")
    assert done.returncode == 1 and "which image?" in done.stderr and images(after) == [OLD], done


@case
def words_go_to_udplanectl():
    done, after = run_plugin(world(), "why", "-n", "apps", "one", "53", "--json")
    assert done.returncode == 0 and after["calls"][-1][-5:] == ["--", "/usr/local/bin/udplanectl", "why", "53", "--json"], after["calls"]
    state = world()
    state["pods"][0]["answers"]["capture"] = {"out": "pcapng"}
    file = os.path.join(DIR, "out.pcapng")
    done, after = run_plugin(state, "capture", "one", "-c", "5", "-w", file, "--port", "53")
    assert done.returncode == 0 and after["calls"][-1][-5:] == ["capture", "-c", "5", "--port", "53"], after["calls"]
    with open(file) as f:
        assert f.read() == "pcapng" and os.stat(file).st_mode & 0o77 == 0
    done, _ = run_plugin(state, "capture", "one")
    assert done.stdout == "pcapng", done
    done, _ = run_plugin(world(), "stats")
    assert done.returncode == 1 and "which POD?" in done.stderr, done
    assert run_plugin(world(), "frobnicate")[0].returncode == 2


@case
def a_bug_report_has_no_secrets():
    file = os.path.join(DIR, "report.tar.gz")
    done, _ = run_plugin(world(), "bug-report", "-A", "-o", file)
    assert done.returncode == 0 and "2 pods" in done.stdout, done
    with tarfile.open(file) as tar:
        names = {n.split("/", 1)[1]: tar.extractfile(n).read().decode() for n in tar.getnames()}
    for name in ("version.json", "nodes.json", "findings.json", "pods/apps/one/pod.json", "pods/apps/two/log", "pods/apps/one/stats.json"):
        assert names[name].strip(), (name, list(names))
    assert "PASSWORD" in names["pods/apps/one/pod.json"] and "balanced" in names["pods/apps/one/pod.json"]
    assert not any("hunter2" in text for text in names.values())


run()
