#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that take all the memory they can get, under a memory limit: they are refused with a reason, udplaned is not killed."""
import contextlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import *

A4 = "10.99.0.1"
MIB = 1 << 20
SMALL = ["--hugepages", "off", "--frames", "4096", "--max-sockets", "4096"]  # 8 MiB of frames


def memory_cgroups():
    """Where a memory cgroup can be made: parent, file of the limit, file of what is used, and how to mount it where udplaned runs:
    `ip netns exec` hides what is below /sys."""
    v1 = ("mount -t tmpfs cgroup /sys/fs/cgroup && mkdir /sys/fs/cgroup/memory && "
          "mount -t cgroup -o memory memory /sys/fs/cgroup/memory")
    for parent, limit, used, mount in (
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", v1),
            ("/sys/fs/cgroup", "memory.max", "memory.current", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")):
        if os.path.exists(os.path.join(parent, "memory.limit_in_bytes" if "limit" in limit else "cgroup.controllers")):
            return parent, limit, used, mount
    raise Skip("no memory cgroup here")


@contextlib.contextmanager
def memory_limit(size):
    """A cgroup with that limit; gives the command that enters it, and a function for the bytes used."""
    parent, limit, used, mount = memory_cgroups()
    path = os.path.join(parent, f"udplane-{os.getpid()}")
    os.mkdir(path)
    try:
        with open(os.path.join(path, limit), "w") as f:
            f.write(str(size))
        enter = ["sh", "-c", f'{mount} && echo $$ > {path}/cgroup.procs && exec "$0" "$@"']
        yield enter, lambda: int(open(os.path.join(path, used)).read())
    finally:
        until(lambda: remove(path), 5, "an empty cgroup")


def remove(path):
    try:
        os.rmdir(path)
        return True
    except OSError:
        return False


class ExhaustMemory:
    def __init__(self, net, sessions, sockets, how):
        self.p = subprocess.Popen(["ip", "netns", "exec", net.a, os.path.join(BIN, "tests/attack/exhaust_memory"), str(sessions),
                                   str(sockets), A4, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said = []
        while not self.said or "sessions" not in self.said[-1]:
            line = self.p.stdout.readline()
            assert line, f"the attacker ended: {self.p.wait()}"
            self.said.append(json.loads(line))

    def texts(self):
        return [s.get("attach") or s.get("claim") for s in self.said[:-1]]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.stdin.close()
        self.p.wait(20)


def serves(net, sidecar):
    assert sidecar.proc.poll() is None, sidecar.output()
    with Sock(net, bind=(A4, 9999)) as s:
        s.timeout(5)
        net.sock(net.b).sendto(b"alive", (A4, 9999))
        assert s.recvfrom()[0] == b"alive"


@case
def sessions_that_give_back_keep_nothing_beyond_the_peak_of_one():
    """oom.c of old: each session uses many sockets, releases them and keeps the segments mapped."""
    with Net() as net, memory_limit(96 * MIB) as (enter, used), Sidecar(net, *SMALL, wrap=enter) as sidecar:
        with ExhaustMemory(net, 12, 1000, "return") as h:
            print(h.said)
            assert h.said[-1]["answer_ms"] > 0, "udplaned is gone:\n" + sidecar.output()
            attached = h.said[-1]["sessions"]
            assert attached >= 4
            lanes = attached * 1.5 * MIB
            until(lambda: sidecar.stats()["memory"]["page_bytes"] < 8 * MIB + lanes + 8 * MIB, 10, "segments given back")
            print(f"{used() // MIB} MiB charged, {sidecar.stats()['memory']['page_bytes'] // MIB} MiB in zones")
            serves(net, sidecar)
        until(lambda: sidecar.stats()["control"]["clients"] <= 1, 10, "the end of all sessions")
        serves(net, sidecar)


@case
def who_keeps_all_is_refused_with_a_reason_and_leaves_room_for_others():
    with Net() as net, memory_limit(96 * MIB) as (enter, used), Sidecar(net, *SMALL, wrap=enter) as sidecar:
        with ExhaustMemory(net, 60, 300, "keep") as h:
            print(h.said)
            assert h.said[-1]["answer_ms"] > 0, "udplaned is gone:\n" + sidecar.output()
            assert any("memory limit" in t for t in h.texts()), h.texts()
            assert used() < 96 * MIB
            stats = sidecar.stats()
            assert stats["memory"]["page_bytes"] <= 72 * MIB, stats["memory"]
        until(lambda: sidecar.stats()["control"]["clients"] == 0, 10, "the end of all sessions")
        serves(net, sidecar)


@case
def one_session_leaves_half():
    with Net() as net, Sidecar(net, *SMALL, "--memory-max", "48") as sidecar:
        with ExhaustMemory(net, 1, 4000, "keep") as h:
            assert h.said[0]["claimed"] > 500 and "half of what is left" in h.said[0]["claim"], h.said
            assert "raise memory_max" in h.said[0]["claim"], h.said
            serves(net, sidecar)
            _, why = sidecar.ctl("why", str(5000 + h.said[0]["claimed"]), check=False)
            assert "no_memory" in why, why


@case
def two_hundred_processes_do_not_end_udplaned():
    """Honest clients, as a prefork server has them: those for which there is no memory use the kernel, and their stats say why."""
    code = f"""
import sys
with Sock(Here, bind=("{A4}", int(sys.argv[1])), fast=False) as s:
    s.accelerated()
    print(s.status().accelerated, s.status().reason.decode(), s.status().text.decode(), flush=True)
    sys.stdin.read()
"""
    with Net() as net, memory_limit(64 * MIB) as (enter, used), Sidecar(net, *SMALL, "--max-clients", "300", wrap=enter) as sidecar:
        with ExhaustMemory(net, 200, 1, "keep") as h:
            print(h.said)
            assert h.said[-1]["answer_ms"] > 0, "udplaned is gone:\n" + sidecar.output()
            assert h.said[-1]["sessions"] >= 15 and "memory limit" in h.said[-2]["attach"], h.said
            folder = os.path.dirname(os.path.abspath(sys.modules['harness'].__file__))
            head = f"import sys; sys.path.insert(0, {folder!r})\nfrom harness import *\n"
            out = subprocess.run(["ip", "netns", "exec", net.a, sys.executable, "-c", head + code, "9000"], input="", text=True,
                                 stdout=subprocess.PIPE).stdout
            assert out.startswith("0 no_memory"), out
            print(f"{used() // MIB} MiB charged with {h.said[-1]['sessions']} processes")
        until(lambda: sidecar.stats()["control"]["clients"] == 0, 10, "the end of all sessions")
        serves(net, sidecar)


if __name__ == "__main__":
    run()
