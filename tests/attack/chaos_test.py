#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that lie, die, stop, fork and close at random, while addresses, routes, neighbours and the MTU change. At the end everything is
accounted for, and nothing is left: no frame, port, descriptor or byte.

UDPLANE_CHAOS_SECONDS (20) is its length; ten minutes is a night's. UDPLANE_CHAOS_SEED repeats a run's choices."""
import os
import random
import signal
import time

from attack import *

SECONDS = float(os.environ.get("UDPLANE_CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("UDPLANE_CHAOS_SEED", str(int(time.time()))))
CLIENTS = 6


def descriptors(sidecar):
    return len(os.listdir(f"/proc/{sidecar.pid()}/fd"))


def resident(sidecar):
    with open(f"/proc/{sidecar.pid()}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def memory(stats):
    return stats["memory"]["hugepage_bytes"] + stats["memory"]["page_bytes"]


def idle(sidecar):
    """The stats once no client is left: those that ask are observers."""
    def gone():
        stats = sidecar.stats()
        return stats if stats["control"]["clients"] == 0 and stats["control"]["sockets"] == 0 else None

    return until(gone, 20, "the end of all clients")


def echo(net, port):
    """An honest process of its own, which attaches, receives a datagram by the fast path, and ends."""
    code = f"""
s = Sock(Here, bind=({A4!r}, {port}))
print("ready", flush=True)
s.timeout(5)
assert s.recvfrom()[0] == b"hello"
"""
    process = child(net, code)
    assert process.stdout.readline() == "ready\n"
    net.sock(net.b).sendto(b"hello", (A4, port))
    assert process.wait(10) == 0


def disturb(rng, net):
    """One change of what netlink tells."""
    change = rng.choice([
        ("addr", "add", "10.99.0.3/24", "dev", "va"), ("addr", "del", "10.99.0.3/24", "dev", "va"),
        ("route", "replace", "198.51.100.0/24", "via", "10.99.0.2"), ("route", "del", "198.51.100.0/24"),
        ("route", "replace", "blackhole", "203.0.113.0/24"), ("route", "del", "blackhole", "203.0.113.0/24"),
        ("neigh", "flush", "dev", "va"), ("neigh", "replace", "10.99.0.77", "lladdr", "02:00:00:00:00:77", "dev", "va"),
        ("link", "set", "va", "mtu", str(rng.choice([1400, 1500]))),
    ])
    sh("ip", "-n", net.a, *change, check=False)


ENDED = 200  # groups whose leader has ended and whose children go on, at most: each is a zombie, and a machine has room for so many


def reap(group):
    os.killpg(group.pid, signal.SIGKILL)  # with the children that it has forked and, it may be, left behind stopped
    group.wait()


def runs(process):
    """Whether it has not ended. It stays a zombie, so that the number of its group stays its own."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def rage(net, sidecar, rng):
    """SECONDS of it. How many clients there were."""
    flood = [subprocess.Popen(["ip", "netns", "exec", net.b, NUMBERS, "send", A4, str(port), "2000"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) for port in (5000, 5017, 5040)]
    ended, clients, total = [], [], 0
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            ended += [c for c in clients if not runs(c)]
            clients = [c for c in clients if c not in ended]
            while len(ended) > ENDED:
                reap(ended.pop(0))
            while len(clients) < CLIENTS:
                clients.append(subprocess.Popen(["ip", "netns", "exec", net.a, os.path.join(PROGRAMS, "chaos"), str(rng.randrange(1 << 30)),
                                                 "5"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True))
                total += 1
            victim = rng.choice(clients)
            what = rng.choice([signal.SIGSTOP, signal.SIGCONT, signal.SIGCONT, signal.SIGKILL, None, None, None, None])
            if what:
                os.killpg(victim.pid, what)
            if rng.random() < 0.3:
                disturb(rng, net)
            select.select([], [], [], rng.random() * 0.05)  # the pace of the events, not a wait for anything
            assert sidecar.proc.poll() is None, sidecar.output()[-2000:]
    finally:
        for c in ended + clients:
            reap(c)
        for f in flood:
            f.communicate()
    return total


@case
def nothing_is_left_of_chaos():
    print(f"   seed {SEED}")
    rng = random.Random(SEED)
    with Net() as net, Sidecar(net, "--max-clients", "64", mode="balanced") as sidecar:
        echo(net, 6500)  # what is made at the first use is made
        before = idle(sidecar)
        fds, kib = descriptors(sidecar), resident(sidecar)
        victim = Victim(net, SECONDS, rate=500)
        total = rage(net, sidecar, rng)
        report = victim.finish()
        after = idle(sidecar)
        settled(sidecar)
        print(f"   {total} clients, {after['control']['claims']} claims, {after['control']['corrupt_clients']} found corrupt; {report}")
        assert report["connected"] and report["answer_ms"] >= 0, report
        assert after["device"]["counters"]["frames_clients"] == 0, after["device"]["counters"]
        assert memory(after) == memory(before), (memory(before), memory(after))
        until(lambda: descriptors(sidecar) <= fds, 10, f"{fds} descriptors again")
        assert resident(sidecar) < kib + 32 * 1024 or WRAP, (kib, resident(sidecar))  # a sanitizer keeps what was freed
        for port in range(5000, 5064):
            net.sock(net.a, bind=(A4, port)).close()
        sh("ip", "-n", net.a, "link", "set", "va", "mtu", "1500")
        echo(net, 5000)


run()
