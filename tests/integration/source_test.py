#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whose datagrams may come in, where ours may go out, and what sysctls say about both: a plain socket next to an accelerated one must
see exactly the same."""
import time

from harness import *

FAST, PLAIN = 5001, 20001  # the second is not among udplaned's ports


def checksum(data):
    s = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def mac(ns, dev):
    return bytes.fromhex(json.loads(sh("ip", "-n", ns, "-j", "link", "show", "dev", dev))[0]["address"].replace(":", ""))


class Forger:
    """Frames with any source, from namespace b to va."""

    def __init__(self, net):
        self.sock = net.inside(net.b, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        net.inside(net.b, lambda: self.sock.bind(("vb", 0)))
        self.ether = mac(net.a, "va") + mac(net.b, "vb")

    def send(self, src, port, data, dst="10.99.0.1"):
        if ":" in src:
            return self.send6(src, port, data)
        a, d = socket.inet_aton(src), socket.inet_aton(dst)
        udp = (4000).to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(data)).to_bytes(2, "big") + b"\0\0" + data
        ip = b"\x45\0" + (20 + len(udp)).to_bytes(2, "big") + b"\0\1\0\0\x40\x11\0\0" + a + d
        ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
        self.sock.send(self.ether + b"\x08\0" + ip + udp)

    def send6(self, src, port, data, dst="fd99::1"):
        a, d = socket.inet_pton(socket.AF_INET6, src), socket.inet_pton(socket.AF_INET6, dst)
        udp = (4000).to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(data)).to_bytes(2, "big")
        pseudo = a + d + (8 + len(data)).to_bytes(4, "big") + b"\0\0\0\x11" + udp + b"\0\0" + data + b"\0" * (len(data) % 2)
        udp += checksum(pseudo).to_bytes(2, "big") + data
        self.sock.send(self.ether + b"\x86\xdd\x60\0\0\0" + len(udp).to_bytes(2, "big") + b"\x11\x40" + a + d + udp)


def sysctl(net, name, value):
    sh("sysctl", "-q", "-w", f"net.ipv4.{name}={value}", ns=net.a)


def rp_filter(net, every=0, own=0):
    for conf, value in (("default", 0), ("all", every), ("va", own)):
        sysctl(net, f"conf.{conf}.rp_filter", value)


def settle(sidecar, change):
    """Makes a change of routes or sysctls, and waits until udplaned has taken it up."""
    before = sidecar.stats()["control"]["route_updates"]
    change()
    until(lambda: sidecar.stats()["control"]["route_updates"] > before, 3, "udplaned's notice of a change")


def drain_plain(sock):
    out = []
    while True:
        try:
            out.append(sock.recvfrom(2048)[0])
        except (BlockingIOError, socket.timeout):
            return out


SOURCES = ["10.99.0.2", "10.99.0.77", "10.99.0.1", "10.88.0.1", "10.99.0.255", "10.99.0.0", "10.66.0.1", "203.0.113.9", "127.0.0.5",
           "0.0.0.0", "224.0.0.5", "255.255.255.255", "172.31.1.1"]


class Pair:
    """An accelerated socket, a plain one, and what each gets of the same forged datagrams."""

    def __init__(self, net, address="10.99.0.1"):
        self.net, self.forger, self.address = net, Forger(net), address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.fast = Sock(net, family, bind=(address, FAST))
        self.plain = net.sock(net.a, family, bind=(address, PLAIN), timeout=0)
        self.round = 0

    def close(self):
        self.fast.close()
        self.plain.close()
        self.forger.sock.close()

    def compare(self, sources=SOURCES):
        """Both get the same; returns what. A change of sysctls may take udplaned a second to notice: so rounds until they agree."""
        got = until(lambda: self.one_round(sources), 3, "the same for both")
        print("    ", *sorted(got))
        return got

    def one_round(self, sources):
        """The last datagram's source is above suspicion and ends the round."""
        self.round += 1
        last = "fd99::2" if ":" in self.address else "10.99.0.2"
        for i, src in enumerate([*sources, last]):
            for port in (PLAIN, FAST):
                self.forger.send(src, port, b"%d %d" % (self.round, i))
        end, got = b"%d %d" % (self.round, len(sources)), {"fast": [], "plain": []}

        def both():
            got["fast"] += self.fast.recv_all(0.02)
            got["plain"] += drain_plain(self.plain)
            return end in got["fast"] and end in got["plain"]

        until(both, what=f"the last datagram of {got}")
        try:  # what took the kernel's way may come behind it
            until(lambda: both() and sorted(got["fast"]) == sorted(got["plain"]), 0.5)
        except AssertionError:
            print(f"     accelerated {self.names(got['fast'], sources)}, plain {self.names(got['plain'], sources)}")
            return None
        return set(self.names(got["plain"], sources))

    def names(self, got, sources):
        return sorted((sources + ["end"])[int(m.split()[1])] for m in set(got))


