#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified programs under libudplane-preload.so: epoll and poll where they are crowded, nested, or short of descriptors."""
from contextlib import contextmanager

from preload import *  # noqa: F403

HANDLERS = os.path.join(BIN, "tests", "integration", "handlers")
# s and t have ports 5000 and 5001. claimed() answers on them until "go" has come on each; answer() answers once.
HEAD = """
import ctypes, resource
from select import EPOLLIN, EPOLLOUT, EPOLLONESHOT, EPOLLET, epoll
def make(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.99.0.1", port))
    s.setblocking(False)
    return s
def answer(s):
    try:
        d, a = s.recvfrom(100)
    except BlockingIOError:
        return None
    s.sendto(d, a)
    return d
def claimed(*socks):
    left = set(socks)
    while left:
        for s in select.select(list(left), [], [], 20)[0]:
            if answer(s) == b"go":
                left.discard(s)
s, t = make(5000), make(5001)
print("ready", flush=True)
"""


@contextmanager
def claimed(net, sidecar, code):
    """The program, and plain sockets that are connected to its two, which are fast."""
    with python(net, HEAD + code) as p, net.sock(net.b, connect=("10.99.0.1", 5000)) as s, \
            net.sock(net.b, connect=("10.99.0.1", 5001)) as t:
        for port, peer in ((5000, s), (5001, t)):
            until(lambda: ask(peer) is None and active(sidecar, port), what=f"acceleration of {port}")
        for peer in (s, t):
            ask(peer, b"go")
        assert p.line() == "go", p.proc.communicate()
        yield p, s, t


def serves(code, rounds=30):
    """Both sockets are answered, with pauses in which the program falls asleep."""
    with Net() as net, Sidecar(net) as sidecar, claimed(net, sidecar, code) as (_, s, t):
        before = fast(sidecar, 5001)
        for peer in (s, t) * 2:
            converse(peer, rounds)
        assert fast(sidecar, 5001)[0] - before[0] > rounds, "not by the fast path"


SERVE_TWO = """
print("go", flush=True)
while True:
    for fd, events in e.poll(20, {most}):
        if events & EPOLLIN:
            answer(s if fd == s.fileno() else t)
"""


@case
def a_full_array_of_events_starves_no_ring():
    """s is always writable, and there is room for one event."""
    serves("""
claimed(s, t)
e = epoll()
e.register(s, EPOLLIN | EPOLLOUT)
e.register(t, EPOLLIN)
""" + SERVE_TWO.format(most=1))


SERVE_NESTED = """
print("go", flush=True)
while True:
    for fd, _ in e.poll(20):
        if fd == s.fileno():
            answer(s)
        elif fd == inner.fileno() and inner.poll(0):
            answer(t)
"""


@case
def an_instance_that_is_nested_after_a_sleep_wakes():
    serves("""
e, inner = epoll(), epoll()
e.register(s, EPOLLIN)
inner.register(t, EPOLLIN)
claimed(s, t)
e.poll(0.1)
e.register(inner, EPOLLIN)
""" + SERVE_NESTED)


@case
def many_nested_instances_are_all_looked_at():
    serves("""
e, inner = epoll(), epoll()
others = [epoll() for _ in range(40)]
for o in others[:20]:
    e.register(o, EPOLLIN)
e.register(s, EPOLLIN)
e.register(inner, EPOLLIN)
for o in others[20:]:
    e.register(o, EPOLLIN)
inner.register(t, EPOLLIN)
claimed(s, t)
""" + SERVE_NESTED)


@case
def a_nested_instance_with_oneshot_is_reported_once():
    with Net() as net, Sidecar(net) as sidecar, claimed(net, sidecar, """
e, inner = epoll(), epoll()
inner.register(t, EPOLLIN)
claimed(s, t)
print("go", flush=True)
for _ in range(20):
    e.register(inner, EPOLLIN | EPOLLONESHOT)
    assert e.poll(20) == [(inner.fileno(), EPOLLIN)]
    assert e.poll(0) == [] and e.poll(0.01) == []
    e.modify(inner, EPOLLIN | EPOLLONESHOT)
    assert e.poll(20) == [(inner.fileno(), EPOLLIN)]
    assert e.poll(0) == []
    assert inner.poll(20) == [(t.fileno(), EPOLLIN)]
    answer(t)
    e.unregister(inner)
""") as (p, s, t):
        for i in range(20):
            t.send(b"%d" % i)
            assert t.recv(100) == b"%d" % i
        p.end()


