#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Key restart: the first process of udplaned stays whatever the others end by, and `udplanectl health` calls that degraded."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: F401,F403

A4, B4 = "10.99.0.1", "10.99.0.2"
PORT = 5060
NAMED = ("--restart", "on", "--backend", "af_xdp")


class Annotations:
    """A file as the kubelet writes it: replaced by rename."""

    def __init__(self, **values):
        self.dir = tempfile.mkdtemp(prefix="udplane-annotations-")
        self.path = os.path.join(self.dir, "annotations")
        self.set(**values)

    def set(self, **values):
        with open(self.path + ".new", "w") as f:
            f.writelines(f'udplane.io/{key}="{value}"\n' for key, value in values.items())
        os.rename(self.path + ".new", self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, True)


def health(sidecar, *words):
    return sidecar.ctl("health", *words, check=False)


def degraded(sidecar):
    status, text = health(sidecar)
    return text if "degraded" in text and status == 0 else None


def next_process(sidecar, former):
    """The pid of another udplaned than `former`, once it runs."""
    def look():
        try:
            pid = sidecar.pid()
        except subprocess.CalledProcessError:
            return None
        return pid if pid != former else None
    return until(look, 15, "another udplaned")


def echoes(app, peer, text):
    """One datagram to the application and one back; what is inside the device's queues when udplaned is killed is sent again."""
    def answered():
        peer.sendto(text, (A4, PORT))
        try:
            data, where = app.recvfrom()
        except BlockingIOError:
            return False
        assert data == text, data
        app.sendto(data, where)
        return True
    until(answered, 10, "a datagram")
    assert peer.recvfrom(100)[0] == text


@case
def killed_twice_within_seconds():
    """The first process stays, health never fails, sockets answer throughout and are fast again."""
    with Net() as net, Sidecar(net, "--restart", "on") as sidecar, Sock(net, bind=(A4, PORT)) as app:
        app.timeout(0.5)
        peer = net.sock(net.b, bind=(B4, 7000))
        for turn in range(2):
            former = sidecar.pid()
            os.kill(former, signal.SIGKILL)
            echoes(app, peer, b"meanwhile %d" % turn)
            assert health(sidecar)[0] == 0 or sidecar.healthy(), health(sidecar)
            next_process(sidecar, former)
            until(app.accelerated, 10, "acceleration")
            echoes(app, peer, b"after %d" % turn)
        assert sidecar.proc.poll() is None
        assert "signal 9 (Killed); sockets work at kernel speed; next start in 0.4 s" in sidecar.output(), sidecar.output()


@case
def a_device_that_cannot_be_had():
    """A backend asked for by name that does not work: degraded, so the hook lets the pod start; it is used once it does."""
    with Net() as net:
        sh("ip", "link", "set", "va", "down", ns=net.a)
        sh("ip", "link", "set", "va", "name", "away", ns=net.a)
        with Sidecar(net, *NAMED, ready=False) as sidecar:
            start = time.monotonic()
            status, text = until(lambda: (lambda r: r if r[0] == 0 else None)(health(sidecar, "--ready", "30")), 20, "an answer")
            assert "degraded" in text and "status 1" in text, text
            assert time.monotonic() - start < 15, time.monotonic() - start
            assert health(sidecar, "--accelerated")[0] == 1
            sh("ip", "link", "set", "away", "name", "va", ns=net.a)
            sh("ip", "link", "set", "va", "up", ns=net.a)
            until(lambda: health(sidecar)[1].startswith("ok"), 30, "udplaned")
            assert sidecar.proc.poll() is None


@case
def settings_that_are_wrong():
    """A bad annotation does not end the first process; it is named, and the corrected file is read."""
    with Net() as net, Annotations(ports="5060-") as file:
        with Sidecar(net, "--annotations", file.path, ports="1", ready=False, env={"UDPLANE_RESTART": "on"}) as sidecar:
            text = until(lambda: degraded(sidecar), 10, "degraded")
            assert "udplane.io/ports" in text and "5060-" in text, text
            file.set(ports="5060")
            until(sidecar.healthy, 20, "udplaned")
            until(lambda: health(sidecar)[1].startswith("ok"), 20, "udplaned")
            assert sidecar.proc.poll() is None


