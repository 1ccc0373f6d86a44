#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplaned with a NIC on vfio-pci behind an IOMMU (and once without any), in a QEMU guest that needs no KVM.

One guest for each NIC model and IOMMU width; tests/vfio/init has the cases, and they are printed as "PASS NIC-WIDTH name".
UDPLANE_VFIO_GUESTS chooses some, such as "virtio-48 e1000e-39"; UDPLANE_VFIO_LOG keeps the consoles in that folder.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.environ.get("UDPLANE_ROOT") or os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
sys.path.insert(0, f"{ROOT}/tests/lib")
import guest  # noqa: E402

LIMIT = 240  # seconds a guest may take: the slowest took 70 on two busy cores

VIRTIO = "virtio-net-pci,disable-legacy=on"
BEHIND = ",iommu_platform=on,ats=off"  # the IOMMU; without these virtio goes past it
TWO_QUEUES = ",mq=on,vectors=6"
THREE_QUEUES = ",mq=on,vectors=8"

# name: (NICs for udplaned, IOMMU address bits or None, the set of cases)
GUESTS = {
    "virtio-48": ([VIRTIO + BEHIND], 48, "full"),
    "virtio-39": ([VIRTIO + BEHIND], None, "short"),
    "e1000e-39": (["e1000e"], None, "full"),
    "vmxnet3-48": (["vmxnet3"], 48, "short"),
    "queues-48": ([VIRTIO + BEHIND + TWO_QUEUES + ",rss=on,hash=on", VIRTIO + BEHIND + TWO_QUEUES, "vmxnet3"], 48, "queues"),
    "none": ([VIRTIO], 0, "errors"),
    "noiommu": ([VIRTIO + THREE_QUEUES + ",rss=on"], 0, "noiommu"),
}
SEVERAL_QUEUES = ("queues", "noiommu")

# QEMU gives a NIC several queues only where its backend has them: a TAP each in a network namespace of QEMU's own, and a bridge.
BRIDGE = """set -e
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link add br0 type bridge mcast_snooping 0
ip link set br0 up
for tap in {taps}; do
    case $tap in *q) ip tuntap add dev $tap mode tap multi_queue vnet_hdr ;; *) ip tuntap add dev $tap mode tap vnet_hdr ;; esac
    ip link set $tap master br0 up
done
exec "$@"
"""


def backends(name):
    """Where the NICs and the peer's are plugged in: (arguments, command that QEMU is started by)."""
    nics, _, cases = GUESTS[name]
    netdevs, taps = [], []
    for i, nic in enumerate(nics + [""]):
        several = ",queues=3" if THREE_QUEUES in nic else ",queues=2" if TWO_QUEUES in nic else ""
        netdev = "B" if not nic else f"A{i}"
        if cases in SEVERAL_QUEUES:
            taps.append(f"tap{netdev}" + ("q" if several else ""))
            backend = f"tap,id=hub{netdev},ifname={taps[-1]},script=no,downscript=no" + several
        else:
            backend = f"hubport,id=hub{netdev},hubid=0"
        netdevs += ["-netdev", backend]
    return netdevs, ["unshare", "--net", "sh", "-c", BRIDGE.format(taps=" ".join(taps)), "sh"] if taps else []


def qemu_command(work, name):
    nics, bits, cases = GUESTS[name]
    netdevs, starter = backends(name)
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "768M", "-nographic", "-no-reboot",
               "-nodefaults", "-serial", "stdio", "-monitor", f"unix:{work}/{name}.monitor,server,nowait",
               "-kernel", f"{work}/vmlinuz", "-initrd", f"{work}/initramfs.gz", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
               *netdevs]
    append = ["console=ttyS0", "quiet", "loglevel=3", "hugepages=128", f"udplane.set={cases}", f"udplane.nic={name}", "panic=-1"]
    if bits == 0:
        command += ["-machine", "q35"]
        peer = VIRTIO
    else:
        command += ["-machine", "q35,kernel-irqchip=off",
                    "-device", "intel-iommu,intremap=on,caching-mode=on" + (f",aw-bits={bits}" if bits else "")]
        append.append("intel_iommu=on")
        peer = VIRTIO + BEHIND
    # Each behind a root port, so that it can be unplugged, and is alone in its IOMMU group.
    for i, nic in enumerate(nics):
        command += ["-device", f"pcie-root-port,id=rootport{i},slot={i + 1},chassis={i + 1},addr={5 + i:02x}.0",
                    "-device", f"{nic},netdev=hubA{i},id=nicA{i},bus=rootport{i},addr=00.0,mac=52:54:00:00:00:{10 + i * 16:02x}"]
    if cases == "full":
        # Two functions behind one port cannot be told apart by the IOMMU: one group.
        command += ["-device", "pcie-root-port,id=rootport8,slot=9,chassis=9,addr=0d.0",
                    "-device", VIRTIO + BEHIND + ",bus=rootport8,addr=00.0,multifunction=on,mac=52:54:00:00:00:c0",
                    "-device", VIRTIO + BEHIND + ",bus=rootport8,addr=00.1,mac=52:54:00:00:00:c1"]
    command += ["-device", f"{peer},netdev=hubB,id=nicB,addr=04.0,mac=52:54:00:00:00:0b"]
    return starter + command + ["-append", " ".join(append)]


def monitor(path, line):
    """One command to QEMU's monitor."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(path)
        s.recv(4096)
        s.sendall(line.encode() + b"\n")
        time.sleep(0.2)


def hear(work, name):
    """Prints cases and what belongs to them, and does what the guest asks of this host."""
    def line_came(line, is_case):
        if is_case or line.startswith("  "):
            print(line)
        elif line.startswith("@host "):
            monitor(f"{work}/{name}.monitor", line[6:])
    return line_came


def cannot_run(work, name):
    """Why not, or None."""
    cases = GUESTS[name][2]
    if cases in SEVERAL_QUEUES and (os.geteuid() or not os.path.exists("/dev/net/tun")):
        return "several queues need root and /dev/net/tun"
    if cases == "noiommu" and os.path.exists(f"{work}/no-noiommu"):
        with open(f"{work}/no-noiommu") as f:
            return "no kernel module with CONFIG_VFIO_NOIOMMU: " + (f.read().strip().splitlines() or ["?"])[-1]
    return None


def main():
    missing = [p for p in ("qemu-system-x86_64", "busybox", "cpio", "modprobe") if not shutil.which(p)]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed: run deploy/setup")
        return 77
    names = os.environ.get("UDPLANE_VFIO_GUESTS", " ".join(GUESTS)).split()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="udplane-vfio-") as work:
        logs = os.environ.get("UDPLANE_VFIO_LOG", work)
        os.makedirs(logs, exist_ok=True)
        extra = ["noiommu"] if "noiommu" in names else []
        made = subprocess.run([f"{ROOT}/tests/vfio/initramfs.sh", work, *extra], stdin=subprocess.DEVNULL)
        if made.returncode:
            print("FAIL initramfs")
            return 1
        for name in names:
            why = cannot_run(work, name)
            if why:
                print(f"SKIP {name} {why}", flush=True)
                continue
            with open(f"{logs}/{name}.log", "w") as log:
                failed += guest.run(name, lambda: qemu_command(work, name), LIMIT, log, hear(work, name))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
