#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The libudplane.so that is built for glibc, in a program of musl (Alpine's libc), with and without a udplaned."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: F401,F403

COUNT = 50


def compiled(directory):
    if not shutil.which("musl-gcc"):
        raise Skip("no musl-gcc: deploy/setup installs musl-tools")
    program = os.path.join(directory, "echo")
    sh("musl-gcc", "-D_GNU_SOURCE", "-O1", "-I", os.path.join(ROOT, "include"), "-o", program,
       os.path.join(ROOT, "tests/integration/musl/echo.c"))
    assert "musl" in sh("readelf", "-l", program), "not a program of musl"
    return program


def echoed(net):
    """What the program says of its socket after COUNT datagrams there and back, and a child that echoes one."""
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(["ip", "netns", "exec", net.a, "timeout", "30", compiled(directory), LIB, "6000", str(COUNT)],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for port, count, ready in (6000, COUNT, "ready\n"), (6001, 1, "child\n"):
            line = process.stdout.readline()
            assert line == ready, line + process.stdout.read()
            with net.sock(net.b, connect=("10.99.0.1", port), timeout=20) as peer:
                for i in range(count):
                    peer.send(b"%d" % i)
                    assert peer.recv(100) == b"%d" % i
        said = process.stdout.read()
        assert process.wait(20) == 0, said
    return [int(word) for word in said.split()]


@case
def with_udplaned():
    with Net() as net, Sidecar(net):
        accelerated, fast_rx, fast_tx, kernel_rx, kernel_tx = echoed(net)
        print(f"fast {fast_rx}/{fast_tx}, kernel {kernel_rx}/{kernel_tx}")
        assert accelerated and fast_rx + kernel_rx == COUNT and fast_rx > COUNT // 2 and fast_tx > COUNT // 2


@case
def without_udplaned():
    with Net() as net:
        accelerated, fast_rx, fast_tx, _, _ = echoed(net)
        assert not accelerated and not fast_rx and not fast_tx


run()
