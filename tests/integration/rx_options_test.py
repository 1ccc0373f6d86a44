#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Options of receiving: an accelerated socket beside a plain one that gets the same datagrams. Return values, flags and control data
are equal to the last byte, with every length of the control buffer."""
import struct

from dpdk_net import Wire, vfio
from harness import *

A4, A6, B4, B6 = "10.99.0.1", "fd99::1", "10.99.0.2", "fd99::2"
FAST, PLAIN = 5060, 4000  # ports: the second is not among those that are accelerated
FILL = 0xa5
ROOM = 640
TTL, TOS = 41, 0xb8

IP, IPV6, SOL, UDP = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.SOL_SOCKET, socket.IPPROTO_UDP
STAMPING = 0x18  # RX_SOFTWARE | SOFTWARE
STAMPS = {(SOL, 29): "timeval", (SOL, 63): "timeval", (SOL, 35): "timespec", (SOL, 64): "timespec", (SOL, 37): "timespec",
          (SOL, 65): "timespec"}
ORIGDST = {(IP, 20), (IPV6, 74)}
RXQ_OVFL = (SOL, 40)

STAMP_OPTIONS = [("SO_TIMESTAMP_OLD", SOL, 29, 1), ("SO_TIMESTAMP_NEW", SOL, 63, 1), ("SO_TIMESTAMPNS_OLD", SOL, 35, 1),
                 ("SO_TIMESTAMPNS_NEW", SOL, 64, 1), ("SO_TIMESTAMPING_OLD", SOL, 37, STAMPING),
                 ("SO_TIMESTAMPING_NEW", SOL, 65, STAMPING)]
OPTIONS4 = [("SO_RXQ_OVFL", SOL, 40, 1), ("IP_PKTINFO", IP, 8, 1), ("IP_RECVTTL", IP, 12, 1), ("IP_RECVTOS", IP, 13, 1),
            ("IP_RECVOPTS", IP, 6, 1), ("IP_RETOPTS", IP, 7, 1), ("IP_RECVORIGDSTADDR", IP, 20, 1), ("IP_RECVFRAGSIZE", IP, 25, 1),
            ("IP_MINTTL", IP, 21, 200)]
OPTIONS6 = [("IPV6_RECVPKTINFO", IPV6, 49, 1), ("IPV6_RECVHOPLIMIT", IPV6, 51, 1), ("IPV6_RECVTCLASS", IPV6, 66, 1),
            ("IPV6_FLOWINFO", IPV6, 11, 1), ("IPV6_2292PKTINFO", IPV6, 2, 1), ("IPV6_2292HOPLIMIT", IPV6, 8, 1),
            ("IPV6_RECVORIGDSTADDR", IPV6, 74, 1), ("IPV6_RECVFRAGSIZE", IPV6, 77, 1), ("IPV6_RECVPATHMTU", IPV6, 60, 1),
            ("IPV6_RECVRTHDR", IPV6, 56, 1), ("IPV6_RECVHOPOPTS", IPV6, 53, 1), ("IPV6_RECVDSTOPTS", IPV6, 58, 1),
            ("IPV6_MINHOPCOUNT", IPV6, 73, 200)]


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.POINTER(Iovec)), ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]


class Got:
    """What one recvmsg gives."""

    def __init__(self, call, fd, flags, room, size=65536):
        data = ctypes.create_string_buffer(size)
        control = (ctypes.c_uint8 * ROOM)(*[FILL] * ROOM)
        name = (ctypes.c_uint8 * 28)()
        iov = Iovec(ctypes.addressof(data), size)
        msg = Msghdr(ctypes.addressof(name), 28, ctypes.pointer(iov), 1, ctypes.addressof(control), room, 0)
        n = checked(call(fd, ctypes.byref(msg), flags))
        self.data, self.flags, self.len, self.control, self.name = data.raw[:n], msg.flags, msg.controllen, bytes(control), bytes(name)

    def messages(self):
        """[(level, type, offset of the data, data)]"""
        out, at = [], 0
        while at + 16 <= self.len:
            size, level, kind = struct.unpack_from("@Nii", self.control, at)
            assert 16 <= size <= self.len - at, (size, at, self.len)
            out.append((level, kind, at + 16, self.control[at + 16:at + size]))
            at += size + 7 & ~7
        return out


class Beside:
    """An accelerated socket, a plain one, and a peer that sends the same to both."""

    def __init__(self, net, kind, before=(), port=FAST):
        self.net, self.kind, self.port = net, kind, port
        self.family = socket.AF_INET if kind == "ipv4" else socket.AF_INET6
        any_ = "0.0.0.0" if kind == "ipv4" else "::"
        self.app = Sock(net, self.family, fast=False)
        self.plain = net.inside(net.a, lambda: socket.socket(self.family, socket.SOCK_DGRAM))
        self.plain.setsockopt(SOL, socket.SO_RCVTIMEO, struct.pack("qq", 5, 0))
        self.app.timeout(5)
        self.set(before)
        self.app.bind((any_, port))
        self.plain.bind((any_, PLAIN))
        until(self.app.accelerated, what="acceleration: " + self.app.status().text.decode())
        six = kind == "ipv6"
        self.to = A6 if six else A4
        self.peer = net.sock(net.b, socket.AF_INET6 if six else socket.AF_INET, bind=(B6 if six else B4, 0))
        self.peer.setsockopt(IPV6 if six else IP, socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL, TTL)
        self.peer.setsockopt(IPV6 if six else IP, socket.IPV6_TCLASS if six else socket.IP_TOS, TOS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.app.close()
        self.plain.close()
        self.peer.close()

    def options(self):
        return OPTIONS4 + (OPTIONS6 if self.family == socket.AF_INET6 else [])

    def set(self, options, on=True):
        for name, level, number, value in options:
            self.app.option(level, number, value if on else 0)
            self.plain.setsockopt(level, number, value if on else 0)

    def send(self, data):
        self.peer.sendto(data, (self.to, PLAIN))
        self.peer.sendto(data, (self.to, self.port))

    def fast(self, flags=0, room=ROOM, size=65536):
        return Got(lib().udplane_recvmsg, self.app.fd, flags, room, size)

    def slow(self, flags=0, room=ROOM, size=65536):
        return Got(libc.recvmsg, self.plain.fileno(), flags, room, size)


def masked(got, model):
    """The control buffer without what must differ: times, and the port that it was sent to."""
    control = bytearray(got.control)
    for level, kind, at, data in model.messages():
        if (level, kind) in STAMPS:
            control[at:at + len(data)] = bytes(len(data))
            if got.len < at + len(data):  # cut within it: nothing is written behind the cut, by either
                assert got.control[got.len:] == bytes([FILL]) * (ROOM - got.len), (got.len, got.control)
        if (level, kind) in ORIGDST:
            control[at + 2:at + 4] = b"\0\0"
    return bytes(control)


def check_stamps(got, since):
    for level, kind, _, data in got.messages():
        unit = STAMPS.get((level, kind))
        if unit:
            assert len(data) == (48 if kind in (37, 65) else 16), (kind, data)
            s, part = struct.unpack_from("qq", data)
            t = s + part * (1e-6 if unit == "timeval" else 1e-9)
            assert since - 1 < t <= time.time() + 0.001, (level, kind, t, since)
            assert not any(data[16:]), data


def compare(beside, what, lengths=True):
    """One datagram, by whichever path. Returns True if it came by the fast path."""
    since = time.time()
    before = beside.app.status().fast_rx
    beside.send(b"datagram")
    model, ours = beside.slow(MSG_PEEK), beside.fast(MSG_PEEK)
    assert model.data == ours.data == b"datagram", what
    for room in range(0, model.len + 20) if lengths else []:
        m, o = beside.slow(MSG_PEEK, room), beside.fast(MSG_PEEK, room)
        assert (m.len, m.flags, m.name) == (o.len, o.flags, o.name), (what, room, m.len, o.len, m.flags, o.flags)
        assert masked(m, model) == masked(o, ours), (what, room, m.control[:m.len], o.control[:o.len])
    m, o = beside.slow(), beside.fast()
    assert (m.len, m.flags, masked(m, model)) == (o.len, o.flags, masked(o, ours)), (what, m.messages(), o.messages())
    check_stamps(m, since)
    check_stamps(o, since)
    return beside.app.status().fast_rx > before


MSG_PEEK = socket.MSG_PEEK


def drain(app):
    try:
        while True:
            app.recvfrom(MSG_DONTWAIT)
    except BlockingIOError:
        pass


def engage(beside):
    """Mode balanced: traffic wakes the worker."""
    def fast():
        before = beside.app.status().fast_rx
        for _ in range(16):
            for _ in range(8):
                beside.peer.sendto(b"wake", (beside.to, beside.port))
            drain(beside.app)
        return beside.app.status().fast_rx > before
    until(fast, 10, "the worker to engage")
    beside.app.recv_all(0.01)


def compare_fast(beside, what, **kw):
    """Until one came by the fast path; the others are compared, too."""
    assert beside.app.status().accelerated, (what, beside.app.status().text)

    def once():
        if compare(beside, what, **kw):
            return True
        engage(beside)
        return False
    until(once, 20, f"{what} by the fast path")


def each_option(mode):
    # longer than this script takes from one datagram to the next
    with Net() as net, Sidecar(net, "--worker-spin-us", "30000", mode=mode):
        sh("sysctl", "-qw", "net.ipv6.auto_flowlabels=0", ns=net.b)  # labels would differ by port
        for kind in "ipv4", "ipv6", "mapped":
            with Beside(net, kind) as b:
                compare_fast(b, "no option")
                for option in b.options() + STAMP_OPTIONS:
                    b.set([option])
                    compare_fast(b, (kind, option[0]))
                    b.set([option], False)
                    compare_fast(b, (kind, option[0], "off"), lengths=False)
                b.set(b.options() + [STAMP_OPTIONS[3], STAMP_OPTIONS[4]])
                compare_fast(b, (kind, "all"))
                assert b.app.status().accelerated, b.app.status().text


@case
def each_option_in_mode_latency():
    each_option("latency")


@case
def each_option_in_mode_balanced():
    each_option("balanced")


@case
def by_dpdk():
    """The headroom of its frames holds the stamps; the interface is the TAP."""
    with Wire() as net, vfio(net, "net_af_packet0,iface=va", "--frame-size", "4096"):
        sh("sysctl", "-qw", "net.ipv6.auto_flowlabels=0", ns=net.b)
        for kind in "ipv4", "ipv6", "mapped":
            with Beside(net, kind, port=7000) as b:
                b.set(b.options() + [STAMP_OPTIONS[3], STAMP_OPTIONS[4]])
                compare_fast(b, (kind, "all"))
                since = time.time_ns()
                b.send(b"waits")
                until(lambda: b.app.readable() and time.time_ns() > since + 3 * 10**8)
                assert stamp(b.fast()) < since + 2 * 10**8, "the time of the call, not of the datagram"


@case
def options_set_before_bind():
    with Net() as net, Sidecar(net):
        sh("sysctl", "-qw", "net.ipv6.auto_flowlabels=0", ns=net.b)
        for kind, options in ("ipv4", OPTIONS4), ("ipv6", OPTIONS4 + OPTIONS6):
            with Beside(net, kind, before=options + STAMP_OPTIONS[:1]) as b:
                compare_fast(b, (kind, "before bind"))


@case
def fragments_between():
    """They come by the kernel socket, with the kernel's own messages."""
    with Net() as net, Sidecar(net):
        sh("sysctl", "-qw", "net.ipv6.auto_flowlabels=0", ns=net.b)
        for kind in "ipv4", "ipv6", "mapped":
            with Beside(net, kind) as b:
                b.set(b.options() + STAMP_OPTIONS[2:3])
                for i in range(50):
                    b.send(b"%d " % i + b"x" * (3000 if i % 5 == 4 else 20))

                def collect(receive):
                    got = [receive() for _ in range(50)]
                    return {g.data: g for g in got}
                plain, ours = collect(b.slow), collect(b.fast)
                assert plain.keys() == ours.keys() and len(plain) == 50
                for data, m in plain.items():
                    o = ours[data]
                    assert (m.len, m.flags, masked(m, m)) == (o.len, o.flags, masked(o, o)), (kind, data[:9], m.messages(), o.messages())
                st = b.app.status()
                assert st.kernel_rx >= 10 and st.fast_rx >= 30, (st.fast_rx, st.kernel_rx)


