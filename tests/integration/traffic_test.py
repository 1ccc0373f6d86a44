#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Datagrams of every kind between accelerated sockets and ordinary kernel sockets, and other traffic on the interface at the same time."""
import os
import socket
import threading
import time

from harness import *

A4, B4, A6, B6 = "10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2"


def accelerated(sidecar, port):
    return [s for s in sidecar.stats()["sockets"] if s["local"] and s["local"]["port"] == port and s["state"] == "active"]


def echo(family, app_addr, peer_bind, sizes):
    with Net() as net, Sidecar(net) as sidecar, Sock(net, family, bind=app_addr) as app:
        assert app.status().accelerated == 1, app.status().text
        peer = net.sock(net.b, family, bind=peer_bind)
        target = (A4 if family == socket.AF_INET else A6, app_addr[1])
        app.timeout(5)
        for size in sizes:
            data = os.urandom(size)
            peer.sendto(data, target)
            got, where = app.recvfrom()
            assert got == data, (size, len(got))
            assert where == (peer_bind[0], peer.getsockname()[1]), where
            app.sendto(got, where)
            back, source = peer.recvfrom(65536)
            assert back == data and source[:2] == target, (size, len(back), source)
        stats = settled(sidecar)
        row = accelerated(sidecar, app_addr[1])[0]
        fast = [s for s in sizes if s <= 1452]
        assert row["counters"]["rx_delivered"] >= len(fast), row
        assert row["counters"]["tx_sent"] + row["counters"]["tx_slow"] >= len(fast) - 2, row
        assert stats["device"]["counters"]["frames_clients"] <= 1, stats["device"]


SIZES = [0, 1, 2, 7, 8, 17, 18, 64, 100, 512, 1000, 1399, 1452, 1472]


@case
def echo_v4():
    echo(socket.AF_INET, (A4, 5060), (B4, 0), SIZES)


@case
def echo_v6():
    echo(socket.AF_INET6, (A6, 5060), (B6, 0), SIZES)


@case
def fragments_take_the_kernel_path():
    echo(socket.AF_INET, (A4, 5060), (B4, 0), [1473, 2000, 9000, 65507])
    echo(socket.AF_INET6, (A6, 5060), (B6, 0), [1453, 2000, 9000])


@case
def a_dual_stack_wildcard_serves_both_families():
    with Net() as net, Sidecar(net), Sock(net, socket.AF_INET6, bind=("::", 5060)) as app:
        app.timeout(5)
        v4 = net.sock(net.b, socket.AF_INET, bind=(B4, 0))
        v6 = net.sock(net.b, socket.AF_INET6, bind=(B6, 0))
        for i in range(20):
            v4.sendto(b"four %d" % i, (A4, 5060))
            data, where = app.recvfrom()
            assert data == b"four %d" % i and where[0] == "::ffff:" + B4, (data, where)
            app.sendto(data, where)
            assert v4.recvfrom(100) == (data, (A4, 5060))
            v6.sendto(b"six %d" % i, (A6, 5060))
            data, where = app.recvfrom()
            assert data == b"six %d" % i and where[0] == B6, (data, where)
            app.sendto(data, where)
            assert v6.recvfrom(100)[0] == data
        assert app.status().fast_rx == 40, app.status().fast_rx


@case
def a_connected_socket_hears_its_peer_only():
    with Net() as net, Sidecar(net) as sidecar:
        friend, stranger = net.sock(net.b, bind=(B4, 7001)), net.sock(net.b, bind=(B4, 7002))
        with Sock(net, bind=(A4, 5060), connect=(B4, 7001)) as app:
            app.timeout(5)
            stranger.sendto(b"no", (A4, 5060))
            friend.sendto(b"yes", (A4, 5060))
            assert app.recvfrom()[0] == b"yes"
            app.send(b"reply")
            assert friend.recvfrom(100)[0] == b"reply"
            # The stranger's datagram went to the kernel, which has no socket for it and reports that.
            assert settled(sidecar)["device"]["counters"]["rx_passed_unclaimed"] >= 1
            assert app.status().accelerated


