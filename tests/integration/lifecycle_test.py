#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes come and go on both sides, at any moment, under load: what is lost, what is left behind."""
import os
import signal
import subprocess
import time

from harness import *

A4, B4 = "10.99.0.1", "10.99.0.2"


@case
def without_a_sidecar_everything_works_through_the_kernel():
    with Net() as net, Sock(net, bind=(A4, 5060), fast=False) as app:
        peer = net.sock(net.b, bind=(B4, 0))
        app.timeout(5)
        peer.sendto(b"hello", (A4, 5060))
        data, where = app.recvfrom()
        app.sendto(data, where)
        assert peer.recvfrom(100)[0] == b"hello"
        st = app.status()
        assert not st.accelerated and st.reason == b"no_sidecar", (st.reason, st.text)
        # and when one appears, the same socket is accelerated
        with Sidecar(net):
            until(app.accelerated, what="acceleration")
            peer.sendto(b"fast", (A4, 5060))
            assert app.recvfrom()[0] == b"fast"
            assert app.status().fast_rx >= 1
        until(lambda: not app.accelerated(), what="the return to the kernel")
        peer.sendto(b"slow", (A4, 5060))
        assert app.recvfrom()[0] == b"slow"


@case
def sigterm_under_load_loses_nothing():
    with Net() as net:
        # Without GRO a veth has its NAPI queue for XDP only, and frees what is in there when the program goes (docs/measurements.md).
        sh("ethtool", "-K", "va", "gro", "on", ns=net.a)
        numbers = Numbers(net)
        numbers.after(1000)
        for turn in range(20):
            with Sidecar(net) as sidecar:
                numbers.after(5000, fast=True)
                assert sidecar.stop() == 0
                numbers.after(1000, fast=False)
        result = numbers.finish()
        print(result)
        assert result["lost"] == 0 and result["duplicates"] == 0, result


@case
def a_lost_interface_ends_udplaned_or_auto_chooses_anew():
    for backend in ("af_xdp", "auto"):
        with Net() as net, Sidecar(net, "--backend", backend) as sidecar, Sock(net, bind=("0.0.0.0", 5060)) as app:
            until(lambda: sidecar.stats()["uptime_ns"] > 5.1e9, 10, "the time after which a lost device is no sign of a fault")
            sh("ip", "-n", net.a, "link", "delete", "va")
            if backend == "af_xdp":
                assert sidecar.proc.wait(10) == 1
                assert "start udplaned again" in sidecar.output(), sidecar.output()
            else:
                until(lambda: sidecar.healthy() and sidecar.stats()["uptime_ns"] < 5e9, 10, "another beginning")
                stats = sidecar.stats()
                assert sidecar.proc.poll() is None and stats["backend"] == "kernel" and 'no interface "va"' in stats["backend_text"], stats
            until(lambda: not app.accelerated(), what="the return to the kernel")
            with Sock(net, bind=("127.0.0.1", 5061), fast=False) as other:
                app.sendto(b"still there", ("127.0.0.1", 5061))
                assert other.recvfrom()[0] == b"still there"


@case
def kill_9_of_udplaned_hands_over_to_the_kernel():
    with Net() as net:
        numbers = Numbers(net)
        turns = 20
        for turn in range(turns):
            sidecar = Sidecar(net)
            numbers.after(5000, fast=True)
            sidecar.kill()
            numbers.after(1000, fast=False)
        result = numbers.finish()
        print(result)
        assert result["duplicates"] == 0, result
        # The xsk's ring and the kernel's teardown (docs/measurements.md: up to 50 ms until the program is gone).
        assert result["lost"] <= turns * (2048 + RATE * 0.05), result


@case
def what_a_dead_sidecar_did_not_send_goes_out_through_the_kernel():
    with Net() as net:
        sidecar = Sidecar(net)
        with Sock(net, bind=(A4, 5060)) as app:
            peer = net.sock(net.b, bind=(B4, 7000))
            until(lambda: app.sendto(b"warm", (B4, 7000)) and sidecar.stats()["sockets"][0]["counters"]["tx_sent"] > 0, what="a fast send")
            peer.settimeout(0.2)
            try:
                while True:
                    peer.recvfrom(100)
            except TimeoutError:
                pass
            os.kill(sidecar_pid(sidecar), signal.SIGSTOP)
            for i in range(100):
                app.sendto(b"%d" % i, (B4, 7000))
            sidecar.kill()
            got = []

            def all_there():
                app.accelerated()  # any call notices, once the process that was stopped has ended, after its parent
                try:
                    while True:
                        got.append(int(peer.recvfrom(100)[0]))
                except TimeoutError:
                    return len(got) >= 100
            until(all_there, what="100 datagrams")
            assert got == list(range(100)), got


def sidecar_pid(sidecar):
    return sidecar.stats()["pid"]


