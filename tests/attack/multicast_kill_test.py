#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that are killed while they share frames of a multicast group: every frame comes back, and others go on."""
import random
import signal
import threading

from attack import *

GROUP, PORT, ROUNDS, CLIENTS = "239.1.2.3", 5060, 40, 5


def member(net):
    """A process that reads the group until it is killed."""
    r, w = os.pipe()
    pid = os.fork()
    if pid:
        os.close(w)
        return pid, r
    try:
        app = Sock(net)
        app.option(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        app.bind(("0.0.0.0", PORT))
        mreq = socket.inet_aton(GROUP) + socket.inet_aton(A4)
        net.inside(net.a, lambda: checked(lib().udplane_setsockopt(app.fd, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, mreq, 8)))
        os.write(w, b"1")
        while True:
            app.recvfrom()
    finally:
        os._exit(1)


@case
def frames_that_killed_clients_share_come_back():
    with Net() as net, Sidecar(net) as sidecar:
        peer, stop = net.sock(net.b, bind=(B4, 0)), threading.Event()
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(B4))

        def flood():
            while not stop.is_set():
                peer.sendto(bytes(200), (GROUP, PORT))

        sender = threading.Thread(target=flood)
        sender.start()
        order = random.Random(1)
        try:
            for _ in range(ROUNDS):
                members = [member(net) for _ in range(CLIENTS)]
                for _, ready in members:
                    assert os.read(ready, 1) == b"1"
                    os.close(ready)
                order.shuffle(members)
                for pid, _ in members:
                    threading.Event().wait(order.random() / 50)
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
        finally:
            stop.set()
            sender.join()
        until(lambda: sidecar.stats()["device"]["counters"]["frames_clients"] == 0, what="all frames to come back")
        stats = settled(sidecar)
        counters = stats["workers"][0]["counters"]
        assert counters["rx_copies"] > 0 and counters["corrupt"] == 0, counters
        print("   ", counters["rx_frames"], "frames,", counters["rx_copies"], "further copies")


run()