def world(net):
    """A second address of our own, a second device, a route that leads nowhere."""
    a = ("ip", "-n", net.a)
    sh(*a, "addr", "add", "10.88.0.1/32", "dev", "lo")
    sh(*a, "link", "add", "other0", "type", "veth", "peer", "name", "other1")
    sh(*a, "addr", "add", "10.66.0.254/24", "dev", "other0")
    for dev in ("other0", "other1"):
        sh(*a, "link", "set", dev, "up")
    sh(*a, "route", "add", "unreachable", "172.31.0.0/16")
    rp_filter(net)


@case
def sources_are_judged_as_linux_judges_them():
    with Net() as net:
        world(net)
        with Sidecar(net) as sidecar:
            p = Pair(net)
            own = {"10.99.0.1", "10.88.0.1"}
            got = p.compare()
            assert not got & own and "203.0.113.9" in got, got
            fast = sidecar.stats()["device"]["counters"]
            assert fast["rx_diverted"] > 0, fast
            for every, own_filter in ((0, 1), (0, 2), (1, 0), (2, 0), (1, 2), (0, 0)):
                settle(sidecar, lambda: rp_filter(net, every, own_filter))
                got = p.compare()
                mode = max(every, own_filter)
                assert ("10.66.0.1" in got) == (mode != 1), (every, own_filter, got)
                assert ("203.0.113.9" in got) == (mode == 0), (every, own_filter, got)
                assert not got & own, got
            settled(sidecar)
            p.close()


@case
def routes_decide_which_sources_pass_the_filter():
    with Net() as net:
        world(net)
        rp_filter(net, 1)
        with Sidecar(net) as sidecar:
            p = Pair(net)
            assert "203.0.113.9" not in p.compare()
            settle(sidecar, lambda: sh("ip", "-n", net.a, "route", "add", "default", "via", "10.99.0.2"))
            before = sidecar.stats()["device"]["counters"]
            assert "203.0.113.9" in p.compare()
            after = sidecar.stats()["device"]["counters"]
            assert after["rx_diverted"] - before["rx_diverted"] >= 4, "10.99.0.2 twice, 10.99.0.77, 203.0.113.9"
            settle(sidecar, lambda: sh("ip", "-n", net.a, "route", "add", "203.0.113.0/24", "dev", "other0"))
            assert "203.0.113.9" not in p.compare()
            settle(sidecar, lambda: sh("ip", "-n", net.a, "route", "del", "203.0.113.0/24"))
            assert "203.0.113.9" in p.compare()
            p.close()


@case
def accept_local_is_linuxs_to_honour():
    with Net() as net:
        world(net)
        sysctl(net, "conf.va.accept_local", 1)
        with Sidecar(net):
            p = Pair(net)
            got = p.compare()
            assert {"10.99.0.1", "10.88.0.1"} <= got, got
            p.close()


@case
def ipv6_has_no_such_check():
    with Net() as net:
        world(net)
        rp_filter(net, 1)
        with Sidecar(net):
            p = Pair(net, "fd99::1")
            got = p.compare(["fd99::2", "fd99::1", "2001:db8::1", "::1", "ff02::1"])
            assert "2001:db8::1" in got, got
            p.close()


def outcome(send):
    try:
        send()
        return 0
    except OSError as e:
        return e.errno


@case
def sends_into_holes_fail_as_linux_lets_them_fail():
    with Net() as net:
        a = ("ip", "-n", net.a)
        sh(*a, "route", "add", "default", "via", "10.99.0.2")
        sh(*a, "-6", "route", "add", "default", "via", "fd99::2")
        with Sidecar(net) as sidecar, Sock(net, bind=("0.0.0.0", FAST)) as s, Sock(net, socket.AF_INET6, bind=("fd99::1", FAST)) as s6:
            plain = net.sock(net.a, bind=("0.0.0.0", PLAIN))
            plain6 = net.sock(net.a, socket.AF_INET6, bind=("fd99::1", PLAIN))
            peer = net.sock(net.b, bind=("10.99.0.2", 7000))
            s.sendto(b"resolve", ("10.99.0.2", 7000))
            peer.recvfrom(100)

            def same(address):
                slow = outcome(lambda: (plain6 if ":" in address else plain).sendto(b"x", (address, 7000)))
                until(lambda: outcome(lambda: (s6 if ":" in address else s).sendto(b"x", (address, 7000))) == slow, 2,
                      f"{errno.errorcode.get(slow)} for {address}")
                return slow

            assert same("10.77.1.1") == 0
            for kind, code in (("unreachable", errno.EHOSTUNREACH), ("prohibit", errno.EACCES), ("blackhole", errno.EINVAL)):
                settle(sidecar, lambda: sh(*a, "route", "add", kind, "10.77.0.0/16"))
                assert same("10.77.1.1") == code
                assert same("10.78.1.1") == 0
                settle(sidecar, lambda: sh(*a, "route", "del", kind, "10.77.0.0/16"))
            settle(sidecar, lambda: sh(*a, "-6", "route", "add", "unreachable", "2001:db8::/32"))
            assert same("2001:db8::1") == errno.EHOSTUNREACH
            assert same("2001:db9::1") == 0
            assert same("10.99.0.255") == errno.EACCES
            holes = [p for p in sidecar.stats()["prefixes"] if p["prefix"] == "2001:db8::/32"]
            assert holes and holes[0]["slow"], holes
            plain.close(), plain6.close(), peer.close()


