#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client may rewrite what it sends while the worker gathers it: the wire never carries a wrong checksum for what it carries, and the
headers are udplaned's."""
import struct

from attack import *

SO_RCVBUFFORCE, SOL_PACKET, PACKET_VNET_HDR = 33, 263, 15


def listen():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    s.bind(("vb", 0))
    s.settimeout(0.5)
    return s


def check(captured, macs):
    """Returns the number of datagrams of the attacker in what was captured."""
    flags, kind, _, size, _, _ = struct.unpack("=BBHHHH", captured[:10])
    frame = captured[10:]
    if frame[23] != 17 or frame[34:36] != struct.pack(">H", 6000):
        return 0
    ip, udp = frame[14:34], frame[34:]
    length, = struct.unpack(">H", udp[4:6])
    pseudo = ones_sum(ip[12:20] + struct.pack(">HH", 17, length))
    assert frame[:12] == macs and ip[0] == 0x45 and ones_sum(ip) == 0xffff, frame[:34].hex()
    assert ip[12:20] == socket.inet_aton(A4) + socket.inet_aton(B4) and udp[2:4] == struct.pack(">H", 7000), frame[:42].hex()
    assert struct.unpack(">H", ip[2:4])[0] == 20 + length == 20 + len(udp), frame[:42].hex()
    if flags & 1:
        assert struct.unpack(">H", udp[6:8])[0] == pseudo, frame[:42].hex()
    else:
        assert ones_sum(struct.pack(">H", pseudo) + udp) == 0xffff, frame[:42].hex()
    return -(-(length - 8) // size) if kind else 1


def attacked(net, sidecar, macs):
    wire = net.inside(net.b, listen)
    attacker = start(net, "rewrite_slots", 2)
    seen = 0
    try:
        while True:
            seen += check(wire.recv(1 << 17), macs)
    except TimeoutError:
        pass
    wire.close()
    report = result(attacker)
    counters = settled(sidecar)["workers"][0]["counters"]
    print("  ", report, "checked:", seen, "super-packets:", counters["tx_supers"])
    assert report["attached"] and seen > 100, (report, seen)
    return counters["tx_supers"]


@case
def payloads_rewritten_while_they_are_gathered_have_right_checksums():
    with Net() as net:
        macs = b"".join(bytes.fromhex(sh("cat", f"/sys/class/net/{dev}/address", ns=ns).strip().replace(":", ""))
                        for ns, dev in ((net.b, "vb"), (net.a, "va")))
        mac = ":".join(f"{byte:02x}" for byte in macs[:6])
        sh("ip", "-n", net.a, "neigh", "replace", B4, "lladdr", mac, "dev", "va", "nud", "permanent")
        for offloads in ("on", "off"):  # as a super-packet; cut, with its checksums, before it is sent
            sh("ethtool", "-K", "va", "tx", offloads, ns=net.a)
            for gso in ("on", "off"):
                with Sidecar(net, "--tx-gso", gso) as sidecar:
                    assert (attacked(net, sidecar, macs) > 0) == (gso == "on")


run()