def stamp(got):
    s, part = struct.unpack("qq", got.messages()[0][3])
    return s * 10**9 + part


@case
def times_are_monotone_and_when_it_came():
    with Net() as net, Sidecar(net), Beside(net, "ipv4") as b:
        b.set(STAMP_OPTIONS[2:3])
        sent = time.time_ns()
        for i in range(200):
            b.send(b"%d" % i)
        arrived = time.time_ns()
        until(lambda: time.time_ns() > arrived + 3 * 10**8)  # they wait in the ring; the time does not
        times = [stamp(b.fast()) for _ in range(200)]
        assert times == sorted(times)
        assert sent - 10**6 <= times[0] and times[-1] < arrived + 2 * 10**8, (sent, times[0], times[-1], arrived)
        assert b.app.status().fast_rx >= 200
        # two sockets of one worker: only the one that asked has messages
        with Sock(net, bind=(A4, 5061)) as other:
            b.peer.sendto(b"x", (A4, 5061))
            assert other.readable(5)
            got = Got(lib().udplane_recvmsg, other.fd, 0, ROOM)
            assert (got.len, got.flags) == (0, 0)
            assert other.status().fast_rx == 1


@case
def other_times_are_the_kernels():
    """Of sends, of hardware, and software times without the order to take them."""
    with Net() as net, Sidecar(net):
        for flags in 0x10, 0x8, 0x2 | 0x10, 0x4 | 0x40, 0x18 | 0x80:
            with Sock(net, bind=(A4, FAST)) as app:
                app.option(SOL, 37, flags)
                st = app.status()
                assert not st.accelerated and st.reason == b"socket_option", (flags, st.reason)


