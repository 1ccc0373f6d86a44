#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/upgrade.md's promise: udplaned is replaced while datagrams go both ways, and none is lost. In a pod: tests/e2e."""
from harness import *

TURNS = 8


SENDER = """
sock = Sock(Here(), bind=("10.99.0.1", 5200), fast=False)
start, n = time.monotonic(), 0
while not select.select([0], [], [], 0.002)[0]:
    while n < (time.monotonic() - start) * 5000:
        sock.sendto(n.to_bytes(4, "little"), ("10.99.0.2", 7000))
        n += 1
print(n)
"""


class Out(Numbers):
    """The other direction: a udplane socket in a sends 5000 a second, a plain socket in b receives."""

    def __init__(self, net):
        plain = {**os.environ, "UDPLANE_SOCKET": "/nonexistent"}
        self.reader = subprocess.Popen(["ip", "netns", "exec", net.b, NUMBERS, "receive", "10.99.0.2", "7000"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True, env=plain)
        assert self.reader.stdout.readline() == "ready\n"
        self.sender = child(net, SENDER, stdin=subprocess.PIPE)


@case
def an_upgrade_under_load_loses_nothing():
    with Net() as net:
        sh("ethtool", "-K", "va", "gro", "on", ns=net.a)  # as for sigterm_under_load_loses_nothing
        inward, outward = Numbers(net), Out(net)
        for turn in range(TURNS):
            with Sidecar(net, mode=("latency", "balanced")[turn % 2]) as sidecar:
                inward.after(2000, fast=True)
                until(lambda: sidecar.stats()["workers"][0]["counters"]["tx_sent"] > 1000, 10, "the fast path outward")
                assert sidecar.stop() == 0
            inward.after(1000, fast=False)
            outward.after(1000)
        results = inward.finish(), outward.finish()
        for result in results:
            print("  ", result)
        for result in results:
            assert result["lost"] == 0 and result["duplicates"] == 0, result


run()
