#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified programs under libudplane-preload.so."""
import random
import threading

from harness import *  # noqa: F403

RUN = os.path.join(BIN, "client", "run", "udplane-run")
PRELOAD = os.path.join(BIN, "client", "libudplane-preload.so")
CALLS = os.path.join(BIN, "tests", "integration", "calls")
READER = os.path.join(BIN, "tests", "integration", "reader")
PYTHON = os.path.realpath(sys.executable)
os.environ["UDPLANE_PRELOAD"] = PRELOAD


class Program:
    """A program under udplane-run in namespace a. It has printed "ready"."""

    def __init__(self, net, *command, shim=True, ready=True, **kw):
        wrap = [RUN] if shim else []
        self.proc = subprocess.Popen(["ip", "netns", "exec", net.a, *wrap, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
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


def talk(net, sidecar, mechanism, how, v6=False, bursts=120, program=READER):
    host, peer_family = ("fd99::1", socket.AF_INET6) if v6 else ("10.99.0.1", socket.AF_INET)
    with Program(net, program, mechanism, how, host, "5000") as p, net.sock(net.b, peer_family, connect=(host, 5000)) as peer:
        order = mechanism != "threads"
        sent = converse(peer, 1)
        until(lambda: active(sidecar) or not converse(peer, 1, order=order), what="acceleration")
        before = fast(sidecar)
        sent = converse(peer, bursts, order=order)
        after = fast(sidecar)
        peer.send(b"end")
        received, woken, in_vain = map(int, p.end().split())
        assert received >= sent + 1, (received, sent)
        assert after[0] - before[0] >= sent // 2 and after[1] - before[1] >= sent // 2, (mechanism, before, after, sent)
        assert in_vain <= received // 4 + 20, f"{mechanism}: woken {woken} times, {in_vain} for nothing, for {received} datagrams"


def each_mechanism(names, hows=("one", "all"), **kw):
    with Net() as net, Sidecar(net) as sidecar:
        for mechanism in names:
            for how in hows:
                talk(net, sidecar, mechanism, how, **kw)


@case
def blocking_calls_receive_and_send_by_the_fast_path():
    each_mechanism(("recv", "recvmsg", "recvmmsg", "read", "readv"), ("one",))


@case
def level_triggered_waits_lose_nothing():
    each_mechanism(("epoll", "exclusive", "oneshot", "nested"))


@case
def poll_and_select_lose_nothing():
    each_mechanism(("poll", "ppoll", "select", "pselect"))


@case
def edge_triggered_waits_lose_nothing():
    each_mechanism(("edge",), ("all",), bursts=300)


@case
def threads_that_wait_on_one_instance_lose_nothing():
    each_mechanism(("threads",))


@case
def ipv6_is_the_same():
    each_mechanism(("recv", "epoll"), ("one",), v6=True)


# ---- descriptors ----

SERVE = """
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


@case
def duplicates_are_the_same_socket():
    with Net() as net, Sidecar(net) as sidecar:
        served(net, sidecar, "t = s.dup(); s.close(); serve(t)")
        served(net, sidecar, "os.dup2(s.fileno(), 100); s.close(); serve(socket.socket(fileno=100))")
        served(net, sidecar, "os.dup2(s.fileno(), 0); s.close(); serve(socket.socket(fileno=0))")
        served(net, sidecar, """
import fcntl
fd = fcntl.fcntl(s.fileno(), fcntl.F_DUPFD_CLOEXEC, 50)
s.close()
e = select.epoll()
e.register(fd, select.EPOLLIN)
t = socket.socket(fileno=fd)
while True:
    assert e.poll(5) == [(fd, select.EPOLLIN)]
    d, a = t.recvfrom(2000)
    t.sendto(d, a)
    if d == b"end":
        break
""")
        served(net, sidecar, """
f = os.open("/dev/null", os.O_RDONLY)
t = s.dup()
os.dup2(f, s.fileno())  # the first number is another file now
assert os.read(s.fileno(), 10) == b""
serve(t)
""")


@case
def a_closed_port_is_free():
    code = """
import errno
def again(close):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.99.0.1", 5001))
    s.settimeout(0.01)
    try:
        s.recv(10)  # claims it
    except socket.timeout:
        pass
    close(s)
libc = __import__("ctypes").CDLL(None, use_errno=True)
def gone(s):
    try:
        os.fstat(s.detach())
    except OSError as e:
        return
    raise AssertionError("open")
for i in range(20):
    again(lambda s: s.close())
    again(lambda s: (os.closerange(s.fileno(), s.fileno() + 1), gone(s)))
    again(lambda s: (os.dup2(0, s.fileno()), os.close(s.detach())))
    again(lambda s: (libc.close_range(s.fileno(), 0xffffffff, 0), gone(s)))
    again(lambda s: (libc.syscall(3, s.fileno()) if os.uname().machine == "x86_64" else s.close(), gone(s)))
    again(lambda s: os.fdopen(s.detach(), "rb", 0).close())
print("done")
"""
    with Net() as net, Sidecar(net) as sidecar:
        with python(net, code, ready=False) as p:
            assert p.end(20) == "done\n"
        until(lambda: not rows(sidecar), what="the end of all claims")


@case
def a_program_that_closes_all_numbers_goes_on():
    code = """
s.settimeout(0.3)
try:
    s.recv(10)
except socket.timeout:
    pass
s.settimeout(None)
keep = s.fileno()
for fd in range(3, 6000):
    if fd != keep:
        try:
            os.close(fd)
        except OSError:
            pass
serve(s)
"""
    with Net() as net, Sidecar(net) as sidecar:
        served(net, sidecar, code)
        ranges = code.replace("for fd in range(3, 6000):", "os.closerange(keep + 1, 1 << 20)\nfor fd in range(3, keep):")
        served(net, sidecar, ranges)


@case
def the_port_of_a_program_that_ended_is_free():
    code = """
s.settimeout(0.01)
try:
    s.recv(10)
except socket.timeout:
    pass
%s
"""
    with Net() as net, Sidecar(net) as sidecar:
        for end in ("sys.exit()", "os._exit(0)", "os.kill(os.getpid(), 9)"):
            for _ in range(8):
                with python(net, SERVE + code % end) as p:
                    p.proc.wait(5)
        until(lambda: not rows(sidecar), what="the end of all claims")
        with python(net, """
s, t = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
s.bind(("10.99.0.1", 5000))
start = time.monotonic()
for _ in range(20):
    try:
        t.bind(("10.99.0.1", 5000))
        raise AssertionError("bound twice")
    except OSError:
        pass
print(time.monotonic() - start)
""", ready=False) as p:
            assert float(p.end()) < 1, "a port that is in use costs too long"


# ---- processes ----

@case
def forked_processes_share_the_socket():
    code = """
serve(s, b"fork")
pid = os.fork()
if not pid:
    serve(s, b"child")
    os._exit(0)
os.waitpid(pid, 0)
serve(s)
"""
    with Net() as net, Sidecar(net) as sidecar, python(net, SERVE + code) as p, net.sock(net.b, connect=("10.99.0.1", 5000)) as peer:
        until(lambda: ask(peer) is None and active(sidecar), what="acceleration")
        converse(peer, 20)
        ask(peer, b"fork")
        converse(peer, 20)
        ask(peer, b"child")
        until(lambda: ask(peer) is None and active(sidecar), 10, "acceleration after the child's end")
        before = fast(sidecar)
        converse(peer, 20)
        assert fast(sidecar)[0] > before[0]
        peer.send(b"end")
        p.end()


@case
def a_socket_survives_exec():
    code = """
serve(s, b"exec")
os.set_inheritable(s.fileno(), True)
os.execv(sys.executable, [sys.executable, "-c", CODE % s.fileno()])
"""
    after = "import socket, os\n" + SERVE.split("s = socket")[0] + """
print(os.getpid(), flush=True)
serve(socket.socket(fileno=%d))
"""
    with Net() as net, Sidecar(net) as sidecar, python(net, SERVE + f"CODE = {after!r}\n" + code) as p, \
            net.sock(net.b, connect=("10.99.0.1", 5000)) as peer:
        until(lambda: ask(peer) is None and active(sidecar), what="acceleration")
        ask(peer, b"exec")
        p.line()
        until(lambda: ask(peer) is None and active(sidecar), what="acceleration after exec")
        before = fast(sidecar)
        converse(peer, 20)
        assert fast(sidecar)[0] > before[0]
        peer.send(b"end")
        p.end()


@case
def a_spawned_program_does_not_disturb():
    with Net() as net, Sidecar(net) as sidecar:
        served(net, sidecar, """
import subprocess
os.set_inheritable(s.fileno(), True)
def spawn():
    for i in range(10):
        subprocess.run(["/bin/true"], close_fds=i % 2 == 0)
        os.posix_spawn("/bin/true", ["true"], {})
t = threading.Thread(target=spawn)
t.start()
serve(s)
""", rounds=200)


@case
def a_socket_that_is_passed_on_is_read_by_the_other():
    code = """
import array
serve(s, b"pass")
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
pid = os.fork()
if not pid:  # without the shim
    here.close()
    s.close()
    os.set_inheritable(there.fileno(), True)
    del os.environ["LD_PRELOAD"]
    os.execv(sys.executable, [sys.executable, "-c", CODE % there.fileno()])
there.close()
here.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno()]))])
here.recv(1)
print("passed", flush=True)
os.waitpid(pid, 0)
"""
    after = "import socket, os\n" + SERVE.split("s = socket")[0] + """