@case
def the_rest_of_the_table():
    """docs/options.md: options without effect on the fast path, and those that end it."""
    kept = [(SOL, 6, 1), (SOL, 45, 1), (SOL, 60, 1), (SOL, 46, 0), (IP, 15, 1), (IP, 24, 1), (IP, 51, 0), (IP, 11, 1), (IP, 33, 9),
            (SOL, 42, 0), (UDP, 102, 1), (SOL, 49, 0)]
    ended = [(IP, 18, 1), (IP, 19, 1), (IP, 23, 1), (SOL, 75, 1), (SOL, 82, 1), (UDP, 100, 2)]
    with Net() as net, Sidecar(net):
        for options, reason in (kept, b"none"), (ended, b"socket_option"):
            for level, number, value in options:
                with Beside(net, "ipv4") as b:
                    b.set([("", level, number, value)])
                    st = b.app.status()
                    assert (st.reason, st.accelerated) == (reason, options is kept), (level, number, st.reason, st.text)


def zero_checksums(port, net, zero):
    """IPv6 datagrams without a checksum, beside a plain socket: nobody gets them but with UDP_NO_CHECK6_RX; the others stay fast."""
    def receive(b, data):
        return b.slow().data == data == b.fast().data

    with Beside(net, "ipv6", port=port) as b:
        for on in (0, 1, 0):
            b.set([("UDP_NO_CHECK6_RX", UDP, 102, on)])
            before, passed = b.app.status().fast_rx, zero()
            b.peer.setsockopt(UDP, 101, 1)
            b.send(b"no checksum")
            b.peer.setsockopt(UDP, 101, 0)
            assert not on or receive(b, b"no checksum")
            b.send(b"checksum")
            assert receive(b, b"checksum"), "the other must be lost"
            until(lambda: passed is None or zero() == passed + 1, 5, "the datagram to be passed to the kernel")
            assert b.app.status().fast_rx == before + 1 and b.app.status().accelerated, b.app.status().text


