#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplane to udplane with no kernel between: two udplaned in a namespace each, joined by shared memory (net_memif), each with its TAP."""
from dpdk_net import *

WIRE = os.path.join(os.path.dirname(SOCKET), "memif.sock")
SIZES = [64, 0, 1, 18, 512, 1000, 1452] * 20
ROUNDS = 2000


class Side:
    """One of the two: a namespace, its udplaned's path, its end of the memif. The server listens, the client connects, once."""

    def __init__(self, name, role, addresses, path):
        self.net, self.role, self.addresses, self.path = Island(name), role, addresses, path
        self.mac = "02:00:00:00:00:01" if role == "server" else "02:00:00:00:00:02"

    def start(self, *flags):
        if self.role == "server" and os.path.exists(WIRE):
            os.unlink(WIRE)  # of one that was killed
        return vfio(self.net, f"net_memif0,role={self.role},id=0,socket={WIRE},socket-abstract=no,mac={self.mac}", "--frame-size", "2048",
                    *flags, address=self.addresses, path=self.path)


class Pair:
    def __init__(self):
        self.a = Side("ma", "server", ADDRESSES, SOCKET)
        self.b = Side("mb", "client", f"{B4}/24,{B6}/64", SOCKET + ".b")

    def __enter__(self):
        return self.a, self.b

    def __exit__(self, *_):
        for side in (self.a, self.b):
            side.net.__exit__()


def up(side, sidecar):
    until(lambda: counter(sidecar, "link_up") and carrier(side.net), 5, "the link")


def down(side, sidecar):
    until(lambda: not counter(sidecar, "link_up") and not carrier(side.net), 5, "the link's end")


def app(net):
    return Echo(Sock(net, bind=(A4, 7000)), Sock(net, socket.AF_INET6, bind=(A6, 7000)))


def in_b(side, code):
    """An application on the other side, in a process of its own: the library of this one belongs to a."""
    env = {**os.environ, "UDPLANE_SOCKET": side.path, "UDPLANE_TEST_SOCKET": side.path}
    p = child(side.net, "import os, socket\nfrom dpdk_net import *\n" + code, env=env)
    out = p.communicate(timeout=60)[0]
    assert p.returncode == 0, out
    return out


ASK = f"""
for family, local, to in ((socket.AF_INET, "{B4}", "{A4}"), (socket.AF_INET6, "{B6}", "{A6}")):
    with Sock(Here(), family, bind=(local, 7001), connect=(to, 7000)) as s:
        s.timeout(5)
        for i in range({ROUNDS}):
            data = os.urandom((1452, 0, 1, 64, 700)[i % 5])
            s.send(data)
            assert s.recvfrom() == (data, (to, 7000)), i
        st = s.status()
        print(st.fast_rx, st.kernel_rx, st.fast_tx, st.kernel_tx)
"""


@case
def no_kernel_between():
    with Pair() as (a, b), a.start() as left, b.start() as right, app(a.net) as echo:
        up(a, left)
        up(b, right)
        assert "net_memif" in left.ctl("device")[1]
        assert ping(b.net.a, A4) and ping(b.net.a, A6) and ping(a.net.a, B4) and ping(a.net.a, B6)
        for line in in_b(b, ASK).splitlines():
            fast_rx, kernel_rx, fast_tx, kernel_tx = map(int, line.split())
            assert (fast_rx, kernel_rx) == (ROUNDS, 0) and fast_tx + kernel_tx == ROUNDS and kernel_tx <= 2, line
        assert all(s.status().kernel_rx == 0 and s.status().fast_rx == ROUNDS for s in echo.socks)
        # An ordinary socket: by the TAP of its side.
        exchange(peers(b.net, b.net.a, (A4, 7000), 8), SIZES)
        exchange(peers(b.net, b.net.a, (A6, 7000), 8), SIZES)
        for one, other in ((left, right), (right, left)):
            stats, far = balanced(one), balanced(other)
            dev, there = stats["device"]["counters"], far["device"]["counters"]
            assert sum(w["counters"]["rx_delivered"] for w in stats["workers"]) >= 2 * ROUNDS, stats["workers"]
            # What one has sent, by the fast path or from its TAP, the other has seen.
            assert dev["tx_done"] + dev["tap_tx"] == there["rx_seen"], (dev, there)
            assert dev["rx_lost_no_frame"] == 0 and dev["tx_invalid"] == 0 and dev["tap_rx_full"] == 0, dev


@case
def two_rings_each_way():
    """A ring each way for each worker, and as many workers on both sides. What an application sends takes the ring of the worker that its
    socket sends by, and the two that echo here have one each."""
    with Pair() as (a, b), a.start("--workers", "2") as left, b.start("--workers", "2") as right, app(a.net):
        up(a, left)
        up(b, right)
        until(lambda: ping(b.net.a, A4) and ping(b.net.a, A6), 10, "an answer")
        for _ in range(3):
            in_b(b, ASK)
            exchange(peers(b.net, b.net.a, (A4, 7000), 8), SIZES)
        echoing, asking = ([w["counters"] for w in balanced(s)["workers"]] for s in (left, right))
        assert len(echoing) == len(asking) == 2
        assert all(w["tx_sent"] > 0 for w in echoing) and all(w["rx_delivered"] > 0 for w in asking), (echoing, asking)


@case
def the_link_follows_the_other_side():
    with Pair() as (a, b), a.start() as left, app(a.net) as echo:
        down(a, left)  # no peer yet
        with b.start() as right:
            up(a, left)
            exchange(peers(b.net, b.net.a, (A4, 7000), 8), SIZES)
            changes = counter(left, "link_changes")
            right.kill()
            down(a, left)
            assert not ping(a.net.a, B4)
        with b.start() as right:
            up(a, left)
            assert counter(left, "link_changes") == changes + 2
            until(lambda: ping(b.net.a, A4), 10, "an answer")
            in_b(b, ASK)
            exchange(peers(b.net, b.net.a, (A4, 7000), 8), SIZES)
            left.kill()
            down(b, right)
            with a.start() as again:
                for s in echo.socks:
                    until(lambda: s.status().accelerated, 10, "acceleration")
                assert right.stop() == 0, right.output()  # a memif client does not connect a second time
                with b.start() as right2:
                    up(a, again)
                    up(b, right2)
                    until(lambda: ping(b.net.a, A4), 10, "an answer")
                    exchange(peers(b.net, b.net.a, (A4, 7000), 8), SIZES)
                    balanced(again)
                    # In good order, and the other way round: the one that leaves says goodbye.
                    assert again.stop() == 0, (again.proc.returncode, again.output())
                    down(b, right2)


@case
def a_client_without_a_server_says_what_is_missing():
    with Pair() as (a, b):
        sidecar = vfio(b.net, f"net_memif0,role=client,id=0,socket={WIRE},socket-abstract=no", "--frame-size", "2048", path=b.path,
                       ready=False)
        with sidecar:
            until(lambda: sidecar.proc.poll() is not None, 10, "its end")
            assert sidecar.proc.returncode == 1
            assert f"Failed to connect socket: {WIRE}" in sidecar.output(), sidecar.output()


if __name__ == "__main__":
    run()
