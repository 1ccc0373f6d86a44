#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplaned lives but does not run: stopped by a signal, frozen. The kernel serves both ways until it runs again."""
import os
import signal
import time

from harness import *

A4, B4 = "10.99.0.1", "10.99.0.2"
STOP = 1.0  # seconds; a stall that was not noticed would last at least this long


class Stopped:
    """The process that does the work; its parent only waits for it."""

    def __init__(self, sidecar):
        self.pid = sidecar.pid()
        os.kill(self.pid, signal.SIGSTOP)
        until(self.is_so, what="the stop")

    def is_so(self):
        with open(f"/proc/{self.pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go_on()


@case
def the_kernel_receives_while_udplaned_is_stopped():
    """None reordered, none doubled, no gap as long as the stop; what is lost was diverted before anybody noticed, and is counted."""
    with Net() as net, Sidecar(net, mode="latency") as sidecar:
        numbers = Numbers(net)
        turns = 3
        for _ in range(turns):
            numbers.after(2000, fast=True)
            before = numbers.ask()["kernel"]
            with Stopped(sidecar):
                began = time.monotonic()
                until(lambda: numbers.ask()["kernel"] > before + 1000, 5, "datagrams by the kernel")
                until(lambda: time.monotonic() - began > STOP, 5, "the end of the stop")
            numbers.after(2000, fast=True)
        result = numbers.finish()
        stats = settled(sidecar)
        worker = stats["workers"][0]["counters"]
        print("  ", result, {k: worker[k] for k in ("stalls", "rx_drop_stalled")})
        assert result["duplicates"] == 0 and result["reordered"] == 0, result
        assert result["lost"] == worker["rx_drop_stalled"], (result, worker)
        assert worker["stalls"] >= turns and stats["device"]["counters"]["rx_passed_stalled"] > 0, worker
        assert result["gap"] < STOP * 1000 / 2, result  # 85 ms on a quiet machine


@case
def sending_goes_by_the_kernel_while_udplaned_is_stopped():
    with Net() as net, Sidecar(net, mode="latency") as sidecar, Sock(net, bind=(A4, 5060)) as app:
        peer = net.sock(net.b, bind=(B4, 9000))
        app.sendto(b"0", (B4, 9000))
        assert peer.recv(10) == b"0"
        fast = app.status().fast_tx
        sent = 0

        def some_arrive():
            nonlocal sent
            sent += 1
            app.sendto(str(sent).encode(), (B4, 9000))
            peer.settimeout(0.005)
            try:
                return peer.recv(10)
            except TimeoutError:
                return None

        with Stopped(sidecar):
            began = time.monotonic()
            first = until(some_arrive, 2, "a datagram sent while udplaned is stopped")
            took = time.monotonic() - began
        print(f"   number {first.decode()} is the first to arrive, after {took * 1000:.0f} ms")
        assert took < STOP
        got = {first}
        peer.settimeout(5)
        while len(got) < sent:
            got.add(peer.recv(10))
        until(lambda: app.sendto(b"x", (B4, 9000)) and app.status().fast_tx > fast + sent + 1, 5, "the fast path")
        settled(sidecar)


@case
def calls_do_not_wait_for_a_stopped_udplaned():
    """Clients that ask it something wait until the deadline, once; a process that starts during the stall also waits once."""
    with Net() as net, Sidecar(net, mode="latency") as sidecar, Sock(net, bind=(A4, 5060)) as app:
        with Stopped(sidecar):
            began = time.monotonic()
            for port in range(5100, 5110):
                with Sock(net, bind=(A4, port), fast=False) as other:
                    peer = net.sock(net.b, bind=(B4, 0))
                    peer.sendto(b"by the kernel", (A4, port))
                    other.timeout(5)
                    assert other.recvfrom()[0] == b"by the kernel"
            took = time.monotonic() - began
            print(f"   ten sockets opened, used and closed in {took * 1000:.0f} ms")
            # 0.6 s on a quiet machine: the first bind's deadline and one HELLO's; 10 s at a second each
            assert 0.1 < took < 2.5, took
            code = "import time\nb = time.monotonic()\ns = Sock(Here, bind=('10.99.0.1', 5200), fast=False)\nprint(time.monotonic() - b)\n"
            p = child(net, code)
            assert float(p.communicate(timeout=20)[0]) < 1.5
        until(app.accelerated, 10, "acceleration after the stop")


run()