@case
def without_the_key_it_ends():
    """As a service manager wants it; bad settings end it as ever."""
    with Net() as net:
        with Sidecar(net) as sidecar:
            os.kill(sidecar.pid(), signal.SIGKILL)
            assert sidecar.proc.wait(10) == -signal.SIGKILL
            assert health(sidecar)[0] == 1
        sidecar = Sidecar(net, "--mode", "fast", ready=False)
        assert sidecar.proc.wait(10) == 2, sidecar.output()


@case
def a_motionless_process_is_replaced():
    with Net() as net, Sidecar(net, "--restart", "on", "--watchdog-s", "2") as sidecar, Sock(net, bind=(A4, PORT)) as app:
        former = sidecar.pid()
        os.kill(former, signal.SIGSTOP)
        until(lambda: "has not moved for 2 s" in sidecar.output(), 20, "a line in the log")
        next_process(sidecar, former)
        until(app.accelerated, 10, "acceleration")


@case
def ended_during_a_pause():
    """SIGTERM ends it at once, with status 0, and its file goes."""
    with Net() as net, Sidecar(net, "--interface", "nothing", *NAMED, ready=False) as sidecar:
        until(lambda: "next start in 1.6 s" in sidecar.output(), 15, "the third pause")
        assert os.path.exists(SOCKET + ".restarts")
        start = time.monotonic()
        assert sidecar.stop() == 0
        assert time.monotonic() - start < 1.2
        assert not os.path.exists(SOCKET + ".restarts")


@case
def a_full_volume():
    """No room for the libraries or for the note: udplaned runs, and sockets are fast."""
    place = tempfile.mkdtemp(prefix="udplane-full-")
    sh("mount", "-t", "tmpfs", "-o", "size=16k,nr_inodes=20", "tmpfs", place)
    try:
        with open(os.path.join(place, "filler"), "wb", 0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass
        path = os.path.join(place, "udplane.sock")
        with Net() as net, Sidecar(net, "--restart", "on", "--library-dir", os.path.join(place, "lib"), path=path) as sidecar:
            assert health(sidecar)[1].startswith("ok"), health(sidecar)
            former = sidecar.pid()
            os.kill(former, signal.SIGKILL)
            next_process(sidecar, former)
    finally:
        sh("umount", place)
        os.rmdir(place)


@case
def ports_taken_away():
    """The annotation goes from a running pod: nothing is diverted, and so after a restart; it comes back: fast again."""
    with Net() as net, Annotations(ports="5060") as file:
        command = ("--annotations", file.path, "--restart", "on")
        sidecar = Sidecar(net, *command, ports="5060")
        sidecar.stop()
        # As in a pod: the annotation is the only source of ports.
        sidecar = bare(net, *command)
        with sidecar, Sock(net, bind=(A4, PORT)) as app:
            file.set(mode="latency")
            until(lambda: not app.accelerated(), 10, "the kernel path")
            former = sidecar.pid()
            os.kill(former, signal.SIGKILL)
            next_process(sidecar, former)
            until(lambda: sidecar.healthy() and sidecar.stats()["ports"]["count"] == 0, 10, "no port")
            assert "udplane.io/ports" in sidecar.output() and "no port is diverted until it is" in sidecar.output(), sidecar.output()
            file.set(ports="5060", mode="latency")
            until(app.accelerated, 10, "acceleration")


def bare(net, *flags):
    """A udplaned whose flags name no ports."""
    sidecar = Sidecar.__new__(Sidecar)
    sidecar.net, sidecar.tool, sidecar.path, sidecar.log = net, CTL, SOCKET, tempfile.TemporaryFile("w+")
    sidecar.proc = subprocess.Popen(["ip", "netns", "exec", net.a, *WRAP, UDPLANED, "--interface", "va", "--socket", SOCKET, *flags],
                                    stdout=sidecar.log, stderr=sidecar.log)
    until(sidecar.healthy, 10, "udplaned's readiness")
    return sidecar


run()
