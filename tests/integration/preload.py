# SPDX-License-Identifier: Apache-2.0
"""For the tests of libudplane-preload.so: programs under udplane-run, and conversations with them."""
import random

from harness import *  # noqa: F403

RUN = os.path.join(BIN, "client", "run", "udplane-run")
PRELOAD = os.path.join(BIN, "client", "libudplane-preload.so")
CALLS = os.path.join(BIN, "tests", "integration", "calls")
READER = os.path.join(BIN, "tests", "integration", "reader")
PYTHON = os.path.realpath(sys.executable)
os.environ["UDPLANE_PRELOAD"] = PRELOAD


class Program:
    """A program under udplane-run in namespace a. It has printed "ready"."""

    def __init__(self, net, *command, shim=True, ready=True, ns=None, **kw):
        wrap = [RUN] if shim else []
        self.proc = subprocess.Popen(["ip", "netns", "exec", ns or net.a, *wrap, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     stdin=subprocess.PIPE, text=True, **kw)
        if ready and self.proc.stdout.readline() != "ready\n":
            raise AssertionError(f"{command} is not ready: " + self.proc.communicate()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.communicate()

    def say(self, line):
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()

    def line(self):
        return self.proc.stdout.readline().rstrip("\n")

    def end(self, seconds=10):
        out, err = self.proc.communicate(timeout=seconds)
        assert self.proc.returncode == 0, (self.proc.returncode, out, err)
        return out


def python(net, code, **kw):
    head = "import os, select, socket, sys, threading, time\n"
    return Program(net, PYTHON, "-c", head + code, **kw)


def rows(sidecar):
    return json.loads(sidecar.ctl("sockets", "--json")[1])["sockets"]


def fast(sidecar, port=5000):
    """How many datagrams came and went by the fast path."""
    found = [r for r in rows(sidecar) if r["local"]["port"] == port]
    return (found[0]["counters"]["rx_delivered"], found[0]["counters"]["tx_sent"]) if found else (0, 0)


def active(sidecar, port=5000):
    return any(r["local"]["port"] == port and r["state"] == "active" for r in rows(sidecar))


def converse(peer, bursts, most=40, seed=1, order=True, first=0):
    """Sends bursts of numbered datagrams, and waits for the echo of each burst: so none is lost for want of room."""
    rnd = random.Random(seed)
    n = first
    for _ in range(bursts):
        size = rnd.choice((1, 1, 1, 2, 5, most))
        sent = [b"%d" % i for i in range(n, n + size)]
        n += size
        for d in sent:
            peer.send(d)
        got = [peer.recv(100) for _ in sent]
        assert (got if order else sorted(got)) == (sent if order else sorted(sent)), (got, sent)
        if rnd.random() < 0.1:
            time.sleep(0.002)  # long enough for both sides to fall asleep
    return n


def ask(peer, data=b"?", seconds=5):
    """An echo, with repetitions: for what may be lost."""
    def once():
        peer.send(data)
        try:
            return peer.recv(2000) == data
        except (socket.timeout, ConnectionError):
            return False
    peer.settimeout(0.3)
    until(once, seconds, "an echo")
    peer.settimeout(5)


CLAIM = """
def claim(s):  # at the first receive
    s.settimeout(0.01)
    try:
        s.recv(10)
    except socket.timeout:
        pass
    s.settimeout(None)
"""

SERVE = CLAIM + """
def serve(s, until=b"end"):
    while True:
        d, a = s.recvfrom(2000)
        s.sendto(d, a)
        if d == until:
            return
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.99.0.1", 5000))
print("ready", flush=True)
"""


def served(net, sidecar, code, rounds=60, ends=True, **kw):
    """A program that serves port 5000: most of it by the fast path."""
    with python(net, SERVE + code, **kw) as p, net.sock(net.b, connect=("10.99.0.1", 5000)) as peer:
        ask(peer)
        until(lambda: ask(peer) is None and active(sidecar), what="acceleration")
        before = fast(sidecar)
        converse(peer, rounds)
        assert fast(sidecar)[0] - before[0] > rounds // 2, (before, fast(sidecar))
        if ends:
            peer.send(b"end")
            p.end()


def stream(peer, seconds, stop=lambda: False):
    """One number after the other; a lost one is asked for again. Returns how many went there and back, and how many were lost.
    Fails if nothing comes back for a while, or something else comes."""
    peer.settimeout(0.05)
    n = lost = 0
    end = time.monotonic() + seconds
    last = time.monotonic()
    while time.monotonic() < end and not stop():
        peer.send(b"%d" % n)
        try:
            got = int(peer.recv(100))
            while got < n:  # a late one
                got = int(peer.recv(100))
            assert got == n, (got, n)
            n += 1
            last = time.monotonic()
        except (socket.timeout, ConnectionError):
            lost += 1
            assert time.monotonic() - last < 3, f"no answer for 3 s after {n}"
    peer.settimeout(5)
    return n, lost
