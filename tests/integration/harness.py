# SPDX-License-Identifier: Apache-2.0
"""For the integration tests: two namespaces joined by a veth pair, a udplaned in one, libudplane through ctypes, plain sockets in either.

This process changes namespace to make a socket and changes back: sockets keep the namespace that they were made in, so one process
plays application and peer. Cases are functions marked @case; run() prints PASS, FAIL or SKIP for each and exits.
"""
import atexit
import ctypes
import errno  # noqa: F401: for those that take all of the harness
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("UDPLANE_BIN", os.path.join(ROOT, "bazel-bin"))
UDPLANED = os.environ.get("UDPLANE_UDPLANED", os.path.join(BIN, "sidecar", "udplaned"))  # another build of it: with a sanitizer
WRAP = os.environ.get("UDPLANE_WRAP", "").split()  # a program that runs it
CTL = os.path.join(BIN, "client", "ctl", "udplanectl")
LIB = os.path.join(BIN, "client", "libudplane.so")

MSG_DONTWAIT = socket.MSG_DONTWAIT
# One path for the whole script: the library in this process looks for udplaned there, however many come and go.
# Children of a script inherit it.
if "UDPLANE_TEST_SOCKET" not in os.environ:
    DIR = tempfile.mkdtemp(prefix="udplane-")
    os.environ["UDPLANE_TEST_SOCKET"] = os.environ["UDPLANE_SOCKET"] = os.path.join(DIR, "udplane.sock")
    atexit.register(shutil.rmtree, DIR, True)
SOCKET = os.environ["UDPLANE_TEST_SOCKET"]

libc = ctypes.CDLL(None, use_errno=True)
cases = []


class Skip(Exception):
    pass


def case(function):
    cases.append(function)
    return function


def hugepages(count=64):
    """As many 2 MiB hugepages as the defaults want, given back at the end."""
    path = "/proc/sys/vm/nr_hugepages"
    with open(path) as f:
        before = int(f.read())
    if before < count:
        with open(path, "w") as f:
            f.write(str(count))
        atexit.register(lambda: open(path, "w").write(str(before)))


def run():
    if os.geteuid() != 0:
        print("skipped: needs root")
        sys.exit(77)
    hugepages()
    wanted = sys.argv[1:]
    failed = 0
    for function in cases:
        name = function.__name__
        if wanted and name not in wanted:
            continue
        start = time.monotonic()
        try:
            function()
            word = "PASS"
        except Skip as why:
            print(f"skipped: {why}")
            word = "SKIP"
        except BaseException as why:
            if isinstance(why, KeyboardInterrupt):
                raise
            traceback.print_exc(file=sys.stdout)
            word = "FAIL"
            failed += 1
        print(f"{word} {name} ({(time.monotonic() - start) * 1000:.0f} ms)", flush=True)
    sys.exit(1 if failed else 0)


def until(ok, seconds=5.0, what="a condition"):
    """Polls ok() until it is true, and returns its value; fails after the deadline."""
    end = time.monotonic() + seconds
    while True:
        value = ok()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come about within {seconds} s")
        select.select([], [], [], 0.005)


