#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad input to a running udplaned, and start-ups that cannot work: each is named, with what to do, and harms no client."""
import array
import random
import resource
import socket
import struct
import subprocess

from harness import *

A4, B4 = "10.99.0.1", "10.99.0.2"
MAGIC = 0x31656E616C706475
HELLO, WELCOME, CLAIM, CLAIMED, UPDATE, RELEASE, DONE = range(1, 8)
MEMBER = 9


class Raw:
    """A client that speaks the control protocol by hand."""

    def __init__(self, path, hello=True, major=1, magic=MAGIC, flags=0, patience=5):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(patience)
        self.s.connect(path)
        self.fds = []
        if hello:
            self.send(HELLO, struct.pack("<QHHI", magic, major, 0, flags))
            self.welcome = self.answer()

    def send(self, kind, body, fds=(), length=None, seq=1):
        data = struct.pack("<HHI", kind, len(body) + 8 if length is None else length, seq) + body
        self.s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])

    def answer(self):
        data, control, _, _ = self.s.recvmsg(1024, 4096)
        for _, _, body in control:
            a = array.array("i")
            a.frombytes(body)
            self.fds += a.tolist()
        return data

    def claim(self, fd, port=5060, addr=A4):
        self.send(CLAIM, socket.inet_aton(addr) + bytes(12) + struct.pack(">H", port) + bytes([socket.AF_INET, 0]) + bytes(4), [fd])
        a = self.answer()
        status, reason, sock = struct.unpack_from("<iII", a, 8)
        text = a[8 + 32:].split(b"\0")[0].decode()
        return status, reason, sock, text

    def gone(self):
        """udplaned has closed the connection."""
        try:
            while self.s.recv(1024):  # perhaps a last word
                pass
            return True
        except ConnectionResetError:
            return True

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.s.close()


def serves(net, sidecar):
    """Somebody else is still served."""
    with Sock(net, bind=(A4, 5999)) as s:
        s.timeout(5)
        net.sock(net.b).sendto(b"alive", (A4, 5999))
        assert s.recvfrom()[0] == b"alive"
    assert sidecar.proc.poll() is None


