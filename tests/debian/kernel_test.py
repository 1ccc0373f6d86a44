#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplaned on Debian's own kernel (Linux 6.1): a QEMU guest that needs no KVM, with this system's files and modules of its own.

tests/debian/guest names the scripts that run there; they print their cases. UDPLANE_DEBIAN_LOG keeps the console in that file.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.environ.get("UDPLANE_ROOT") or os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
sys.path.insert(0, f"{ROOT}/tests/lib")
import guest  # noqa: E402

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
MODULES = ["virtio_pci", "virtiofs", "overlay"]
MEMORY = "2G"
LIMIT = 600  # seconds; 150 on two quiet cores


def fetch_kernel():
    """A folder with the unpacked package, and the version."""
    kernel = subprocess.run(["bash", "-ec", f". {ROOT}/tests/lib/kernel.sh; fetch_kernel"], check=True, stdout=subprocess.PIPE, text=True)
    folder = kernel.stdout.strip()
    return folder, os.listdir(f"{folder}/lib/modules")[0]


def make_initramfs(work, folder, version):
    tree = f"{work}/tree"
    for name in ("bin", "lib", "proc", "sys", "dev", "host", "written", "root"):
        os.makedirs(f"{tree}/{name}")
    shutil.copy("/bin/busybox", f"{tree}/bin/busybox")
    shutil.copy(f"{ROOT}/tests/debian/init", f"{tree}/init")
    order = []
    for module in MODULES:
        shown = subprocess.run(["modprobe", "-d", folder, "-S", version, "--show-depends", module], check=True, stdout=subprocess.PIPE,
                               text=True).stdout
        order += [path for path in re.findall(r"^insmod (\S+)", shown, re.M) if path not in order]
    for path in order:
        shutil.copy(path, f"{tree}/lib")
    with open(f"{tree}/lib/order", "w") as f:
        f.write("".join(os.path.basename(path) + "\n" for path in order))
    subprocess.run(f"cd {tree} && find . | cpio --quiet -o -H newc | gzip -1 >{work}/initramfs.gz", shell=True, check=True)


class Files:
    """virtiofsd, which gives the guest this system's files. It serves one boot."""

    def __init__(self, work):
        self.path, self.process = f"{work}/fs", None

    def start(self):
        self.stop()
        command = [VIRTIOFSD, f"--socket-path={self.path}", "-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while not os.path.exists(self.path):
            assert self.process.poll() is None and time.monotonic() < end, "virtiofsd does not start"
            time.sleep(0.02)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
            self.process = None
        if os.path.exists(self.path):
            os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def qemu_command(work, folder, version):
    run = f"{ROOT}/tests/debian/guest~{folder}"
    return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY, "-nographic", "-no-reboot",
            "-nodefaults", "-serial", "stdio", "-object", f"memory-backend-memfd,id=mem,size={MEMORY},share=on", "-numa", "node,memdev=mem",
            "-chardev", f"socket,id=fs,path={work}/fs", "-device", "vhost-user-fs-pci,chardev=fs,tag=root",
            "-kernel", f"{folder}/boot/vmlinuz-{version}", "-initrd", f"{work}/initramfs.gz",
            "-append", f"console=ttyS0 quiet loglevel=3 panic=-1 udplane.run={run}"]


def main():
    missing = [p for p in ("qemu-system-x86_64", "busybox", "cpio", "modprobe", VIRTIOFSD, "ipvsadm") if not shutil.which(p)]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed: run deploy/setup")
        return 77
    if os.geteuid():
        print("skipped: needs root")
        return 77
    folder, version = fetch_kernel()
    with tempfile.TemporaryDirectory(prefix="udplane-debian-") as work:
        make_initramfs(work, folder, version)
        with open(os.environ.get("UDPLANE_DEBIAN_LOG") or os.devnull, "w") as log, Files(work) as files:
            def command():
                files.start()
                return qemu_command(work, folder, version)

            return guest.run("debian", command, LIMIT, log, lambda line, _: print(line)) > 0


if __name__ == "__main__":
    sys.exit(main())