@case
def a_socket_whose_address_goes_fails_as_linux_lets_it_fail():
    with Net() as net:
        a = ("ip", "-n", net.a)
        sh(*a, "addr", "add", "10.99.0.5/24", "dev", "va")
        with Sidecar(net) as sidecar, Sock(net, bind=("10.99.0.5", FAST)) as s:
            plain, peer = net.sock(net.a, bind=("10.99.0.5", PLAIN)), net.sock(net.b, bind=("10.99.0.2", 7000))
            for _ in range(2):
                s.sendto(b"x", ("10.99.0.2", 7000))
                peer.recvfrom(100)
            settle(sidecar, lambda: sh(*a, "addr", "del", "10.99.0.5/24", "dev", "va"))
            code = outcome(lambda: plain.sendto(b"x", ("10.99.0.2", 7000)))
            assert code, "Linux sends"
            until(lambda: outcome(lambda: s.sendto(b"x", ("10.99.0.2", 7000))) == code, 2, f"errno {code}")
            settle(sidecar, lambda: sh(*a, "addr", "add", "10.99.0.5/24", "dev", "va"))

            def by_ring():
                before = s.status().fast_tx
                s.sendto(b"x", ("10.99.0.2", 7000))
                peer.recvfrom(100)
                return s.status().fast_tx > before

            until(by_ring, what="the fast path")
            plain.close(), peer.close()


@case
def rules_that_cannot_match_cost_nothing_and_others_are_named():
    with Net() as net:
        a = ("ip", "-n", net.a)
        sh(*a, "route", "add", "default", "via", "10.99.0.2")
        sh(*a, "route", "add", "default", "via", "10.99.0.2", "table", "100")
        sh(*a, "rule", "add", "fwmark", "0x200/0xf00", "lookup", "2004", "pref", "9")
        sh(*a, "rule", "add", "iif", "lo", "ipproto", "tcp", "lookup", "100", "pref", "10")
        sh(*a, "rule", "add", "from", "10.11.12.13", "lookup", "100", "pref", "11")
        sh(*a, "rule", "add", "lookup", "main", "suppress_prefixlength", "0", "pref", "12")
        sh("ip", "-n", net.b, "addr", "add", "10.77.1.1/32", "dev", "lo")
        with Sidecar(net) as sidecar, Sock(net, bind=("0.0.0.0", FAST)) as s:
            peer = net.sock(net.b, bind=("0.0.0.0", 7000))

            def by_ring(address):
                before = s.status().fast_tx
                s.sendto(b"x", (address, 7000))
                peer.recvfrom(100)
                return s.status().fast_tx > before

            by_ring("10.99.0.2")  # resolves
            assert by_ring("10.99.0.2") and by_ring("10.77.1.1")
            assert sidecar.stats()["route_note"] == ""
            settle(sidecar, lambda: sh(*a, "rule", "add", "to", "10.77.0.0/16", "uidrange", "0-10", "lookup", "100", "pref", "13"))
            until(lambda: not by_ring("10.77.1.1"), what="the kernel path")
            assert by_ring("10.99.0.2"), "main was asked before that rule"
            assert "13:" in sidecar.stats()["route_note"], sidecar.stats()["route_note"]
            settle(sidecar, lambda: sh(*a, "rule", "del", "pref", "13"))
            until(lambda: by_ring("10.77.1.1"), what="the fast path")
            peer.close()


