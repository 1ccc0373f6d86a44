#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libudplane, udplaned and udplanectl of this tree and of an older commit, all ways round: containers are upgraded one by one.

With the same ABI major everything works; with another one the kernel serves, and udplaned, library and udplanectl say why.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import *

A4, B4, A6, B6 = "10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2"
SIZES = (1, 64, 700, 1400)
HERE = os.path.dirname(os.path.abspath(__file__))

# An application: sends back what comes, and answers each line of its standard input with what its library says of the socket.
ECHO = """
sock = Sock(Here, family, bind=(address, port), fast=False)
poller = select.poll()
poller.register(sock.fd, select.POLLIN)
poller.register(0, select.POLLIN)
print("ready", flush=True)
while True:
    for fd, _ in poller.poll():
        if fd == 0:
            if not sys.stdin.readline():
                sys.exit()
            sock.accelerated()
            status = sock.status()
            print(json.dumps({"accelerated": bool(status.accelerated), "reason": status.reason.decode(), "text": status.text.decode(),
                              "fast_rx": status.fast_rx, "fast_tx": status.fast_tx}), flush=True)
            continue
        with contextlib.suppress(BlockingIOError):
            while True:
                data, sender = sock.recvfrom(MSG_DONTWAIT)
                sock.sendto(data, sender)
"""


class Version:
    """What one commit has built."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.udplaned = os.path.join(folder, "sidecar", "udplaned")
        self.ctl = os.path.join(folder, "client", "ctl", "udplanectl")

    def ask(self, *verb):
        """udplanectl's exit status and output."""
        p = subprocess.run([self.ctl, "--socket", SOCKET, *verb], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return p.returncode, p.stdout

    def sidecar(self, net):
        return Sidecar(net, program=self.udplaned, tool=self.ctl)


class App:
    """The application above, with that version's library, and a plain socket that talks to it."""

    def __init__(self, net, version, port=5060, family=socket.AF_INET):
        self.address, peer = (A4, B4) if family == socket.AF_INET else (A6, B6)
        self.port = port
        head = f"import contextlib, json\nfamily, address, port = {int(family)}, {self.address!r}, {port}\n"
        self.process = child(net, head + ECHO, stdin=subprocess.PIPE, env={**os.environ, "UDPLANE_BIN": version.folder})
        assert self.process.stdout.readline() == "ready\n"
        self.peer = net.sock(net.b, family, bind=(peer, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()
        self.peer.close()

    def status(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def settles(self):
        """After a kill -9 Linux detaches the XDP program a little later than the control socket closes: what comes between is lost."""
        def echoed():
            self.peer.sendto(b"settled?", (self.address, self.port))
            return bool(select.select([self.peer], [], [], 0.2)[0])
        until(echoed, 5, "an echo by the kernel path")
        while select.select([self.peer], [], [], 0.2)[0]:
            self.peer.recv(2000)

    def echoes(self):
        """One datagram of each size comes back as it was."""
        for size in SIZES:
            data = os.urandom(size)
            self.peer.sendto(data, (self.address, self.port))
            assert self.peer.recv(2000) == data, size

    def runs_fast(self):
        until(lambda: self.status()["accelerated"], 10, f"acceleration of port {self.port}")
        before = self.status()
        self.echoes()
        after = self.status()
        for way in ("fast_rx", "fast_tx"):
            assert after[way] - before[way] == len(SIZES), (way, before, after)

    def uses_the_kernel(self, why=None):
        until(lambda: not self.status()["accelerated"], 10, f"the kernel path of port {self.port}")
        if why:
            until(lambda: self.status()["reason"] == why, 10, f"the reason {why}")
        self.settles()
        before = self.status()
        self.echoes()
        after = self.status()
        assert (after["fast_rx"], after["fast_tx"]) == (before["fast_rx"], before["fast_tx"]), (before, after)


NEW = Version(BIN, "newer")
OLD = None  # until run_all() knows it


def same_major():
    with open(os.path.join(OLD.folder, "major")) as f:
        older = f.read().strip()
    version = subprocess.run([NEW.ctl, "--version"], text=True, stdout=subprocess.PIPE).stdout
    return f"(ABI {older}." in version


def tools_agree(port):
    """Both udplanectl read whichever udplaned runs, and say the same of a socket."""
    for tool in (OLD, NEW):
        status, text = tool.ask("stats", "--json")
        assert status == 0, (tool.name, text)
        sockets = [s for s in json.loads(text)["sockets"] if s["local"] and s["local"]["port"] == port]
        assert [s["state"] for s in sockets] == ["active"], (tool.name, sockets)
        status, text = tool.ask("why", str(port))
        assert status == 0 and str(port) in text, (tool.name, text)
        status, text = tool.ask("health")
        assert status == 0, (tool.name, text)


def works(net, library, daemon):
    with daemon.sidecar(net) as sidecar, App(net, library) as v4, App(net, library, 5061, socket.AF_INET6) as v6:
        for app in (v4, v6):
            app.runs_fast()
            tools_agree(app.port)
        conserved(settled(sidecar))
        assert sidecar.kill() != 0
        v4.uses_the_kernel()
        with daemon.sidecar(net) as again:
            v4.runs_fast()
            v6.runs_fast()
            assert again.stop() == 0
            v6.uses_the_kernel()


def is_refused(net, library, daemon):
    with daemon.sidecar(net) as sidecar, App(net, library) as app:
        app.uses_the_kernel("abi_version")
        text = app.status()["text"]
        assert "ABI" in text and "upgrade the older" in text, text
        assert sidecar.proc.poll() is None
        # The refused library keeps asking; it disturbs no other client.
        with App(net, daemon, 5062) as own:
            own.runs_fast()
        app.uses_the_kernel("abi_version")


def meet(library, daemon):
    with Net() as net:
        if same_major():
            works(net, library, daemon)
        else:
            is_refused(net, library, daemon)
            with daemon.sidecar(net):
                status, text = library.ask("stats")
                assert status != 0 and "ABI" in text, text


@case
def the_older_library_with_the_newer_udplaned():
    meet(OLD, NEW)


@case
def the_newer_library_with_the_older_udplaned():
    meet(NEW, OLD)


@case
def udplaned_is_upgraded_and_downgraded_under_clients_of_both():
    """With another major each client is fast with its own udplaned, and uses the kernel with the other."""
    with Net() as net, App(net, OLD, 5060) as older, App(net, NEW, 5061) as newer:
        for daemon in (OLD, NEW, OLD):
            with daemon.sidecar(net) as sidecar:
                for app, library in ((older, OLD), (newer, NEW)):
                    if library is daemon or same_major():
                        app.runs_fast()
                    else:
                        app.uses_the_kernel("abi_version")
                assert sidecar.stop() == 0
            older.uses_the_kernel()
            newer.uses_the_kernel()


@case
def a_library_of_another_major_is_refused_and_the_kernel_serves():
    other = Version(os.path.join(OLD.folder, "other_major"), "of another major")
    with Net() as net:
        is_refused(net, other, NEW)


def main():
    global OLD
    if os.geteuid() == 0:  # else run() says so
        built = subprocess.run([os.path.join(HERE, "older")], text=True, stdout=subprocess.PIPE)
        if built.returncode:
            sys.exit(built.returncode)  # 77: there is no older commit; why is on standard error
        OLD = Version(built.stdout.strip(), "older")
    run()


if __name__ == "__main__":
    main()
