#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified programs under libudplane-preload.so: many sockets in one epoll instance, whose datagrams bring no token each."""
from contextlib import ExitStack, contextmanager

from preload import *  # noqa: F403

CROWD = 100
HEAD = f"""
from select import EPOLLIN, EPOLLONESHOT, EPOLLET, epoll
socks = {{}}
for port in range(6000, 6000 + {CROWD}):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.99.0.1", port))
    s.setblocking(False)
    socks[s.fileno()] = s
def answer(fd, most=1):
    for _ in range(most):
        try:
            d, a = socks[fd].recvfrom(100)
        except BlockingIOError:
            return
        socks[fd].sendto(d, a)
e = epoll()
"""


@contextmanager
def crowd(code):
    with Net() as net, Sidecar(net) as sidecar, python(net, HEAD + code) as program, ExitStack() as stack:
        peers = [stack.enter_context(net.sock(net.b, connect=("10.99.0.1", 6000 + i))) for i in range(CROWD)]
        for peer in peers:
            ask(peer)
        until(lambda: sum(r["state"] == "active" for r in rows(sidecar)) == CROWD, what="all claims")
        yield net, sidecar, program, peers


def exchange(peers, rounds, each=1, seed=5):
    """Some are sent something, and each must answer it, whether the program sleeps by then or not."""
    rnd = random.Random(seed)
    for n in range(rounds):
        chosen = rnd.sample(peers, min(rnd.choice((1, 1, 2, 5, 40, CROWD)), len(peers)))
        for peer in chosen:
            for i in range(each):
                peer.send(b"%d.%d" % (n, i))
        for peer in chosen:
            got = [peer.recv(100) for _ in range(each)]
            assert sorted(got) == sorted(b"%d.%d" % (n, i) for i in range(each)), got
        if rnd.random() < 0.2:
            time.sleep(rnd.random() * 0.004)


def serves(code, each=1, rounds=150, signals=None):
    with crowd(code) as (_, sidecar, _, peers):
        exchange(peers, 20, each)
        before = [(r["counters"]["rx_delivered"], r["counters"]["wakes"]) for r in rows(sidecar)]
        exchange(peers, rounds, each)
        after = [(r["counters"]["rx_delivered"], r["counters"]["wakes"]) for r in rows(sidecar)]
        fast, wakes = (sum(a[i] - b[i] for a, b in zip(after, before)) for i in range(2))
        assert fast > rounds * CROWD // 8, (fast, wakes)
        assert signals is None or wakes < signals * fast, (fast, wakes)


LOOP = """
for fd in socks:
    e.register(fd, {events})
def loop():
    while True:
        for fd, _ in e.poll(20, {most}):
            answer(fd, {each})
            {then}
"""
ONE = LOOP + 'print("ready", flush=True)\nloop()\n'


@case
def a_crowd_needs_few_signals():
    """While it is awake the program gets no token for each datagram."""
    serves(ONE.format(events="EPOLLIN", most=64, each=1, then=""), signals=0.5)


@case
def a_crowd_with_room_for_few_events():
    serves(ONE.format(events="EPOLLIN", most=3, each=1, then=""))


@case
def a_crowd_with_edges():
    serves(ONE.format(events="EPOLLIN | EPOLLET", most=64, each=100, then=""), each=3)


@case
def a_crowd_with_oneshot():
    serves(ONE.format(events="EPOLLIN | EPOLLONESHOT", most=64, each=1, then="e.modify(fd, EPOLLIN | EPOLLONESHOT)"), each=2)


@case
def a_crowd_and_threads():
    """They sleep and wake on one instance, and one of them is slow."""
    serves(LOOP.format(events="EPOLLIN", most=8, each=1, then="time.sleep(0.0001 * (threading.get_ident() & 1))") + """
threads = [threading.Thread(target=loop) for _ in range(3)]
print("ready", flush=True)
for t in threads:
    t.start()
""")


@case
def a_crowd_that_is_nested():
    serves("""
for fd in socks:
    e.register(fd, EPOLLIN)
outer = epoll()
outer.register(e.fileno(), EPOLLIN)
print("ready", flush=True)
while True:
    if outer.poll(20):
        for fd, _ in e.poll(0):
            answer(fd)
""")


@case
def a_crowd_that_is_nested_late_and_polled():
    """The instance is waited for by itself first, then in another, then by poll(2)."""
    serves("""
for fd in socks:
    e.register(fd, EPOLLIN)
print("ready", flush=True)
def some(cnt, wait):
    while cnt > 0:
        wait()
        for fd, _ in e.poll(0):
            answer(fd)
            cnt -= 1
outer = epoll()
p = select.poll()
p.register(e.fileno(), select.POLLIN)
some(700, lambda: select.epoll.poll(e, 20))
outer.register(e.fileno(), EPOLLIN)
some(700, lambda: outer.poll(20))
outer.unregister(e.fileno())
some(1 << 30, lambda: p.poll(20000))
""")


@case
def a_socket_of_a_crowd_is_waited_for_alone():
    """A thread waits in recvfrom(2), which no mark wakes."""
    with crowd(LOOP.format(events="EPOLLIN", most=64, each=1, then="") + """
def alone(s):
    s.setblocking(True)
    while True:
        d, a = s.recvfrom(100)
        s.sendto(d, a)
mine = list(socks)[:3]
threads = [threading.Thread(target=alone, args=(socks[fd],)) for fd in mine] + [threading.Thread(target=loop)]
answer_any = answer
def answer(fd, most):
    if fd not in mine:
        answer_any(fd, most)
    else:
        time.sleep(0.0001)
print("ready", flush=True)
for t in threads:
    t.start()
""") as (_, _, _, peers):
        exchange(peers, 100)
        exchange(peers[:3], 100)


@case
def a_crowd_outlives_udplaned():
    with crowd(ONE.format(events="EPOLLIN", most=64, each=1, then="")) as (net, sidecar, _, peers):
        for sig in (signal.SIGKILL, signal.SIGTERM):
            exchange(peers, 50)
            sidecar.stop(sig)
            for peer in peers:
                ask(peer)
            with Sidecar(net) as again:
                until(lambda: sum(r["state"] == "active" for r in rows(again)) == CROWD, 20, "all claims again")
                for peer in peers:
                    ask(peer, b"again")
                exchange(peers, 50)


if __name__ == "__main__":
    run()