u = socket.socket(fileno=%d)
m, fds, _, _ = socket.recv_fds(u, 10, 1)
u.send(b"x")
serve(socket.socket(fileno=fds[0]))
"""
    with Net() as net, Sidecar(net) as sidecar, python(net, SERVE + f"CODE = {after!r}\n" + code) as p, \
            net.sock(net.b, connect=("10.99.0.1", 5000)) as peer:
        until(lambda: ask(peer) is None and active(sidecar), what="acceleration")
        ask(peer, b"pass")
        assert p.line() == "passed"
        converse(peer, 50)
        assert not active(sidecar)
        peer.send(b"end")
        p.end()


@case
def a_socket_that_is_received_is_accelerated():
    code = """
import array
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
if os.fork():
    s.close()
    m, fds, _, _ = socket.recv_fds(here, 10, 1)
    serve(socket.socket(fileno=fds[0]))
else:
    there.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno()]))])
"""
    with Net() as net, Sidecar(net) as sidecar:
        served(net, sidecar, code)


# ---- udplaned comes and goes ----

@case
def a_sleeping_program_attaches_again():
    with Net() as net:
        sidecar = Sidecar(net)
        with Program(net, READER, "epoll", "all", "10.99.0.1", "5000") as p, \
                Program(net, READER, "poll", "all", "10.99.0.1", "5001") as q, \
                net.sock(net.b, connect=("10.99.0.1", 5000)) as peer, net.sock(net.b, connect=("10.99.0.1", 5001)) as other:
            for sig in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
                for port, x in ((5000, peer), (5001, other)):
                    until(lambda: active(sidecar, port), what=f"acceleration of {port} without a call")
                    before = fast(sidecar, port)
                    converse(x, 20)
                    assert fast(sidecar, port)[0] > before[0]
                sidecar.stop(sig)
                for x in (peer, other):
                    ask(x)
                    converse(x, 20)
                sidecar = Sidecar(net)
            sidecar.stop()
            for x, of in ((peer, p), (other, q)):
                x.send(b"end")
                of.end()


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


@case
def programs_outlive_udplaned():
    with Net() as net:
        sidecar = Sidecar(net)
        for mechanism, how in (("recv", "one"), ("epoll", "one"), ("edge", "all"), ("oneshot", "one"), ("poll", "one"), ("select", "all"),
                               ("threads", "one")):
            with Program(net, READER, mechanism, how, "10.99.0.1", "5000") as p, net.sock(net.b, connect=("10.99.0.1", 5000)) as peer:
                ask(peer)
                for sig in (signal.SIGKILL, signal.SIGTERM):
                    until(lambda: stream(peer, 0.05) and active(sidecar), 10, f"{mechanism}: acceleration")
                    sidecar.proc.send_signal(sig)
                    n, lost = stream(peer, 0.3)
                    assert n and lost < 20, (mechanism, n, lost)
                    sidecar.stop()
                    sidecar = Sidecar(net)
                    n, lost = stream(peer, 0.2)
                    assert n and lost < 20, (mechanism, n, lost)
                ask(peer)
                peer.send(b"end")
                p.end()
        sidecar.stop()


@case
def without_udplaned_nothing_is_different():
    with Net() as net:
        for mechanism in ("recv", "epoll", "poll", "select", "nested"):
            with Program(net, READER, mechanism, "one", "10.99.0.1", "5000") as p, net.sock(net.b, connect=("10.99.0.1", 5000)) as peer:
                converse(peer, 50)
                peer.send(b"end")
                p.end()


# ---- the kernel as oracle ----

class Echo:
    """Port 6000 in namespace b sends each datagram back; one that begins with # as often as its second byte says."""

    def __init__(self, net, family):
        self.sock = net.sock(net.b, family, bind=("10.99.0.2" if family == socket.AF_INET else "fd99::2", 6000), timeout=0.1)
        self.stop = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop:
            try:
                d, a = self.sock.recvfrom(4096)
            except (socket.timeout, ConnectionError):
                continue
            for _ in range(d[1] if d[:1] == b"#" else 1):
                self.sock.sendto(d, a)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()
        self.sock.close()


