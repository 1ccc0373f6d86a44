# SPDX-License-Identifier: Apache-2.0
"""An accelerated socket and a plain one beside it, which is the oracle: what Linux does to the one, it does to the other."""
from harness import *

A4, B4, VIP = "10.99.0.1", "10.99.0.2", "10.96.0.10"
A6, B6, VIP6 = "fd99::1", "fd99::2", "fd96::10"
FAST, PLAIN = 5060, 5061  # local ports


class Bench:
    """A udplane socket and a plain one in a, a plain peer in b."""

    def __init__(self, net, sidecar, fast=True, six=False):
        self.net, self.sidecar = net, sidecar
        family, every = (socket.AF_INET6, "::") if six else (socket.AF_INET, "0.0.0.0")
        self.here, self.there = (A6, B6) if six else (A4, B4)
        self.app = Sock(net, family, bind=(every, FAST), fast=fast)
        self.plain = net.sock(net.a, family, bind=(every, PLAIN))
        self.peer = net.sock(net.b, family, bind=(self.there, 5353))
        self.number = 0
        until(lambda: self.app.accelerated() or self.row(), what="the claim")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.app.close()
        self.plain.close()
        self.peer.close()

    def row(self, port=FAST):
        rows = json.loads(self.sidecar.ctl("sockets", "--json")[1])["sockets"]
        return next((r for r in rows if r["local"]["port"] == port), None)

    def rx(self):
        return self.row()["reason"]

    def tx(self):
        return self.row()["tx_reason"]

    def becomes(self, rx="none", tx="none"):
        until(lambda: (self.rx(), self.tx()) == (rx, tx), 8, f"rx {rx}, tx {tx}")
        why = self.sidecar.ctl("why", str(FAST), check=False)[1]
        for reason in (rx, tx):
            assert reason == "none" or reason in why, why

    def leaves_to_linux(self, note):
        """Some peers take the kernel; everything else both ways is fast."""
        until(lambda: note in self.sidecar.stats()["route_note"], 8, f"peers that are left to Linux: {note}")
        self.becomes()

    def fast_with(self, other):
        """What goes to another peer, and comes from it, takes the fast path."""
        address = other.getsockname()

        def counted(name):
            return self.row()["counters"][name]

        sent, delivered = counted("tx_sent"), counted("rx_delivered")
        for _ in range(100):
            self.app.sendto(b"other", address)
            text, sender = other.recvfrom(100)
            assert (text, sender[:2]) == (b"other", (self.here, FAST))
            other.sendto(b"back", (self.here, FAST))
            until(lambda: self.app.readable(0.5), 1, "an answer")
            assert self.app.recvfrom(MSG_DONTWAIT)[0] == b"back"
            if counted("tx_sent") > sent and counted("rx_delivered") > delivered:
                return
        raise AssertionError("other peers take the kernel")

    def text(self):
        self.number += 1
        return b"%d" % self.number

    def got(self, sock, seconds):
        sock.settimeout(seconds)
        try:
            return sock.recvfrom(100)
        except (socket.timeout, BlockingIOError):
            return None

    def drain(self):
        while self.got(self.peer, 0.01):
            pass
        while self.got(self.plain, 0.01):
            pass
        self.app.recv_all(0.02)

    def sends(self, to, seconds=0.3):
        """Does the peer get it? (from the udplane socket, from the plain one), and what an error says."""
        self.drain()
        out = []
        for port, send in ((FAST, self.app.sendto), (PLAIN, self.plain.sendto)):
            text = self.text()
            try:
                send(text, to)
                got = self.got(self.peer, seconds)
                out.append(bool(got) and got[0] == text and got[1][1] == port)
            except OSError as e:
                out.append(e.errno)
        return tuple(out)

    def receives(self, seconds=0.3):
        """The same for the other direction."""
        self.drain()
        out = []
        for port, get in ((FAST, None), (PLAIN, self.plain)):
            text = self.text()
            self.peer.sendto(text, (self.here, port))
            if get:
                got = self.got(get, seconds)
                out.append(bool(got) and got[0] == text)
            else:
                out.append(self.app.recv_all(seconds, most=1) == [text])
        return tuple(out)

    def asks(self, to, backend=5353):
        """Sends to `to`, the peer answers; who seems to have answered, to either socket."""
        self.drain()
        out = []
        for port in (FAST, PLAIN):
            text = self.text()
            (self.app.sendto if port == FAST else self.plain.sendto)(text, to)
            got = self.got(self.peer, 0.5)
            if not got:
                out.append(None)
                continue
            self.peer.sendto(text, got[1])
            if port == PLAIN:
                got = self.got(self.plain, 0.5)
                out.append(got[1][:2] if got else None)
            else:
                until(lambda: self.app.readable(0.5), 1, "an answer")
                out.append(self.app.recvfrom(MSG_DONTWAIT)[1])
        return tuple(out)

    def hears_late(self):
        """The peer sends, unasked, to where it has answered before; who seems to have sent, to either socket."""
        self.drain()
        out = []
        for port in (FAST, PLAIN):
            self.peer.sendto(b"late", (self.here, port))
            if port == PLAIN:
                got = self.got(self.plain, 0.5)
                out.append(got[1][:2] if got else None)
            else:
                until(lambda: self.app.readable(0.5), 2, "the late datagram")
                out.append(self.app.recvfrom(MSG_DONTWAIT)[1])
        return tuple(out)

    def is_fast(self):
        """Both directions, seen in what the workers count."""
        until(lambda: not self.sidecar.stats()["route_note"], 8, "no peer that is left to Linux")
        until(lambda: self.sends((self.there, 5353)) == (True, True), what="the neighbours")
        before = self.row()["counters"]
        for _ in range(3):
            assert self.sends((self.there, 5353)) == (True, True)
            assert self.receives() == (True, True)
        until(lambda: (r := self.row()["counters"])["tx_sent"] > before["tx_sent"] and r["rx_delivered"] > before["rx_delivered"],
              what="the fast path")