def ones_sum(data):
    """The sum of 16-bit words in one's complement (RFC 1071); 0xffff over what holds its own right checksum."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def sh(*command, check=True, ns=None, **kw):
    if ns:
        command = ("ip", "netns", "exec", ns) + command
    return subprocess.run(command, check=check, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw).stdout


class Net:
    """ns a: va 10.99.0.1/24 fd99::1/64 (udplaned, applications); ns b: vb 10.99.0.2/24 fd99::2/64 (peers)."""

    def __init__(self, queues=1):
        self.a, self.b = f"udplane-a-{os.getpid()}", f"udplane-b-{os.getpid()}"
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.fd = {}
        for ns in (self.a, self.b):
            sh("ip", "netns", "add", ns)
            self.fd[ns] = os.open(f"/run/netns/{ns}", os.O_RDONLY)
        q = ["numrxqueues", str(queues), "numtxqueues", str(queues)]
        sh("ip", "link", "add", "va", "netns", self.a, *q, "type", "veth", "peer", "name", "vb", "netns", self.b, *q)
        for ns, dev, n in ((self.a, "va", 1), (self.b, "vb", 2)):
            sh("ip", "-n", ns, "addr", "add", f"10.99.0.{n}/24", "dev", dev)
            sh("ip", "-n", ns, "addr", "add", f"fd99::{n}/64", "dev", dev, "nodad")
            sh("ip", "-n", ns, "link", "set", "lo", "up")
            sh("ip", "-n", ns, "link", "set", dev, "up")
        until(lambda: "tentative" not in sh("ip", "-n", self.a, "-6", "addr", "show", "dev", "va"), what="addresses")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for ns in (self.a, self.b):
            os.close(self.fd[ns])
            sh("ip", "netns", "del", ns, check=False)
        os.close(self.home)

    def inside(self, ns, function, *args):
        """Calls function(*args) with this thread in ns."""
        if libc.setns(self.fd[ns], 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return function(*args)
        finally:
            libc.setns(self.home, 0x40000000)

    def sock(self, ns, family=socket.AF_INET, bind=None, connect=None, timeout=5.0, reuse=False):
        def make():
            s = socket.socket(family, socket.SOCK_DGRAM)
            if reuse:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if bind:
                s.bind(bind)
            if connect:
                s.connect(connect)
            s.settimeout(timeout)
            return s

        return self.inside(ns, make)


class Sidecar:
    def __init__(self, net, *flags, ports="5000-9999", mode="latency", interface="va", ready=True, path=None, env=None, wrap=(),
                 program=UDPLANED, tool=CTL):
        self.net, self.tool = net, tool
        self.path = path or SOCKET
        command = [*wrap, *WRAP, program, "--interface", interface, "--ports", ports, "--socket", self.path, "--mode", mode, *flags]
        self.log = tempfile.TemporaryFile("w+")
        self.proc = subprocess.Popen(["ip", "netns", "exec", net.a, *command], stdout=self.log, stderr=self.log,
                                     env={**os.environ, **(env or {})})
        if ready:
            try:
                until(self.healthy, 10, "udplaned's readiness")
            except AssertionError:
                self.stop()
                raise AssertionError("udplaned is not ready:\n" + self.output())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def pid(self):
        """Of udplaned itself; proc may be a program around it."""
        return self.stats()["pid"]

    def descriptors(self):
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.pid()}/fd"))

    def healthy(self):
        if self.proc.poll() is not None:
            raise AssertionError("udplaned ended:\n" + self.output())
        return subprocess.run([self.tool, "--socket", self.path, "health", "--quiet"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0

    def output(self):
        self.log.seek(0)
        return self.log.read()

    def stats(self):
        return json.loads(sh(self.tool, "--socket", self.path, "stats", "--json"))

    def ctl(self, *verb, check=True):
        p = subprocess.run([self.tool, "--socket", self.path, *verb], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if check and p.returncode:
            raise AssertionError(f"udplanectl {verb}: {p.returncode}: {p.stdout}")
        return p.returncode, p.stdout

    def stop(self, sig=signal.SIGTERM):
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                raise AssertionError("udplaned did not end within 10 s:\n" + self.output())
            if "Sanitizer" in self.output() or "runtime error:" in self.output():
                raise AssertionError("udplaned's sanitizer says:\n" + self.output()[-8000:])
        assert "(seccomp)" not in self.output(), self.output()  # a system call that is missing on a list
        return self.proc.returncode

    def kill(self):
        return self.stop(signal.SIGKILL)


def conserved(stats):
    """received = delivered + passed + dropped, per device, per worker and per socket; sending likewise. Fails with the numbers."""
    dev = stats["device"]["counters"]
    passed = sum(v for k, v in dev.items() if k.startswith("rx_passed_"))
    lost = dev["rx_lost_ring_full"] + dev["rx_lost_no_frame"]
    workers = [w["counters"] for w in stats["workers"]]
    frames = sum(w["rx_frames"] for w in workers)
    assert dev["rx_seen"] == passed + dev["rx_diverted"], dev
    assert dev["rx_diverted"] == frames + lost, (dev, workers)
    for w in workers:
        drops = sum(v for k, v in w.items() if k.startswith("rx_drop_"))
        assert w["rx_frames"] + w.get("rx_copies", 0) == w["rx_delivered"] + w["rx_passed"] + drops, w
        assert w["tx_taken"] == w["tx_sent"] + w["tx_slow"] + sum(v for k, v in w.items() if k.startswith("tx_drop_")), w
    return True


class Here:
    """In place of a Net in a child process that runs inside a namespace already."""
    a = b = None

    @staticmethod
    def inside(_, function, *args):
        return function(*args)


def child(net, code, **kw):
    """A Python process in namespace a that has this module's names; its output is piped."""
    head = f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})\nfrom harness import *\n"
    return subprocess.Popen(["ip", "netns", "exec", net.a, sys.executable, "-c", head + code], stdout=subprocess.PIPE, text=True, **kw)


