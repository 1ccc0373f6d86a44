# SPDX-License-Identifier: Apache-2.0
"""Scripts made at random from a seed, and the shortest part of one that still fails."""
import random
import time

from scripts import ANY, CONTROLS, HERE, OPTIONS, PEER

LENGTHS = (0, 1, 2, 5, 100, 1000, 1451, 1452, 1453, 1471, 1472, 1473, 2000, 9000, 65507, 65508)
ROOMS = (0, 1, 3, 5, 100, 2000, 66000)
NAME_LENGTHS = (0, 1, 2, 8, 15, 16, 27, 28, 128)
SEND_FLAGS = (0, 0, 0, 0, 0x40, 0x40, 0x4000, 0x8000, 0x800, 1, 0x20, 0x100, 4, 0x200000)
RECV_FLAGS = (0x40, 0x40, 0x40, 0x40, 0, 2, 0x42, 0x60, 0x22, 0x62, 0x140, 0x2040, 0x10040, 1, 0x240)
# Without those that make the same call wait on one side only, or differ by design at any time (buffers in bytes).
QUIET_OPTIONS = [pair for name, pair in OPTIONS.items() if name not in (
    "SO_RCVTIMEO", "SO_SNDTIMEO", "SO_RCVBUF", "SO_SNDBUF", "SO_RCVBUFFORCE", "SO_SNDBUFFORCE", "UDP_SEGMENT", "UDP_GRO", "SO_REUSEPORT",
    "SO_REUSEADDR", "SO_TIMESTAMP", "SO_TIMESTAMPNS", "UDP_ENCAP", "SO_MAX_PACING_RATE", "SO_LINGER")]
SOCKETS = 4


