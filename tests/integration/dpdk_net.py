# SPDX-License-Identifier: Apache-2.0
"""For the tests of the DPDK device on this machine: a wire, udplaned on it with a TAP, applications that echo, and peers that verify."""
import os
import select
import socket
import threading
import time

from harness import *

A4, B4, A6, B6 = "10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2"
ADDRESSES = f"{A4}/24,{A6}/64"
PORTS = "7000-7100"
SO_RCVBUFFORCE = 33
BIG = 1 << 22  # socket buffers of those that are not under test


class Wire(Net):
    """A Net whose end va is a wire only: it has no address, and a bridge that is down takes every frame after the
    packet socket has seen it."""

    def __init__(self, mtu=1500):
        super().__init__()
        sh("ip", "-n", self.a, "address", "flush", "dev", "va")
        sh("sysctl", "-qw", "net.ipv6.conf.va.disable_ipv6=1", ns=self.a)
        sh("ip", "-n", self.a, "link", "add", "br0", "type", "bridge")
        for ns, link in ((self.a, "va"), (self.b, "vb")):
            sh("ip", "-n", ns, "link", "set", link, "mtu", str(mtu))
            sh("ethtool", "-K", link, "tx", "off", "rx", "off", "gro", "off", "tso", "off", "gso", "off", ns=ns)
        sh("ip", "-n", self.a, "link", "set", "va", "master", "br0")


class Island(Net):
    """One namespace with nothing in it."""

    def __init__(self, name):
        self.a = self.b = f"udplane-{name}-{os.getpid()}"
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        sh("ip", "netns", "add", self.a)
        self.fd = {self.a: os.open(f"/run/netns/{self.a}", os.O_RDONLY)}
        sh("ip", "-n", self.a, "link", "set", "lo", "up")

    def __exit__(self, *_):
        os.close(self.fd[self.a])
        sh("ip", "netns", "del", self.a, check=False)
        os.close(self.home)


def vfio(net, device, *flags, address=ADDRESSES, **kw):
    """udplaned with this vdev. frames 4096: enough, and quickly made."""
    where = ("--address", address) if address else ()
    return Sidecar(net, "--backend", "vfio", "--device", device, "--frames", "4096", "--hugepages", "off", *where, *flags,
                   ports=PORTS, interface="tap0", **kw)


def counter(sidecar, name):
    return sidecar.stats()["device"]["counters"][name]


def carrier(net, link="tap0"):
    return sh("cat", f"/sys/class/net/{link}/carrier", ns=net.a, check=False).strip() == "1"


def ping(ns, to, *flags):
    """Does an answer come within a second?"""
    try:
        sh("ping", "-q", "-c", "1", "-W", "1", *flags, to, ns=ns)
        return True
    except Exception:
        return False


def balanced(sidecar):
    """Waits until every packet is accounted for, over all workers and the TAP. Returns the stats."""
    def ok():
        stats = settled(sidecar)
        dev, workers = stats["device"]["counters"], [w["counters"] for w in stats["workers"]]
        to_tap = sum(w["rx_passed"] for w in workers) + dev["rx_passed_jumbo"]
        return stats if to_tap == dev["tap_rx"] + dev["tap_rx_full"] and dev["tx_done"] == sum(w["tx_sent"] for w in workers) else None
    return until(ok, 5, "a balance of workers, NIC and TAP")


class Echo:
    """Sends back what the sockets get: of libudplane (Sock) or ordinary ones."""

    def __init__(self, *socks):
        self.socks, self.ending, self.error = socks, False, None
        for s in socks:
            if isinstance(s, socket.socket):
                s.setblocking(False)
                s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BIG)
        self.thread = threading.Thread(target=self.main, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join()
        for s in self.socks:
            s.close()
        if self.error:
            raise self.error

    def main(self):
        poller, by_fd = select.poll(), {}
        for s in self.socks:
            fd = s.fd if isinstance(s, Sock) else s.fileno()
            by_fd[fd] = s
            poller.register(fd, select.POLLIN)
        try:
            while not self.ending:
                for fd, _ in poller.poll(50):
                    self.serve(by_fd[fd])
        except OSError as e:
            self.error = e

    @staticmethod
    def serve(s):
        try:
            while True:
                data, where = s.recvfrom(MSG_DONTWAIT) if isinstance(s, Sock) else s.recvfrom(65536)
                s.sendto(data, where)
        except BlockingIOError:
            pass


def kernel_sock(net, ns, bind):
    return net.sock(ns, socket.AF_INET6 if ":" in bind[0] else socket.AF_INET, bind=bind)


def peers(net, ns, target, count):
    """Ordinary sockets with a source port each."""
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    out = [net.sock(ns, family, connect=target) for _ in range(count)]
    for s in out:
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BIG)
    return out


def exchange(socks, sizes, lossless=False):
    """Each socket sends one datagram of each size in turn, and gets it back unchanged; at most 1 % may be lost.
    Returns how many came back."""
    poller = select.poll()
    by_fd = {s.fileno(): s for s in socks}
    for fd in by_fd:
        poller.register(fd, select.POLLIN)
    back = lost = 0
    for size in sizes:
        due = {fd: os.urandom(size) for fd in by_fd}
        for fd, data in due.items():
            by_fd[fd].send(data)
        end = time.monotonic() + 2
        while due and time.monotonic() < end:
            for fd, _ in poller.poll(100):
                try:
                    data = by_fd[fd].recv(65536)
                except (BlockingIOError, ConnectionRefusedError):
                    continue
                if data == due.get(fd):
                    del due[fd]
                    back += 1
                else:  # of a round before, and late
                    assert len(data) in sizes, f"{len(data)} bytes that nobody has sent"
                    assert fd not in due or len(data) != size or lost, "changed on its way"
        lost += len(due)
    total = back + lost
    assert lost <= (0 if lossless else total // 100), f"{lost} of {total} lost"
    return back


__all__ = [n for n in dir() if not n.startswith("_")]
