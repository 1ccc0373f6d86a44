#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Options and control data that concern sending: the same calls on a plain socket and on an accelerated one, what they return, and what
stands on the wire at the peer's end."""
import collections
import ctypes
import errno
import socket
import struct

from harness import *

A4, A4B, B4, A6, A6B, B6 = "10.99.0.1", "10.99.0.3", "10.99.0.2", "fd99::1", "fd99::3", "fd99::2"
FAR4, FAR6 = "10.98.0.1", "fd98::1"  # behind B, path MTU 1400
FAST, PLAIN, WAKER = 5060, 5061, 5062
DST = 7000
INET, INET6, SOL_SOCKET = socket.AF_INET, socket.AF_INET6, socket.SOL_SOCKET
IP, IPV6, UDP = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.IPPROTO_UDP
IP_TOS, IP_TTL, IP_PKTINFO, IP_MTU_DISCOVER, IP_UNICAST_IF = 1, 2, 8, 10, 50
IPV6_UNICAST_HOPS, IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_FLOWINFO_SEND, IPV6_PKTINFO = 16, 23, 24, 33, 50
IPV6_HOPOPTS, IPV6_RTHDRDSTOPTS, IPV6_DSTOPTS, IPV6_ADDR_PREFERENCES = 54, 55, 59, 72
IPV6_HOPLIMIT, IPV6_DONTFRAG, IPV6_TCLASS, IPV6_AUTOFLOWLABEL, IPV6_UNICAST_IF = 52, 62, 67, 70, 76
SO_NO_CHECK, SO_PRIORITY, SO_DONTROUTE, SO_MARK, SO_RCVBUFFORCE = 11, 12, 5, 36, 33
IP_OPTIONS, SO_MAX_PACING_RATE, SO_TXTIME, MSG_OOB, MSG_ZEROCOPY = 4, 47, 61, 1, 0x4000000
UDP_CORK, UDP_NO_CHECK6_TX, UDP_SEGMENT = 1, 101, 103
MSG_CONFIRM, MSG_DONTROUTE, MSG_MORE = 0x800, 4, 0x8000
DONT, WANT, DO, PROBE, INTERFACE, OMIT = range(6)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]


def cmsg(level, kind, data, length=None):
    """length: what cmsg_len says, if not the truth."""
    head = struct.pack("@Qii", 16 + len(data) if length is None else length, level, kind)
    return head + data + bytes(-len(data) % 8)


def number(level, kind, value):
    return cmsg(level, kind, struct.pack("@i", value))


def pktinfo4(addr, ifindex=0):
    return cmsg(IP, IP_PKTINFO, struct.pack("@i4s4s", ifindex, socket.inet_aton(addr), bytes(4)))


def pktinfo6(addr, ifindex=0):
    return cmsg(IPV6, IPV6_PKTINFO, struct.pack("@16sI", socket.inet_pton(INET6, addr), ifindex))


def segment(size):
    return cmsg(UDP, UDP_SEGMENT, struct.pack("@H", size))


def sendmsg(function, fd, payload, to, control=b"", flags=0):
    """The result, and errno if that is -1."""
    p, n, keep = pack(to)
    data = ctypes.create_string_buffer(payload, max(len(payload), 1))
    ctl = ctypes.create_string_buffer(control, len(control)) if control else None
    iov = Iovec(ctypes.addressof(data), len(payload))
    m = Msghdr(ctypes.addressof(keep), n, ctypes.addressof(iov), 1, ctypes.addressof(ctl) if ctl else None, len(control), 0)
    r = function(fd, ctypes.byref(m), flags)
    return (r, ctypes.get_errno()) if r < 0 else (r, 0)


def setsockopt(function, fd, level, name, value):
    data = value if isinstance(value, bytes) else struct.pack("@i", value)
    return function(fd, level, name, data, len(data)), ctypes.get_errno()


Packet = collections.namedtuple("Packet", "family src dst tos ttl df id checksummed label length payload")


