#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Multicast: who receives what. The same sockets are made twice, by udplane and as plain sockets of another namespace that hears the same
datagrams; both must receive the same sets. The stats say by which path they came."""
import socket
import struct

from harness import *

PORT = 5060
A4, B4, C4, A6, B6, C6 = "10.99.0.1", "10.99.0.2", "10.99.0.22", "fd99::1", "fd99::2", "fd99::22"
G4, H4, G6, H6 = "239.1.2.3", "239.1.2.4", "ff15::1:2", "ff15::1:3"
JOIN_GROUP, BLOCK_SOURCE, UNBLOCK_SOURCE, LEAVE_GROUP, JOIN_SOURCE, LEAVE_SOURCE, MSFILTER = range(42, 49)
MULTICAST_ALL = {4: (socket.IPPROTO_IP, 49), 6: (socket.IPPROTO_IPV6, 29)}


def six(text):
    return ":" in text


def storage(text):
    if six(text):
        s = struct.pack("=HHI", socket.AF_INET6, 0, 0) + socket.inet_pton(socket.AF_INET6, text)
    else:
        s = struct.pack("=HH", socket.AF_INET, 0) + socket.inet_pton(socket.AF_INET, text)
    return s.ljust(128, b"\0")


def level(group):
    return socket.IPPROTO_IPV6 if six(group) else socket.IPPROTO_IP


class Pair:
    """One socket by udplane in namespace a, and its plain twin in a namespace of its own behind the same link."""

    def __init__(self, world, family=socket.AF_INET, bind="0.0.0.0", reuse=True, before=()):
        self.world = world
        self.fast = Sock(world.net, family)
        self.plain = world.net.sock(world.c, family)
        world.pairs.append(self)
        if reuse:
            self.option(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in before:
            self.set(*option)
        self.fast.bind((bind, PORT))
        world.net.inside(world.c, self.plain.bind, (bind, PORT))
        self.plain.setblocking(False)

    def option(self, lvl, name, value):
        self.set(lvl, name, struct.pack("i", value))

    def set(self, lvl, name, value):
        self.world.net.inside(self.world.net.a, lambda: checked(lib().udplane_setsockopt(self.fast.fd, lvl, name, value, len(value))))
        self.world.net.inside(self.world.c, self.plain.setsockopt, lvl, name, value)

    def group(self, name, group, source=None, ifindex=None):
        """The interface has the same index in both namespaces."""
        value = struct.pack("=II", self.world.index if ifindex is None else ifindex, 0) + storage(group)
        self.set(level(group), name, value + (storage(source) if source else b""))

    def join(self, group, source=None):
        self.group(JOIN_SOURCE if source else JOIN_GROUP, group, source)

    def leave(self, group):
        self.group(LEAVE_GROUP, group)

    def filter(self, group, exclude, sources):
        self.set(level(group), MSFILTER, struct.pack("=II", self.world.index, 0) + storage(group) +
                 struct.pack("=II", 0 if exclude else 1, len(sources)) + b"".join(map(storage, sources)))

    def received(self):
        def plain():
            out = []
            while True:
                try:
                    out.append(self.plain.recv(65536))
                except BlockingIOError:
                    return out
        return self.fast.recv_all(0.1), plain()

    def close(self):
        self.fast.close()
        self.plain.close()
        self.world.pairs.remove(self)


class World:
    """Namespace b sends everything twice: to a, where udplaned is, and to c, the oracle. Both have an interface `va` of the same index."""

    def __init__(self, *flags):
        self.net = Net()
        self.c = f"udplane-c-{os.getpid()}"
        self.pairs = []
        self.sent = 0
        self.senders = {}
        self.sidecar = None
        try:
            self.build(self.net)
            self.sidecar = Sidecar(self.net, *flags)
            Sock(self.net, bind=(A4, PORT + 1)).close()  # this process is attached
        except BaseException:
            self.__exit__()
            raise

    def build(self, net):
        sh("ip", "netns", "add", self.c)
        net.fd[self.c] = os.open(f"/run/netns/{self.c}", os.O_RDONLY)
        self.index = int(sh("cat", "/sys/class/net/va/ifindex", ns=net.a))
        sh("ip", "-n", net.b, "link", "add", "vc", "type", "veth", "peer", "name", "va", "index", str(self.index), "netns", self.c)
        sh("ip", "-n", self.c, "addr", "add", "10.99.0.101/24", "dev", "va")
        sh("ip", "-n", self.c, "addr", "add", "fd99::101/64", "dev", "va", "nodad")
        sh("ip", "-n", self.c, "link", "set", "lo", "up")
        sh("ip", "-n", self.c, "link", "set", "va", "up")
        sh("ip", "-n", net.b, "link", "set", "vc", "up")
        sh("ip", "-n", net.b, "addr", "add", C4 + "/24", "dev", "vb")
        sh("ip", "-n", net.b, "addr", "add", C6 + "/64", "dev", "vb", "nodad")
        until(lambda: "tentative" not in sh("ip", "-n", self.c, "-6", "addr", "show", "dev", "va"), what="addresses")
        self.links = [int(sh("cat", f"/sys/class/net/{dev}/ifindex", ns=net.b)) for dev in ("vb", "vc")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pair in list(self.pairs):
            pair.close()
        if self.sidecar:
            self.sidecar.stop()
        sh("ip", "netns", "del", self.c, check=False)
        self.net.__exit__()

    def sender(self, source, link):
        if (source, link) not in self.senders:
            s = self.net.sock(self.net.b, socket.AF_INET6 if six(source) else socket.AF_INET, bind=(source, 0))
            if six(source):
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link)
            else:
                s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", b"\0" * 4, b"\0" * 4, link))
            self.senders[source, link] = s
        return self.senders[source, link]

    def send(self, group, source=None, count=20):
        """To both; returns what was sent: numbered, and nothing twice."""
        out = []
        for _ in range(count):
            self.sent += 1
            out.append(b"%s %d" % (group.encode(), self.sent))
            for link in self.links:
                self.sender(source or (B6 if six(group) else B4), link).sendto(out[-1], (group, PORT))
        return out

    def broadcast(self, to, count=20):
        """As send(), to a broadcast address."""
        out = []
        for dev in "vb", "vc":
            if dev not in self.senders:
                s = self.net.sock(self.net.b)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
                s.bind((B4, 0))
                self.senders[dev] = s
        for _ in range(count):
            self.sent += 1
            out.append(b"%s %d" % (to.encode(), self.sent))
            for dev in "vb", "vc":
                self.senders[dev].sendto(out[-1], (to, PORT))
        return out

    def same(self, *expected):
        """Every pair has received the same by both; and, if given, this."""
        for i, pair in enumerate(list(self.pairs)):
            fast, plain = pair.received()
            assert fast == plain, (i, fast, plain)
            if expected:
                assert fast == expected[i], (i, fast, expected[i])

    def counters(self):
        return self.sidecar.stats()["workers"][0]["counters"]

    def by_fast_path(self):
        return self.counters()["rx_delivered"]


def frames_come_back(w):
    """A worker that sleeps takes them back when a socket is closed."""
    for pair in list(w.pairs):
        pair.close()
    until(lambda: settled(w.sidecar)["device"]["counters"]["frames_clients"] == 0, what="the return of all frames")


def one(w, group, source, family, bind, other):
    before = w.by_fast_path()
    p = Pair(w, family, bind, reuse=False)
    w.send(group)
    w.same([])
    p.join(group)
    sent = w.send(group)
    w.send(other)
    w.same(sent)
    assert w.by_fast_path() == before + len(sent), w.counters()
    p.leave(group)
    w.send(group)
    w.same([])
    p.join(group, source)  # this source only
    sent = w.send(group, source)
    w.send(group)
    w.same(sent)
    assert w.by_fast_path() == before + 2 * len(sent), w.counters()
    frames_come_back(w)


@case
def one_member_of_a_group():
    """Bound to no address, or to the group's."""
    with World() as w:
        one(w, G4, C4, socket.AF_INET, "0.0.0.0", H4)
        one(w, G4, C4, socket.AF_INET, G4, H4)
        one(w, G6, C6, socket.AF_INET6, "::", H6)
        one(w, G6, C6, socket.AF_INET6, G6, H6)