class Script:
    """One random script. Slots 0 to 3; family[k]: of slot k, once it is open."""

    def __init__(self, seed, shim):
        self.random, self.shim = random.Random(seed), shim
        # Either all that arrive are fragments or none are: the two paths do not keep the order of what is on both (accepted.py).
        large = self.random.random() < 0.2
        self.arriving = [n for n in LENGTHS[:-1] if (n > 1472 if large else n <= 1452)]
        self.family = {}
        self.operations = []
        self.open(0)
        for _ in range(self.random.randint(3, 25)):
            self.step()
        for k in self.family:
            self.add(f"recv {k} 66000 0x40", f"getopt {k} 1 4 4", f"poll {k} 5")
        self.add("precv")

    def add(self, *operations):
        self.operations += operations

    def pick(self, *choices):
        return self.random.choice(choices)

    def step(self):
        names = ("send", "sendto", "sendmsg", "sendmmsg", "arrive", "arrive", "arrive", "recv", "recv", "recvfrom", "recvmsg", "recvmmsg",
                 "option", "peek_offset", "getopt", "look", "look",
                 "connect", "name", "shutdown", "ioctl", "mode", "open", "close", "precv", "precv",
                 *(("descriptor", "descriptor") if self.shim else ()))
        k = self.pick(*self.family)
        getattr(self, self.pick(*names))(k)

    def version(self, k):
        """Of an address that suits slot k."""
        return self.pick("4", "6") if self.family[k] == "d" else self.family[k]

    def address(self, k, table=None):
        version = self.version(k)
        text = (table or PEER)[version]
        return f"::ffff:{text}" if version == "4" and self.family[k] == "d" and text != "0.0.0.0" else text

    def open(self, _):
        k = self.random.randrange(SOCKETS)
        self.family[k] = self.pick("4", "4", "6", "d")
        self.add(f"socket {k} {self.family[k]} {self.pick(0, 1)}")
        if self.pick(1, 1, 1, 0):
            where = self.pick(HERE, ANY) if self.family[k] != "d" else {"4": "::", "6": "::"}
            self.add(f"bind {k} {self.address(k, where)} {self.pick('{p}', '{q}', '{r}', '0')}")
        if self.pick(0, 1):
            self.connect(k)

    def close(self, k):
        if self.pick(0, 0, 1):
            self.add(f"close {k}")

    def connect(self, k):
        to = [f"{self.address(k)} {p}" for p in (7001, 7002, 7001)]
        # A dual-stack socket of Linux 6.18 that was connected takes nothing of the other family afterwards (docs/differences.md).
        self.add("precv", f"connect {k} " + self.pick(*to, *(["unspec 0"] if self.family[k] != "d" else [])))

    def target(self, k):
        return self.pick(f"{self.address(k)} 7001", f"{self.address(k)} 7002", f"{self.address(k)} 7003", "- 0", "10.99.0.2 7001",
                         "fd99::2 7001")

    def flags(self, target):
        """Not MSG_MORE to an address: a connected socket of Linux then sends to that address for ever (6.18)."""
        return self.pick(*(f for f in SEND_FLAGS if f != 0x8000 or target == "- 0"))

    def send(self, k):
        self.add(f"send {k} {self.pick(*LENGTHS)} {self.pick(*SEND_FLAGS)}", "precv")

    def sendto(self, k):
        target = self.target(k)
        self.add(f"sendto {k} {target} {self.pick(*LENGTHS)} {self.flags(target)}", "precv")

    def vector(self, lengths, most=6):
        return ",".join(str(self.pick(*lengths)) for _ in range(self.random.randint(1, most)))

    def sendmsg(self, k):
        control = self.pick("-", "-", *(c for n, c in CONTROLS.items() if "segment" not in n))
        target = self.target(k)
        self.add(f"sendmsg {k} {target} {self.flags(target)} {control} {self.vector((0, 1, 5, 100, 700, 772, 773))}", "precv")

    def sendmmsg(self, k):
        target = self.target(k)
        self.add(f"sendmmsg {k} {target} {self.flags(target)} {self.vector((0, 1, 5, 100, 1400))}", "precv")

    def arrive(self, k):
        version, source = self.version(k), self.random.randrange(3)
        self.add(f"psend {source} {HERE[version]} slot:{k} {self.pick(*self.arriving)} {self.pick(1, 1, 2, 3, 8)}")

    def recv(self, k):
        self.add(f"recv {k} {self.pick(*ROOMS)} {self.pick(*RECV_FLAGS)}")

    def recvfrom(self, k):
        self.add(f"recvfrom {k} {self.pick(*ROOMS)} {self.pick(*RECV_FLAGS)} {self.pick(*NAME_LENGTHS)}")

    def recvmsg(self, k):
        self.add(f"recvmsg {k} {self.pick(*RECV_FLAGS)} {self.pick('none', *NAME_LENGTHS)} {self.pick(0, 0, 16, 24, 64, 256)} "
                 f"{self.vector(ROOMS)}")

    def recvmmsg(self, k):
        self.add(f"recvmmsg {k} {self.pick(*RECV_FLAGS)} {self.vector(ROOMS[:-1])} {self.pick(-1, 0, 20)}")

    def option(self, k):
        level, name = self.pick(*QUIET_OPTIONS)
        self.add(f"setopt {k} {level} {name} {self.pick(0, 0, 1, 1, 2, 8, 64, 255, 256, -1)} {self.pick(4, 4, 4, 4, 1, 0, 8)}",
                 f"getopt {k} {level} {name} 4")

    def peek_offset(self, k):
        self.add(f"setopt {k} 1 42 {self.pick(0, 0, 0, 1, 5, 7, 100, 2000, -1)}")
        for _ in range(self.random.randint(0, 3)):
            self.add(f"recv {k} {self.pick(*ROOMS)} 0x42", f"getopt {k} 1 42 4")

    def getopt(self, k):
        level, name = self.pick(*QUIET_OPTIONS)
        self.add(f"getopt {k} {level} {name} {self.pick(4, 4, 0, 1, 8)}")

    def look(self, k):
        self.add(self.pick(f"poll {k} {self.pick(1, 4, 5)}", f"epoll {k} {self.pick(1, 4, 5, 0x2015)}", f"select {k}",
                           f"getopt {k} 1 4 4"))

    def name(self, k):
        self.add(f"{self.pick('name', 'peername')} {k} {self.pick(*NAME_LENGTHS)}")

    def shutdown(self, k):
        if self.pick(0, 0, 1):
            self.add(f"shutdown {k} {self.pick(0, 1, 2, 3)}")

    def ioctl(self, k):
        self.add(f"ioctl {k} {self.pick(0x541b, 0x541b, 0x5411)}")

    def mode(self, k):
        self.add(f"{self.pick('nonblock', 'fionbio')} {k} {self.pick(0, 1)}")

    def precv(self, _):
        self.add("precv")

    def descriptor(self, k):
        self.add(self.pick(f"read {k} {self.pick(*ROOMS)}", f"readv {k} {self.vector(ROOMS)}"),
                 self.pick(f"write {k} {self.pick(*LENGTHS)}", f"writev {k} {self.vector((0, 1, 5, 100, 700))}"), "precv")


def shrink(operations, fails, seconds=15):
    """A short list of the operations for which fails(list) is still true: leaves out ever smaller parts."""
    part = max(1, len(operations) // 2)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        i, shorter = 0, False
        while i < len(operations) and time.monotonic() < end:
            less = operations[:i] + operations[i + part:]
            if less and fails(less):
                operations, shorter = less, True
            else:
                i += part
        if part == 1 and not shorter:
            break
        part = max(1, part // 2)
    return operations