def calls(net, sidecar, family, shim):
    host, peer = ("10.99.0.1", "10.99.0.2") if family == socket.AF_INET else ("fd99::1", "fd99::2")
    with Echo(net, family), Program(net, CALLS, host, "5000", peer, "6000", shim=shim) as p:
        assert active(sidecar) == shim, rows(sidecar)
        p.say("")
        return p.end(60).splitlines()


@case
def calls_return_what_the_kernel_returns():
    with Net() as net, Sidecar(net) as sidecar:
        for family in (socket.AF_INET, socket.AF_INET6):
            with_shim, without = (calls(net, sidecar, family, shim) for shim in (True, False))
            assert len(without) > 150
            differences = [(a, b) for a, b in zip(with_shim, without) if a != b]
            assert with_shim == without, "shim, kernel:\n" + "\n".join(f"{a!r} {b!r}" for a, b in differences)


# ---- other programs ----

@case
def programs_of_musl_are_the_same():
    if not shutil.which("musl-gcc"):
        raise Skip("no musl-gcc: deploy/setup installs musl-tools")
    with tempfile.TemporaryDirectory() as directory, Net() as net, Sidecar(net) as sidecar:
        program = os.path.join(directory, "reader")
        sh("musl-gcc", "-D_GNU_SOURCE", "-O1", "-o", program, os.path.join(ROOT, "tests/integration/reader.c"))
        for mechanism in ("recv", "epoll", "poll", "select", "threads"):
            talk(net, sidecar, mechanism, "one", bursts=40, program=program)


