# SPDX-License-Identifier: Apache-2.0
"""Runs a script on a plain socket and on an accelerated one, in turn, and compares what walk.c writes down.

A script is a list of operations, "VERB WORD...", see walk.c. Some depend on when they look; the plain side's result tells the other
one what to wait for.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import BIN, CTL, Net, SOCKET, Sidecar, sh, until  # noqa: E402

import accepted  # noqa: E402

WAYS = ("api", "shim")
PRELOAD = os.path.join(BIN, "client", "libudplane-preload.so")
SHIM = os.path.join(BIN, "client", "run", "udplane-run")


class Dead(Exception):
    pass


class Side:
    """A walk program that takes scripts."""

    def __init__(self, net, way):
        self.net, self.way, self.proc = net, way, None

    def start(self):
        program = os.path.join(BIN, "tests", "oracle", "walk_udplane" if self.way == "api" else "walk_kernel")
        wrap = [SHIM] if self.way == "shim" else []
        env = {k: v for k, v in os.environ.items() if k != "ORACLE_FAST"}
        if self.way != "kernel":
            env.update(ORACLE_FAST="1", UDPLANE_PRELOAD=PRELOAD)
        self.proc = subprocess.Popen(["ip", "netns", "exec", self.net.a, *wrap, program, f"/run/netns/{self.net.b}", "vb"], env=env,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, operations):
        """[[line, ...] for each operation], and what the last line tells of the paths."""
        if not self.proc:
            self.start()
        steps, lines = [], []
        try:
            self.proc.stdin.write("\n".join(["begin", *operations, "end"]) + "\n")
            self.proc.stdin.flush()
            for line in self.proc.stdout:
                lines.append(line.rstrip())
                if line.startswith("done "):
                    return steps, [int(w) for w in line.split() if w.isdigit()]
                if not line.startswith(("wire ", "peer ")):
                    steps.append(lines)
                    lines = []
        except BrokenPipeError:
            pass
        status = self.stop()
        raise Dead(f"the {self.way} side ended with status {status} at step {len(steps)}: {operations[len(steps):len(steps) + 1]}")

    def stop(self):
        if not self.proc:
            return 0
        self.proc.stdin.close()
        self.proc.kill() if self.proc.poll() is None and self.wait(5) is None else None
        self.proc.stdout.close()
        status = self.proc.wait()
        self.proc = None
        return status

    def wait(self, seconds):
        try:
            return self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


def hinted(operations, steps, way):
    """The operations for the accelerated side: with what the plain side has seen."""
    out = []
    for operation, lines in zip(operations, steps):
        words = operation.split()
        if words[0] == "precv" and len(words) == 1:
            operation += " " + lines[-1].split()[1]
        elif words[0] == "poll" and len(words) == 3 and "events" in lines[-1]:
            seen = int(lines[-1].split()[-1], 0)
            operation += f" {accepted.events(way, int(words[2], 0), seen)}"
        out.append(operation)
    return out


class Result:
    """differences: [(step, operation, plain lines, accelerated lines)]; accepted: names of rules; compared: operations"""

    def __init__(self):
        self.differences, self.accepted, self.compared, self.fast = [], [], 0, 0

    def text(self):
        out = []
        for step, operation, plain, fast in self.differences:
            out.append(f"    step {step}: {operation}")
            out += [f"        kernel  {line}" for line in plain if line not in fast or len(plain) == 1]
            out += [f"        udplane {line}" for line in fast if line not in plain or len(fast) == 1]
            if len(plain) > 1 and sorted(plain) == sorted(fast):
                out.append("        (in another order)")
        return "\n".join(out)


class Pair:
    """Both sides in the namespaces of net. port_base: ports that no script before has used lately."""

    def __init__(self, net, way):
        self.way = way
        self.plain, self.fast = Side(net, "kernel"), Side(net, way)
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.plain.stop()
        self.fast.stop()

    def run(self, operations):
        self.number += 1
        ports = {n: 5010 + self.number * 4 % 1800 + i for i, n in enumerate("pqrs")}
        operations = [o.format(**ports) for o in operations]
        result = Result()
        try:
            plain, _ = self.plain.run(operations)
            fast, carried = self.fast.run(hinted(operations, plain, self.way))
        except Dead as why:
            result.differences.append((0, str(why), [""], [""]))
            return result
        result.fast = carried[0] + carried[1]
        self.compare(operations, plain, fast, result)
        return result

    def compare(self, operations, plain, fast, result):
        for i, operation in enumerate(operations):
            result.compared += 1
            if plain[i] == fast[i]:
                continue
            rule = accepted.rule(self.way, operations[:i + 1], plain[i], fast[i])
            if not rule:
                result.differences.append((i, operation, plain[i], fast[i]))
                return
            result.accepted.append(rule.name)
            if rule.ends:
                return


class World:
    """The namespaces and a udplaned, ready for pairs."""

    def __init__(self, mode):
        self.mode = mode

    def __enter__(self):
        self.net = Net()
        try:
            for ns in (self.net.a, self.net.b):
                sysctl(ns, "net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_msgs_per_sec=1000000", "net.ipv4.icmp_msgs_burst=100000",
                       "net.ipv6.icmp.ratelimit=0", "net.ipv4.ip_local_port_range=20000 29999")
            # a super-packet is cut here, so that the wire shows each datagram
            sh("ethtool", "-K", "va", "tx-udp-segmentation", "off", ns=self.net.a)
            sh("ip", "-n", self.net.a, "route", "add", "192.0.2.0/24", "via", "10.99.0.2")
            for ns, dev, peer in ((self.net.a, "va", "2"), (self.net.b, "vb", "1")):
                sh("ping", "-c", "1", "-W", "5", f"10.99.0.{peer}", ns=ns)
                sh("ping", "-6", "-c", "1", "-W", "5", f"fd99::{peer}", ns=ns)
            self.sidecar = Sidecar(self.net, ports="5000-29999", mode=self.mode)
        except BaseException:
            self.net.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.sidecar.stop()
        finally:
            self.net.__exit__()

    def carried(self):
        """Datagrams on the fast path, both ways, over all sockets until now."""
        workers = [w["counters"] for w in self.sidecar.stats()["workers"]]
        return sum(w["rx_delivered"] for w in workers), sum(w["tx_sent"] for w in workers)


def sysctl(ns, *settings):
    for setting in settings:
        sh("sysctl", "-q", "-w", setting, ns=ns, check=False)


__all__ = ["CTL", "Dead", "Net", "Pair", "SHIM", "SOCKET", "Side", "WAYS", "World", "until"]