def parse(frame):
    """(source port, Packet) of a UDP datagram without IP options or extension headers to port DST, or None."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and frame[14] == 0x45 and frame[23] == 17 and not struct.unpack(">H", frame[20:22])[0] & 0x3fff:
        ip, udp, tos, ttl = frame[14:], frame[34:], frame[15], frame[22]
        df, ident, label = bool(frame[20] & 0x40), struct.unpack(">H", frame[18:20])[0], 0
        src, dst, length, pseudo = ip[12:16], ip[16:20], struct.unpack(">H", ip[2:4])[0], ip[12:20]
        assert ones_sum(ip[:20]) == 0xffff, "IP checksum"
        udp = udp[:length - 20]
    elif kind == b"\x86\xdd" and frame[20] == 17:
        ip, udp = frame[14:], frame[54:]
        first = struct.unpack(">I", ip[:4])[0]
        tos, ttl, label, df, ident = first >> 20 & 0xff, ip[7], first & 0xfffff, None, 0
        src, dst, length, pseudo = ip[8:24], ip[24:40], struct.unpack(">H", ip[4:6])[0], ip[8:40]
        udp = udp[:length]
    else:
        return None
    sport, dport, _, check = struct.unpack(">HHHH", udp[:8])
    if dport != DST or sport not in (FAST, PLAIN):
        return None
    if check and sport == FAST:
        got = ones_sum(pseudo + struct.pack(">HH", 17, len(udp)) + udp)
        partial = ones_sum(pseudo + struct.pack(">HH", 17, len(udp))) == check  # the kernel sent it, and left the rest to the device
        assert got == 0xffff or partial, f"UDP checksum {check:#x}"
    family = INET if len(src) == 4 else INET6
    return sport, Packet(family, socket.inet_ntop(family, src), socket.inet_ntop(family, dst), tos, ttl, df, ident, check != 0,
                         label != 0, length, udp[8:])


class World:
    """The namespaces, a udplaned, and what arrives at the peer's end."""

    def __init__(self, mode):
        self.mode = mode

    def __enter__(self):
        self.net = Net()
        try:
            self.prepare()
        except BaseException:
            self.net.__exit__()
            raise
        return self

    def prepare(self):
        sh("ip", "-n", self.net.a, "addr", "add", A4B + "/24", "dev", "va")
        sh("ip", "-n", self.net.a, "addr", "add", A6B + "/64", "dev", "va", "nodad")
        sh("ethtool", "-K", "va", "tx-udp-segmentation", "off", ns=self.net.a)  # so that the wire shows each datagram
        mac = sh("ip", "-n", self.net.b, "-o", "link", "show", "vb").split("link/ether ")[1].split()[0]
        for addr in (B4, B6):
            sh("ip", "-n", self.net.a, "neigh", "replace", addr, "lladdr", mac, "dev", "va", "nud", "permanent")
        self.ifindex = self.net.inside(self.net.a, socket.if_nametoindex, "va")
        self.wire = self.net.inside(self.net.b, self.listen)
        self.sidecar = Sidecar(self.net, mode=self.mode, ports=f"{FAST},{WAKER}")

    def __exit__(self, *_):
        self.wire.close()
        self.sidecar.stop()
        self.net.__exit__()

    @staticmethod
    def listen():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.setsockopt(SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
        s.bind(("vb", 0))
        s.setblocking(False)
        return s

    def drain(self, into):
        try:
            while True:
                found = parse(self.wire.recv(65536))
                if found:
                    into[found[0]].append(found[1])
        except BlockingIOError:
            return into

    def captured(self, wanted):
        """Waits for so many datagrams of each source port."""
        got = collections.defaultdict(list)
        until(lambda: all(len(self.drain(got)[port]) >= n for port, n in wanted.items()), what=f"{wanted} datagrams on the wire")
        return got


def same(fast, plain):
    """The datagrams are equal but for what may differ."""
    def show(packets):
        return [p._replace(payload=(len(p.payload), p.payload[:4])) for p in packets]
    assert [p._replace(id=0) for p in fast] == [p._replace(id=0) for p in plain], (show(fast), show(plain))
    for ours in (fast, plain):
        ids = [p.id for p in ours]
        if ours and ours[0].df is False:
            assert len(set(ids)) == len(ids), ids  # so that fragments never mix
    return True


class Pair:
    """An accelerated socket and a plain one, alike but for the port."""

    def __init__(self, world, family, bind, options=()):
        self.world = world
        self.fast = Sock(world.net, family, fast=False)
        self.plain = world.net.sock(world.net.a, family)
        for level, name, value in options:
            self.option(level, name, value)
        self.fast.bind((bind, FAST))
        self.plain.bind((bind, PLAIN))
        until(self.fast.accelerated, what="acceleration: " + self.fast.status().text.decode())
        self.connection = None
        self.waker = Sock(world.net, family, bind=(bind, WAKER)) if world.mode != "latency" else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.fast.close()
        self.plain.close()
        if self.waker:
            self.waker.close()

    def option(self, level, name, value):
        mine = setsockopt(lib().udplane_setsockopt, self.fast.fd, level, name, value)
        theirs = setsockopt(libc.setsockopt, self.plain.fileno(), level, name, value)
        assert mine[0] == theirs[0] and (mine[0] == 0 or mine == theirs), (level, name, value, mine, theirs)
        assert mine[0] == 0, (level, name, value, errno.errorcode[mine[1]])

    def send(self, payload, to, control=b"", flags=0):
        """Returns the result that both have, and whether the accelerated one was fast."""
        before = self.fast.status().fast_tx
        self.wake(to)
        mine = sendmsg(lib().udplane_sendmsg, self.fast.fd, payload, to, control, flags)
        fast = self.fast.status().fast_tx - before
        theirs = sendmsg(libc.sendmsg, self.plain.fileno(), payload, to, control, flags)
        assert mine == theirs, (mine, theirs, control, len(payload))
        return mine, fast

    def wake(self, to):
        """In mode balanced only a burst wakes a worker that sleeps, and it sleeps again after 50 us."""
        for _ in range(60 if self.waker else 0):
            self.waker.sendto(b"wake", (to[0], DST + 1))

    def check(self, to, size=100, control=b"", flags=0, count=1, fast=True, runs=2):
        """Sends until `runs` calls in a row were fast (or, with fast=False, that many by the kernel), and compares the wire each time."""
        done = 0

        def one():
            nonlocal done
            payload = bytes((done + i) % 251 for i in range(size))
            result, grown = self.send(payload, to, control, flags)
            assert result == (size, 0), result
            packets = self.world.captured({FAST: count, PLAIN: count})
            same(packets[FAST], packets[PLAIN])
            assert b"".join(p.payload for p in packets[FAST]) == payload, (done, result, grown, packets)
            assert grown in (0, count), (grown, count)
            assert fast or not grown, "it should have gone by the kernel"
            done = done + 1 if bool(grown) == fast else 0
            return done >= runs and packets[FAST]
        return until(one, 30, "a fast send" if fast else "a send")

    def refused(self, error, to, size=100, control=b"", flags=0):
        """Both refuse it, with this error."""
        result, fast = self.send(bytes(size), to, control, flags)
        assert result == (-1, error), (result, errno.errorcode[error], control)
        assert not fast


# family, address to bind to, destination
KINDS = {
    "v4": (INET, "0.0.0.0", (B4, DST)),
    "v6": (INET6, "::", (B6, DST)),
    "mapped": (INET6, "::", ("::ffff:" + B4, DST)),
}
# options of IPv4 datagrams; sizes, the largest that fits among them
OPTIONS4 = [
    *[[(IP, IP_MTU_DISCOVER, v)] for v in (DONT, WANT, DO, PROBE, INTERFACE, OMIT)],
    [(IP, IP_TOS, 0x10)], [(IP, IP_TOS, 0xb8)], [(IP, IP_TOS, 0x02)], [(IP, IP_TOS, 0xff)], [(IP, IP_TOS, b"\x28")],
    [(IP, IP_TTL, 1)], [(IP, IP_TTL, 255)], [(IP, IP_TTL, 64)], [(IP, IP_TTL, 7), (IP, IP_TTL, -1)],
    [(SOL_SOCKET, SO_NO_CHECK, 1)], [(SOL_SOCKET, SO_PRIORITY, 5)],
    [(IP, IP_TOS, 0x20), (IP, IP_TTL, 9), (IP, IP_MTU_DISCOVER, DONT), (SOL_SOCKET, SO_NO_CHECK, 1)],
    [(IP, IP_TOS, 0x20), (IP, IP_TOS, 0)],
]
OPTIONS6 = [
    *[[(IPV6, IPV6_MTU_DISCOVER, v)] for v in (DONT, WANT, DO, PROBE, INTERFACE, OMIT)],
    [(IPV6, IPV6_TCLASS, 0xb8)], [(IPV6, IPV6_TCLASS, 1)], [(IPV6, IPV6_TCLASS, 255)], [(IPV6, IPV6_TCLASS, 4), (IPV6, IPV6_TCLASS, -1)],
    [(IPV6, IPV6_UNICAST_HOPS, 3)], [(IPV6, IPV6_UNICAST_HOPS, 255)], [(IPV6, IPV6_UNICAST_HOPS, 9), (IPV6, IPV6_UNICAST_HOPS, -1)],
    [(UDP, UDP_NO_CHECK6_TX, 1)], [(IPV6, IPV6_DONTFRAG, 1)], [(IPV6, IPV6_AUTOFLOWLABEL, 0)], [(IPV6, IPV6_AUTOFLOWLABEL, 1)],
    [(IPV6, IPV6_FLOWINFO_SEND, 1)], [(IPV6, IPV6_MTU, 0)], [(IP, IP_TOS, 0xff), (IP, IP_TTL, 7), (IP, IP_MTU_DISCOVER, DONT)],
]


def options_for(kind):
    return OPTIONS6 if kind == "v6" else OPTIONS4


def in_modes(function):
    for mode in ("latency", "balanced"):
        def run(mode=mode):
            with World(mode) as world:
                function(world)
        run.__name__ = f"{function.__name__}_{mode}"
        case(run)
    return function


@in_modes
def options_of_the_socket(world):
    for kind, (family, bind, to) in KINDS.items():
        largest = 1452 if kind == "v6" else 1472
        for options in options_for(kind):
            with Pair(world, family, bind, options) as pair:
                pair.check(to)
                pair.check(to, largest, runs=1)
                assert pair.fast.status().accelerated
    # those of this interface
    for kind, level, name in (("v4", IP, IP_UNICAST_IF), ("v6", IPV6, IPV6_UNICAST_IF), ("mapped", IP, IP_UNICAST_IF)):
        family, bind, to = KINDS[kind]
        with Pair(world, family, bind, [(level, name, struct.pack(">I", world.ifindex))]) as pair:
            pair.check(to)


@in_modes
def control_data(world):
    v4 = [
        *[number(IP, IP_TOS, v) for v in (0, 1, 0x10, 0xff)], cmsg(IP, IP_TOS, b"\x48"), *[number(IP, IP_TTL, v) for v in (1, 33, 255)],
        pktinfo4(A4B), pktinfo4(A4), pktinfo4(A4B, world.ifindex), pktinfo4("0.0.0.0", world.ifindex), pktinfo4("0.0.0.0"),
        pktinfo4(A4B) + number(IP, IP_TOS, 4) + number(IP, IP_TTL, 5), number(IP, IP_TOS, 4) + number(IP, IP_TOS, 8),
        number(IPV6, IPV6_TCLASS, 9) + number(IP, IP_TOS, 5), pktinfo4(A4B) + b"rest", segment(100), segment(0),
    ]
    v6 = [
        *[number(IPV6, IPV6_TCLASS, v) for v in (0, 1, 0xff)], *[number(IPV6, IPV6_HOPLIMIT, v) for v in (1, 33, 255)],
        pktinfo6(A6B), pktinfo6(A6), pktinfo6(A6B, world.ifindex), pktinfo6("::", world.ifindex), pktinfo6("::"),
        pktinfo6(A6B) + number(IPV6, IPV6_TCLASS, 4) + number(IPV6, IPV6_HOPLIMIT, 5), number(IPV6, IPV6_DONTFRAG, 1),
        number(IPV6, IPV6_DONTFRAG, 0), number(IP, IP_TOS, 99) + number(IPV6, IPV6_TCLASS, 3), segment(1452),
    ]
    mapped = [number(IP, IP_TOS, 0x11), number(IP, IP_TTL, 3), pktinfo6("::ffff:" + A4B), pktinfo4(A4B), number(IPV6, IPV6_TCLASS, 9)]
    for kind, controls in (("v4", v4), ("v6", v6), ("mapped", mapped)):
        family, bind, to = KINDS[kind]
        with Pair(world, family, bind) as pair:
            for control in controls:
                pair.check(to, control=control)
            pair.check(to)  # nothing stays
            pair.check(to, flags=MSG_CONFIRM)
            assert pair.fast.status().accelerated
    # a socket that is bound to an address
    with Pair(world, INET, A4) as pair:
        pair.check((B4, DST), control=pktinfo4(A4))
        pair.check((B4, DST), control=pktinfo4(A4B), fast=False)
        pair.check((B4, DST), control=pktinfo4("0.0.0.0"), fast=False)
    with Pair(world, INET6, A6) as pair:
        pair.check((B6, DST), control=pktinfo6(A6))
        pair.check((B6, DST), control=pktinfo6("::"))
    # control data comes before the options
    with Pair(world, INET, "0.0.0.0", [(IP, IP_TOS, 0x40), (IP, IP_TTL, 40)]) as pair:
        assert pair.check((B4, DST), control=number(IP, IP_TOS, 0))[0][3:5] == (0, 40)
        assert pair.check((B4, DST), control=number(IP, IP_TTL, 50))[0][3:5] == (0x40, 50)


@in_modes
def segments(world):
    for kind, (family, bind, to) in KINDS.items():
        size = 1452 if kind == "v6" else 1472
        with Pair(world, family, bind) as pair:
            for length, each in ((5000, 1000), (64, 1), (1001, 1000), (size * 44, size), (2000, 1000), (6400, 100)):
                pair.check(to, length, segment(each), count=-(-length // each), runs=1)
            source = pktinfo6(A6B) + number(IPV6, IPV6_TCLASS, 8) if kind == "v6" else pktinfo4(A4B) + number(IP, IP_TOS, 8)
            pair.check(to, 3000, segment(1200) + source, count=3)
            pair.check(to, 900, segment(1000))
            pair.check(to, size, segment(100), count=-(-size // 100))  # would fit one packet
            pair.check(to)
        with Pair(world, family, bind, [(UDP, UDP_SEGMENT, 700), (IP, IP_MTU_DISCOVER, DONT)]) as pair:
            pair.check(to, 7000, count=10)
            pair.check(to, 700)
            pair.check(to, 1400, segment(300), count=5)
            pair.option(UDP, UDP_SEGMENT, 0)
            pair.check(to, 1400)
        for value in range(6):
            with Pair(world, family, bind, [(UDP, UDP_SEGMENT, 1000), (IP, IP_MTU_DISCOVER, value)]) as pair:
                pair.check(to, 3500, count=4, runs=1)


@case
def what_the_kernel_refuses():
    bad4 = [
        (errno.EINVAL, cmsg(IP, IP_TOS, b"xy")), (errno.EINVAL, number(IP, IP_TOS, 256)), (errno.EINVAL, number(IP, IP_TOS, -1)),
        (errno.EINVAL, number(IP, IP_TTL, 0)), (errno.EINVAL, number(IP, IP_TTL, 256)), (errno.EINVAL, cmsg(IP, IP_TTL, b"x")),
        (None, pktinfo4("10.99.0.77")), (None, pktinfo4("224.0.0.1")), (None, pktinfo4(A4, 9999)),
        (errno.EINVAL, cmsg(IP, IP_PKTINFO, b"short")), (errno.EINVAL, number(IP, 99, 1)), (errno.EINVAL, cmsg(UDP, UDP_SEGMENT, b"1234")),
        (errno.EINVAL, cmsg(UDP, 55, b"12")), (errno.EINVAL, cmsg(IP, IP_TOS, b"1234", 15)), (errno.EINVAL, cmsg(IP, IP_TOS, b"1234", 99)),
        (errno.EINVAL, number(IP, IP_TOS, 4) + cmsg(IP, IP_TTL, b"1234", 1 << 40)), (errno.EINVAL, cmsg(SOL_SOCKET, 9999, b"1234")),
    ]
    bad6 = [
        (errno.EINVAL, number(IPV6, IPV6_TCLASS, 256)), (errno.EINVAL, number(IPV6, IPV6_TCLASS, -2)),
        (errno.EINVAL, cmsg(IPV6, IPV6_TCLASS, b"x")), (errno.EINVAL, number(IPV6, IPV6_HOPLIMIT, 256)),
        (errno.EINVAL, number(IPV6, IPV6_DONTFRAG, 2)), (errno.EINVAL, pktinfo6("fd99::77")), (errno.EINVAL, pktinfo6("fe80::77")),
        (None, pktinfo6(A6, 9999)), (errno.EINVAL, cmsg(IPV6, IPV6_PKTINFO, b"short")), (errno.EINVAL, number(IPV6, 9, 1)),
    ]
    with World("latency") as world:
        for kind, bad in (("v4", bad4), ("v6", bad6), ("mapped", [(errno.EINVAL, pktinfo6(A6)), (errno.EINVAL, number(IP, IP_TTL, 0))])):
            family, bind, to = KINDS[kind]
            with Pair(world, family, bind) as pair:
                for error, control in bad:
                    result, fast = pair.send(b"x", to, control)
                    assert result[0] == -1 and not fast, (result, control)
                    if error:  # else kernels differ; it was the same
                        assert result[1] == error, (errno.errorcode[result[1]], control)
                pair.check(to)
        # too long
        for kind, (family, bind, to) in KINDS.items():
            size = 1453 if kind == "v6" else 1473
            for option in ([(IPV6, IPV6_MTU_DISCOVER, v) for v in (DO, PROBE, INTERFACE)] + [(IPV6, IPV6_DONTFRAG, 1)] if kind == "v6" else
                           [(IP, IP_MTU_DISCOVER, v) for v in (DO, PROBE, INTERFACE)]):
                with Pair(world, family, bind, [option]) as pair:
                    pair.refused(errno.EMSGSIZE, to, size)
                    pair.check(to, size - 1)
            with Pair(world, family, bind) as pair:
                assert pair.send(bytes(size), to)[0] == (size, 0)  # in fragments
                if kind == "v6":
                    pair.refused(errno.EMSGSIZE, to, size, number(IPV6, IPV6_DONTFRAG, 1))
                    assert pair.send(bytes(size), to, number(IPV6, IPV6_DONTFRAG, 0))[0] == (size, 0)
                for length, each in ((100 * 129, 100), (3000, 1473), (65536, 1400)):
                    result, fast = pair.send(bytes(length), to, segment(each))
                    assert result[0] == -1 and not fast, result
            with Pair(world, family, bind, [(UDP, UDP_NO_CHECK6_TX, 1) if kind == "v6" else (SOL_SOCKET, SO_NO_CHECK, 1)]) as pair:
                result, fast = pair.send(bytes(3000), to, segment(1000))
                assert result[0] == -1 and not fast, result


@case
def a_path_with_a_smaller_mtu():
    """Linux knows it for each route; what it refuses is refused by the call."""
    with World("latency") as world:
        for addr, via in ((FAR4 + "/32", B4), (FAR6 + "/128", B6)):
            sh("ip", "-n", world.net.a, "route", "add", addr, "via", via, "mtu", "1400")
        for family, bind, to, option, header in ((INET, "0.0.0.0", (FAR4, DST), (IP, IP_MTU_DISCOVER), 28),
                                                 (INET6, "::", (FAR6, DST), (IPV6, IPV6_MTU_DISCOVER), 48)):
            with Pair(world, family, bind, [(*option, DO)]) as pair:
                pair.refused(errno.EMSGSIZE, to, 1401 - header)
                pair.check(to, 1400 - header)
                near = (B4 if family == INET else B6, DST)
                pair.check(near, 1500 - header, fast=False)  # longer than what every path takes: Linux is asked
                result, fast = pair.send(bytes(3000), to, segment(1401 - header))
                assert result[0] == -1 and not fast
            for value in (PROBE, INTERFACE, OMIT):
                with Pair(world, family, bind, [(*option, value)]) as pair:
                    pair.check(to, 1400 - header)
                    pair.check(to, 1450 - header, fast=value == OMIT)


@case
def ipv6_mtu_bounds_what_is_fast():
    with World("latency") as world, Pair(world, INET6, "::", [(IPV6, IPV6_MTU, 1280)]) as pair:
        pair.check((B6, DST), 1232)
        pair.check((B6, DST), 1233, fast=False)
        pair.option(IPV6, IPV6_MTU_DISCOVER, DO)
        pair.refused(errno.EMSGSIZE, (B6, DST), 1233)
        pair.check((B6, DST), 1232)
        pair.option(IPV6, IPV6_MTU, 0)
        pair.check((B6, DST), 1352)


@case
def some_options_leave_only_sending_to_the_kernel():
    options = [(SOL_SOCKET, SO_MARK, 7, 0), (SOL_SOCKET, SO_DONTROUTE, 1, 0), (UDP, UDP_CORK, 1, 0)]
    with World("latency") as world:
        peer = world.net.sock(world.net.b, bind=(B4, DST))
        for level, name, on, off in options:
            with Pair(world, INET, "0.0.0.0", [(level, name, on)]) as pair:
                before = pair.fast.status().fast_rx
                peer.sendto(b"in", (A4, FAST))
                until(lambda: pair.fast.readable(), what="a datagram")
                assert pair.fast.recvfrom()[0] == b"in" and pair.fast.status().fast_rx == before + 1
                if name == UDP_CORK:
                    assert pair.send(b"x" * 50, (B4, DST)) == ((50, 0), 0) and pair.send(b"y" * 50, (B4, DST)) == ((50, 0), 0)
                else:
                    pair.check((B4, DST), fast=False)
                pair.option(level, name, off)
                if name == UDP_CORK:
                    packets = world.captured({FAST: 1, PLAIN: 1})
                    assert same(packets[FAST], packets[PLAIN]) and packets[FAST][0].payload == b"x" * 50 + b"y" * 50
                pair.check((B4, DST))
        with Pair(world, INET, "0.0.0.0") as pair:
            pair.check((B4, DST), flags=MSG_DONTROUTE, fast=False)
            assert pair.send(b"a" * 10, (B4, DST), flags=MSG_MORE)[0] == (10, 0)
            assert pair.send(b"b" * 10, (B4, DST))[0] == (10, 0)
            packets = world.captured({FAST: 1, PLAIN: 1})
            assert same(packets[FAST], packets[PLAIN]) and len(packets[FAST][0].payload) == 20
            pair.check((B4, DST))
            pair.check((B4, DST), control=number(SOL_SOCKET, SO_MARK, 0), fast=False)


@case
def the_rest_of_what_only_the_kernel_can_send():
    """Headers are set back by an empty one: one of nothing but padding is sent. None: cannot be set back."""
    source = struct.pack("@16sI", socket.inet_pton(INET6, A6B), 0)
    options4 = [(SOL_SOCKET, SO_MAX_PACING_RATE, 10**9, -1), (SOL_SOCKET, SO_TXTIME, struct.pack("@iI", 1, 0), None),
                (IP, IP_OPTIONS, b"\1\1\1\0", b""), (IP, IP_OPTIONS, bytes(4), b"")]
    options6 = [(IPV6, IPV6_PKTINFO, source, None), (IPV6, IPV6_ADDR_PREFERENCES, 2, None)] + [
        (IPV6, name, value, b"") for name in (IPV6_HOPOPTS, IPV6_RTHDRDSTOPTS, IPV6_DSTOPTS) for value in (b"\0\0\1\4\0\0\0\0", bytes(8))]
    with World("latency") as world:
        for family, bind, to, options in ((INET, "0.0.0.0", (B4, DST), options4), (INET6, "::", (B6, DST), options6)):
            here = A4 if family == INET else A6
            peer = world.net.sock(world.net.b, family, bind=to)
            for level, name, on, off in options:
                with Pair(world, family, bind) as pair:
                    until(lambda: pair.send(b"x", to)[1], what="a fast send")
                    pair.option(level, name, on)
                    for _ in range(3):
                        assert pair.send(b"x", to)[1] == 0, (level, name, on)
                    row = world.sidecar.stats()["sockets"][0]
                    assert (row["state"], row["reason"], row["tx_reason"]) == ("active", "none", "none"), row
                    before = pair.fast.status().fast_rx
                    peer.sendto(b"in", (here, FAST))
                    until(lambda: pair.fast.readable(), what="a datagram")
                    assert pair.fast.recvfrom()[0] == b"in" and pair.fast.status().fast_rx == before + 1, (level, name)
                    if off is not None:
                        pair.option(level, name, off)
                        until(lambda: pair.send(b"x", to)[1], what=f"a fast send after option {name} of {level}")
            with Pair(world, family, bind) as pair:
                for flag in (MSG_OOB, MSG_ZEROCOPY):
                    assert not pair.send(b"x", to, flags=flag)[1], flag
            peer.close()


@case
def an_option_concerns_what_is_sent_after_it():
    with World("latency") as world, Sock(world.net, bind=(A4, FAST)) as app:
        for turn in range(50):
            for tos in (0x20, 0, 0x40):
                app.option(IP, IP_TOS, tos)
                app.option(IP, IP_TTL, 100 + tos)
                app.option(IP, IP_MTU_DISCOVER, DONT if tos else DO)
                for _ in range(4):
                    app.sendto(struct.pack("@B", tos), (B4, DST))
        packets = world.captured({FAST: 600})[FAST]
        assert len(packets) == 600
        for p in packets:
            tos = p.payload[0]
            assert (p.tos, p.ttl, p.df) == (tos, 100 + tos, not tos), p
        assert app.status().kernel_tx == 0


@case
def the_slow_path_keeps_what_was_asked_for():
    """A neighbour that is not resolved: Linux sends, as it was asked to."""
    with World("latency") as world:
        for kind, control in (("v4", pktinfo4(A4B) + number(IP, IP_TOS, 8) + number(IP, IP_TTL, 7)),
                              ("v6", pktinfo6(A6B) + number(IPV6, IPV6_TCLASS, 8) + number(IPV6, IPV6_HOPLIMIT, 7))):
            family, bind, to = KINDS[kind]
            with Pair(world, family, bind) as pair:
                pair.check(to, control=control)
                sh("ip", "-n", world.net.a, "neigh", "del", to[0], "dev", "va")
                slow = sum(w["counters"]["tx_slow"] for w in world.sidecar.stats()["workers"])

                def went_slow():
                    pair.check(to, control=control, runs=1)
                    sh("ip", "-n", world.net.a, "neigh", "flush", "dev", "va")
                    return sum(w["counters"]["tx_slow"] for w in world.sidecar.stats()["workers"]) > slow
                until(went_slow, what="a datagram by the slow path")


@case
def an_address_that_goes_takes_its_datagrams_along():
    with World("latency") as world, Pair(world, INET, "0.0.0.0") as pair:
        pair.check((B4, DST), control=pktinfo4(A4B))
        sh("ip", "-n", world.net.a, "addr", "del", A4B + "/24", "dev", "va")
        until(lambda: sendmsg(lib().udplane_sendmsg, pair.fast.fd, b"x", (B4, DST), pktinfo4(A4B))[0] == -1, what="an error")
        world.drain(collections.defaultdict(list))
        result, fast = pair.send(b"x", (B4, DST), pktinfo4(A4B))
        assert result[0] == -1 and not fast, result
        until(lambda: not world.drain(collections.defaultdict(list)), what="silence")
        pair.check((B4, DST))


run()