# By a call that the shim does not see: for others it gives descriptors back.
FILL = """
opendir = ctypes.CDLL(None).opendir
opendir.restype = ctypes.c_void_p
while opendir(b"/"):
    pass
"""


@case
def without_descriptors_epoll_still_sees_rings():
    """The shim cannot make the epoll instance that it sleeps on."""
    serves("""
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))
e = epoll()
e.register(s, EPOLLIN)
e.register(t, EPOLLIN)
claimed(s, t)
""" + FILL + SERVE_TWO.format(most=2), rounds=10)


@case
def without_descriptors_poll_still_sees_an_instance():
    serves("""
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))
e, inner = select.poll(), epoll()
e.register(s, EPOLLIN)
e.register(inner, EPOLLIN)
inner.register(t, EPOLLIN)
claimed(s, t)
""" + FILL + SERVE_NESTED.replace("poll(20)", "poll(20000)"), rounds=10)


@case
def poll_takes_as_many_entries_as_the_kernel():
    """RLIMIT_NOFILE of them; unused ones have -1."""
    serves("""
class Entry(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short)]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))
libc = ctypes.CDLL(None, use_errno=True)
for fill in (-1, 0):
    p = (Entry * 256)(*([(fill, 0, 0)] * 256))
    p[10], p[255] = (s.fileno(), EPOLLIN, 0), (t.fileno(), EPOLLIN, 0)
    if fill == -1:
        claimed(s, t)
        print("go", flush=True)
    for _ in range(2 ** 30 if fill == 0 else 20):
        n = libc.poll(p, 256, 20000)
        assert n > 0, ctypes.get_errno()
        for x, of in ((10, s), (255, t)):
            if p[x].revents:
                answer(of)
""")


@case
def an_instance_that_was_closed_unseen_is_not_taken_for_the_next():
    with Net() as net, Sidecar(net) as sidecar, claimed(net, sidecar, """
e = epoll()
e.register(s, EPOLLIN)
claimed(s, t)
e.poll(0.01)
fd = e.fileno()
assert ctypes.CDLL("libc.so.6").close(fd) == 0  # libc's own
e2 = epoll()
assert e2.fileno() == fd
e2.register(t, EPOLLIN)
print("go", flush=True)
select.select([s], [], [], 20)
print(e2.poll(0.1), flush=True)
""") as (p, s, _):
        s.send(b"x")
        assert p.line() == "[]"


@case
def an_instance_that_is_passed_on_is_waited_for_by_the_other():
    other = """
import select, socket
u = socket.socket(fileno=%d)
_, fds, _, _ = socket.recv_fds(u, 10, 1)
u.send(b"x")
print(len(select.epoll.fromfd(fds[0]).poll(20)), flush=True)
"""
    with Net() as net, Sidecar(net) as sidecar, claimed(net, sidecar, f"OTHER = {other!r}" + """
import array, subprocess
e, inner = epoll(), epoll()
e.register(inner, EPOLLIN)
inner.register(t, EPOLLIN)
claimed(s, t)
e.poll(0.01)
print("go", flush=True)
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
p = subprocess.Popen([sys.executable, "-c", OTHER % there.fileno()], pass_fds=[there.fileno()], env=env)
here.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [e.fileno()]))])
here.recv(1)
inner.register(s, EPOLLIN)
select.select([s], [], [], 0)
print("passed", flush=True)
p.wait()
""") as (p, s, t):
        assert p.line() == "passed"
        until(lambda: not active(sidecar, 5000) and not active(sidecar, 5001), 5, "the kernel path of both")
        t.send(b"x")
        assert p.line() == "1"


@case
def a_handler_may_close_what_the_interrupted_call_waits_for():
    with Net() as net, Sidecar(net) as sidecar, Program(net, HANDLERS, "5", "10.99.0.1", "5000") as p, \
            net.sock(net.b, connect=("10.99.0.1", 5000)) as s, net.sock(net.b, connect=("10.99.0.1", 5001)) as t:
        def told():
            for _ in range(20):
                try:
                    t.send(b"flood")
                except ConnectionError:  # its port is not open
                    pass
            return p.proc.poll() is not None
        stream(s, 2.5, told)
        assert fast(sidecar)[0] > 50
        assert int(p.end()) > 100


if __name__ == "__main__":
    run()
