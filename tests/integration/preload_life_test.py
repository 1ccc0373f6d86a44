#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified programs under libudplane-preload.so: their descriptors and processes, and udplaned's end."""
import argparse

from preload import *  # noqa: F403


# ---- descriptors ----

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
def io_uring_leaves_all_to_the_kernel():
    """From then on: what is read by a ring of the kernel's must be in the kernel's socket."""
    ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))
    if ring < 0:
        raise Skip("no io_uring here")
    os.close(ring)
    with Net() as net, Sidecar(net) as sidecar, python(net, """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.99.0.1", 5000))
print("ready", flush=True)
while True:
    d, a = s.recvfrom(100)
    if d == b"ring":
        assert libc.syscall(425, 4, ctypes.create_string_buffer(120)) >= 0, ctypes.get_errno()
        t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        t.bind(("10.99.0.1", 5001))
        t.setblocking(False)
    if d == b"end":
        break
    s.sendto(d, a)
try:
    t.recv(10)
except BlockingIOError:
    print("done", flush=True)
sys.stdin.readline()
""") as program, net.sock(net.b, connect=("10.99.0.1", 5000)) as peer:
        converse(peer, 5)
        until(lambda: active(sidecar), 5, "acceleration")
        peer.send(b"ring")
        assert peer.recv(100) == b"ring"
        until(lambda: not active(sidecar), 5, "the kernel path")
        before = fast(sidecar)
        converse(peer, 5)
        assert fast(sidecar) == before
        assert "io_uring" in rows(sidecar)[0]["text"], rows(sidecar)
        peer.send(b"end")
        assert program.line() == "done"
        assert not active(sidecar, 5001)


@case
def a_number_closed_unseen_is_another_file():
    """freopen(3) closes the socket inside libc, and the file gets its number: reads are the file's."""
    with Net() as net, Sidecar(net) as sidecar, python(net, """
import ctypes
libc = ctypes.CDLL(None)
libc.fdopen.restype = libc.freopen.restype = ctypes.c_void_p
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.99.0.1", 5000))
print("ready", flush=True)
for _ in range(20):
    d, a = s.recvfrom(100)
    s.sendto(d, a)
assert sys.stdin.readline().strip() == "claimed"
fd = s.detach()
f = libc.freopen(b"/etc/hostname", b"r", ctypes.c_void_p(libc.fdopen(fd, b"r")))
assert os.readlink("/proc/self/fd/%d" % fd) == "/etc/hostname"
print(os.read(fd, 100) == open("/etc/hostname", "rb").read(), flush=True)
""") as program, net.sock(net.b, connect=("10.99.0.1", 5000)) as peer:
        for i in range(20):
            peer.send(b"%d" % i)
            assert peer.recv(100) == b"%d" % i
        until(lambda: active(sidecar), 5, "acceleration")
        program.say("claimed")
        assert program.line() == "True", program.proc.communicate()
        program.end()


@case
def a_closed_port_is_free():
    code = CLAIM + """
import errno
def again(close):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.99.0.1", 5001))
    claim(s)
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
def a_port_whose_claim_was_refused_is_free_after_close():
    """udplaned has its descriptor for a moment; here it refuses each, since they live in another namespace."""
    with Net() as net, Sidecar(net):
        elsewhere = argparse.Namespace(a=net.b, inside=net.inside)  # Sock's net
        for _ in range(300):
            app = Sock(elsewhere, bind=("10.99.0.2", 5001), fast=False)
            app.accelerated()
            assert app.status().reason == b"other_network_namespace", app.status().text
            app.close()
            net.sock(net.b, bind=("10.99.0.2", 5001)).close()


@case
def a_program_that_closes_all_numbers_goes_on():
    code = """
claim(s)
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
def descriptors_are_the_programs():
    """RLIMIT_NOFILE is the program's: what the library has open for sockets is given back when the program needs the numbers."""
    code = """
import resource
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(60)]
e = select.epoll()
for i, s in enumerate(sockets):
    s.bind(("10.99.0.1", 6000 + i))
    e.register(s, select.EPOLLIN)
    claim(s)
print("ready", flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
made = []
try:
    while True:
        made.append(MAKE)
except OSError as error:
    assert error.errno == 24, error
print(len(made), flush=True)
for s in sockets:
    while True:
        assert (s.fileno(), select.EPOLLIN) in e.poll(5)
        d, a = s.recvfrom(2000)
        s.sendto(d, a)
        if d == b"end":
            break
"""
    makes = "os.open('/dev/null', os.O_RDONLY)", "socket.socket()", "select.epoll()", "s.dup()", "os.pipe()"
    with Net() as net, Sidecar(net) as sidecar:
        for make in makes:
            counts = []
            for shim in (False, True):
                with python(net, CLAIM + code.replace("MAKE", make), shim=shim) as p:
                    if shim:
                        until(lambda: sum(active(sidecar, 6000 + i) for i in range(60)) == 60, what="all sockets' claims")
                    p.say("")
                    counts.append(int(p.line()))
                    for i in range(60):
                        with net.sock(net.b, connect=("10.99.0.1", 6000 + i)) as peer:
                            ask(peer, b"1")
                            peer.send(b"end")
                            assert peer.recv(100) == b"end"
                    p.end()
            # the connection to udplaned, doorbells, and one epoll instance stay
            assert counts[0] - counts[1] <= 8, (make, counts)


@case
def the_port_of_a_program_that_ended_is_free():
    with Net() as net, Sidecar(net) as sidecar:
        for end in ("sys.exit()", "os._exit(0)", "os.kill(os.getpid(), 9)"):
            for _ in range(4):
                with python(net, SERVE + "claim(s)\n" + end) as p:
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


@case
def faults_are_the_programs_own():
    """The library handles SIGSEGV, for EFAULT; the program sees its own actions only, and ends as it would."""
    with Net() as net, Sidecar(net):
        plain, shim = (subprocess.run(["ip", "netns", "exec", net.a, *wrap, os.path.join(BIN, "tests", "integration", "faults")],
                                      stdout=subprocess.PIPE, text=True, timeout=20, check=True).stdout for wrap in ([], [RUN]))
        assert plain.count("\n") > 20 and shim == plain, (plain, shim)


if __name__ == "__main__":
    run()
