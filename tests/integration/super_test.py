#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Super-packets: what an application sends in a run goes as one packet that is cut later. The same datagrams with and without (--tx-gso)
must be the same on the wire and for every kind of receiver, in the same order, whatever changes meanwhile."""
import collections
import ctypes
import itertools
import socket
import struct
import threading

from harness import *

A4, A4B, B4, A6, A6B, B6 = "10.99.0.1", "10.99.0.3", "10.99.0.2", "fd99::1", "fd99::3", "fd99::2"
PORT, DST = 5060, 7000
INET, INET6 = socket.AF_INET, socket.AF_INET6
IP, IPV6, UDP = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.IPPROTO_UDP
IP_TOS, IP_TTL, IP_PKTINFO, IP_MTU_DISCOVER, IPV6_PKTINFO, IPV6_TCLASS = 1, 2, 8, 10, 50, 67
SOL_PACKET, PACKET_VNET_HDR, SO_RCVBUFFORCE, UDP_SEGMENT, UDP_GRO = 263, 15, 33, 103, 104
WANT, DONT = 1, 0
MAX = {INET: 1472, INET6: 1452}
SUPERS = "tx_supers", "tx_super_datagrams", "tx_super_refused"


# ---- what is sent ----

class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_size_t), ("sent", ctypes.c_size_t)]


Message = collections.namedtuple("Message", "payload to control", defaults=(b"",))


def cmsg(level, kind, data):
    return struct.pack("@Qii", 16 + len(data), level, kind) + data + bytes(-len(data) % 8)


def number(level, kind, value):
    return cmsg(level, kind, struct.pack("@i", value))


def source(addr):
    if ":" in addr:
        return cmsg(IPV6, IPV6_PKTINFO, struct.pack("@16sI", socket.inet_pton(INET6, addr), 0))
    return cmsg(IP, IP_PKTINFO, struct.pack("@i4s4s", 0, socket.inet_aton(addr), bytes(4)))


def sendmmsg(fd, messages):
    """All in one call of the library."""
    vec, keep = (Mmsghdr * len(messages))(), []
    for m, v in zip(messages, vec):
        p, n, name = pack(m.to)
        data = ctypes.create_string_buffer(m.payload, max(len(m.payload), 1))
        control = ctypes.create_string_buffer(m.control, len(m.control)) if m.control else None
        iov = Iovec(ctypes.addressof(data), len(m.payload))
        keep.append((p, name, data, control, iov))
        v.name, v.namelen, v.iov, v.iovlen = ctypes.addressof(name), n, ctypes.addressof(iov), 1
        v.control, v.controllen = (ctypes.addressof(control), len(m.control)) if control else (None, 0)
    done = checked(lib().udplane_sendmmsg(fd, vec, len(messages), 0))
    assert done == len(messages), (done, len(messages))
    assert all(v.sent == len(m.payload) for m, v in zip(messages, vec))


def fill(n, seed):
    return bytes((seed * 7 + i * 13) & 0xff for i in range(n))


def runs(family):
    """Lists of messages, each sent by one call: runs of every kind."""
    to, top = ((B4, DST) if family == INET else (B6, DST)), MAX[family]
    other = (to[0], DST + 1)
    tos = (IP, IP_TOS) if family == INET else (IPV6, IPV6_TCLASS)
    seed = itertools.count(1)

    def run(*lens, to=to, control=b""):
        return [Message(fill(n, next(seed)), to, control) for n in lens]
    for cnt in (1, 2, 3, 4, 7, 8, 9, 32, 33, 63, 64, 65, 100):
        yield run(*[33] * cnt)
    for size in (1, 2, 3, 7, 63, 64, 65, 511, 512, 513, 1000, 1399, top - 1, top):
        yield run(*[size] * 12)
        yield run(*[size] * 11, 1)  # a shorter last one
    for size in (1000, top):  # more than 64 KiB
        yield run(*[size] * 70)
    yield run(*[100] * 10, 101, *[100] * 10, 99, 99, *[98] * 12)
    yield run(*[50] * 9, 0, *[50] * 9, 0, 0)
    yield run(*range(60, 20, -1))
    yield [m for _ in range(12) for m in run(20) + run(20, to=other)]
    yield run(*[20] * 12) + run(*[20] * 12, to=other) + run(*[20] * 3) + run(*[20] * 20, to=other)
    yield run(*[20] * 9) + run(*[20] * 9, control=number(*tos, 0xb8)) + run(*[20] * 9, control=number(*tos, 0x20))
    yield [m for i in range(12) for m in run(20, control=number(*tos, i % 2 * 4))]
    if family == INET:
        yield run(*[21] * 9, control=number(IP, IP_TTL, 9)) + run(*[21] * 9)
    mine = (A4, A4B) if family == INET else (A6, A6B)
    for _ in range(2):  # Linux judges a source once, the fast path uses it from then on
        yield [m for src in mine for m in run(*[30] * 10, control=source(src))]
    yield [m for i in range(12) for m in run(30, control=source(mine[i % 2]))]


# ---- what arrives ----

Packet = collections.namedtuple("Packet", "src dst tos ttl df id sport dport payload")


def cut(captured, whole=False):
    """The Packets of what stands on the wire: of a super-packet, those that it is cut into. Checks every header and checksum."""
    flags, kind, _, size, _, _ = struct.unpack("=BBHHHH", captured[:10])
    frame = captured[10:]
    if frame[12:14] == b"\x08\x00" and frame[23] == 17:
        ip, at, family = frame[14:34], 34, INET
        length, ident, df = struct.unpack(">H", ip[2:4])[0] - 28, struct.unpack(">H", ip[4:6])[0], ip[6] >> 6 & 1
        assert not struct.unpack(">H", ip[6:8])[0] & 0x3fff, "a fragment"
        assert ones_sum(ip) == 0xffff, "IP checksum"
        src, dst, tos, ttl = ip[12:16], ip[16:20], ip[1], ip[8]
    elif frame[12:14] == b"\x86\xdd" and frame[20] == 17:
        ip, at, family = frame[14:54], 54, INET6
        length, ident, df, ttl = struct.unpack(">H", ip[4:6])[0] - 8, 0, 1, ip[7]
        src, dst, tos = ip[8:24], ip[24:40], struct.unpack(">I", ip[:4])[0] >> 20 & 0xff
    else:
        return []
    sport, dport, udp_len, check = struct.unpack(">HHHH", frame[at:at + 8])
    if sport != PORT:
        return []
    data = frame[at + 8:at + 8 + length]
    pseudo = ones_sum(src + dst + struct.pack(">HH", 17, udp_len))
    assert udp_len == length + 8 and len(data) == length, "lengths"
    if flags & 1:  # the rest of the checksum is still to be made
        assert check in (pseudo, pseudo ^ 0xffff if pseudo in (0, 0xffff) else pseudo), f"pseudo-header sum {check:#x}, not {pseudo:#x}"
    else:
        assert ones_sum(struct.pack(">H", pseudo) + frame[at:at + 8] + data) == 0xffff, f"UDP checksum {check:#x}"
    assert kind in (0, 5), f"gso_type {kind}"
    if kind:
        assert whole and flags & 1 and 0 < size < length, (flags, size, length)
    size = size if kind else max(length, 1)
    parts = [data[i:i + size] for i in range(0, length, size)] or [b""]
    return [Packet(socket.inet_ntop(family, src), socket.inet_ntop(family, dst), tos, ttl, df, (ident + i) & 0xffff, sport, dport, p)
            for i, p in enumerate(parts)]


class Wire:
    """What arrives at one end of the veth, from port PORT."""

    def __init__(self, net, ns, device):
        self.sock = net.inside(ns, self.open, device)
        self.raw = 0

    @staticmethod
    def open(device):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        s.bind((device, 0))
        s.setblocking(False)
        return s

    def take(self, wanted, whole=False):
        got = []

        def more():
            try:
                while True:
                    captured, addr = self.sock.recvfrom(1 << 17)
                    if addr[2] != socket.PACKET_OUTGOING:
                        found = cut(captured, whole)
                        got.extend(found)
                        self.raw += bool(found)
            except BlockingIOError:
                return len(got) >= wanted
        until(more, 20, f"{wanted} datagrams on the wire")
        return got

    def close(self):
        self.sock.close()


def supers(sidecar):
    c = sidecar.stats()["workers"][0]["counters"]
    return [c[name] for name in SUPERS]


def prepare(net):
    sh("ip", "-n", net.a, "addr", "add", A4B + "/24", "dev", "va")
    sh("ip", "-n", net.a, "addr", "add", A6B + "/64", "dev", "va", "nodad")
    mac = sh("ip", "-n", net.b, "-o", "link", "show", "vb").split("link/ether ")[1].split()[0]
    for addr in (B4, B6):
        sh("ip", "-n", net.a, "neigh", "replace", addr, "lladdr", mac, "dev", "va", "nud", "permanent")


def send_all(net, wire, whole):
    """Sends everything, and returns what stood on the wire."""
    out = []
    for family in (INET, INET6):
        with Sock(net, family, bind=("0.0.0.0" if family == INET else "::", PORT)) as s:
            for call in runs(family):
                sendmmsg(s.fd, call)
                got = wire.take(len(call), whole)
                assert [p.payload for p in got] == [m.payload for m in call], (family, [len(m.payload) for m in call])
                assert [p.dport for p in got] == [m.to[1] for m in call]
                out += got
            if family == INET:  # routers may fragment: every id differs
                s.option(IP, IP_MTU_DISCOVER, DONT)
                call = [Message(fill(40, i), (B4, DST)) for i in range(64)]
                sendmmsg(s.fd, call)
                got = wire.take(len(call), whole)
                assert not any(p.df for p in got) and len({p.id for p in got}) == len(call), "ids"
                assert [p.payload for p in got] == [m.payload for m in call]
                s.option(IP, IP_MTU_DISCOVER, WANT)
                out += got
    return [p._replace(id=0) for p in out]


@case
def the_wire_shows_the_same_with_and_without():
    with Net() as net:
        prepare(net)
        wire = Wire(net, net.b, "vb")
        seen = {}
        for way in ("off", "on", "cut", "cut, checksums"):
            sh("ethtool", "-K", "va", "tx", "off" if "checksums" in way else "on", ns=net.a)
            sh("ethtool", "-K", "va", "tx-udp-segmentation", "off" if "cut" in way else "on", ns=net.a)
            with Sidecar(net, "--tx-gso", "off" if way == "off" else "on", mode="latency") as sidecar:
                wire.raw = 0
                seen[way] = send_all(net, wire, whole=way == "on")
                cnt, datagrams, refused = supers(sidecar)
                settled(sidecar)
            if way == "off":
                assert (cnt, datagrams, refused) == (0, 0, 0)
            else:
                assert cnt > 50 and datagrams > 1000 and refused == 0, (way, cnt, datagrams, refused)
            assert (wire.raw < len(seen[way]) / 4) == (way == "on"), (way, wire.raw, len(seen[way]))
        for way in seen:
            for i, (one, other) in enumerate(zip(seen["off"], seen[way])):
                assert one == other, (way, i, one, other)
            assert len(seen[way]) == len(seen["off"])
        wire.close()


@case
def a_datagram_alone_goes_alone_and_at_once():
    with Net() as net, Sidecar(net) as sidecar:
        prepare(net)
        peer = net.sock(net.b, bind=(B4, DST))
        with Sock(net, bind=(A4, PORT)) as s:
            for i in range(50):
                s.sendto(b"%d" % i, (B4, DST))
                assert peer.recv(100) == b"%d" % i
        assert supers(sidecar) == [0, 0, 0]
        settled(sidecar)


# ---- receivers ----

NUMBERED = 600


def numbered(first, cnt, size=100):
    return [struct.pack(">I", n) + fill(size - 4, n) for n in range(first, first + cnt)]


def receive_gro(sock, wanted, got):
    """Adds the datagrams of what recvmsg() with UDP_GRO returns; returns how many calls returned several."""
    several = 0
    while len(got) < wanted:
        data, control, _, _ = sock.recvmsg(1 << 16, 64)
        sizes = [struct.unpack("@i", c)[0] for level, kind, c in control if (level, kind) == (UDP, UDP_GRO)]
        size = sizes[0] if sizes else len(data)
        parts = [data[i:i + size] for i in range(0, len(data), size)]
        several += len(parts) > 1
        got += parts
    return several


def deliver(s, to, receive):
    """Sends NUMBERED datagrams in runs to `to`; receive(n) returns the next n payloads."""
    first = 0
    for cnt in itertools.cycle((1, 64, 3, 17, 8, 30)):
        cnt = min(cnt, NUMBERED - first)
        if not cnt:
            return
        sendmmsg(s.fd, [Message(p, to) for p in numbered(first, cnt)])
        got = receive(cnt)
        assert got == numbered(first, cnt), (first, cnt, len(got))
        first += cnt


def plain(net, ns, addr, port=DST):
    return net.sock(ns, INET6 if ":" in addr else INET, bind=(addr, port))


@case
def plain_and_gro_sockets_receive_them():
    with Net() as net, Sidecar(net) as sidecar:
        prepare(net)
        for family, own, to in ((INET, A4, B4), (INET6, A6, B6)):
            with Sock(net, family, bind=(own, PORT)) as s, plain(net, net.b, to) as peer, plain(net, net.b, to, DST + 1) as gro:
                deliver(s, (to, DST), lambda n: [peer.recv(2000) for _ in range(n)])
                gro.setsockopt(UDP, UDP_GRO, 1)
                several = [0]

                def receive(n):
                    got = []
                    several[0] += receive_gro(gro, n, got)
                    return got
                deliver(s, (to, DST + 1), receive)
                assert several[0] > 10, several
        assert supers(sidecar)[0] > 40
        settled(sidecar)


@case
def udplane_and_an_xdp_program_receive_them():
    """The library in this process knows one udplaned, so the receiver is another process in b, with a udplaned of its own."""
    code = f"""