CHILD = """
socks = [Sock(Here, bind=("0.0.0.0", 6000 + i), fast=False) for i in range(8)]
until(lambda: all([s.accelerated() for s in socks]), what="acceleration")
print("ready", flush=True)
while True:
    for s in socks:
        try:
            data, where = s.recvfrom(MSG_DONTWAIT)
            s.sendto(data, where)
        except OSError:
            pass
"""


@case
def clients_killed_under_load_leave_nothing_behind():
    gen = os.path.join(BIN, "tests", "bench", "gen", "xdp_gen")
    with Net() as net, Sidecar(net) as sidecar:
        mac = sh("cat", "/sys/class/net/va/address", ns=net.a).strip()
        total, fds = sidecar.stats()["device"]["counters"]["frames_total"], sidecar.descriptors()
        flood = subprocess.Popen(["ip", "netns", "exec", net.b, gen, "--netns-interface", "vb", "--dst-mac", mac, "--src-ip", B4,
                                  "--dst-ip", A4, "--dport", "6000-6007", "--size", "64", "--seconds", "60", "--rate", "100000"],
                                 stdout=subprocess.DEVNULL)
        try:
            for turn in range(30):
                victim = child(net, CHILD)
                assert victim.stdout.readline() == "ready\n"
                select.select([], [], [], 0.003 * (turn % 10))  # at another moment each time
                victim.kill()
                victim.wait()
                start = time.monotonic()

                # its ports are free for others within moments
                def free():
                    try:
                        net.sock(net.a, bind=("0.0.0.0", 6003)).close()
                        return True
                    except OSError:
                        return False
                until(free, 1, "the dead client's port")
                until(lambda: sidecar.stats()["control"]["clients"] == 0, 1, "its detachment")
                assert time.monotonic() - start < 1
        finally:
            flood.terminate()
            flood.wait()
        stats = settled(sidecar)
        assert stats["control"]["sockets"] == 0 and not stats["sockets"], stats["control"]
        assert stats["device"]["counters"]["frames_clients"] == 0, stats["device"]
        until(lambda: sidecar.stats()["device"]["counters"]["frames_free"] == total, what="every frame's return")
        assert sidecar.descriptors() <= fds, (fds, sidecar.descriptors())


@case
def hundreds_of_thousands_of_opens_binds_and_closes():
    count = int(os.environ.get("UDPLANE_OPENS", "200000"))
    churn = os.path.join(BIN, "tests", "integration", "churn")
    with Net() as net, Sidecar(net, ports="1-65535", mode="balanced") as sidecar:
        before, fds = sidecar.stats(), sidecar.descriptors()
        out = sh(churn, str(count), ns=net.a)
        after = until(lambda: (s := sidecar.stats())["control"]["clients"] == 0 and s, what="its detachment")
        claims = after["control"]["claims"] - before["control"]["claims"]
        assert claims == count, (claims, out)
        assert after["control"]["sockets"] == 0 and after["control"]["releases"] == after["control"]["claims"], after["control"]
        assert after["device"]["counters"]["frames_free"] == after["device"]["counters"]["frames_total"]
        assert sidecar.descriptors() <= fds, (fds, sidecar.descriptors())
        assert after["memory"] == before["memory"], (before["memory"], after["memory"])


@case
def a_forked_child_and_its_parent_both_go_on():
    with Net() as net, Sidecar(net), Sock(net, bind=(A4, 5060)) as app:
        peer = net.sock(net.b, bind=(B4, 0))
        app.timeout(5)
        peer.sendto(b"parent", (A4, 5060))
        assert app.recvfrom()[0] == b"parent"
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                app.sendto(b"from the child", peer.getsockname())
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert peer.recvfrom(100)[0] == b"from the child"
        for i in range(10):
            peer.sendto(b"%d" % i, (A4, 5060))
            assert app.recvfrom()[0] == b"%d" % i


@case
def several_processes_are_served_at_once():
    sink = """
port = %d
with Sock(Here, bind=("0.0.0.0", port)) as s:
    s.timeout(10)
    print("ready", flush=True)
    for i in range(500):
        data, where = s.recvfrom()
        assert data == b"%%d %%d" %% (port, i), data
        s.sendto(data, where)
"""
    with Net() as net, Sidecar(net) as sidecar:
        kids = [child(net, sink % (6000 + i)) for i in range(6)]
        for k in kids:
            assert k.stdout.readline() == "ready\n"
        assert sidecar.stats()["control"]["clients"] == 6
        peers = [net.sock(net.b, bind=(B4, 0)) for _ in kids]
        for n in range(500):
            for i, p in enumerate(peers):
                p.sendto(b"%d %d" % (6000 + i, n), (A4, 6000 + i))
            for i, p in enumerate(peers):
                assert p.recvfrom(100)[0] == b"%d %d" % (6000 + i, n)
        for k in kids:
            assert k.wait(10) == 0
        settled(sidecar)


if __name__ == "__main__":
    run()