@case
def the_kernel_tells_a_connected_sender_of_a_closed_port():
    with Net() as net, Sidecar(net), Sock(net, bind=(A4, 5060), connect=(B4, 9)) as app:
        def refused():
            try:
                app.send(b"x")
                app.recvfrom(MSG_DONTWAIT)
            except ConnectionRefusedError:
                return True
            except BlockingIOError:
                return False
            return False
        until(refused, what="ECONNREFUSED")


@case
def a_client_of_another_pid_namespace_names_itself():
    """As containers of a pod are to each other."""
    with Net() as net, Sidecar(net, wrap=["unshare", "--pid", "--fork", "--kill-child"]) as sidecar, Sock(net, bind=(A4, 5060)):
        mine, = sidecar.stats()["sockets"]
        assert mine["pid"] == 0 and mine["comm"] == os.path.basename(sys.executable)[:15], mine
        assert f"?/{mine['comm']}" in sidecar.ctl("sockets")[1]
        sidecar.kill()  # unshare(1) ignores SIGTERM


@case
def a_port_lost_behind_the_librarys_back_is_let_go():
    """connect() with AF_UNSPEC on the kernel socket itself: Linux takes back the port that connect() had chosen."""
    with Net() as net, Sidecar(net, ports="1-65535") as sidecar, Sock(net, connect=(B4, 7)) as app:
        port = sidecar.stats()["sockets"][0]["local"]["port"]
        kernel = socket.socket(fileno=os.dup(app.kernel_fd()))
        nobody = ctypes.create_string_buffer(16)  # sa_family 0 is AF_UNSPEC
        libc = ctypes.CDLL(None, use_errno=True)
        checked(libc.connect(kernel.fileno(), nobody, 16))
        until(lambda: not sidecar.stats()["sockets"] or sidecar.stats()["sockets"][0]["state"] != "active", what="the claim's end")
        peer = net.sock(net.b, bind=(B4, 0))
        with net.sock(net.a, bind=(A4, port)) as plain:
            plain.settimeout(5)
            peer.sendto(b"for the new owner", (A4, port))
            assert plain.recv(100) == b"for the new owner"
        kernel.close()


