#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`udplanectl preflight --interface`: what it finds on real interfaces, and that it leaves nothing behind."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: F401,F403


def preflight(net, interface="va", *flags, wrap=()):
    """Exit status, and the checks by name."""
    done = subprocess.run(["ip", "netns", "exec", net.a, *wrap, CTL, "preflight", "--interface", interface, "--json", *flags], text=True,
                          stdout=subprocess.PIPE)
    said = json.loads(done.stdout)
    assert (done.returncode == 1) == (said["verdict"] == "bad"), (done.returncode, said)
    return done.returncode, {check["name"]: (check["verdict"], check["text"]) for check in said["checks"]}


def link(net, *words):
    return sh("ip", "-n", net.a, "link", *words)


def attached(net):
    """The number of va's XDP program."""
    return json.loads(sh("ip", "-n", net.a, "-j", "link", "show", "va"))[0]["xdp"]["prog"]["id"]


@case
def a_veth_is_fit():
    with Net() as net:
        status, checks = preflight(net)
        for name in "kernel", "af_xdp", "capabilities", "interface", "kind", "mtu", "queues", "xdp_program", "native_xdp", "redirect_peer":
            assert checks[name][0] == "ok", (name, checks[name])
        assert status == 0 and "natively" in checks["native_xdp"][1] and "veth" in checks["interface"][1]
        assert "xdp" not in link(net, "show", "va"), "a program is left behind"
        assert "ok   native_xdp" in sh("ip", "netns", "exec", net.a, CTL, "preflight", "--interface", "va")


@case
def udplaned_itself_is_no_stranger():
    with Net() as net, Sidecar(net) as sidecar:
        before = attached(net)
        status, checks = preflight(net)
        assert status == 0 and "udplaned's own" in checks["xdp_program"][1], checks
        assert sidecar.healthy() and attached(net) == before


@case
def another_program():
    """Attached by a link, named by its number; it stays."""
    with Net() as net:
        source = os.path.join(os.path.dirname(SOCKET), "pass.c")
        with open(source, "w") as f:
            f.write('__attribute__((section("xdp"), used)) int stranger(void *ctx) { return 2; }\n'
                    'char license_text[] __attribute__((section("license"), used)) = "GPL";\n')
        sh("clang", "-O2", "-target", "bpf", "-c", source, "-o", source + ".o")
        link(net, "set", "dev", "va", "xdp", "obj", source + ".o", "sec", "xdp")
        status, checks = preflight(net)
        number = attached(net)
        assert status == 1 and checks["xdp_program"][0] == "bad" and f"program {number} (stranger)" in checks["xdp_program"][1], checks
        assert attached(net) == number


@case
def what_is_wrong_is_named():
    with Net(queues=2) as net:
        assert "2 receive queues" in preflight(net)[1]["queues"][1]
        assert preflight(net, "nothing")[1]["interface"][0] == "bad"
        assert "not an Ethernet device" in preflight(net, "lo")[1]["interface"][1]
        link(net, "set", "va", "mtu", "9000")
        assert preflight(net)[1]["mtu"][0] == "warn"
        link(net, "add", "bridge0", "type", "bridge")
        link(net, "set", "bridge0", "up")
        assert preflight(net, "bridge0")[1]["kind"][0] == "warn" and preflight(net, "bridge0")[1]["native_xdp"][0] == "warn"
        link(net, "set", "va", "master", "bridge0")
        assert "port of bridge0 (bridge)" in preflight(net)[1]["kind"][1]
        link(net, "set", "va", "nomaster")
        link(net, "set", "va", "down")
        assert "is down" in preflight(net)[1]["interface"][1]


@case
def missing_capabilities():
    with Net() as net:
        for name in "net_admin", "net_raw", "bpf", "perfmon":
            without = f"-{name},-sys_admin" if name in ("bpf", "perfmon") else f"-{name}"
            wrap = ("setpriv", f"--bounding-set={without}", f"--inh-caps={without}")
            status, checks = preflight(net, wrap=wrap)
            assert status == 1 and f"CAP_{name.upper()}" in checks["capabilities"][1], (name, checks["capabilities"])


@case
def two_backends_at_once_are_refused():
    done = subprocess.run([CTL, "preflight", "--interface", "va", "--device", "0000:00:01.0"], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "one of them" in done.stderr, done


run()