@case
def datagrams_without_a_checksum():
    with Net() as net, Sidecar(net, mode="latency") as sidecar:
        zero_checksums(FAST, net, lambda: sidecar.stats()["device"]["counters"]["rx_passed_no_checksum"])


@case
def datagrams_without_a_checksum_by_dpdk():
    with Wire() as net, vfio(net, "net_af_packet0,iface=va", "--frame-size", "4096"):
        zero_checksums(7000, net, lambda: None)  # counted with all that goes to the TAP


def drops(got):
    for level, kind, _, data in got.messages():
        if (level, kind) == RXQ_OVFL:
            return struct.unpack("I", data)[0]
    return None


@case
def drops_are_told_as_the_kernel_tells_them():
    """Not by datagrams that came before the first; then by each, with the number before it."""
    with Net() as net, Sidecar(net) as sidecar, Beside(net, "ipv4") as b:
        b.set(OPTIONS4[:1])
        b.plain.setsockopt(SOL, socket.SO_RCVBUF, 2048)

        def ring_full():
            c = sidecar.stats()["sockets"][0]["counters"]
            return c["rx_drop_ring_full"] + c["rx_drop_quota"]

        def overflow():
            for _ in range(500):
                b.send(b"flood")
            return ring_full() > 0
        until(overflow, 20, "drops")
        settled(sidecar)
        lost = ring_full()
        seen = []
        while True:
            try:
                seen.append(drops(b.fast(MSG_DONTWAIT)))
            except BlockingIOError:
                break
        first = next((i for i, d in enumerate(seen) if d is not None), len(seen))
        assert first > 100, "what came before the first drop does not tell it"
        known = seen[first:]
        assert None not in known and known == sorted(known) and all(d <= lost for d in known), known
        while True:  # the model
            try:
                last = drops(b.slow(MSG_DONTWAIT))
            except BlockingIOError:
                break
        assert last is None
        b.send(b"next")
        assert drops(b.slow()) > 0
        assert drops(b.fast()) == lost
        # what the kernel delivers counts both, too; and the end of the claim, with its counters, takes nothing back
        b.send(b"x" * 3000)  # in fragments
        assert drops(b.slow()) > 0
        assert drops(b.fast()) == lost
        b.app.option(IP, 23, 1)  # IP_CHECKSUM: the kernel path for good
        assert not b.app.status().accelerated
        b.send(b"kernel")
        assert drops(b.fast()) == lost