@case
def claims_that_are_refused_say_why():
    with Net() as net, Sidecar(net) as sidecar:
        raw = Raw(sidecar.path)
        r, w = os.pipe()
        tcp = net.inside(net.a, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        icmp = net.inside(net.a, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        unbound = net.sock(net.a)
        foreign = net.sock(net.b, bind=(B4, 5060))
        here = net.sock(net.a, bind=(A4, 5060))
        loop = net.sock(net.a, bind=("127.0.0.1", 5061))
        other = net.sock(net.a, bind=(A4, 4000))
        on_lo = net.sock(net.a)
        on_lo.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
        on_lo.bind((A4, 5062))
        filtered = net.sock(net.a, bind=(A4, 5063))
        code = (struct.pack("HBBI", 6, 0, 0, 0xFFFF))
        buf = ctypes.create_string_buffer(code)
        fprog = struct.pack("HxxxxxxP", 1, ctypes.addressof(buf))
        filtered.setsockopt(socket.SOL_SOCKET, 26, fprog)  # SO_ATTACH_FILTER
        for fd, port, want in ((r, 5060, "not_udp"), (tcp.fileno(), 5060, "not_udp"), (icmp.fileno(), 5060, "not_udp"),
                               (unix.fileno(), 5060, "not_udp"), (unbound.fileno(), 5060, "not_bound"),
                               (foreign.fileno(), 5060, "other_network_namespace"), (here.fileno(), 5999, "bound_elsewhere"),
                               (loop.fileno(), 5061, "address_not_ours"), (other.fileno(), 4000, "port_not_asked_for"),
                               (on_lo.fileno(), 5062, "bound_to_other_device"), (filtered.fileno(), 5063, "socket_filter")):
            before = sidecar.stats()
            status, reason, _, text = raw.claim(fd, port)
            after = sidecar.stats()
            assert status < 0 and text, (want, status, text)
            changed = [k for k in after["refused"] if after["refused"][k] != before["refused"][k]]
            assert changed == [want], (want, changed, text)
            if after["sockets"] and want not in ("not_udp", "not_bound"):
                _, told = sidecar.ctl("why", str(port), check=False)
                assert want in told, (want, told)
        assert sidecar.stats()["control"]["claims"] == 0 and sidecar.stats()["control"]["sockets"] == 0
        status, _, number, text = raw.claim(here.fileno())
        assert status == 0, text
        status, _, _, text = raw.claim(here.fileno())
        assert status < 0 and "claimed the socket already" in text
        raw.close()
        until(lambda: sidecar.stats()["control"]["sockets"] == 0, what="the release")
        serves(net, sidecar)


@case
def an_abi_of_another_major_is_refused():
    with Net() as net, Sidecar(net) as sidecar:
        for kw in ({"major": 2}, {"major": 0}, {"magic": 1}):
            raw = Raw(sidecar.path, **kw)
            status = struct.unpack_from("<i", raw.welcome, 20)[0]
            assert status < 0 and b"upgrade the older" in raw.welcome, raw.welcome
            assert raw.gone()
            raw.close()
        assert sidecar.stats()["control"]["attach_refused"] == 3
        serves(net, sidecar)


@case
def malformed_messages_cost_their_sender_the_connection():
    with Net() as net, Sidecar(net) as sidecar:
        rnd = random.Random(1)
        count, fds = 0, sidecar.descriptors()
        for hello in (False, True):
            for body, kw in ((b"", {}), (b"x" * 3, {}), (bytes(500), {}), (bytes(900), {}), (bytes(24), {"length": 7}),
                             (bytes(24), {"seq": 0}), (bytes(24), {"length": 65535})):
                for kind in (0, HELLO, WELCOME, CLAIM, CLAIMED, UPDATE, RELEASE, DONE, 8, MEMBER, 10, 65535):
                    least = {UPDATE: 168, RELEASE: 168, MEMBER: 32}.get(kind)
                    if hello and least and least <= len(body) < 505 and not kw:
                        continue  # well-formed, of a socket that is not theirs: tested below
                    raw = Raw(sidecar.path, hello)
                    try:
                        raw.send(kind, body, **kw)
                        assert raw.gone(), (hello, kind, len(body), kw)
                        count += 1
                    except BrokenPipeError:
                        pass
                    raw.close()
        for _ in range(200):
            raw = Raw(sidecar.path, rnd.random() < 0.5)
            try:
                raw.s.send(rnd.randbytes(rnd.randrange(1, 600)))
                raw.send(rnd.randrange(10), rnd.randbytes(rnd.randrange(200)), [0] * rnd.randrange(8))
            except (BrokenPipeError, ConnectionResetError):
                pass
            raw.close()
        assert sidecar.stats()["control"]["bad_messages"] >= count
        until(lambda: sidecar.stats()["control"]["clients"] == 0, what="their detachment")
        assert sidecar.descriptors() <= fds, (fds, sidecar.descriptors())
        serves(net, sidecar)


@case
def requests_for_anothers_socket_are_refused():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=(A4, 5060)) as mine:
        number = sidecar.stats()["sockets"][0]["id"]
        raw = Raw(sidecar.path)
        for kind, rest in ((UPDATE, 160), (RELEASE, 160), (MEMBER, 24)):
            for sock in (number, number + 1, 0xFFFFFFFF):
                raw.send(kind, struct.pack("<II", sock, 0) + bytes(rest))
                assert struct.unpack_from("<i", raw.answer(), 8)[0] < 0
        raw.close()
        mine.timeout(5)
        net.sock(net.b).sendto(b"still mine", (A4, 5060))
        assert mine.recvfrom()[0] == b"still mine"


def try_bind(net):
    try:
        return net.sock(net.a, bind=(A4, 5060))
    except OSError:
        return None


@case
def a_client_that_corrupts_its_rings_is_detached_alone():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=(A4, 5999)) as bystander:
        import mmap
        bystander.timeout(5)
        peer = net.sock(net.b, bind=(B4, 0))
        rnd = random.Random(7)
        for turn in range(40):
            raw = Raw(sidecar.path)
            victim = until(lambda: try_bind(net), 1, "the port of the one before")
            status, _, number, text = raw.claim(victim.fileno())
            assert status == 0, text
            length = struct.unpack_from("<Q", raw.welcome, 40)[0]
            channel = mmap.mmap(raw.fds[2], length)
            for i in range(2000):  # every word it can write, the control words most often
                off = rnd.randrange(64) * 128 if rnd.random() < 0.5 else rnd.randrange(length // 4) * 4
                channel[off:off + 4] = struct.pack("<I", rnd.choice((0, 1, 512, 513, 0xFFFFFFFF, rnd.getrandbits(32))))
                if i % 100 == 0:
                    peer.sendto(b"x", (A4, 5060))
            os.write(raw.fds[3], struct.pack("<Q", 1))
            peer.sendto(b"%d" % turn, (A4, 5999))
            assert bystander.recvfrom()[0] == b"%d" % turn
            channel.close()
            raw.close()
            victim.close()
        stats = settled(sidecar)
        assert sum(w["counters"]["corrupt"] for w in stats["workers"]) >= 10, stats["workers"]
        until(lambda: sidecar.stats()["device"]["counters"]["frames_clients"] <= 1, what="their frames' return")
        until(lambda: sidecar.stats()["control"]["clients"] == 1, what="their detachment")
        assert sidecar.proc.poll() is None


@case
def a_connection_attaches_once():
    with Net() as net, Sidecar(net) as sidecar:
        fds = len(os.listdir(f"/proc/{sidecar.stats()['pid']}/fd"))
        for first in (0, 1):  # attached, or observing
            raw = Raw(sidecar.path, flags=first)
            raw.send(HELLO, struct.pack("<QHHI", MAGIC, 1, 0, 0))
            assert raw.gone()
            raw.close()
        until(lambda: len(os.listdir(f"/proc/{sidecar.stats()['pid']}/fd")) <= fds, what="their descriptors' return")
        serves(net, sidecar)


@case
def idle_connections_do_not_keep_others_out():
    with Net() as net, Sidecar(net) as sidecar:
        idle = [Raw(sidecar.path, hello=False) for _ in range(100)]
        serves(net, sidecar)
        sidecar.ctl("health")
        until(lambda: idle[-1].gone(), 10, "the last one's end")
        for raw in idle:
            raw.close()


@case
def holes_in_its_memory_harm_the_client_alone():
    pages = int(open("/proc/sys/vm/nr_hugepages").read())
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=(A4, 5998)) as bystander:
        bystander.timeout(5)
        peer = net.sock(net.b, bind=(B4, 0))
        raw = Raw(sidecar.path)
        victim = net.sock(net.a, bind=(A4, 5060))
        assert raw.claim(victim.fileno())[0] == 0
        length = struct.unpack_from("<Q", raw.welcome, 40)[0]
        try:
            open("/proc/sys/vm/nr_hugepages", "w").write("0")  # those in use stay; a freed one does not come back
            for turn in range(20):
                sh("fallocate", "--punch-hole", "--offset", "0", "--length", str(length), f"/proc/{os.getpid()}/fd/{raw.fds[2]}",
                   check=False)
                peer.sendto(b"x", (A4, 5060))
                os.write(raw.fds[3], struct.pack("<Q", 1))
                peer.sendto(b"%d" % turn, (A4, 5998))
                assert bystander.recvfrom()[0] == b"%d" % turn
        finally:
            open("/proc/sys/vm/nr_hugepages", "w").write(str(pages))
        raw.close()
        victim.close()
        until(lambda: sidecar.stats()["control"]["clients"] == 1, what="its detachment")
        assert sidecar.proc.poll() is None


