#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an attacker who takes over a process of udplaned would get, and which users may connect to it."""
import os
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import *  # noqa: E402,F403

A4, B4 = "10.99.0.1", "10.99.0.2"
SYS_PTRACE, SYS_ADMIN, PERFMON, BPF = 19, 21, 38, 39


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return list(map(int, f.read().split()))


def status(path):
    with open(path + "/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def has(capabilities, *wanted):
    return [c for c in wanted if int(capabilities, 16) >> c & 1]


@case
def capabilities_and_system_calls_are_few():
    with Net() as net, Sidecar(net) as sidecar:
        daemon = sidecar.stats()["pid"]
        assert children(sidecar.proc.pid) == [daemon]
        (keeper,) = children(daemon)
        for pid in (daemon, keeper):
            for thread in os.listdir(f"/proc/{pid}/task"):
                s = status(f"/proc/{pid}/task/{thread}")
                assert s["Seccomp"] == "2" and s["NoNewPrivs"] == "1", (pid, s["Name"], s["Seccomp"])
                for name in ("CapEff", "CapPrm"):
                    assert not has(s[name], SYS_PTRACE, SYS_ADMIN, PERFMON, BPF), (s["Name"], s[name])
                    assert pid == daemon or int(s[name], 16) == 0, (s["Name"], s[name])
        # And yet it does everything.
        peer = net.sock(net.b, bind=(B4, 0))
        for port in (5060, 5061):
            with Sock(net, bind=(A4, port)) as s:
                peer.sendto(b"hello", (A4, port))
                s.timeout(5)
                assert s.recvfrom()[0] == b"hello" and s.status().fast_rx == 1
                s.sendto(b"back", peer.getsockname())
                assert peer.recv(100) == b"back"
        peer.close()


@case
def what_ends_one_process_ends_all():
    for victim in ("parent", "daemon"):
        with Net() as net, Sidecar(net) as sidecar:
            daemon = sidecar.stats()["pid"]
            pids = [daemon, *children(daemon)]
            os.kill(sidecar.proc.pid if victim == "parent" else daemon, signal.SIGKILL)
            assert sidecar.proc.wait(10) == -signal.SIGKILL
            until(lambda: not any(os.path.exists(f"/proc/{p}/fd/0") for p in pids), what="the end of all")


@case
def a_dead_keeper_costs_a_new_start():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=(A4, 5060)) as s:
        until(lambda: sidecar.stats()["uptime_ns"] > 5.1e9, 10, "the time after which that is no sign of a fault")
        first = sidecar.stats()["pid"]
        os.kill(children(first)[0], signal.SIGKILL)
        until(lambda: sidecar.healthy() and sidecar.stats()["pid"] != first, 10, "another beginning")
        assert sidecar.proc.poll() is None
        until(s.accelerated, 10, "acceleration")


@case
def who_may_connect():
    with Net() as net:
        for flags, mode, gid in (((), 0o660, 0), (("--socket-group", "daemon"), 0o660, 1), (("--socket-group", "4711"), 0o660, 4711),
                                 (("--socket-mode", "0666"), 0o666, 0)):
            with Sidecar(net, *flags):
                st = os.stat(SOCKET)
                assert (stat.S_IMODE(st.st_mode), st.st_gid) == (mode, gid), (flags, oct(st.st_mode), st.st_gid)
        bad = Sidecar(net, "--socket-group", "nobody-knows-it", ready=False)
        assert bad.proc.wait(10) == 1 and 'no group "nobody-knows-it"' in bad.output(), bad.output()


run()
