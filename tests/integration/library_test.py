#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What udplaned puts into its library_dir for applications, as installed: libudplane.so.0, libudplane-preload.so, udplane-run."""
import mmap
import os
import shutil
import stat
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: F401,F403

NAMES = ("libudplane.so.0", "libudplane-preload.so", "udplane-run")


class Installed:
    """udplaned in the sbin of a prefix, which has files of these names; with a directory for applications."""

    def __init__(self, *names):
        self.root = tempfile.mkdtemp(prefix="udplane-")
        os.chmod(self.root, 0o755)
        for folder in ("sbin", "bin", "lib", "run"):
            os.mkdir(os.path.join(self.root, folder))
        self.program = shutil.copy(UDPLANED, os.path.join(self.root, "sbin", "udplaned"))
        for name in names:
            self.write(name, b"one")
        self.target = os.path.join(self.root, "run", "lib")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root)

    def source(self, name):
        return os.path.join(self.root, "lib" if ".so" in name else "bin", name)

    def write(self, name, start):
        with open(self.source(name), "wb") as f:
            f.write(start + name.encode() + b"." * 100000)

    def run(self, net):
        return Sidecar(net, "--library-dir", self.target, program=self.program)

    def path(self, name):
        return os.path.join(self.target, name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read(3)


@case
def any_user_can_load_them():
    """When udplaned is ready, the files are there, whole, and nothing else; a user without rights can map them, whatever the umask."""
    with Net() as net, Installed(*NAMES) as installed:
        old = os.umask(0o027)
        try:
            sidecar = installed.run(net)
        finally:
            os.umask(old)
        with sidecar:
            assert sorted(os.listdir(installed.target)) == sorted(NAMES), os.listdir(installed.target)
            assert stat.S_IMODE(os.stat(installed.target).st_mode) & 0o005 == 0o005, oct(os.stat(installed.target).st_mode)
            for name in NAMES:
                status = os.stat(installed.path(name))
                assert stat.S_IMODE(status.st_mode) == 0o755, oct(status.st_mode)
                assert status.st_size == os.stat(installed.source(name)).st_size, status
                assert subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", "cat", installed.path(name)],
                                      stdout=subprocess.DEVNULL).returncode == 0, name
            assert "is not in" not in sidecar.output(), sidecar.output()


@case
def a_new_one_replaces_the_file():
    """After an upgrade the name has the new file, and a program that has mapped the old one keeps it."""
    with Net() as net, Installed(*NAMES) as installed:
        with installed.run(net):
            maps = {}
            for name in NAMES:
                with open(installed.path(name), "rb") as f:
                    maps[name] = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        for name in NAMES:
            installed.write(name, b"two")
            with open(installed.path(name) + ".new", "w"):  # of a udplaned that was killed while it copied
                pass
        with installed.run(net):
            for name in NAMES:
                assert installed.read(name) == b"two", installed.read(name)
                assert maps[name][:3] == b"one", maps[name][:3]
                maps[name].close()
            assert sorted(os.listdir(installed.target)) == sorted(NAMES), os.listdir(installed.target)


@case
def a_missing_one_is_logged():
    """udplaned runs, has the other files there, and says which are missing and what that means."""
    with Net() as net, Installed(NAMES[0]) as installed, installed.run(net) as sidecar:
        assert os.listdir(installed.target) == [NAMES[0]], os.listdir(installed.target)
        assert f"{NAMES[1]} is not in {installed.target}: No such file or directory; programs that preload it" in sidecar.output(), \
            sidecar.output()
        assert f"{NAMES[0]} is not" not in sidecar.output(), sidecar.output()


run()