@case
def the_frames_and_stats_cannot_be_written_by_clients():
    import mmap
    with Net() as net, Sidecar(net) as sidecar:
        raw = Raw(sidecar.path)
        stats, frames, channel = raw.fds[:3]
        for fd in (stats, frames):
            for path in (fd, f"/proc/self/fd/{fd}"):
                f = os.open(path, os.O_RDWR) if isinstance(path, str) else fd
                try:
                    mmap.mmap(f, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
                    raise AssertionError("a writable mapping was given")
                except (PermissionError, OSError):
                    pass
        for fd in (stats, frames, channel):
            for size in (0, 4096, 1 << 30):
                try:
                    os.ftruncate(fd, size)
                    raise AssertionError("a zone was resized")
                except OSError:
                    pass
        raw.close()


def starts_not(net, *flags, status, says, env=None, ns=None):
    p = subprocess.run(["ip", "netns", "exec", ns or net.a, UDPLANED, *flags], text=True, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=20, env={**os.environ, **(env or {})})
    assert p.returncode == status, (flags, p.returncode, p.stdout)
    for word in says:
        assert word in p.stdout, (flags, word, p.stdout)


@case
def start_ups_that_cannot_work_say_what_to_do():
    with Net() as net:
        common = ["--socket", SOCKET, "--ports", "5060", "--interface", "va"]
        bad = ["--socket", SOCKET, "--interface", "va"]
        starts_not(net, *bad, "--ports", "10099-10000", status=2, says=["--ports", "10099-10000", "1-65535"])
        starts_not(net, *bad, "--ports", "70000", status=2, says=["--ports", "70000", "1-65535"])
        starts_not(net, *bad, status=2, says=["ports"])
        starts_not(net, *common, "--backend", "quantum", status=2, says=["--backend", "quantum", "af_xdp"])
        starts_not(net, *common, "--frobnicate", "1", status=2, says=["frobnicate"])
        starts_not(net, *common, "--workers", "0", status=2, says=["--workers", "1"])
        starts_not(net, *bad, status=2, env={"UDPLANE_PORTS": "x"}, says=["UDPLANE_PORTS", '"x"'])
        config = os.path.join(os.path.dirname(SOCKET), "bad.json")
        with open(config, "w") as f:
            f.write('{"interface": "va", "ports": "5060", "wokers": 1}')
        starts_not(net, "--config", config, status=2, says=["bad.json", "wokers", "workers"])
        starts_not(net, "--socket", SOCKET, "--ports", "5060", "--interface", "nope0", "--backend", "af_xdp", status=1,
                   says=["nope0"])
        starts_not(net, *common, "--backend", "af_xdp", "--hugepages", "required", "--frames", "1048576", status=1,
                   says=["nr_hugepages"])


@case
def auto_falls_back_to_the_kernel_and_says_why():
    with Net() as net:
        with Sidecar(net, interface="nope0") as sidecar, Sock(net, bind=(A4, 5060), fast=False) as app:
            stats = sidecar.stats()
            assert stats["backend"] == "kernel" and "nope0" in stats["backend_text"], stats["backend_text"]
            app.timeout(5)
            net.sock(net.b).sendto(b"kernel", (A4, 5060))
            assert app.recvfrom()[0] == b"kernel"
            until(lambda: app.accelerated() == 0 and app.status().reason == b"backend_kernel", what="the reason")
            code, text = sidecar.ctl("why", "5060", check=False)
            assert code == 1 and "nope0" in text, text


@case
def a_second_xdp_program_or_udplaned_is_named():
    raw = os.path.join(BIN, "tests", "bench", "raw", "raw")
    with Net() as net:
        other = subprocess.Popen(["ip", "netns", "exec", net.a, raw, "peer", "va", "drop"], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "ready\n"
        try:
            starts_not(net, "--socket", SOCKET, "--ports", "5060", "--interface", "va", "--backend", "af_xdp", status=1, says=["XDP"])
        finally:
            other.terminate()
            other.wait()
        with Sidecar(net) as sidecar:
            starts_not(net, "--socket", SOCKET, "--ports", "5060", "--interface", "va", status=1, says=["another udplaned", SOCKET])
            serves(net, sidecar)


@case
def without_hugepages_ordinary_pages_serve_and_are_reported():
    with Net() as net, Sidecar(net, "--hugepages", "off") as sidecar:
        assert sidecar.stats()["memory"]["hugepage_bytes"] == 0
        assert sidecar.stats()["memory"]["page_bytes"] > 1 << 20
        serves(net, sidecar)


@case
def few_descriptors_do_not_stop_the_sidecar():
    with Net() as net:
        limited = Sidecar(net, ready=False)
        try:
            until(limited.healthy, 10)
            pid = limited.stats()["pid"]
            hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (40, hard))
            clients = []
            try:
                for _ in range(40):
                    clients.append(Raw(limited.path, patience=0.5))
            except OSError:
                pass
            for c in clients:
                c.close()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
            until(lambda: limited.proc.poll() is None and limited.healthy(), 10, "recovery")
            until(lambda: limited.stats()["control"]["clients"] == 0, what="detachment")
            serves(net, limited)
        finally:
            limited.stop()


@case
def each_step_down_is_named():
    absent = {"PCIDEVICE_X": "0000:99:00.0"}
    with Net() as net:
        for env, flags, interface, said in (
                ({}, [], "va", ["no VFIO device is given"]),
                (absent, [], "va", ["vfio: ", "0000:99:00.0"]),
                ({}, ["--resource", "intel.com/sriov"], "va", ["PCIDEVICE_", "intel.com/sriov"]),
                (absent, [], "lo", ["vfio: ", "0000:99:00.0", "af_xdp: interface lo is no Ethernet device"])):
            with Sidecar(net, *flags, env=env, interface=interface) as sidecar:
                stats = sidecar.ctl("stats")[1]
                with Sock(net, bind=("0.0.0.0", 5000), fast=interface == "va"):
                    why = sidecar.ctl("why", "5000", check=False)[1]
                for word in said:
                    assert word in stats and word in why, f"{word}\n{stats}\n{why}"
                    assert not (env or flags) or word.strip("; ").split(": ")[-1] in sidecar.output(), sidecar.output()


if __name__ == "__main__":
    run()