@case
def several_sockets_get_a_copy_each():
    with World() as w:
        pairs = [Pair(w) for _ in range(4)]
        pairs[0].join(G4)
        pairs[1].join(G4)
        pairs[2].option(*MULTICAST_ALL[4], 0)  # no member, and does not take what others have joined; the last one does
        sent = w.send(G4)
        w.same(sent, sent, [], sent)
        c = settled(w.sidecar)["workers"][0]["counters"]
        assert (c["rx_delivered"], c["rx_copies"]) == (60, 40), c
        pairs[0].close()
        sent = w.send(G4)
        w.same(sent, [], sent)
        pairs[1].leave(G4)
        w.send(G4)
        w.same([], [], [])
        frames_come_back(w)


@case
def filters_of_several_sockets():
    with World() as w:
        every, only, but = (Pair(w, before=[(*MULTICAST_ALL[4], struct.pack("i", 0))]) for _ in range(3))
        every.join(G4)
        only.join(G4, B4)
        but.join(G4)
        but.group(BLOCK_SOURCE, G4, B4)
        b, c = w.send(G4, B4), w.send(G4, C4)
        w.same(b + c, b, c)
        but.group(UNBLOCK_SOURCE, G4, B4)
        only.filter(G4, False, [C4, "192.0.2.1"])
        every.filter(G4, True, [C4])
        b, c = w.send(G4, B4), w.send(G4, C4)
        w.same(b, c, b + c)
        assert w.by_fast_path() == 160, w.counters()
        every.close()
        but.close()
        w.send(G4, B4)
        w.same([])


