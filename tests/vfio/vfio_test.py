#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplaned with a NIC on vfio-pci behind an IOMMU, in a QEMU guest that needs no KVM.

One guest for each NIC model and IOMMU width; tests/vfio/init has the cases, and they are printed as "PASS NIC-WIDTH name".
UDPLANE_VFIO_GUESTS chooses some, such as "virtio-48 e1000e-39"; UDPLANE_VFIO_LOG keeps the consoles in that folder.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.environ.get("UDPLANE_ROOT") or os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
LIMIT = 240  # seconds a guest may take: the slowest took 70 on two busy cores

# name: (NIC A, IOMMU address bits or None, the set of cases)
GUESTS = {
    "virtio-48": ("virtio-net-pci,iommu_platform=on,disable-legacy=on,ats=off", 48, "full"),
    "virtio-39": ("virtio-net-pci,iommu_platform=on,disable-legacy=on,ats=off", None, "short"),
    "e1000e-39": ("e1000e", None, "short"),
    "vmxnet3-48": ("vmxnet3", 48, "short"),
    "none": ("virtio-net-pci,disable-legacy=on", 0, "errors"),
}


def qemu_command(work, name):
    nic, bits, cases = GUESTS[name]
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "768M", "-nographic", "-no-reboot",
               "-nodefaults", "-serial", "stdio", "-monitor", f"unix:{work}/{name}.monitor,server,nowait",
               "-kernel", f"{work}/vmlinuz", "-initrd", f"{work}/initramfs.gz", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
               "-netdev", "hubport,id=hubA,hubid=0", "-netdev", "hubport,id=hubB,hubid=0"]
    append = ["console=ttyS0", "quiet", "loglevel=3", "hugepages=128", f"udplane.set={cases}", f"udplane.nic={name}", "panic=-1"]
    if bits == 0:
        command += ["-machine", "q35"]
        peer = "virtio-net-pci,disable-legacy=on"
    else:
        command += ["-machine", "q35,kernel-irqchip=off",
                    "-device", "intel-iommu,intremap=on,caching-mode=on" + (f",aw-bits={bits}" if bits else "")]
        append.append("intel_iommu=on")
        peer = "virtio-net-pci,iommu_platform=on,disable-legacy=on,ats=off"
    # Behind a root port, so that it can be unplugged.
    command += ["-device", "pcie-root-port,id=rootport,slot=1,chassis=1,addr=05.0",
                "-device", f"{nic},netdev=hubA,id=nicA,bus=rootport,addr=00.0,mac=52:54:00:00:00:0a",
                "-device", f"{peer},netdev=hubB,id=nicB,addr=04.0,mac=52:54:00:00:00:0b"]
    return command + ["-append", " ".join(append)]


def monitor(path, line):
    """One command to QEMU's monitor."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(path)
        s.recv(4096)
        s.sendall(line.encode() + b"\n")
        time.sleep(0.2)


def run_guest(work, name, log):
    """Boots, prints the cases. Returns (passed, failed)."""
    start = time.monotonic()
    passed = failed = 0
    done = False
    process = subprocess.Popen(qemu_command(work, name), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(LIMIT, process.kill)
    timer.start()
    try:
        for raw in process.stdout:
            line = raw.decode(errors="replace").strip("\r\n")
            log.write(f"{time.monotonic() - start:7.2f} {line}\n")
            log.flush()
            found = re.search(r"(PASS|FAIL) (\S+ .*)$", line)
            if found:
                print(found.group(0), flush=True)
                passed += found.group(1) == "PASS"
                failed += found.group(1) == "FAIL"
            elif line.startswith("  "):
                print(line, flush=True)
            elif line.startswith("@host "):
                monitor(f"{work}/{name}.monitor", line[6:])
            done |= line == "DONE"
        process.wait()
    finally:
        timer.cancel()
        process.kill()
        process.wait()
    if not done:
        failed += 1
        print(f"FAIL {name} guest ended before its last case after {time.monotonic() - start:.0f} s (status {process.returncode})")
    print(f"{name}: {passed} passed, {failed} failed, {time.monotonic() - start:.0f} s", flush=True)
    return passed, failed


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
        made = subprocess.run([f"{ROOT}/tests/vfio/initramfs.sh", work], stdin=subprocess.DEVNULL)
        if made.returncode:
            print("FAIL initramfs")
            return 1
        for name in names:
            with open(f"{logs}/{name}.log", "w") as log:
                failed += run_guest(work, name, log)[1]
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
