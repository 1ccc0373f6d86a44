#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs of several processes and threads, as they are written for plain sockets: prefork servers, inetd's "wait", receivers that others
wake or end, event loops that meet an ICMP error. The kernel is the oracle: each program runs with its calls (plain) and with ours."""
import os
import random
import signal
import socket
import subprocess
import tempfile

from harness import *

A4, B4 = "10.99.0.1", "10.99.0.2"
PROCESSES = os.path.join(BIN, "tests", "integration", "processes")


def program(net, api, what, *args, wrap=(), **kw):
    return subprocess.Popen(["ip", "netns", "exec", net.a, *wrap, PROCESSES, api, what, *map(str, args)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True, **kw)


def line(p):
    text = p.stdout.readline().strip()
    if not text:
        raise AssertionError(f"the program ended: {p.wait()}")
    return text


def ended(p, seconds=20):
    try:
        out = p.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        p.kill()
        raise AssertionError(f"the program hangs: {p.args[4:]}")
    return out.split("\n")[:-1]


def prefork(net, api, how, workers):
    """Datagrams of 16 flows, some before the workers read, some while one of them is held up. Who read how many; what was lost."""
    with_fork = program(net, api, "prefork", A4, 5060, how, workers)
    assert line(with_fork) == "bound"
    flows = [net.sock(net.b, bind=(B4, 0)) for _ in range(16)]
    for n in range(10):  # unread when the fork comes
        flows[0].sendto(b"early", (A4, 5060))
    with_fork.stdin.write("\n")
    with_fork.stdin.flush()
    for _ in range(workers):
        assert line(with_fork) == "waits"
    for n in range(390):
        flows[n % 16].sendto(b"x", (A4, 5060))
        if n % 50 == 49:  # the kernel's queue holds some 270
            until(lambda: waiting(net, 5060) < 50000, 10, "room in the queue")
    until(lambda: waiting(net, 5060) == 0, 10, "an empty queue")
    for _ in range(workers):  # each worker ends at one of these
        flows[0].sendto(b"end", (A4, 5060))
    got = [int(x) for x in ended(with_fork)]
    for s in flows:
        s.close()
    return got


def waiting(net, port):
    """Bytes in the kernel's queues of this port."""
    def read():
        with open("/proc/thread-self/net/udp") as f:
            return [row.split() for row in f.readlines()[1:]]

    return sum(int(row[4].split(":")[1], 16) for row in net.inside(net.a, read) if int(row[1].split(":")[1], 16) == port)


def check_prefork(mode, ways):
    with Net() as net, Sidecar(net, mode=mode):
        warm(net)
        for how in ways:
            for workers in (1, 4):
                got = prefork(net, "udplane", how, workers)
                assert sum(got) == 400, (how, workers, got)


def warm(net):
    """Neighbours are known, and the fast path works."""
    with Sock(net, bind=(A4, 5059)) as app:
        peer = net.sock(net.b, bind=(B4, 0))
        app.timeout(5)
        peer.sendto(b"x", (A4, 5059))
        app.recvfrom()
        peer.close()


@case
def prefork_workers_get_everything():
    check_prefork("latency", ("epoll", "poll", "select", "recv"))


@case
def prefork_workers_get_everything_in_mode_balanced():
    check_prefork("balanced", ("epoll", "recv"))


@case
def a_worker_takes_what_its_busy_brother_does_not():
    with Net() as net, Sidecar(net):
        warm(net)
        peer = net.sock(net.b, bind=(B4, 0))
        for api in ("plain", "udplane"):
            p = program(net, api, "busy", A4, 5060)
            assert line(p) == "ready"
            for n in range(200):  # one flow
                peer.sendto(b"x", (A4, 5060))
            assert ended(p) == ["all 200"], api