@case
def other_members_groups_come_by_the_kernel_if_sources_are_chosen():
    """One receives by IP_MULTICAST_ALL what the other has joined of one source; which sources the interface lets pass, only Linux knows."""
    with World() as w:
        p, q = Pair(w), Pair(w)
        p.join(G4, B4)
        sent = w.send(G4, B4)
        w.send(G4, C4)
        w.same(sent, sent)
        assert w.by_fast_path() == 0
        q.option(*MULTICAST_ALL[4], 0)
        sent = w.send(G4, B4)
        w.same(sent, [])
        assert w.by_fast_path() == 20, w.counters()


@case
def ways_to_join():
    with World() as w:
        value = struct.pack("=II", w.index, 0) + storage(G4)
        p = Pair(w, before=[(socket.IPPROTO_IP, JOIN_GROUP, value)])  # before bind()
        w.same(w.send(G4))
        assert w.by_fast_path() == 20, w.counters()
        p.close()
        p = Pair(w)  # the old option, with the interface's address
        w.net.inside(w.net.a, lambda: checked(lib().udplane_setsockopt(
            p.fast.fd, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(G4) + socket.inet_aton(A4), 8)))
        w.net.inside(w.c, p.plain.setsockopt, 0, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(G4) + socket.inet_aton("10.99.0.101"))
        w.same(w.send(G4))
        assert w.by_fast_path() == 40, w.counters()
        p.close()
        p = Pair(w, socket.AF_INET6, "::")  # one socket in groups of both families
        p.join(G4)
        p.join(G6)
        w.same(w.send(G4) + w.send(G6))
        assert w.by_fast_path() == 80, w.counters()


BROADCAST = (socket.SOL_SOCKET, socket.SO_BROADCAST)


def add_network(w, net):
    """On the link to both, with a broadcast address of its own."""
    for ns, dev, host in (w.net.a, "va", 1), (w.c, "va", 101), (w.net.b, "vb", 2), (w.net.b, "vc", 3):
        sh("ip", "-n", ns, "addr", "add", f"{net}.{host}/24", "broadcast", "+", "dev", dev)


@case
def broadcast_goes_to_every_socket_on_the_port():
    """By the fast path while one of them has SO_BROADCAST, and all use udplane."""
    with World() as w:
        add_network(w, "10.98.0")
        on = [(*BROADCAST, struct.pack("i", 1))]
        first, _, _ = Pair(w, before=on), Pair(w), Pair(w, socket.AF_INET6, "::")
        Pair(w, socket.AF_INET6, "::", before=[(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, struct.pack("i", 1))])
        for to in "255.255.255.255", "10.98.0.255":
            before = w.by_fast_path()
            sent = w.broadcast(to)
            w.same(sent, sent, sent, [])
            assert w.by_fast_path() == before + 60, (to, w.counters())
        for option, name, why in (*BROADCAST, 0), (socket.IPPROTO_IP, 8, 1):  # IP_PKTINFO
            first.option(option, name, why)
            before = w.by_fast_path()
            sent = w.broadcast("10.98.0.255")
            w.same(sent, sent, sent, [])
            assert w.by_fast_path() == before, (option, name, w.counters())
            first.option(option, name, 1 - why)
        sent = w.broadcast("10.98.0.255")
        w.same(sent, sent, sent, [])
        assert w.by_fast_path() == before + 60, w.counters()
        frames_come_back(w)


@case
def broadcast_addresses_come_and_go():
    with World() as w:
        Pair(w, before=[(*BROADCAST, struct.pack("i", 1))])

        def fast():
            before = w.by_fast_path()
            w.same(w.broadcast("10.98.0.255", 1))
            return w.by_fast_path() > before
        w.broadcast("10.98.0.255", 0)
        add_network(w, "10.98.0")
        until(fast, 5, "the new network's broadcast by the fast path")
        for ns in w.net.a, w.c:
            sh("ip", "-n", ns, "addr", "del", "10.98.0.%d/24" % (1 if ns == w.net.a else 101), "dev", "va")

        def gone():
            w.broadcast("10.98.0.255", 1)
            return w.pairs[0].received() == ([], [])
        until(gone, 5, "nobody to receive what is sent to a network that is gone")