@case
def reuseport_members_share_by_flow():
    with Net() as net, Sidecar(net) as sidecar:
        def member():
            s = Sock(net)
            s.option(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            s.bind((A4, 5060))
            return s
        group = [member() for _ in range(4)]
        until(lambda: all([g.accelerated() for g in group]), what="four accelerated members")
        assert len(accelerated(sidecar, 5060)) == 4
        peers = [net.sock(net.b, bind=(B4, 20000 + i)) for i in range(64)]
        for turn in range(5):
            for i, p in enumerate(peers):
                p.sendto(b"%d" % i, (A4, 5060))
        got = [g.recv_all() for g in group]
        assert sum(map(len, got)) == 64 * 5, list(map(len, got))
        for i in range(64):  # a flow stays with one member
            assert sum(1 for g in got if b"%d" % i in g) == 1, i
        assert sum(1 for g in got if g) >= 3, list(map(len, got))
        for g in group:
            g.close()


@case
def a_plain_socket_that_shares_the_port_gets_its_own():
    with Net() as net, Sidecar(net) as sidecar:
        app = Sock(net)
        app.option(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        app.bind(("0.0.0.0", 5060))
        until(app.accelerated, what="acceleration")
        plain = net.sock(net.a, bind=(A4, 5060), reuse=True)  # more specific: Linux gives it everything for A4
        until(lambda: not accelerated(sidecar, 5060), what="the return to the kernel")
        peer = net.sock(net.b, bind=(B4, 0))
        peer.sendto(b"for plain", (A4, 5060))
        assert plain.recvfrom(100)[0] == b"for plain"
        code, text = sidecar.ctl("why", "5060", check=False)
        assert code == 1 and "shared_with_plain_socket" in text, text
        plain.close()
        until(lambda: accelerated(sidecar, 5060), what="acceleration again")
        peer.sendto(b"back", (A4, 5060))
        app.timeout(5)
        assert app.recvfrom()[0] == b"back"
        app.close()


@case
def reuseaddr_rivals_are_left_to_linux():
    with Net() as net, Sidecar(net) as sidecar:
        def rival():
            s = Sock(net)
            s.option(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((A4, 5060))
            s.timeout(5)
            return s
        first = rival()
        until(first.accelerated, what="acceleration of the only one")
        second = rival()  # bound last: Linux gives it everything
        until(lambda: not accelerated(sidecar, 5060), what="the return to the kernel")
        peer = net.sock(net.b, bind=(B4, 0))
        peer.sendto(b"for the last", (A4, 5060))
        assert second.recvfrom()[0] == b"for the last"
        second.close()
        until(first.accelerated, what="acceleration again")
        peer.sendto(b"alone", (A4, 5060))
        assert first.recvfrom()[0] == b"alone"
        first.close()


@case
def many_sockets_each_get_their_own():
    with Net() as net, Sidecar(net) as sidecar:
        socks = [Sock(net, bind=(A4, 5000 + i)) for i in range(600)]
        peer = net.sock(net.b, bind=(B4, 0))
        for turn in range(3):
            for i in range(600):
                peer.sendto(b"%d %d" % (turn, i), (A4, 5000 + i))
            for i, s in enumerate(socks):
                s.timeout(5)
                assert s.recvfrom()[0] == b"%d %d" % (turn, i)
                s.sendto(b"back %d" % i, peer.getsockname())
                assert peer.recvfrom(100) == (b"back %d" % i, (A4, 5000 + i))
        stats = settled(sidecar)
        assert stats["control"]["sockets"] == 600
        assert sum(s["counters"]["rx_delivered"] for s in stats["sockets"]) == 1800
        for s in socks:
            s.close()
        until(lambda: sidecar.stats()["control"]["sockets"] == 0, what="their release")


@case
def the_rest_of_the_interface_stays_with_linux():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=("0.0.0.0", 5060)) as app:
        stop = threading.Event()
        flood = net.sock(net.b, bind=(B4, 0))

        def pour():
            while not stop.is_set():
                flood.sendto(b"x" * 64, (A4, 5060))
        thread = threading.Thread(target=pour)
        thread.start()
        try:
            assert " 0% packet loss" in sh("ping", "-c", "5", "-i", "0.2", A4, ns=net.b)
            assert " 0% packet loss" in sh("ping", "-c", "5", "-i", "0.2", "-6", A6, ns=net.b)
            listener = net.inside(net.a, lambda: socket.create_server((A4, 8080)))
            client = net.inside(net.b, lambda: socket.create_connection((A4, 8080), 5))
            served, _ = listener.accept()
            blob = os.urandom(1 << 20)
            sender = threading.Thread(target=lambda: (client.sendall(blob), client.shutdown(socket.SHUT_WR)))
            sender.start()
            got = bytearray()
            while chunk := served.recv(65536):
                got += chunk
            sender.join()
            assert bytes(got) == blob
            other = net.sock(net.a, bind=(A4, 4000))  # not asked for
            net.sock(net.b).sendto(b"plain", (A4, 4000))
            assert other.recvfrom(100)[0] == b"plain"
        finally:
            stop.set()
            thread.join()
        app.recv_all(0.05)
        stats = settled(sidecar)
        assert stats["sockets"][0]["counters"]["rx_delivered"] > 100, stats["sockets"]


@case
def loopback_multicast_and_broadcast_work_as_ever():
    with Net() as net, Sidecar(net), Sock(net, bind=("0.0.0.0", 5060)) as app:
        app.timeout(5)
        local = net.sock(net.a, bind=("127.0.0.1", 0))
        local.sendto(b"loop", ("127.0.0.1", 5060))
        data, where = app.recvfrom()
        assert data == b"loop"
        app.sendto(b"pool", where)
        assert local.recvfrom(100)[0] == b"pool"
        net.sock(net.a).sendto(b"own address", (A4, 5060))
        assert app.recvfrom()[0] == b"own address"
        shouter = net.sock(net.b)
        shouter.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        shouter.sendto(b"to all", ("10.99.0.255", 5060))
        assert app.recvfrom()[0] == b"to all"
        try:
            app.sendto(b"x", ("10.99.0.255", 9))
            raise AssertionError("broadcast without SO_BROADCAST must fail")
        except PermissionError:
            pass
        try:
            app.sendto(b"x", ("203.0.113.1", 9))
            raise AssertionError("no route: ENETUNREACH is due")
        except OSError as e:
            assert e.errno == errno.ENETUNREACH, e


@case
def an_unresolved_neighbour_is_resolved_by_linux():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=(A4, 5060)) as app:
        sh("ip", "-n", net.a, "neigh", "flush", "all")
        peer = net.sock(net.b, bind=(B4, 7000))
        app.sendto(b"first", (B4, 7000))
        assert peer.recvfrom(100)[0] == b"first"
        until(lambda: app.sendto(b"more", (B4, 7000)) and
              sidecar.stats()["sockets"][0]["counters"]["tx_sent"] > 0, what="a fast send")
        sh("ip", "-n", net.b, "link", "set", "vb", "address", "02:00:00:00:99:99")  # the peer's MAC changes

        def arrives():
            peer.settimeout(0.2)
            app.sendto(b"new mac", (B4, 7000))
            try:
                while peer.recvfrom(100)[0] != b"new mac":
                    pass
                return True
            except TimeoutError:
                return False
        sh("ping", "-c", "1", A4, ns=net.b, check=False)
        until(arrives, 30, "delivery to the new MAC")


@case
def a_close_after_slow_datagrams_harms_nobody():
    with Net() as net, Sidecar(net, "--worker-spin-us", "1", mode="balanced") as sidecar, Sock(net, bind=(A4, 5061)) as other:
        for turn in range(5):
            with Sock(net, bind=(A4, 5060)) as app:
                for i in range(500):
                    app.sendto(b"x", ("10.99.0.77", 9))  # no such host: Linux resolves in vain
        stats = sidecar.stats()
        assert stats["control"]["corrupt_clients"] == 0, stats["control"]
        other.timeout(5)
        net.sock(net.b).sendto(b"still here", (A4, 5061))
        assert other.recvfrom()[0] == b"still here"
        # and what stalled behind the control thread goes on by itself
        with Sock(net, bind=(A4, 5060)) as app:
            for i in range(500):
                app.sendto(b"x", ("10.99.0.77", 9))

            def taken():
                s = sidecar.stats()
                w = s["workers"][0]["counters"]
                return w["tx_taken"] == w["tx_slow"] + w["tx_sent"] + w["tx_drop_invalid"] and s["control"]["slow_sent"] + \
                    s["control"]["slow_failed"] + s["control"]["slow_no_socket"] == w["tx_slow"]
            until(taken, what="the slow path to catch up")


@case
def a_flood_is_accounted_for_to_the_last_frame():
    gen = os.path.join(BIN, "tests", "bench", "gen", "xdp_gen")
    with Net() as net, Sidecar(net) as sidecar:
        mac = open_mac(net)
        socks = [Sock(net, bind=("0.0.0.0", 6000 + i), flags=socket.SOCK_NONBLOCK) for i in range(8)]
        stop = threading.Event()

        def drink():
            while not stop.is_set():
                for s in socks:
                    try:
                        for _ in range(64):
                            s.recvfrom(MSG_DONTWAIT)
                    except BlockingIOError:
                        pass
        thread = threading.Thread(target=drink)
        thread.start()
        out = sh(gen, "--netns-interface", "vb", "--dst-mac", mac, "--src-ip", B4, "--dst-ip", A4, "--dport", "6000-6009",
                 "--size", "64", "--count", "2000000", ns=net.b)  # two of the ten ports have no socket
        stop.set()
        thread.join()
        stats = settled(sidecar)
        dev = stats["device"]["counters"]
        assert dev["rx_seen"] > 100000, (dev, out)
        assert dev["rx_passed_unclaimed"] > 0 and dev["rx_diverted"] > 0, dev
        assert sum(s["counters"]["rx_delivered"] + s["counters"]["rx_drop_ring_full"] + s["counters"]["rx_drop_quota"]
                   for s in stats["sockets"]) == sum(
            w["counters"]["rx_delivered"] + w["counters"]["rx_drop_ring_full"] + w["counters"]["rx_drop_quota"]
            for w in stats["workers"])
        for s in socks:
            s.close()
        until(lambda: sidecar.stats()["device"]["counters"]["frames_clients"] == 0, what="every frame's return")
        dev = sidecar.stats()["device"]["counters"]
        assert dev["frames_free"] == dev["frames_total"], dev


def open_mac(net):
    return sh("ip", "netns", "exec", net.a, "cat", "/sys/class/net/va/address").strip()


@case
def a_sleeping_reader_is_woken_in_every_mode():
    for mode in ("latency", "balanced", "powersave"):
        with Net() as net, Sidecar(net, mode=mode), Sock(net, bind=(A4, 5060)) as app:
            peer = net.sock(net.b, bind=(B4, 0))
            app.timeout(5)
            for i in range(20):
                threading.Timer(0.02, lambda: peer.sendto(b"%d" % i, (A4, 5060))).start()
                assert app.recvfrom()[0] == b"%d" % i  # asleep in recv
            for i in range(20):
                assert not app.readable()
                threading.Timer(0.02, lambda: peer.sendto(b"%d" % i, (A4, 5060))).start()
                assert app.readable(5), (mode, i)      # asleep in select
                assert app.recvfrom()[0] == b"%d" % i
            assert not app.readable()


def order_holds(mode):
    """In bursts, so that the worker sleeps between them and is woken by the next; from a process of its own, and in turns from a
    thread, which the interpreter's lock makes uneven company: then threads are preempted at the oddest places."""
    with Net() as net, Sidecar(net, mode=mode) as sidecar, Sock(net, bind=(A4, 5060)) as app:
        peer = net.sock(net.b, bind=(B4, 0))
        got, burst = [], 500

        def send(first):
            for i in range(first, first + 20 * burst):
                peer.sendto(b"%d" % i, (A4, 5060))
                if i % burst == 0:
                    select.select([], [], [], 0.005)

        def forked(first):
            pid = os.fork()
            if not pid:
                app.close()  # as long as two have it open, it is the kernel's
                send(first)
                os._exit(0)
            return lambda: pid and os.waitpid(pid, os.WNOHANG)[0]

        def threaded(first):
            thread = threading.Thread(target=send, args=(first,))
            thread.start()
            return lambda: not thread.is_alive()

        end, turn = time.monotonic() + 60, 0
        while turn < 4 or not (app.status().fast_rx and app.status().kernel_rx):
            assert time.monotonic() < end, f"both paths were to be used: {sidecar.ctl('why', '5060', check=False)[1]}"
            ended = (forked, threaded)[turn % 2](turn * 20 * burst)
            while not ended():
                got += [int(x) for x in app.recv_all(0.02)]
            got += [int(x) for x in app.recv_all(0.3)]
            turn += 1
        late = [(i, got[i - 1], x) for i, x in enumerate(got) if i and x < got[i - 1]]
        assert not late, f"reordered {len(late)} times: {late[:5]}; {app.status().fast_rx} fast, {app.status().kernel_rx} kernel"
        assert len(set(got)) == len(got), "duplicated"
        settled(sidecar)


@case
def order_holds_while_the_fast_path_comes_and_goes():
    order_holds("powersave")  # where each burst begins in the kernel


@case
def order_holds_where_bursts_are_met():
    order_holds("balanced")


if __name__ == "__main__":
    run()