@case
def inetd_style():
    with Net() as net, Sidecar(net):
        warm(net)
        peer = net.sock(net.b, bind=(B4, 0))
        seen = {}
        for api in ("plain", "udplane"):
            p = program(net, api, "inetd", A4, 5060)
            assert line(p) == "bound"
            peer.sendto(b"request", (A4, 5060))
            seen[api] = ended(p)
            assert peer.recvfrom(100)[0] == b"request"
        assert seen["udplane"] == seen["plain"], seen
        assert seen["plain"] == ["child got request", "parent sees nothing"], seen


@case
def a_daemon_is_accelerated_again():
    """The parent ends; its child is then alone, and fast, also if it only sends."""
    with Net() as net, Sidecar(net) as sidecar:
        warm(net)
        peer = net.sock(net.b, bind=(B4, 5061))
        p = program(net, "udplane", "daemon", A4, 5060, B4, 5061)
        daemon = int(line(p))
        try:
            until(lambda: sidecar.stats()["workers"][0]["counters"]["tx_sent"] > 100, 10, "sending by the fast path")
            assert peer.recvfrom(100)[0] == b"tick"
        finally:
            os.kill(daemon, signal.SIGTERM)
        p.communicate(timeout=10)


@case
def shutdown_ends_a_receive():
    with Net() as net, Sidecar(net):
        warm(net)
        for api in ("plain", "udplane"):
            assert ended(program(net, api, "shutdown", A4, 5060)) == ["0"], api


@case
def a_receive_before_the_first_send_is_woken():
    with Net() as net, Sidecar(net, ports="5000-65535"):
        warm(net)
        peer = net.sock(net.b, bind=(B4, 5061))
        p = program(net, "udplane", "early", B4, 5061)
        data, where = peer.recvfrom(100)
        assert line(p) == "accelerated"
        peer.sendto(data, where)
        assert ended(p) == ["answer"]


@case
def an_error_does_not_make_a_loop_spin():
    with Net() as net, Sidecar(net):
        warm(net)
        for api in ("plain", "udplane"):
            rounds = int(ended(program(net, api, "error", A4, 5060, B4, 9))[0])
            assert rounds <= 10, (api, rounds)


@case
def sigio_comes_for_each_datagram():
    with Net() as net, Sidecar(net):
        warm(net)
        peer = net.sock(net.b, bind=(B4, 0))
        for api in ("plain", "udplane"):
            p = program(net, api, "sigio", A4, 5060)
            assert line(p) == "ready"
            for n in range(5):
                peer.sendto(b"x", (A4, 5060))
                assert line(p) == "signal", api
            assert ended(p) == ["5"]


@case
def order_holds_across_moves():
    """connect() and options in the midst of a stream, at random moments."""
    with Net() as net, Sidecar(net):
        warm(net)
        rng = random.Random(1)
        for how in ("connect", "option", "shutdown", "fork"):
            turned = 0
            for _ in range(15):
                with Sock(net, bind=(A4, 5060)) as app:
                    peer = net.sock(net.b, bind=(B4, 0))
                    got = []
                    move = rng.randrange(1, 60)
                    for i in range(60):
                        peer.sendto(b"%d" % i, (A4, 5060))
                        if rng.randrange(3) == 0:
                            got += [int(x) for x in at_once(app, 1)]
                        if i == move:
                            moved(app, how, peer.getsockname())
                    got += [int(x) for x in app.recv_all(0.1)]
                    peer.close()
                    assert sorted(got) == list(range(60)), (how, got)
                    turned += sum(a > b for a, b in zip(got, got[1:]))
            assert not turned, f"{how}: {turned} pairs"


def at_once(app, most=1 << 30):
    """What can be read without waiting."""
    out = []
    while len(out) < most:
        try:
            out.append(app.recvfrom(MSG_DONTWAIT)[0])
        except BlockingIOError:
            break
    return out


def moved(app, how, peer):
    if how == "connect":
        app.connect(peer)
    elif how == "option":
        app.option(socket.IPPROTO_IP, 23, 1)  # IP_CHECKSUM, which only the kernel honours
    elif how == "shutdown":
        lib().udplane_shutdown(app.fd, socket.SHUT_WR)
    else:
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)


