#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Frames that are not of the usual kind: with a VLAN tag, and longer than a packet buffer."""
import json
import struct

from dpdk_net import *

SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 0x10
PCAP = "net_pcap0,iface=va,phy_mac=1"  # libpcap on the wire: it knows no MTU, receives and sends chains
OVERHEAD = 14 + 28  # Ethernet, IPv4 and UDP header
ROOM = 4096 - 128   # bytes of a frame that a packet may have


# ---- VLAN tags ----

def packet_socket(net, ns, link):
    def make():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.bind((link, 3))
        s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        s.settimeout(0.1)
        return s
    return net.inside(ns, make)


def mac(net, ns, link):
    return bytes.fromhex(sh("cat", f"/sys/class/net/{link}/address", ns=ns).strip().replace(":", ""))


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def tagged_udp(dst_mac, src_mac, vlan, src, dst, port, data):
    """No UDP checksum: IPv4 may do without."""
    udp = struct.pack("!HHHH", 1000, port, 8 + len(data), 0) + data
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(src), socket.inet_aton(dst))
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return dst_mac + src_mac + struct.pack("!HHH", 0x8100, vlan, 0x0800) + ip + udp


def tag_of(s, data):
    """Waits for a frame with this payload; its VLAN, 0 if it has no tag."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            frame, ancillary, _, _ = s.recvmsg(2048, 256)
        except TimeoutError:
            continue
        if data not in frame:
            continue
        if frame[12:14] == b"\x81\x00":
            return struct.unpack("!H", frame[14:16])[0]
        for level, kind, value in ancillary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, _ = struct.unpack("=IIIHHHH", value)
                return tci if status & TP_STATUS_VLAN_VALID else 0
        return 0
    raise AssertionError("it did not come")


@case
def vlan_tags_are_kept_both_ways():
    """The kernel's packet socket hands the tag over beside the frame, and the driver must put it back: without it, a datagram of
    another network would be taken for one of this one."""
    with Wire() as net, vfio(net, "net_af_packet0,iface=va", "--frame-size", "4096"), Sock(net, bind=(A4, 7000)) as app:
        tap, wire = packet_socket(net, net.a, "tap0"), packet_socket(net, net.b, "vb")
        ours, theirs = mac(net, net.a, "tap0"), mac(net, net.b, "vb")
        wire.send(tagged_udp(ours, theirs, 5, B4, A4, 7000, b"into the tunnel"))
        assert tag_of(tap, b"into the tunnel") == 5
        tap.send(tagged_udp(theirs, ours, 6, A4, B4, 7000, b"and out of it"))
        assert tag_of(wire, b"and out of it") == 6
        exchange_one(net, app)
        assert app.status().fast_rx == 1, "a tagged datagram was delivered"


def exchange_one(net, app):
    """An untagged one after the others: it is the first that the application gets."""
    peer = net.sock(net.b, connect=(A4, 7000))
    peer.send(b"untagged")
    app.timeout(5)
    assert app.recvfrom()[0] == b"untagged"


# ---- jumbo ----

class Jumbo:
    """udplaned on a wire of MTU 9000, which it learns from the network status, and which makes it choose frames of 4 KiB."""

    def __init__(self, device=PCAP, *flags, **kw):
        self.net = Wire(mtu=9000)
        self.file = tempfile.NamedTemporaryFile("w", suffix=".annotations")
        status = [{"name": "jumbo", "interface": "tap0", "mac": sh("cat", "/sys/class/net/va/address", ns=self.net.a).strip(),
                   "ips": [A4, A6], "mtu": 9000}]
        self.file.write("k8s.v1.cni.cncf.io/network-status=" + json.dumps(json.dumps(status)) + "\n")
        self.file.flush()
        self.sidecar = vfio(self.net, device, "--annotations", self.file.name, *flags, address=None, **kw)

    def __enter__(self):
        return self.net, self.sidecar

    def __exit__(self, *_):
        self.sidecar.stop()
        self.net.__exit__()
        self.file.close()


FITS = ROOM - OVERHEAD      # the longest payload whose packet fits a frame
LONGEST = 9000 - 28


def counter_map(sidecar):
    return sidecar.stats()["device"]["counters"]


def first_fast(sidecar, app, peer):
    """Linux answers until the worker knows the neighbour. Returns how many frames the worker has sent."""
    def one_more():
        app.sendto(b"first", peer.getsockname())
        assert peer.recv(100) == b"first"
        return counter_map(sidecar)["tx_done"]
    return until(one_more, what="a neighbour that the worker knows")


@case
def what_fits_a_frame_is_fast_and_what_does_not_takes_the_kernel_path():
    with Jumbo() as (net, sidecar), Sock(net, bind=(A4, 7000)) as app, Sock(net, socket.AF_INET6, bind=(A6, 7001)) as app6:
        assert "mtu 9000" in sh("ip", "-n", net.a, "link", "show", "dev", "tap0")
        facts = sidecar.ctl("device")[1]
        assert f"{ROOM} bytes, packets may take several" in facts, facts
        app.timeout(5)
        peer = net.sock(net.b, bind=(B4, 0))
        sent = first_fast(sidecar, app, peer)
        for size, fast in ((64, True), (1472, True), (1473, True), (3000, True), (FITS, True), (FITS + 1, False), (8000, False),
                           (LONGEST, False)):
            before, seen = app.status(), counter_map(sidecar)
            data = os.urandom(size)
            peer.sendto(data, (A4, 7000))
            got, where = app.recvfrom()
            assert got == data and where == peer.getsockname(), (size, len(got))
            app.sendto(got, where)
            assert peer.recv(65536) == data, size
            after, sent = app.status(), sent + fast
            assert after.fast_rx == before.fast_rx + fast and after.kernel_rx == before.kernel_rx + (not fast), size
            now = until(lambda: (m := counter_map(sidecar))["tx_done"] == sent and m, what=f"{sent} frames sent by the worker")
            assert now["rx_passed_jumbo"] == seen["rx_passed_jumbo"] + (not fast), (size, now)
            assert fast or now["tap_tx"] > seen["tap_tx"], (size, now)  # as a chain of two or three frames
        with Echo(app, app6):
            exchange(peers(net, net.b, (A4, 7000), 8), [8000] * 20)
            exchange(peers(net, net.b, (A6, 7001), 8), [64, 1452, 3000, FITS - 20, FITS - 19, 8000, LONGEST - 20] * 3)
        stats = balanced(sidecar)
        assert stats["device"]["counters"]["tx_invalid"] == 0, stats["device"]


@case
def nothing_but_jumbo():
    """Packets that the worker never sees: it must not take them for idleness and leave the rest of a burst where it is."""
    with Jumbo() as (net, sidecar), Sock(net, bind=(A4, 7000)) as app:
        app.option(socket.SOL_SOCKET, SO_RCVBUFFORCE, BIG)
        assert ping(net.b, A4)  # while it has no neighbour the peer keeps but a dozen of them
        with Echo(app):
            for _ in range(5):
                exchange(peers(net, net.b, (A4, 7000), 100), [8000], lossless=True)
        stats = balanced(sidecar)
        assert stats["device"]["counters"]["rx_passed_jumbo"] == 500, stats["device"]
        assert sum(w["counters"]["rx_delivered"] for w in stats["workers"]) == 0


@case
def small_frames_and_a_large_mtu():
    """Frames of 2 KiB because the user asks for them: a full-sized packet is longer than one, and so is what leaves the TAP."""
    with Jumbo(PCAP, "--frame-size", "2048") as (net, sidecar), Sock(net, bind=(A4, 7000)) as app, Echo(app):
        exchange(peers(net, net.b, (A4, 7000), 8), [64, 1400, 2048 - 128 - OVERHEAD, 2048 - 128 - OVERHEAD + 1, 3000, 8000] * 3)
        stats = balanced(sidecar)
        assert stats["device"]["counters"]["rx_passed_jumbo"] >= 70 and stats["device"]["counters"]["tx_invalid"] == 0, stats["device"]
        assert stats["workers"][0]["counters"]["rx_delivered"] >= 70, stats["workers"]


@case
def tcp_and_ping_in_jumbo_frames():
    with Jumbo() as (net, sidecar):
        assert ping(net.b, A4, "-s", "8972", "-M", "do") and ping(net.a, B6, "-s", "8952", "-M", "do")
        guest = os.path.join(BIN, "tests", "vfio", "guest")
        server = subprocess.Popen(["ip", "netns", "exec", net.a, guest, "tcp-serve", "7500"])
        try:
            until(lambda: "7500" in sh("ss", "-Hltn", ns=net.a), what="the server")
            sh(guest, "tcp-get", A4, "7500", "32", ns=net.b)
            sh(guest, "tcp-get", A6, "7500", "8", ns=net.b)
        finally:
            server.terminate()
            server.wait()
        assert counter(sidecar, "tx_invalid") == 0
        balanced(sidecar)


@case
def a_driver_that_has_no_jumbo_packets_says_so():
    """net_af_packet of DPDK 22.11 knows no packet above 1518 bytes."""
    jumbo = Jumbo("net_af_packet0,iface=va", ready=False)
    with jumbo:
        until(lambda: jumbo.sidecar.proc.poll() is not None, 10, "its end")
        assert jumbo.sidecar.proc.returncode == 1
        assert "MTU 9000" in jumbo.sidecar.output(), jumbo.sidecar.output()


if __name__ == "__main__":
    run()