def settled(sidecar):
    """Waits until the stats balance: frames on their way make them differ for a moment. Returns the last stats."""
    end = time.monotonic() + 5
    while True:
        stats = sidecar.stats()
        try:
            conserved(stats)
            return stats
        except AssertionError:
            if time.monotonic() > end:
                raise


# ---- libudplane ----

class SockaddrIn(ctypes.Structure):
    _fields_ = [("family", ctypes.c_ushort), ("port", ctypes.c_uint16), ("addr", ctypes.c_uint8 * 4), ("zero", ctypes.c_uint8 * 8)]


class SockaddrIn6(ctypes.Structure):
    _fields_ = [("family", ctypes.c_ushort), ("port", ctypes.c_uint16), ("flow", ctypes.c_uint32), ("addr", ctypes.c_uint8 * 16),
                ("scope", ctypes.c_uint32)]


class Status(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("accelerated", ctypes.c_int), ("reason", ctypes.c_char * 32), ("text", ctypes.c_char * 160),
                ("fast_rx", ctypes.c_uint64), ("kernel_rx", ctypes.c_uint64), ("fast_tx", ctypes.c_uint64), ("kernel_tx", ctypes.c_uint64)]


def pack(addr):
    host, port = addr[0], addr[1]
    if ":" in host:
        s = SockaddrIn6(socket.AF_INET6, socket.htons(port), 0, (ctypes.c_uint8 * 16)(*socket.inet_pton(socket.AF_INET6, host)),
                        addr[3] if len(addr) > 3 else 0)
    else:
        s = SockaddrIn(socket.AF_INET, socket.htons(port), (ctypes.c_uint8 * 4)(*socket.inet_pton(socket.AF_INET, host)))
    return ctypes.byref(s), ctypes.sizeof(s), s


