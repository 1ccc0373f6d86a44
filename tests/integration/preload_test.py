#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified programs under libudplane-preload.so."""
import random

from harness import *  # noqa: F403

RUN = os.path.join(BIN, "client", "run", "udplane-run")
PRELOAD = os.path.join(BIN, "client", "libudplane-preload.so")
READER = os.path.join(BIN, "tests", "integration", "reader")
PYTHON = os.path.realpath(sys.executable)
os.environ["UDPLANE_PRELOAD"] = PRELOAD


class Program:
    """A program under udplane-run in namespace a. It has printed "ready"."""

    def __init__(self, net, *command, shim=True, ready=True, **kw):
        wrap = [RUN] if shim else []
        self.proc = subprocess.Popen(["ip", "netns", "exec", net.a, *wrap, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     stdin=subprocess.PIPE, text=True, **kw)
        if ready and self.proc.stdout.readline() != "ready\n":
            raise AssertionError(f"{command} is not ready: " + self.proc.communicate()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.communicate()

    def say(self, line):
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()

    def line(self):
        return self.proc.stdout.readline().rstrip("\n")

    def end(self, seconds=10):
        out, err = self.proc.communicate(timeout=seconds)
        assert self.proc.returncode == 0, (self.proc.returncode, out, err)
        return out


def python(net, code, **kw):
    head = "import os, select, socket, sys, threading, time\n"
    return Program(net, PYTHON, "-c", head + code, **kw)


def rows(sidecar):
    return json.loads(sidecar.ctl("sockets", "--json")[1])["sockets"]


def fast(sidecar, port=5000):
    """How many datagrams came and went by the fast path."""
    found = [r for r in rows(sidecar) if r["local"]["port"] == port]
    return (found[0]["counters"]["rx_delivered"], found[0]["counters"]["tx_sent"]) if found else (0, 0)


def active(sidecar, port=5000):
    return any(r["local"]["port"] == port and r["state"] == "active" for r in rows(sidecar))


def converse(peer, bursts, most=40, seed=1, order=True, first=0):
    """Sends bursts of numbered datagrams, and waits for the echo of each burst: so none is lost for want of room."""
    rnd = random.Random(seed)
    n = first
    for _ in range(bursts):
        size = rnd.choice((1, 1, 1, 2, 5, most))
        sent = [b"%d" % i for i in range(n, n + size)]
        n += size
        for d in sent:
            peer.send(d)
        got = [peer.recv(100) for _ in sent]
        assert (got if order else sorted(got)) == (sent if order else sorted(sent)), (got, sent)
        if rnd.random() < 0.1:
            time.sleep(0.002)  # long enough for both sides to fall asleep
    return n


def ask(peer, data=b"?", seconds=5):
    """An echo, with repetitions: for what may be lost."""
    def once():
        peer.send(data)
        try:
            return peer.recv(2000) == data
        except (socket.timeout, ConnectionError):
            return False
    peer.settimeout(0.3)
    until(once, seconds, "an echo")
    peer.settimeout(5)


def talk(net, sidecar, mechanism, how, v6=False, bursts=120):
    host, peer_family = ("fd99::1", socket.AF_INET6) if v6 else ("10.99.0.1", socket.AF_INET)
    with Program(net, READER, mechanism, how, host, "5000") as p, net.sock(net.b, peer_family, connect=(host, 5000)) as peer:
        order = mechanism != "threads"
        sent = converse(peer, 1)
        until(lambda: active(sidecar) or not converse(peer, 1, order=order), what="acceleration")
        before = fast(sidecar)
        sent = converse(peer, bursts, order=order)
        after = fast(sidecar)
        peer.send(b"end")
        received, woken, in_vain = map(int, p.end().split())
        assert received >= sent + 1, (received, sent)
        assert after[0] - before[0] >= sent // 2 and after[1] - before[1] >= sent // 2, (mechanism, before, after, sent)
        assert in_vain <= received // 4 + 20, f"{mechanism}: woken {woken} times, {in_vain} for nothing, for {received} datagrams"


def each_mechanism(names, hows=("one", "all"), **kw):
    with Net() as net, Sidecar(net) as sidecar:
        for mechanism in names:
            for how in hows:
                talk(net, sidecar, mechanism, how, **kw)


@case
def blocking_calls_receive_and_send_by_the_fast_path():
    each_mechanism(("recv", "recvmsg", "recvmmsg", "read", "readv"), ("one",))


@case
def level_triggered_waits_lose_nothing():
    each_mechanism(("epoll", "exclusive", "oneshot", "nested"))


@case
def poll_and_select_lose_nothing():
    each_mechanism(("poll", "ppoll", "select", "pselect"))


@case
def edge_triggered_waits_lose_nothing():
    each_mechanism(("edge",), ("all",), bursts=300)


@case
def threads_that_wait_on_one_instance_lose_nothing():
    each_mechanism(("threads",))


@case
def ipv6_is_the_same():
    each_mechanism(("recv", "epoll"), ("one",), v6=True)


if __name__ == "__main__":
    run()
