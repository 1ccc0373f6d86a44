#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SO_REUSEPORT: which member of a group receives a flow is Linux's choice, whatever path its datagrams take."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

A4, B4, A6, B6 = "10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2"
FLOWS = 48


def member(net, family, address):
    s = Sock(net, family, fast=False)
    s.option(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((address, 5060))
    return s


def waiting(s):
    """What is there to receive."""
    while True:
        try:
            yield s.recvfrom(MSG_DONTWAIT)[0]
        except BlockingIOError:
            return


class Flows:
    """Numbered flows from the other namespace, and which member got each."""

    def __init__(self, net, family, to):
        self.to = to
        self.peer = [net.sock(net.b, family, bind=(B4 if family == socket.AF_INET else B6, 0)) for _ in range(FLOWS)]

    def owners(self, group):
        """Sends datagrams of each flow until one has come (after a kill some are lost); returns the member of each."""
        owner = {}

        def one_more():
            for i, p in enumerate(self.peer):
                if i not in owner:
                    p.sendto(b"%d" % i, self.to)
            end = time.monotonic() + 0.3
            while time.monotonic() < end and len(owner) < FLOWS:
                for n, s in enumerate(group):
                    for data in waiting(s):
                        owner.setdefault(int(data), set()).add(n)
            return len(owner) == FLOWS

        until(one_more, what="a datagram of each flow")
        assert all(len(members) == 1 for members in owner.values())
        return [owner[i].copy().pop() for i in range(FLOWS)]


def stays(family, bind, to):
    with Net() as net:
        group = [member(net, family, bind) for _ in range(3)]
        flows = Flows(net, family, (to, 5060))
        plain = flows.owners(group)
        assert len(set(plain)) > 1, "one member has all flows"
        for end in (signal.SIGTERM, signal.SIGKILL):
            with Sidecar(net) as sidecar:
                until(lambda: all([s.accelerated() for s in group]), 10, "acceleration")
                before = sidecar.stats()["workers"][0]["counters"]["rx_delivered"]
                assert flows.owners(group) == plain, "a flow has changed its socket with the path"
                after = sidecar.stats()["workers"][0]["counters"]["rx_delivered"]
                assert after - before >= FLOWS, "the fast path was not used"
                settled(sidecar)
                sidecar.stop(end)
            until(lambda: not any([s.accelerated() for s in group]), 10, "the kernel path")
            assert flows.owners(group) == plain, "a flow has changed its socket with the path"
        for s in group:
            s.close()


@case
def flows_stay_with_their_socket_v4():
    stays(socket.AF_INET, A4, A4)


@case
def flows_stay_with_their_socket_v6():
    stays(socket.AF_INET6, A6, A6)


@case
def flows_stay_with_their_socket_on_the_wildcard():
    stays(socket.AF_INET6, "::", A6)
    stays(socket.AF_INET, "0.0.0.0", A4)


@case
def flows_move_as_in_linux_when_a_member_leaves():
    """A group of plain sockets that loses the same member does the same, as all that Linux looks at is the flow and the group's size."""
    with Net() as net, Sidecar(net) as sidecar:
        group = [member(net, socket.AF_INET, A4) for _ in range(3)]
        until(lambda: all([s.accelerated() for s in group]), what="acceleration")
        flows = Flows(net, socket.AF_INET, (A4, 5060))
        flows.owners(group)
        group.pop(0).close()
        until(lambda: len([s for s in sidecar.stats()["sockets"] if s["state"] == "active"]) == 2, what="a group of two")
        fast = flows.owners(group)
        sidecar.stop()
        until(lambda: not any([s.accelerated() for s in group]), 10, "the kernel path")
        assert flows.owners(group) == fast
        for s in group:
            s.close()


@case
def a_connected_socket_beside_a_group_has_its_peer():
    with Net() as net, Sidecar(net) as sidecar:
        group = [member(net, socket.AF_INET, A4) for _ in range(2)]
        until(lambda: all([s.accelerated() for s in group]), what="acceleration")
        flows = Flows(net, socket.AF_INET, (A4, 5060))
        one = member(net, socket.AF_INET, A4)
        one.connect(flows.peer[0].getsockname())
        until(one.accelerated, what="acceleration of the connected one")
        until(lambda: flows.owners([one, *group])[0] == 0, what="the connected socket's datagrams")
        before = sidecar.stats()["workers"][0]["counters"]["rx_delivered"]
        owners = flows.owners([one, *group])
        assert owners[0] == 0 and 0 not in owners[1:], owners
        until(lambda: sidecar.stats()["workers"][0]["counters"]["rx_delivered"] - before >= FLOWS, what="all of them by the fast path")
        for s in (one, *group):
            s.close()


run()