@case
def drops_of_the_kernel_socket_count_too():
    """Fragments overflow it; what comes by the ring then tells that."""
    with Net() as net, Sidecar(net), Beside(net, "ipv4") as b:
        b.set(OPTIONS4[:1])
        b.app.option(SOL, socket.SO_RCVBUF, 2048)
        for i in range(100):
            b.peer.sendto(b"x" * 3000, (A4, FAST))
        drain(b.app)
        fast = b.app.status().fast_rx
        b.peer.sendto(b"ring", (A4, FAST))
        got = b.fast()
        assert got.data == b"ring" and b.app.status().fast_rx == fast + 1
        assert drops(got) and drops(got) + b.app.status().kernel_rx == 100, (drops(got), b.app.status().kernel_rx)


def split(got):
    """The datagrams of a message of UDP_GRO."""
    size = [struct.unpack("i", data)[0] for level, kind, _, data in got.messages() if (level, kind) == (UDP, 104)]
    assert len(size) <= 1
    if not size:
        return [got.data]
    assert 0 < size[0] < len(got.data), "only joined ones have a size"
    return [got.data[i:i + size[0]] for i in range(0, len(got.data), size[0])]


@case
def gro_joins_what_was_sent_as_one():
    """Each side may join as it likes; taken apart again, both have what was sent, with the same messages."""
    with Net() as net, Sidecar(net):
        for kind in "ipv4", "ipv6", "mapped":
            with Beside(net, kind) as b:
                b.set([("UDP_GRO", UDP, 104, 1), ("IP_RECVTTL", IP, 12, 1)])
                b.plain.setsockopt(SOL, 33, 8 << 20)  # SO_RCVBUFFORCE
                assert b.app.status().accelerated
                other = net.sock(net.b, b.peer.family, bind=(b.peer.getsockname()[0], 0))
                sent = []
                for turn in range(20):
                    size = 100 + 60 * turn
                    data = os.urandom(10 * size + turn)
                    b.peer.setsockopt(UDP, 103, size)  # UDP_SEGMENT: ten of this size and a shorter one
                    b.send(data)
                    sent += [data[i:i + size] for i in range(0, len(data), size)]
                    if turn % 5 == 4:
                        for port in PLAIN, FAST:
                            other.sendto(b"other", (b.to, port))
                        sent.append(b"other")

                def collect(receive):
                    out, joined = [], 0
                    while len(out) < len(sent):
                        got = receive()
                        assert not got.flags & socket.MSG_TRUNC
                        parts = split(got)
                        out += parts
                        joined = max(joined, len(parts))
                    return out, joined
                slow, _ = collect(b.slow)
                fast, joined = collect(b.fast)
                assert slow == sent, kind
                assert fast == sent, kind
                assert joined > 2, "nothing was joined"
                assert b.app.status().fast_rx >= len(sent)
                other.close()
                b.set([("UDP_GRO", UDP, 104, 1)], False)
                b.send(b"x" * 3 * size)
                assert [len(b.fast().data) for _ in range(3)] == [size] * 3, "not joined any more"


if __name__ == "__main__":
    run()
