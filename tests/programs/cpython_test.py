#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests under udplane-run: the same results as without it. cpython.py says what is done to them."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import *  # noqa: E402,F403

UDP = """BasicUDPTest SendmsgUDPTest RecvmsgUDPTest RecvmsgIntoUDPTest SendmsgUDP6Test RecvmsgUDP6Test RecvmsgIntoUDP6Test
RecvmsgRFC3542AncillaryUDP6Test RecvmsgIntoRFC3542AncillaryUDP6Test InterruptedRecvTimeoutTest InterruptedSendTimeoutTest UDPTimeoutTest
GeneralModuleTests TestSocketSharing NonblockConstantTest InheritanceTest ContextManagersTest""".split()


def suite(pod, host, *names, seconds=100):
    """Runs tests with the host in this namespace; returns what became of each."""
    a, b = (A4, A6, pod.net.a), (B4, B6, pod.net.b)
    (host4, host6, ns), (peer4, peer6, peer) = (a, b) if host == "pod" else (b, a)
    run = [RUN] if pod.fast else []
    words = [*run, PYTHON, os.path.join(HERE, "cpython.py"), host4, host6, peer, peer4, peer6, *names]
    p = subprocess.run(["ip", "netns", "exec", ns, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, errors="replace", timeout=seconds, cwd=pod.dir, env=pod.env())
    assert p.returncode == 0, f"{' '.join(words)}: status {p.returncode}\n{p.stdout[-2000:]}\n{p.stderr[-4000:]}"
    lines = sorted(line for line in p.stdout.splitlines() if re.match("(ok|skipped|error|failed) ", line))
    print(f"{len(lines)} tests, {sum(line.startswith('ok') for line in lines)} ok, host in the {host}'s namespace")
    print(*(line for line in lines if line.startswith(("error", "failed"))), p.stderr[-6000:], sep="\n")
    assert len(lines) > 10, p.stdout
    return lines


def sockets(host, fast):
    """Servers only receive, clients only send."""
    def work(pod):
        return suite(pod, host, *[f"test.test_socket.{name}" for name in UDP])

    beside(work, {"all": fast})


@case
def test_socket_with_an_accelerated_server():
    sockets("pod", FAST_RX)


@case
def test_socket_with_an_accelerated_client():
    sockets("peer", FAST_TX)


@case
def test_socketserver():
    beside(lambda pod: suite(pod, "pod", "test.test_socketserver"), {"all": FAST})


@case
def test_asyncio():
    """On loopback, which is not accelerated: the addresses are written into the tests. The library sees every call all the same.
    UDPLANE_ALL: not only the tests of datagrams and readiness, but all (two minutes)."""
    modules = "events sock_lowlevel selector_events base_events transports".split()
    patterns = [] if os.environ.get("UDPLANE_ALL") else ["*datagram*", "*Datagram*", "*udp*", "*UDP*", "*SelectEventLoop*sock*", "*reader*"]

    def work(pod):
        return suite(pod, "pod", *[f"test.test_asyncio.test_{name}" for name in modules], *patterns, seconds=300)

    beside(work, {})


@case
def test_selectors():
    beside(lambda pod: suite(pod, "pod", *[f"test.test_{name}" for name in ("selectors", "epoll")]), {})


run()