@case
def udplane_run_says_what_cannot_be_preloaded():
    def says(program):
        p = subprocess.run([RUN, "--check", program], text=True, stdout=subprocess.PIPE)
        return p.returncode, p.stdout
    with tempfile.TemporaryDirectory() as directory:
        script, secure, go = (os.path.join(directory, name) for name in ("script", "secure", "go"))
        with open(script, "w") as f:
            f.write(f"#! {PYTHON} -u\n")
        shutil.copy(READER, secure)
        os.chown(secure, 1, 1)
        os.chmod(secure, 0o4755)
        shutil.copy(READER, go)
        os.chmod(go, 0o755)
        with open(go, "ab") as f:
            f.write(b"\xff Go buildinf:")
        assert says(READER)[0] == 0
        assert says(script)[0] == 0
        for program, why in ((RUN, "statically linked"), (secure, "setuid"), (go, "a Go program"), ("/dev/null", "")):
            status, text = says(program)
            assert status == 1 and why in text, text
    assert subprocess.run([RUN, "--check", "no such program"], stderr=subprocess.DEVNULL).returncode == 127
    assert subprocess.run([RUN, "/bin/sh", "-c", "exit 7"]).returncode == 7
    env = {**os.environ, "UDPLANE_PRELOAD": "/nowhere/libudplane-preload.so"}
    assert subprocess.run([RUN, "/bin/true"], env=env, stderr=subprocess.DEVNULL).returncode == 125


if __name__ == "__main__":
    run()
