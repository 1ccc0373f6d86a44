#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Networks that take modules: IPVS (kube-proxy's mode ipvs), bonds. A plain socket is the oracle."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
from beside import *

OTHER = "10.99.0.3"


@case
def services_of_ipvs():
    with Net() as net:
        sh("ip", "-n", net.a, "route", "add", "default", "via", B4)
        sh("ip", "-n", net.b, "addr", "add", OTHER + "/24", "dev", "vb")
        with Sidecar(net) as sidecar, Bench(net, sidecar) as b, net.sock(net.b, bind=(OTHER, 5353)) as other:
            b.is_fast()
            sh("ipvsadm", "-R", ns=net.a, input=f"-A -u {VIP}:53 -s rr\n-a -u {VIP}:53 -r {B4}:5353 -m\n"
                                                f"-A -u {A4}:5999 -s rr\n-a -u {A4}:5999 -r {B4}:5353 -m\n")
            b.leaves_to_linux("IPVS")
            sent = b.row()["counters"]["tx_sent"]
            assert b.asks((VIP, 53)) == ((VIP, 53), (VIP, 53))
            assert b.row()["counters"]["tx_sent"] == sent
            b.fast_with(other)
            # Its endpoint also speaks for itself.
            assert b.receives() == (True, True)
            assert b.sends((B4, 5353)) == (True, True)
            # As kube-proxy has it: the Service's address is local.
            sh("ip", "-n", net.a, "addr", "add", VIP + "/32", "dev", "lo")
            sh("ip", "-n", net.b, "route", "add", VIP, "via", A4)
            assert b.asks((VIP, 53)) == ((VIP, 53), (VIP, 53))
            # The port of a Service at its own address is not the application's.
            with Sock(net, bind=("0.0.0.0", 5999), fast=False):
                until(lambda: (b.row(5999) or {}).get("reason") == "netfilter", 8, "the Service's port to be left to Linux")
            # A flow outlives its Service: Linux goes on translating what its server still sends.
            sh("ipvsadm", "-D", "-u", f"{VIP}:53", ns=net.a)
            end = time.monotonic() + 2.5  # /proc/net/ip_vs is read once a second
            while time.monotonic() < end:
                late = b.hears_late()
                assert late == ((VIP, 53), (VIP, 53)), late
            b.fast_with(other)


@case
def an_endpoint_of_ipvs_among_its_sockets():
    """A client's datagram to the Service reaches the application; the answer comes from the Service."""
    with Net() as net, Sidecar(net) as sidecar, Bench(net, sidecar) as b:
        sh("ip", "-n", net.a, "addr", "add", VIP + "/32", "dev", "lo")
        sh("ip", "-n", net.b, "route", "add", VIP, "via", A4)
        b.is_fast()
        sh("ipvsadm", "-R", ns=net.a, input=f"-A -u {VIP}:53 -s rr\n-a -u {VIP}:53 -r {A4}:{FAST} -m\n")
        b.becomes(tx="netfilter")
        b.peer.sendto(b"question", (VIP, 53))
        until(lambda: b.app.readable(0.5), 2, "the question")
        text, sender = b.app.recvfrom(MSG_DONTWAIT)
        assert (text, sender[:2]) == (b"question", (B4, 5353)), (text, sender)
        b.app.sendto(b"answer", sender[:2])
        b.peer.settimeout(2)
        assert b.peer.recvfrom(100) == (b"answer", (VIP, 53))


@case
def services_of_ipvs_over_ipv6():
    with Net() as net:
        sh("ip", "-n", net.a, "route", "add", "default", "via", B6)
        with Sidecar(net) as sidecar, Bench(net, sidecar, six=True) as b:
            b.is_fast()
            sh("ipvsadm", "-R", ns=net.a, input=f"-A -u [{VIP6}]:53 -s rr\n-a -u [{VIP6}]:53 -r [{B6}]:5353 -m\n"
                                                f"-A -u [{VIP6}]:54 -s rr\n")
            b.leaves_to_linux("IPVS")
            assert b.asks((VIP6, 53)) == ((VIP6, 53), (VIP6, 53))
            sh("ipvsadm", "-D", "-u", f"[{VIP6}]:53", ns=net.a)
            late = b.hears_late()
            assert late == ((VIP6, 53), (VIP6, 53)), late


@case
def a_bond_is_not_a_black_hole():
    with Net() as net:
        sh("ip", "-n", net.a, "link", "add", "bond0", "type", "bond", "mode", "active-backup", "miimon", "100")
        sh("ip", "-n", net.a, "link", "set", "va", "down")
        sh("ip", "-n", net.a, "addr", "flush", "dev", "va")
        sh("ip", "-n", net.a, "link", "set", "va", "master", "bond0")
        sh("ip", "-n", net.a, "link", "set", "bond0", "up")
        sh("ip", "-n", net.a, "addr", "add", A4 + "/24", "dev", "bond0")
        sh("ip", "-n", net.a, "addr", "add", A6 + "/64", "dev", "bond0", "nodad")
        sh("ethtool", "-K", "vb", "tx", "off", ns=net.b)  # a sender on this host would leave the checksum to the device
        with Sidecar(net, interface="bond0") as sidecar:
            app = Sock(net, bind=(A4, FAST))
            plain = net.sock(net.b, bind=(B4, 5353))
            for i in range(300):
                text = b"%d" % i
                plain.sendto(text, (A4, FAST))
                assert app.recv_all(2, most=1) == [text], i
                app.sendto(text, (B4, 5353))
                assert plain.recvfrom(100) == (text, (A4, FAST))
            counters = sidecar.stats()["sockets"][0]["counters"]
            assert counters["rx_delivered"] > 200 and counters["tx_sent"] > 200, counters
            app.close()


if __name__ == "__main__":
    run()
