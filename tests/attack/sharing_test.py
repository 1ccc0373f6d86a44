#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Thousands of sockets on one port: what each costs, which are accelerated, and how soon other clients are answered."""
import os
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import *

A4, B4 = "10.99.0.1", "10.99.0.2"
CROWD = 4000
MANY = 10000  # in two processes: the library has three descriptors for each of its sockets
HALF = MANY // 2
ANSWER_MS = 50  # 4 to 6 on a machine that has nothing else to do


class Program:
    """A program in namespace a that prints lines of JSON; its input ends with finish()."""

    def __init__(self, net, *command):
        self.p = subprocess.Popen(["ip", "netns", "exec", net.a, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True)

    def line(self):
        text = self.p.stdout.readline()
        assert text, f"the program ended: {self.p.wait()}"
        return json.loads(text)

    def finish(self):
        self.p.stdin.close()
        self.p.stdin = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()


def peers(net, count, port, first=0):
    return Program(net, os.path.join(BIN, "tests/integration/peers"), str(count), A4, str(port), B4, str(first))


def attacker(net, name, *args):
    return Program(net, os.path.join(BIN, "tests/attack", name), *map(str, args))


def quick_answers(victim):
    """The victim's report; others got their answers in time."""
    end = json.loads(victim.p.stdout.read().split("\n")[-2])
    assert end["connected"] and 0 <= end["answer_ms"] < ANSWER_MS, end
    return end


def victim(net, seconds, port=5998):
    v = attacker(net, "victim", seconds, A4, port)
    assert v.p.stdout.readline() == "ready\n"
    return v


def hear(net, sidecar, first, second):
    """Real datagrams, from each tenth peer, and from strangers: each reaches its socket by the fast path."""
    for i in range(0, MANY, 10):
        net.sock(net.b, bind=(B4, 20000 + i)).sendto(b"%d" % i, (A4, 5001))
    for _ in range(50):
        net.sock(net.b).sendto(b"-1", (A4, 5001))
    until(lambda: settled(sidecar)["workers"][0]["counters"]["rx_delivered"] >= MANY // 10 + 50, what="the datagrams")
    for server, listener in (first, 50), (second, 0):
        server.finish()
        got = server.line()
        assert got["right"] == HALF // 10 + listener and got["wrong"] == 0, got
        assert got["listener_fast"] == listener and got["peers_fast"] == HALF // 10 and got["kernel"] == 0, got


@case
def a_server_with_thousands_of_connected_sockets_on_its_port():
    with Net() as net, Sidecar(net) as sidecar, victim(net, 20) as v, peers(net, HALF, 5001) as first:
        made = [first.line()]
        assert made[0]["listener"] and made[0]["listener_lost"] == 0, made
        with peers(net, HALF, 5001, HALF) as second:
            made.append(second.line())
            assert [m["accelerated"] for m in made] == [HALF, HALF], made
            states = {s["state"] for s in sidecar.stats()["sockets"]}
            assert states == {"active"}, states
            print(f"a socket costs {made[0]['first_us']} us among the first hundred, {made[1]['last_us']} us among the last of {MANY}")
            hear(net, sidecar, first, second)
            for i in range(10):  # each change has all of them judged again, as it looks at the port
                sh("nft", "-f", "-", ns=net.a, input=f"table ip t{i} {{\n chain in {{\n type filter hook input priority 0\n"
                                                     f" udp dport {6000 + i} drop\n }}\n}}\n")
            before = time.monotonic()
            until(lambda: "t9" in sh("nft", "list", "tables", ns=net.a) and sidecar.stats(), what="the last change")
            print(f"answered after {(time.monotonic() - before) * 1e3:.0f} ms beside ten changes of the rules")
            print("closing one takes", first.line()["close_us"], "us, and", second.line()["close_us"])
        until(lambda: sidecar.stats()["control"]["sockets"] == 1, what="the end of all but the victim's socket")
        print("others:", quick_answers(v))


@case
def a_process_that_leaves_thousands_of_sockets_behind_keeps_nobody_waiting():
    with Net() as net, Sidecar(net) as sidecar, victim(net, 6) as v, attacker(net, "crowd", CROWD, A4, 5060) as crowd:
        made, left = crowd.line(), crowd.line()
        print(made, left)
        assert made["claimed"] == CROWD, made
        assert 0 <= left["answer_ms"] < ANSWER_MS and left["left"] == 0, left
        print("others:", quick_answers(v))
        assert sidecar.stats()["control"]["detaches"] >= 1


@case
def a_plain_socket_among_many_gets_its_own():
    """One of the connected sockets on the port does not use udplane: its datagrams reach it, and the listener stays with the kernel."""
    with Net() as net, Sidecar(net) as sidecar, peers(net, 200, 5001) as server:
        assert server.line()["listener"]

        def plain():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((A4, 5001))
            s.connect((B4, 30000))
            s.settimeout(0.2)
            return s

        own = net.inside(net.a, plain)
        peer = net.sock(net.b, bind=(B4, 30000))

        def hears():
            peer.sendto(b"-1", (A4, 5001))
            try:
                return own.recv(100) == b"-1"
            except TimeoutError:
                return False

        until(hears, 1.5, "the plain socket's own datagrams")
        stats = sidecar.stats()
        states = {s["state"] for s in stats["sockets"] if not s["peer"]}
        assert states == {"pending"}, states
        active = sum(s["state"] == "active" for s in stats["sockets"])
        assert active == 200, f"{active} of the 200 connected sockets are accelerated: none of them shares its peer"
        own.close()
        until(lambda: {s["state"] for s in sidecar.stats()["sockets"] if not s["peer"]} == {"active"}, 3, "the listener's return")


@case
def a_plain_socket_with_the_same_peer_is_linuxs_choice():
    """The same address and the same peer: Linux gives all to one of them, and so does udplane."""
    with Net() as net, Sidecar(net) as sidecar, peers(net, 1, 5001) as server:
        assert server.line()["accelerated"] == 1

        def plain():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((A4, 5001))
            s.connect((B4, 20000))
            return s

        def in_the_kernel():
            """The same with two plain sockets on another port: does the newer one have all?"""
            def make():
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((A4, 4001))
                s.connect((B4, 20001))
                s.settimeout(0.3)
                return s
            old, new = net.inside(net.a, make), net.inside(net.a, make)
            net.sock(net.b, bind=(B4, 20001)).sendto(b"x", (A4, 4001))
            try:
                return new.recv(10) == b"x"
            except TimeoutError:
                return old.recv(10) != b"x"

        newer_wins = in_the_kernel()
        own = net.inside(net.a, plain)
        peer = net.sock(net.b, bind=(B4, 20000))
        if not newer_wins:
            print("in this kernel the older of two has all")
            settled(sidecar)
        want = "pending" if newer_wins else "active"
        until(lambda: [s["state"] for s in sidecar.stats()["sockets"] if s["peer"]] == [want], 2, want)
        peer.sendto(b"0", (A4, 5001))
        if newer_wins:
            own.settimeout(3)
            assert own.recv(10) == b"0"
        server.finish()
        got = server.line()
        assert got["right"] == (0 if newer_wins else 1), got


@case
def a_newcomer_on_the_listeners_address_is_a_rival_if_it_stays():
    """Two udplane sockets on one address by SO_REUSEADDR: Linux gives all to the one bound last, so neither is accelerated for long."""
    with Net() as net, Sidecar(net) as sidecar:
        def make():
            s = Sock(net, fast=False)
            s.option(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((A4, 5001))
            return s

        with make() as old:
            until(old.accelerated, what="the first one's acceleration")
            with make() as new:
                until(lambda: {s["state"] for s in sidecar.stats()["sockets"]} == {"pending"}, 1, "both on the kernel path")
                new.timeout(3)
                net.sock(net.b).sendto(b"x", (A4, 5001))
                assert new.recvfrom()[0] == b"x"
            until(lambda: [s["state"] for s in sidecar.stats()["sockets"]] == ["active"], 1, "the first one's return")


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run()
