#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client may write anything into its rings, at any moment, and keep them full: no other client is affected."""
from attack import *


@case
def descriptors_rewritten_while_the_worker_writes_them_harm_nobody():
    for value in ("0xf0000000", "3"):
        with Net() as net, Sidecar(net, mode="balanced") as sidecar:
            victim = Victim(net, 4)
            attacker = start(net, "rewrite_descriptors", 2, value)
            flood = [subprocess.Popen(["ip", "netns", "exec", net.b, os.path.join(BIN, "tests", "integration", "numbers"), "send", A4,
                                       str(6000 + i), "2000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for i in range(4)]
            report = result(attacker)
            for f in flood:
                f.communicate()
            assert report["datagrams"] > 0, report
            victim.unharmed()
            stats = settled(sidecar)
            assert stats["device"]["counters"]["frames_clients"] == 0, stats["device"]["counters"]


@case
def a_release_beside_a_ring_that_never_empties_takes_the_socket_out():
    """A removal that was given up left the worker with a pointer into freed memory, and the next claim of that number was refused."""
    with Net() as net, Sidecar(net) as sidecar:
        victim = Victim(net, 4)
        report = result(start(net, "full_ring", 2, 1, "release"))
        assert report["answered"] > 10 and not report["error"], report
        with Sock(net, bind=(A4, 5070)) as app:  # takes the number that was given back
            peer = net.sock(net.b)
            peer.sendto(b"served", (A4, 5070))
            app.timeout(5)
            assert app.recvfrom()[0] == b"served"
        victim.unharmed()
        settled(sidecar)


@case
def updates_and_releases_with_full_rings_do_not_keep_others_waiting():
    for what in ("update", "release"):
        with Net() as net, Sidecar(net) as sidecar:
            victim = Victim(net, 4, rate=500)
            report = result(start(net, "full_ring", 2, 32, what))
            print("  ", what, report)
            assert report["answered"] > 10 and not report["error"], report
            victim.unharmed()
            settled(sidecar)


run()