@case
def a_static_neighbour_stays_static():
    with Net() as net:
        sh("ip", "-n", net.a, "neigh", "replace", "10.99.0.2", "lladdr", mac(net.b, "vb").hex(":"), "dev", "va", "nud", "permanent")
        with Sidecar(net) as sidecar, Sock(net, bind=("10.99.0.1", FAST)) as s:
            sh("ip", "-n", net.b, "addr", "add", "10.99.0.3/24", "dev", "vb")

            def counter():
                return sidecar.stats()["control"]["neigh_refreshes"]

            before, fast = counter(), s.status().fast_tx
            end = time.monotonic() + 10
            while counter() == before and time.monotonic() < end:  # 10.99.0.3 ages; both are used at the same time
                for host in ("10.99.0.2", "10.99.0.3"):
                    s.sendto(b"x", (host, 7000))
                select.select([], [], [], 0.05)
            assert counter() > before, "no refresh"
            assert s.status().fast_tx > fast
            assert "PERMANENT" in sh("ip", "-n", net.a, "neigh", "show", "10.99.0.2"), sh("ip", "-n", net.a, "neigh")


@case
def bursts_do_not_wait_for_a_neighbour():
    with Net() as net:
        with Sidecar(net), Sock(net, bind=("10.99.0.1", FAST)) as s:
            longest = burst_times(s, "10.99.0.99", 400)
            assert longest < 0.25, f"a burst call took {longest:.2f} s"
        with Sock(net, bind=("10.99.0.1", PLAIN), fast=False) as s:  # no udplaned: all of it takes the kernel socket
            s.option(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            longest = burst_times(s, "10.99.0.98", 400)
            assert longest < 0.25, f"a burst call through the kernel took {longest:.2f} s"


class Buf(ctypes.Structure):
    class Peer(ctypes.Structure):
        _fields_ = [("addr", ctypes.c_uint8 * 16), ("port_be", ctypes.c_uint16), ("family", ctypes.c_uint8), ("pad", ctypes.c_uint8),
                    ("scope_id", ctypes.c_uint32)]

    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_uint32), ("len", ctypes.c_uint32), ("peer", Peer),
                ("cookie", ctypes.c_uint64)]


def burst_times(s, host, rounds):
    """Submits to a host that does not answer; returns how long the longest call took."""
    bufs, longest = (Buf * 8)(), 0.0
    for _ in range(rounds):
        n = lib().udplane_reserve(s.fd, bufs, 8)
        for i in range(max(n, 0)):
            bufs[i].len = 1000
            bufs[i].peer.family = socket.AF_INET
            bufs[i].peer.port_be = socket.htons(7000)
            bufs[i].peer.addr[:4] = socket.inet_aton(host)
        start = time.monotonic()
        if n > 0 and lib().udplane_submit(s.fd, bufs, n) < 0:
            assert ctypes.get_errno() in (errno.EAGAIN, errno.EHOSTUNREACH), ctypes.get_errno()
        longest = max(longest, time.monotonic() - start)
    return longest


class Wire:
    """What leaves a's device, seen in b."""

    def __init__(self, net):
        self.sock = net.inside(net.b, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)))
        net.inside(net.b, lambda: self.sock.bind(("vb", 0x0800)))
        self.sock.settimeout(5)

    def see(self, send, text):
        """(TTL, DF, id) of the datagram that send() causes."""
        send()
        while True:
            p = self.sock.recv(2048)
            if p[9] == 17 and p[28:28 + len(text)] == text:
                return p[8], bool(p[6] & 0x40), int.from_bytes(p[4:6], "big")


@case
def ttl_and_path_mtu_sysctls_are_on_the_wire():
    with Net() as net:
        with Sidecar(net), Sock(net, bind=("10.99.0.1", FAST)) as s:
            wire, peer = Wire(net), net.sock(net.b, bind=("10.99.0.2", 7000))

            def both(sock, plain):
                want = wire.see(lambda: plain.sendto(b"plain", ("10.99.0.2", 7000)), b"plain")[:2]

                def same():
                    fast = sock.status().fast_tx
                    seen = wire.see(lambda: sock.sendto(b"fast", ("10.99.0.2", 7000)), b"fast")
                    assert sock.status().fast_tx > fast
                    return seen if seen[:2] == want else None

                return until(same, 3, f"TTL and DF {want}")

            plain = net.sock(net.a, bind=("10.99.0.1", PLAIN))
            s.sendto(b"resolve", ("10.99.0.2", 7000))
            peer.recvfrom(100)
            assert both(s, plain)[:2] == (64, True)
            sysctl(net, "ip_default_ttl", 33)
            assert both(s, plain)[:2] == (33, True)
            sysctl(net, "ip_no_pmtu_disc", 1)
            assert both(s, plain)[:2] == (33, True), "it counts for sockets that are made later"
            with Sock(net, bind=("10.99.0.1", FAST + 1)) as s2:
                plain2 = net.sock(net.a, bind=("10.99.0.1", PLAIN + 1))
                first, second = both(s2, plain2), both(s2, plain2)
                assert first[:2] == (33, False) and first[2] != second[2], (first, second)
                plain2.close()
            plain.close(), peer.close(), wire.sock.close()


if __name__ == "__main__":
    run()