@case
def a_plain_socket_gets_its_copy_and_so_does_the_other():
    with World() as w:
        p = Pair(w)
        p.join(G4)
        w.same(w.send(G4))
        assert w.by_fast_path() == 20

        def plain(ns):
            s = w.net.sock(ns)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            w.net.inside(ns, s.bind, ("0.0.0.0", PORT))
            s.setblocking(False)
            return s

        late = plain(w.net.a)

        def reaches():
            w.send(G4, count=1)
            try:
                return late.recv(100)
            except BlockingIOError:
                return None
        until(reaches, what="the group's return to the kernel")
        p.received()
        before = w.by_fast_path()
        sent = w.send(G4)
        fast, _ = p.received()
        assert fast == sent, (fast, sent)
        assert [late.recv(100) for _ in sent] == sent
        assert w.by_fast_path() == before
        late.close()

        def again():
            w.send(G4, count=1)
            return w.by_fast_path() > before
        until(again, what="the fast path after the plain socket has gone")
        p.received()
        w.same(w.send(G4))


@case
def a_member_that_is_killed_leaves_the_others_and_no_frame():
    code = f"""
s = Sock(Here, fast=False)
s.option(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", {PORT}))
mreq = socket.inet_aton("{G4}") + socket.inet_aton("{A4}")
checked(lib().udplane_setsockopt(s.fd, 0, socket.IP_ADD_MEMBERSHIP, mreq, 8))
print("joined", flush=True)
sys.stdin.readline()
"""
    with World() as w:
        p = Pair(w)
        p.join(G4)
        children = [child(w.net, code, stdin=subprocess.PIPE) for _ in range(2)]
        for c in children:
            assert c.stdout.readline() == "joined\n"
        w.same(w.send(G4))
        assert w.by_fast_path() == 60, w.counters()  # the children have not read theirs
        assert settled(w.sidecar)["device"]["counters"]["frames_clients"] == 20
        for c in children:
            c.kill()
            c.wait()
        until(lambda: w.sidecar.stats()["device"]["counters"]["frames_clients"] == 0, what="the dead members' frames")
        w.same(w.send(G4))
        assert w.by_fast_path() == 80, w.counters()


@case
def what_this_host_sends_itself_comes_by_the_kernel():
    """IP_MULTICAST_LOOP: a copy for the host's own members, which the device never sees."""
    with World() as w:
        p = Pair(w)
        p.join(G4)
        for ns, pick in ((w.net.a, 0), (w.c, 1)):
            s = w.net.sock(ns)
            s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", b"\0" * 4, b"\0" * 4, w.index))
            w.net.inside(ns, s.sendto, b"looped", (G4, PORT))
        fast, plain = p.received()
        assert b"looped" in fast and fast.count(b"looped") == plain.count(b"looped"), (fast, plain)
        assert p.fast.status().kernel_rx >= 1


@case
def rules_for_groups_are_the_kernels():
    if not shutil.which("nft"):
        raise AssertionError("nft is needed")
    with World() as w:
        p = Pair(w)
        p.join(G4)
        w.same(w.send(G4))
        before = w.by_fast_path()
        for ns in (w.net.a, w.c):
            sh("nft", f"table ip t {{ chain c {{ type filter hook input priority 0; ip daddr {G4} drop; }}; }}", ns=ns)

        def dropped():
            w.send(G4, count=1)
            return not p.received()[0]
        until(dropped, what="the rule's effect")
        before = w.by_fast_path()
        w.send(G4)
        w.same([])
        assert w.by_fast_path() == before
        for ns in (w.net.a, w.c):
            sh("nft", "delete", "table", "ip", "t", ns=ns)

        def back():
            w.send(G4, count=1)
            return w.by_fast_path() > before
        until(back, what="the fast path after the rule")


@case
def a_new_udplaned_learns_the_groups():
    with World() as w:
        p = Pair(w)
        p.join(G4)
        w.same(w.send(G4))
        w.sidecar.stop()
        w.same(w.send(G4))
        w.sidecar = Sidecar(w.net)
        until(p.fast.accelerated, what="acceleration")
        w.same(w.send(G4))
        assert w.by_fast_path() == 20, w.counters()


run()