net = Here()
s = Sock(net, bind=("{B4}", 5070))
print("ready", flush=True)
for _ in range({NUMBERED}):
    sys.stdout.write(s.recvfrom()[0].hex() + "\\n")
sys.stdout.flush()
print(int(s.status().accelerated))
"""
    with Net() as net:
        prepare(net)
        there = collections.namedtuple("There", "a inside")(net.b, Here.inside)
        path = os.path.join(os.path.dirname(SOCKET), "peer.sock")
        with Sidecar(net) as sidecar, Sidecar(there, interface="vb", path=path) as other:
            head = f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})\nfrom harness import *\n"
            reader = subprocess.Popen(["ip", "netns", "exec", net.b, sys.executable, "-c", head + code], stdout=subprocess.PIPE, text=True,
                                      env={**os.environ, "UDPLANE_TEST_SOCKET": path, "UDPLANE_SOCKET": path})
            try:
                assert reader.stdout.readline() == "ready\n"
                with Sock(net, bind=(A4, PORT)) as s:
                    for first in range(0, NUMBERED, 50):
                        sendmmsg(s.fd, [Message(p, (B4, 5070)) for p in numbered(first, 50)])
                got = [bytes.fromhex(reader.stdout.readline().strip()) for _ in range(NUMBERED)]
                assert reader.stdout.readline() == "1\n"
            finally:
                reader.kill()
                reader.wait()
            assert got == numbered(0, NUMBERED)
            assert supers(sidecar)[1] == NUMBERED, supers(sidecar)
            assert settled(other)["workers"][0]["counters"]["rx_delivered"] == NUMBERED
            settled(sidecar)


@case
def through_a_bridge_and_a_forwarding_namespace():
    with Net() as net:
        prepare(net)
        far = f"udplane-c-{os.getpid()}"
        sh("ip", "netns", "add", far)
        net.fd[far] = os.open(f"/run/netns/{far}", os.O_RDONLY)
        try:
            def b(*command):
                sh("ip", "-n", net.b, *command)
            b("addr", "flush", "dev", "vb")
            b("link", "add", "br0", "type", "bridge")
            b("link", "set", "br0", "address", sh("cat", "/sys/class/net/vb/address", ns=net.b).strip())
            b("link", "set", "vb", "master", "br0")
            b("addr", "add", B4 + "/24", "dev", "br0")
            b("link", "set", "br0", "up")
            for here, there in (("vbridged", "v0"), ("vrouted", "v1")):
                b("link", "add", here, "type", "veth", "peer", "name", there, "netns", far)
                b("link", "set", here, "up")
                sh("ip", "-n", far, "link", "set", there, "up")
            b("link", "set", "vbridged", "master", "br0")
            b("addr", "add", "10.98.0.1/24", "dev", "vrouted")
            sh("sysctl", "-qw", "net.ipv4.ip_forward=1", ns=net.b)
            sh("ip", "-n", far, "addr", "add", "10.99.0.9/24", "dev", "v0")
            sh("ip", "-n", far, "addr", "add", "10.98.0.2/24", "dev", "v1")
            sh("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.v1.rp_filter=0", ns=far)
            sh("ip", "-n", net.a, "route", "add", "10.98.0.0/24", "via", B4)
            with Sidecar(net) as sidecar, Sock(net, bind=(A4, PORT)) as s:
                for to in ("10.99.0.9", "10.98.0.2"):
                    with plain(net, far, to) as peer:
                        s.sendto(b"resolve", (to, DST))
                        assert peer.recv(100) == b"resolve"
                        deliver(s, (to, DST), lambda n: [peer.recv(2000) for _ in range(n)])
                assert supers(sidecar)[0] > 20, supers(sidecar)
                settled(sidecar)
        finally:
            os.close(net.fd.pop(far))
            sh("ip", "netns", "del", far, check=False)


# ---- changes while datagrams are under way ----

class Stream:
    """Runs of all lengths and datagrams alone, numbered, and a plain receiver at the other end that must get all of them in order."""

    def __init__(self, net):
        self.s = Sock(net, bind=(A4, PORT))
        self.peer = plain(net, net.b, B4)
        self.peer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self.next = 0
        self.stop = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self.send)
        self.thread.start()

    def send(self):
        try:
            for cnt in itertools.cycle((1, 64, 1, 1, 5, 9, 2, 33, 1, 3, 200)):
                if self.stop.is_set():
                    return
                sendmmsg(self.s.fd, [Message(p, (B4, DST)) for p in numbered(self.next, cnt)])
                self.next += cnt
                got = [self.peer.recv(2000) for _ in range(cnt)]
                assert got == numbered(self.next - cnt, cnt), (self.next, cnt, [g[:4].hex() for g in got])
        except BaseException as e:  # the other thread shows it
            self.error = e

    def passes(self, cnt):
        """Waits until so many more have arrived."""
        wanted = self.next + cnt
        until(lambda: self.error or self.next >= wanted, 20, f"{cnt} datagrams")
        if self.error:
            raise self.error

    def close(self):
        self.stop.set()
        self.thread.join()
        self.s.close()
        self.peer.close()
        if self.error:
            raise self.error


@case
def order_holds_across_every_change_of_way():
    program = os.path.join(BIN, "tests", "integration", "pass.bpf.o")
    with Net() as net, Sidecar(net) as sidecar:
        prepare(net)
        sh("ethtool", "-K", "vb", "gro", "on", ns=net.b)
        stream = Stream(net)
        try:
            def a(*command):
                sh(*command, ns=net.a)
                stream.passes(2000)
            for _ in range(2):
                a("ethtool", "-K", "va", "tx-udp-segmentation", "off")
                a("ethtool", "-K", "va", "tx", "off")
                a("ethtool", "-K", "va", "tx", "on", "tx-udp-segmentation", "on")
                a("ip", "link", "set", "va", "gso_max_segs", "1")
                a("ip", "link", "set", "va", "gso_max_segs", "65535", "gso_max_size", "3000")
                a("ip", "link", "set", "va", "gso_max_size", "65536")
                sh("ip", "-n", net.b, "link", "set", "vb", "xdp", "obj", program, "sec", "xdp")
                stream.passes(2000)
                sh("ip", "-n", net.b, "link", "set", "vb", "xdp", "off")
                stream.passes(2000)
        finally:
            stream.close()
        assert supers(sidecar)[0] > 200 and supers(sidecar)[1] > 10000, supers(sidecar)
        settled(sidecar)


@case
def a_device_that_refuses_gets_frames():
    """Past a qdisc Linux does not cut: what the device does not take whole is refused."""
    with Net() as net:
        prepare(net)
        sh("tc", "qdisc", "add", "dev", "va", "root", "pfifo", ns=net.a)
        with Sidecar(net) as sidecar:
            stream = Stream(net)
            try:
                stream.passes(2000)
                before = supers(sidecar)
                assert before[0] > 20 and before[2] == 0, before
                sh("ethtool", "-K", "va", "tx-udp-segmentation", "off", ns=net.a)
                stream.passes(2000)
                refused = supers(sidecar)
                assert 0 < refused[2] <= 8, refused
                stream.passes(2000)
                after = supers(sidecar)
                assert after[0] == refused[0], (refused, after)
                sh("ethtool", "-K", "va", "tx-udp-segmentation", "on", ns=net.a)
                until(lambda: supers(sidecar)[0] > after[0] + 20, 20, "super-packets again")
            finally:
                stream.close()
            settled(sidecar)


@case
def several_tx_queues_get_frames():
    """Super-packets could overtake frames by another queue."""
    with Net(queues=2) as net, Sidecar(net) as sidecar:
        prepare(net)
        stream = Stream(net)
        try:
            stream.passes(2000)
            assert supers(sidecar) == [0, 0, 0]
        finally:
            stream.close()
        settled(sidecar)


@case
def segments_of_one_call_are_joined_again():
    """UDP_SEGMENT: the library cuts, the worker joins."""
    with Net() as net, Sidecar(net) as sidecar:
        prepare(net)
        wire = Wire(net, net.b, "vb")
        with Sock(net, bind=(A4, PORT)) as s:
            s.option(UDP, UDP_SEGMENT, 500)
            for length in (501, 1000, 5001, 20000, 31999):
                data = fill(length, length)
                assert s.sendto(data, (B4, DST)) == length
                got = wire.take((length + 499) // 500, whole=True)
                assert [p.payload for p in got] == [data[i:i + 500] for i in range(0, length, 500)], length
        cnt, datagrams, _ = supers(sidecar)
        assert cnt == 3 and datagrams == 11 + 40 + 64, (cnt, datagrams)
        wire.close()
        settled(sidecar)


run()
