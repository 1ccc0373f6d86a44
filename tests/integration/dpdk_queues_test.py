#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two workers on two queues of one device: net_af_packet, whose packet sockets share the packets by flow hash (PACKET_FANOUT)."""
from dpdk_net import *

DEVICE = "net_af_packet0,iface=va,qpairs=2"
FLOWS = 64
SIZES = [64, 0, 1, 18, 512, 1400, 1472] * 3
SIZES6 = [n for n in SIZES if n <= 1452]


def start(net, *flags, device=DEVICE, workers=2, **kw):
    # The driver insists on 2016 bytes of room.
    return vfio(net, device, "--workers", str(workers), "--frame-size", "4096", *flags, **kw)


def app(net):
    return Echo(Sock(net, bind=(A4, 7000)), Sock(net, socket.AF_INET6, bind=(A6, 7000)))


def exchange_both(net, port=7000):
    return exchange(peers(net, net.b, (A4, port), FLOWS), SIZES) + exchange(peers(net, net.b, (A6, port), FLOWS), SIZES6)


@case
def both_queues_deliver_and_pass():
    with Wire() as net, start(net) as sidecar, app(net), \
            Echo(kernel_sock(net, net.a, (A4, 4000)), kernel_sock(net, net.a, (A6, 4000))):
        back = exchange_both(net)
        exchange_both(net, 4000)  # unclaimed: each worker by its own lane to the TAP
        assert ping(net.b, A4) and ping(net.b, A6) and ping(net.a, B4) and ping(net.a, B6)
        stats = balanced(sidecar)
        workers = [w["counters"] for w in stats["workers"]]
        assert len(workers) == 2, stats
        for w in workers:
            # With 64 flows of each kind, none for a queue has a chance of 2^-63.
            assert w["rx_delivered"] > 0 and w["rx_passed"] > 0 and w["tx_sent"] > 0, workers
            assert sum(v for k, v in w.items() if k.startswith("rx_drop_")) == 0, w
        assert sum(w["rx_delivered"] for w in workers) >= back, (back, workers)
        assert sum(w["tx_taken"] for w in workers) >= back - 2, (back, workers)
        assert counter(sidecar, "frames_clients") <= 2, stats["device"]
        assert "2 of 2" in sidecar.ctl("device")[1]


@case
def killed_and_back():
    with Wire() as net, start(net) as first, app(net) as echo:
        exchange_both(net)
        assert first.kill() != 0
        assert A4 in sh("ip", "-n", net.a, "-o", "address", "show", "dev", "tap0")
        until(lambda: not carrier(net), what="the end of the process that has the TAP")
        with start(net) as second:
            until(lambda: carrier(net), what="the carrier")
            for s in echo.socks:
                until(lambda: s.status().accelerated, 10, "acceleration")
            back = exchange_both(net)
            workers = [w["counters"] for w in balanced(second)["workers"]]
            assert all(w["rx_delivered"] > 0 for w in workers), workers
            assert sum(w["rx_delivered"] for w in workers) >= back * 9 // 10, (back, workers)


@case
def frames_come_back_to_the_worker_that_they_came_from():
    """As few frames as are allowed, and many times as many packets: a frame that went astray would be missed soon."""
    with Wire() as net, start(net, "--frames", "1024") as sidecar, app(net):
        for _ in range(5):
            exchange_both(net)
        stats = balanced(sidecar)
        assert stats["device"]["counters"]["rx_lost_no_frame"] == 0, stats["device"]
        until(lambda: counter(sidecar, "frames_free") >= 1024 - 4, what="1024 frames but those in application's hands")


@case
def more_workers_than_queues_are_not_started():
    with Wire() as net, start(net, workers=3) as sidecar:
        assert "3 workers wanted, tap0 has 2 receive queues: 2 workers start" in sidecar.output(), sidecar.output()
        assert len(sidecar.stats()["workers"]) == 2
        assert ping(net.b, A4)


@case
def fewer_workers_than_queues_are_refused():
    """A flow of the queue without a worker would be lost, and not be counted."""
    with Wire() as net:
        sidecar = start(net, workers=1, ready=False)
        until(lambda: sidecar.proc.poll() is not None, 10, "its end")
        assert sidecar.proc.returncode == 1
        assert "1 of them would have no worker; set `workers` to 2, or qpairs to 1" in sidecar.output(), sidecar.output()
        assert "tap0" not in sh("ip", "-n", net.a, "link"), "the TAP was left behind"


if __name__ == "__main__":
    run()