@case
def flows_of_a_reuseport_group_stay():
    """Mode balanced: a flow keeps its socket, slow or fast."""
    with Net() as net, Sidecar(net, mode="balanced"):
        apps = []
        for _ in range(4):
            app = Sock(net, fast=False)
            app.option(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            app.bind((A4, 5060))
            apps.append(app)
        until(lambda: all([app.accelerated() for app in apps]), what="acceleration")
        flows = [net.sock(net.b, bind=(B4, 0)) for _ in range(12)]
        owners = [set() for _ in flows]

        def look():
            for i, app in enumerate(apps):
                for data in at_once(app):
                    owners[int(data)].add(i)

        for turn in range(4):
            for n, flow in enumerate(flows):
                flow.sendto(b"%d" % n, (A4, 5060))
                until(lambda: (look(), owners[n])[1], what="the slow datagram")
            for n, flow in enumerate(flows):
                for _ in range(60):
                    flow.sendto(b"%d" % n, (A4, 5060))
                look()
            select.select([], [], [], 0.2)  # time to go to sleep
            look()
        for app in apps:
            app.close()
        assert all(len(o) == 1 for o in owners), owners
        assert len(set.union(*owners)) > 1, owners


def jailed(net, sidecar, path, flags, wrap, env, comes_back=True):
    """A program that has changed its root and its user, and a udplaned that is restarted: is it accelerated again, or (not comes_back)
    does it stay on the kernel path, undisturbed? Returns the ways out of its root that the program has."""
    with tempfile.TemporaryDirectory() as empty:
        p = program(net, "udplane", "jail", A4, 5060, empty, wrap=wrap, env={**os.environ, "UDPLANE_SOCKET": path, **env})
        peer = net.sock(net.b, bind=(B4, 0))

        def sent(what):
            peer.sendto(what, (A4, 5060))
            return line(p)

        assert line(p) == "bound"
        ways = int(sent(b"x"))
        try:
            until(lambda: sent(b"x") == "fast", what="the fast path")
            sidecar.stop()
            until(lambda: sent(b"x") == "kernel", what="the kernel path")
            with Sidecar(net, *flags, path=path) as again:
                if comes_back:
                    until(lambda: sent(b"x") == "fast", 10, "the fast path again")
                end = time.monotonic() + (0 if comes_back else 2.5)  # it tries once a second
                while time.monotonic() < end:
                    assert sent(b"x") == "kernel"
                pids = [row["pid"] for row in again.stats()["sockets"]]
                assert pids == ([p.pid] if comes_back else []), (pids, p.pid)
                peer.sendto(b"e", (A4, 5060))
                ended(p)
        finally:
            p.kill()
        return ways


@case
def a_program_in_another_root_is_accelerated_again():
    """It has changed its root and its user since; without CAP_SYS_ADMIN it takes UDPLANE_CHROOT."""
    unprivileged = ["setpriv", "--bounding-set", "-sys_admin"]
    flags = ["--socket-mode", "0666"]
    for wrap, env, ways_out in ((), {}, 0), (unprivileged, {"UDPLANE_CHROOT": "1"}, 1):
        with Net() as net, tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            path = os.path.join(folder, "udplane.sock")
            with Sidecar(net, *flags, path=path) as sidecar:
                assert jailed(net, sidecar, path, flags, wrap, env) == ways_out


@case
def a_user_that_may_not_connect_any_more_stays_on_the_kernel_path():
    """The socket of a host has mode 0660: a program that has changed its user may not connect again."""
    flags = ["--socket-mode", "0660"]
    with Net() as net, tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = os.path.join(folder, "udplane.sock")
        with Sidecar(net, *flags, path=path) as sidecar:
            jailed(net, sidecar, path, flags, (), {}, comes_back=False)


if __name__ == "__main__":
    run()
