#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified programs under libudplane-preload.so: waits and calls."""
import threading

from preload import *  # noqa: F403


def talk(net, sidecar, mechanism, how, v6=False, bursts=120, program=READER):
    host, peer_family = ("fd99::1", socket.AF_INET6) if v6 else ("10.99.0.1", socket.AF_INET)
    with Program(net, program, mechanism, how, host, "5000") as p, net.sock(net.b, peer_family, connect=(host, 5000)) as peer:
        order = mechanism != "threads"
        sent = converse(peer, 1)
        until(lambda: active(sidecar) or not converse(peer, 1, order=order), what="acceleration")
        before = fast(sidecar)
        sent = converse(peer, bursts, order=order)
        after = fast(sidecar)
        peer.send(b"end")
        received, woken, in_vain = map(int, p.end().split())
        assert received >= sent + 1, (received, sent)
        assert after[0] - before[0] >= sent // 2 and after[1] - before[1] >= sent // 2, (mechanism, before, after, sent)
        assert in_vain <= received // 4 + 20, f"{mechanism}: woken {woken} times, {in_vain} for nothing, for {received} datagrams"


def each_mechanism(names, hows=("one", "all"), **kw):
    with Net() as net, Sidecar(net) as sidecar:
        for mechanism in names:
            for how in hows:
                talk(net, sidecar, mechanism, how, **kw)


@case
def blocking_calls_receive_and_send_by_the_fast_path():
    each_mechanism(("recv", "recvmsg", "recvmmsg", "read", "readv"), ("one",))


@case
def level_triggered_waits_lose_nothing():
    each_mechanism(("epoll", "exclusive", "oneshot", "nested"))


@case
def poll_and_select_lose_nothing():
    each_mechanism(("poll", "ppoll", "select", "pselect"))


@case
def edge_triggered_waits_lose_nothing():
    each_mechanism(("edge",), ("all",), bursts=300)


@case
def threads_that_wait_on_one_instance_lose_nothing():
    each_mechanism(("threads",))


@case
def ipv6_is_the_same():
    each_mechanism(("recv", "epoll"), ("one",), v6=True)


# ---- the kernel as oracle ----

class Echo:
    """Port 6000 in namespace b sends each datagram back; one that begins with # as often as its second byte says."""

    def __init__(self, net, family):
        self.sock = net.sock(net.b, family, bind=("10.99.0.2" if family == socket.AF_INET else "fd99::2", 6000), timeout=0.1)
        self.stop = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop:
            try:
                d, a = self.sock.recvfrom(4096)
            except (socket.timeout, ConnectionError):
                continue
            for _ in range(d[1] if d[:1] == b"#" else 1):
                self.sock.sendto(d, a)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()
        self.sock.close()


def calls(net, sidecar, family, shim):
    host, peer = ("10.99.0.1", "10.99.0.2") if family == socket.AF_INET else ("fd99::1", "fd99::2")
    with Echo(net, family), Program(net, CALLS, host, "5000", peer, "6000", shim=shim) as p:
        assert active(sidecar) == shim, rows(sidecar)
        p.say("")
        return p.end(60).splitlines()


@case
def calls_return_what_the_kernel_returns():
    with Net() as net, Sidecar(net) as sidecar:
        for family in (socket.AF_INET, socket.AF_INET6):
            with_shim, without = (calls(net, sidecar, family, shim) for shim in (True, False))
            assert len(without) > 150
            differences = [(a, b) for a, b in zip(with_shim, without) if a != b]
            assert with_shim == without, "shim, kernel:\n" + "\n".join(f"{a!r} {b!r}" for a, b in differences)


# ---- other programs ----

@case
def programs_of_musl_are_the_same():
    if not shutil.which("musl-gcc"):
        raise Skip("no musl-gcc: deploy/setup installs musl-tools")
    with tempfile.TemporaryDirectory() as directory, Net() as net, Sidecar(net) as sidecar:
        program = os.path.join(directory, "reader")
        sh("musl-gcc", "-D_GNU_SOURCE", "-O1", "-o", program, os.path.join(ROOT, "tests/integration/reader.c"))
        for mechanism in ("recv", "epoll", "poll", "select", "threads"):
            talk(net, sidecar, mechanism, "one", bursts=40, program=program)


@case
def udplane_run_says_what_cannot_be_preloaded():
    def says(program):
        p = subprocess.run([RUN, "--check", program], text=True, stdout=subprocess.PIPE)
        return p.returncode, p.stdout
    with tempfile.TemporaryDirectory() as directory:
        script, secure, go = (os.path.join(directory, name) for name in ("script", "secure", "go"))
        with open(script, "w") as f:
            f.write(f"#! {PYTHON} -u\n")
        shutil.copy(READER, secure)
        os.chown(secure, 1, 1)
        os.chmod(secure, 0o4755)
        shutil.copy(READER, go)
        os.chmod(go, 0o755)
        with open(go, "ab") as f:
            f.write(b"\xff Go buildinf:")
        assert says(READER)[0] == 0
        assert says(script)[0] == 0
        for program, why in ((RUN, "statically linked"), (secure, "setuid"), (go, "written in Go"), ("/dev/null", "")):
            status, text = says(program)
            assert status == 1 and why in text, text
    assert subprocess.run([RUN, "--check", "no such program"], stderr=subprocess.DEVNULL).returncode == 127
    assert subprocess.run([RUN, "/bin/sh", "-c", "exit 7"]).returncode == 7
    env = {**os.environ, "UDPLANE_PRELOAD": "/nowhere/libudplane-preload.so"}
    assert subprocess.run([RUN, "/bin/true"], env=env, stderr=subprocess.DEVNULL).returncode == 125


if __name__ == "__main__":
    run()
