#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several clients get copies of one frame: one that returns it twice does not take it from the others."""
from attack import *

GROUP, PORT = "239.1.2.3", 5060


@case
def a_shared_frame_that_one_client_returns_twice_stays_with_the_other():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, fast=False) as app:
        Sock(net, bind=(A4, 5070)).close()  # this process is attached
        app.option(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        app.bind(("0.0.0.0", PORT))
        mreq = socket.inet_aton(GROUP) + socket.inet_aton(A4)
        net.inside(net.a, lambda: checked(lib().udplane_setsockopt(app.fd, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, mreq, 8)))
        attacker = start(net, "return_twice", PORT, GROUP, 1)
        assert attacker.stdout.readline() == "joined\n"
        peer = net.sock(net.b, bind=(B4, 0))
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(B4))
        peer.sendto(b"shared", (GROUP, PORT))
        report = result(attacker)
        assert report == {"taken": 1, "closed": True}, report
        assert sidecar.stats()["device"]["counters"]["frames_clients"] == 1  # ours
        many = [b"later %d" % i for i in range(2000)]  # more than the frames that it might have freed
        got = [app.recvfrom(MSG_DONTWAIT)[0]]
        for data in many:
            peer.sendto(data, (GROUP, PORT))
            until(app.readable, what="its copy")
            got.append(app.recvfrom()[0])
        assert got == [b"shared"] + many
        stats = settled(sidecar)
        assert stats["workers"][0]["counters"]["corrupt"] == 1, stats["workers"]
        assert stats["workers"][0]["counters"]["rx_copies"] == 1, stats["workers"]
        assert app.status().fast_rx == 2001, app.status().fast_rx


run()