def unpack(buf):
    family = int.from_bytes(buf[:2], sys.byteorder)
    port = int.from_bytes(buf[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, bytes(buf[4:8])), port
    return socket.inet_ntop(socket.AF_INET6, bytes(buf[8:24])), port


_lib = None


def lib():
    """Loaded at first use, so that UDPLANE_SOCKET may be set before."""
    global _lib
    if not _lib:
        _lib = ctypes.CDLL(LIB, use_errno=True)
        for name in ("send", "sendto", "recv", "recvfrom"):
            getattr(_lib, "udplane_" + name).restype = ctypes.c_ssize_t
    return _lib


def checked(value):
    if value < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return value


class Sock:
    """A udplane socket of this process, made in namespace a."""

    def __init__(self, net, family=socket.AF_INET, bind=None, connect=None, flags=0, fast=True):
        """fast: wait until it is accelerated; the library looks for a udplaned that has come back at most once a second."""
        self.fd = net.inside(net.a, lambda: checked(lib().udplane_socket(family, socket.SOCK_DGRAM | flags, 0)))
        try:
            if bind:
                self.bind(bind)
            if connect:
                self.connect(connect)
            if fast and (bind or connect):
                until(self.accelerated, what="acceleration: " + self.status().text.decode())
        except BaseException:
            self.close()
            raise

    def accelerated(self):
        try:
            self.recvfrom(MSG_DONTWAIT | socket.MSG_PEEK)  # any call makes the library look
        except OSError:
            pass
        return self.status().accelerated

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.fd >= 0:
            checked(lib().udplane_close(self.fd))
        self.fd = -1

    def bind(self, addr):
        p, n, _ = pack(addr)
        checked(lib().udplane_bind(self.fd, p, n))

    def connect(self, addr):
        p, n, _ = pack(addr)
        checked(lib().udplane_connect(self.fd, p, n))

    def option(self, level, name, value):
        v = ctypes.c_int(value)
        checked(lib().udplane_setsockopt(self.fd, level, name, ctypes.byref(v), 4))

    def timeout(self, seconds):
        tv = (ctypes.c_long * 2)(int(seconds), int(seconds % 1 * 1e6))
        checked(lib().udplane_setsockopt(self.fd, socket.SOL_SOCKET, socket.SO_RCVTIMEO, ctypes.byref(tv), 16))

    def sendto(self, data, addr, flags=0):
        p, n, _ = pack(addr)
        return checked(lib().udplane_sendto(self.fd, data, len(data), flags, p, n))

    def send(self, data, flags=0):
        return checked(lib().udplane_send(self.fd, data, len(data), flags))

    def recvfrom(self, flags=0, size=65536):
        buf = ctypes.create_string_buffer(size)
        addr = (ctypes.c_uint8 * 28)()
        n = ctypes.c_uint32(28)
        got = checked(lib().udplane_recvfrom(self.fd, buf, size, flags, addr, ctypes.byref(n)))
        return buf.raw[:got], unpack(addr)

    def recv_all(self, seconds=0.2, most=1 << 30):
        """What comes until nothing has come for a while."""
        out = []
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(out) < most:
            try:
                out.append(self.recvfrom(MSG_DONTWAIT)[0])
                end = time.monotonic() + seconds
            except BlockingIOError:
                self.readable(0.01)
        return out

    def status(self):
        st = Status(size=ctypes.sizeof(Status))
        checked(lib().udplane_get_status(self.fd, ctypes.byref(st)))
        return st

    def kernel_fd(self):
        return checked(lib().udplane_kernel_fd(self.fd))

    def readable(self, seconds=0.0):
        poller = select.poll()  # not select(): descriptors go beyond 1023 here
        poller.register(self.fd, select.POLLIN)
        return bool(poller.poll(seconds * 1000))


# ---- a stream that shows what is lost, doubled or reordered ----

NUMBERS = os.path.join(BIN, "tests", "integration", "numbers")
RATE = 20000  # a reader that is kept from its core for 100 ms, as on a busy test machine, still finds room in its ring


class Numbers:
    """Numbered datagrams at a steady rate from a plain socket in b to a udplane socket in a, each in a process of its own."""

    def __init__(self, net, port=5060, app="10.99.0.1"):
        self.reader = subprocess.Popen(["ip", "netns", "exec", net.a, NUMBERS, "receive", app, str(port)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        assert self.reader.stdout.readline() == "ready\n"
        self.sender = subprocess.Popen(["ip", "netns", "exec", net.b, NUMBERS, "send", app, str(port), str(RATE)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self):
        """{"received", "lost", "duplicates", "reordered", "fast", "kernel"} so far"""
        self.reader.stdin.write("\n")
        self.reader.stdin.flush()
        return json.loads(self.reader.stdout.readline())

    def after(self, more, fast=None):
        """Waits until so many more have come (over the fast path: True, over the kernel: False)."""
        key = {None: "received", True: "fast", False: "kernel"}[fast]
        start = self.ask()[key]
        until(lambda: self.ask()[key] >= start + more, 10, f"{more} datagrams more ({key})")

    def finish(self):
        sent = int(self.sender.communicate()[0])
        until(lambda: (r := self.ask())["received"] + r["lost"] >= sent or r["idle"] > 500, 10, "the end of the stream")
        result = json.loads(self.reader.communicate()[0].splitlines()[-1])
        result["sent"] = sent
        result["lost"] = sent - (result["received"] - result["duplicates"])
        return result


__all__ = [n for n in dir() if not n.startswith("_")]
