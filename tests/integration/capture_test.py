#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplanectl capture: what it writes, against tcpdump of the peer, which sees the same datagrams on the other end of the cable."""
import fcntl
import re
import struct

from harness import *

A4, B4, A6, B6 = "10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2"
FILE = os.path.join(os.path.dirname(SOCKET), "capture")


class Frame:
    def __init__(self, data, length, options):
        self.data, self.length = data, length
        self.flags = struct.unpack("I", dict(options).get(2, bytes(4)))[0]
        self.missed = struct.unpack("Q", dict(options).get(4, bytes(8)))[0]
        self.comments = [v.decode() for code, v in options if code == 1]
        self.sent = self.flags & 3 == 2


def options(data):
    out = []
    while data:
        code, size = struct.unpack_from("HH", data)
        if not code:
            break
        out.append((code, data[4:4 + size]))
        data = data[4 + (size + 3 & ~3):]
    return out


def read_pcapng(data):
    """The frames of a whole file, its interface's options and the statistics at its end, or None."""
    frames, interface, statistics = [], None, None
    while data:
        kind, size = struct.unpack_from("II", data)
        assert size % 4 == 0 and struct.unpack_from("I", data, size - 4)[0] == size, "a torn block"
        body, data = data[8:size - 4], data[size:]
        if kind == 1:
            assert struct.unpack_from("H", body)[0] == 1, "Ethernet"
            interface = dict(options(body[8:]))
        elif kind == 6:
            captured, length = struct.unpack_from("II", body, 12)
            frames.append(Frame(body[20:20 + captured], length, options(body[20 + (captured + 3 & ~3):])))
        elif kind == 5:
            statistics = {code: struct.unpack("Q", v)[0] for code, v in options(body[12:]) if code in (4, 5)}
    return frames, interface, statistics


class Capture:
    """udplanectl capture in a process of its own, writing to a file, that has begun."""

    def __init__(self, net, *flags, out=None, tool=(CTL,)):
        self.path = f"{FILE}-{id(self)}"
        where = ["-w", self.path] if out is None else []
        self.proc = subprocess.Popen([*tool, "--socket", SOCKET, "capture", *flags, *where], stdout=out, stderr=subprocess.PIPE, text=True)
        if out is None:
            until(lambda: self.proc.poll() is not None or os.path.exists(self.path) and os.path.getsize(self.path), what="the capture")
        if self.proc.poll() is not None:
            raise AssertionError(self.proc.stderr.read())

    def end(self, sig=signal.SIGINT):
        """Ends it, unless it ends by itself. Returns the frames, and sets what else the file tells."""
        if sig:
            self.proc.send_signal(sig)
        self.said = self.proc.communicate(timeout=10)[1]
        assert self.proc.returncode == 0, (self.proc.returncode, self.said)
        with open(self.path, "rb") as f:
            frames, self.interface, self.statistics = read_pcapng(f.read())
        self.missed = int(re.search(r"(\d+) of \d+ datagrams missed", self.said)[1])
        return frames

    def written(self):
        """How many frames are in the file by now."""
        with open(self.path, "rb") as f:
            data = f.read()
        n = 0
        while len(data) >= 8:
            kind, size = struct.unpack_from("II", data)
            if len(data) < size:
                break
            n += kind == 6
            data = data[size:]
        return n

    def until(self, count):
        until(lambda: self.written() >= count, what=f"{count} captured datagrams, not {self.written()}")


class Tcpdump:
    """tcpdump on the peer's end."""

    def __init__(self, net):
        self.path = f"{FILE}-tcpdump"
        if os.path.exists(self.path):
            os.unlink(self.path)
        command = ["tcpdump", "-i", "vb", "-U", "--immediate-mode", "-w", self.path, "udp"]
        self.proc = subprocess.Popen(["ip", "netns", "exec", net.b, *command], stderr=subprocess.DEVNULL)
        until(lambda: os.path.exists(self.path) and os.path.getsize(self.path) >= 24, what="tcpdump")

    def end(self, count):
        """Its frames, of which there are at least so many."""
        until(lambda: len(self.frames()) >= count, what=f"{count} datagrams in tcpdump")
        self.proc.terminate()
        self.proc.wait(5)
        return self.frames()

    def frames(self):
        with open(self.path, "rb") as f:
            data = f.read()[24:]
        out = []
        while len(data) >= 16:
            size = struct.unpack_from("I", data, 8)[0]
            if len(data) < 16 + size:
                break
            out.append(data[16:16 + size])
            data = data[16 + size:]
        return out


def talk(net, sock, port, family, count, size):
    """The peer sends, the application answers."""
    there, here = (A6, B6) if family == socket.AF_INET6 else (A4, B4)
    peer = net.sock(net.b, family, bind=(here, 7000))
    for i in range(count):
        peer.sendto(bytes([i]) * (1 + i * size // count), (there, port))
        data, addr = until_received(sock)
        sock.sendto(data + b"!", addr)
        peer.recv(65536)
    peer.close()


def until_received(sock):
    def ask():
        try:
            return sock.recvfrom(MSG_DONTWAIT)
        except BlockingIOError:
            sock.readable(0.01)
    return until(ask, what="a datagram")


def warm(net, sock, port, family=socket.AF_INET):
    """Until both directions take the fast path."""
    def both():
        before = sidecar_counts(net)
        talk(net, sock, port, family, 1, 10)
        after = sidecar_counts(net)
        return all(b > a for a, b in zip(before, after))
    until(both, what="the fast path, both ways")


def sidecar_counts(net):
    stats = json.loads(sh(CTL, "--socket", SOCKET, "stats", "--json"))
    return [stats["workers"][0]["counters"][k] for k in ("rx_delivered", "tx_sent")]


@case
def it_is_what_tcpdump_of_the_peer_sees():
    with Net() as net, Sidecar(net):
        for family, name in ((socket.AF_INET, A4), (socket.AF_INET6, A6)):
            with Sock(net, family, bind=(name, 5060)) as sock:
                warm(net, sock, 5060, family)
                theirs, capture = Tcpdump(net), Capture(net)
                talk(net, sock, 5060, family, 40, 1400)
                capture.until(80)
                seen, frames = theirs.end(80), capture.end()
                assert [f.data for f in frames] == seen, (len(frames), len(seen))
                assert [f.sent for f in frames] == [False, True] * 40
                assert all(f.length == len(f.data) for f in frames)
                comment = frames[0].comments
                assert re.fullmatch(rf"python3?[\d.]*, pid {os.getpid()}, socket \d+", comment[0]), comment
                assert capture.interface[2] == b"va" and capture.interface[9] == b"\x09", capture.interface
                assert capture.statistics == {4: 80, 5: 0} and capture.missed == 0, capture.statistics
                text = sh("tcpdump", "-nn", "-r", capture.path)
                assert text.count("\n") >= 80 and "truncated" not in text, text


@case
def dropped_datagrams_have_their_reason():
    with Net() as net, Sidecar(net, "--rx-ring-size", "64") as sidecar:
        with Sock(net, bind=(A4, 5060)) as sock:
            warm(net, sock, 5060)
            capture = Capture(net, "--port", "5060")
            before = sidecar.stats()["workers"][0]["counters"]
            peer = net.sock(net.b)
            for i in range(100):
                peer.sendto(b"%d" % i, (A4, 5060))
            raw = net.inside(net.b, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
            raw.bind(("vb", 0))
            capture.until(100)
            frame = bytearray(read_pcapng(open(capture.path, "rb").read())[0][-1].data)
            frame[40:42] = b"\x12\x34"  # its UDP checksum
            raw.send(frame)
            capture.until(101)
            after = sidecar.stats()["workers"][0]["counters"]
            frames = capture.end()
            dropped = [f for f in frames if any(c.startswith("dropped: rx_drop_ring_full: ") for c in f.comments)]
            assert len(dropped) == after["rx_drop_ring_full"] - before["rx_drop_ring_full"] > 0, len(dropped)
            assert len(frames) - len(dropped) - 1 == after["rx_delivered"] - before["rx_delivered"], len(frames)
            assert [f.data[42:] for f in frames[:-1]] == [b"%d" % i for i in range(100)]
            assert frames[-1].comments[-1].startswith("dropped: rx_drop_udp_checksum: "), frames[-1].comments


@case
def filters_choose():
    with Net() as net, Sidecar(net) as sidecar:
        with Sock(net, bind=(A4, 5060)) as one, Sock(net, bind=(A4, 5070)) as two:
            warm(net, one, 5060)
            warm(net, two, 5070)
            by_port = Capture(net, "--port", "5060")
            by_text = Capture(net, "--filter", "udp src port 5070 and ip[6] & 0x40 != 0")
            some = Capture(net, "-c", "7", "--snap-len", "60")
            talk(net, one, 5060, socket.AF_INET, 10, 500)
            talk(net, two, 5070, socket.AF_INET, 10, 500)
            by_port.until(20)
            by_text.until(10)
            some.until(7)
            assert all(5060 in struct.unpack("!HH", f.data[34:38]) for f in by_port.end())
            frames = by_text.end()
            assert len(frames) == 10 and all(f.sent and f.data[34:36] == struct.pack("!H", 5070) for f in frames)
            frames = some.end(sig=None)
            assert len(frames) == 7 and all(len(f.data) == min(f.length, 60) for f in frames)
            assert any(f.length > 60 for f in frames)
        for flags, words in ((("--filter", "udp and and"), "filter \"udp and and\""), (("--filter", "frobnicate"), "pcap-filter"),
                             (("--port", "0"), "1 to 65535"), (("-c", "x"), "--count x"), (("--snap-len", "1"), "14 to"),
                             (("-w",), "a value must follow"), (("--buffer", "-1"), "1 to 256")):
            code, text = sidecar.ctl("capture", *flags, check=False)
            assert code == 2 and words in text and "udplanectl capture: " in text, (code, text)
        code, text = sidecar.ctl("capture", "-w", "/nonexistent/file", check=False)
        assert code == 1 and "/nonexistent/file" in text, text


@case
def a_slow_reader_loses_copies_only():
    """Nobody reads the pipe: its ring fills up. The application gets everything, and the file says what is missing in it."""
    with Net() as net, Sidecar(net, "--rx-ring-size", "4096") as sidecar, Sock(net, bind=(A4, 5060)) as sock:
        warm(net, sock, 5060)
        read, write = os.pipe()
        fcntl.fcntl(write, 1031, 4096)  # F_SETPIPE_SZ
        capture = Capture(net, "--buffer", "1", out=write)
        os.close(write)
        until(lambda: "captures" in sidecar.output(), what="the capture")
        before = sidecar.stats()["workers"][0]["counters"]
        peer = net.sock(net.b)
        count, got = 5000, 0
        while got < count:
            for _ in range(100):
                peer.sendto(bytes(1000), (A4, 5060))
            got += len(sock.recv_all(5, 100))
        after = settled(sidecar)["workers"][0]["counters"]
        assert after["rx_delivered"] - before["rx_delivered"] == count, after
        assert not [k for k in after if k.startswith("rx_drop_") and after[k] != before[k]], after
        data = b""
        os.set_blocking(read, False)
        end = None
        while True:
            try:
                more = os.read(read, 1 << 20)
                if not more:
                    break
                data += more
            except BlockingIOError:
                select.select([read], [], [], 0.1)
                if end is None and len(data) > 100000 and not select.select([read], [], [], 0.5)[0]:
                    end = capture.proc.send_signal(signal.SIGINT) or True
        said = capture.proc.communicate(timeout=5)[1]
        frames, _, statistics = read_pcapng(data)
        print("  ", said.strip())
        assert statistics[4] == count and statistics[5] == count - len(frames) > 0, (statistics, len(frames))
        assert sum(f.missed for f in frames) <= statistics[5]
        assert f"{statistics[5]} of {count} datagrams missed" in said and "raise --buffer" in said, said


@case
def a_reader_that_is_killed_leaves_nothing():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=(A4, 5060)) as sock:
        warm(net, sock, 5060)
        before, memory = sidecar.descriptors(), sidecar.stats()["memory"]
        captures = [Capture(net, "--port", "5060") for _ in range(4)]
        code, text = sidecar.ctl("capture", check=False)
        assert code == 1 and "4 captures run already" in text, text
        for _ in range(100):  # observers that crowd in do not end captures
            sidecar.stats()
        for c in captures:
            c.proc.kill()
            c.proc.communicate()
        until(lambda: sidecar.descriptors() <= before, what="the captures' end")
        assert sidecar.stats()["memory"] == memory
        capture = Capture(net)
        talk(net, sock, 5060, socket.AF_INET, 10, 500)
        capture.until(20)
        assert len(capture.end()) == 20


@case
def it_ends_with_udplaned_and_with_its_reader():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=(A4, 5060)) as sock:
        warm(net, sock, 5060)
        capture = Capture(net)
        talk(net, sock, 5060, socket.AF_INET, 10, 500)
        read, write = os.pipe()
        piped = Capture(net, out=write)
        os.close(write)
        os.read(read, 100)
        os.close(read)  # as wireshark does at its end; no datagram comes
        assert piped.proc.wait(5) == 0
        piped.proc.stderr.close()
        sidecar.stop()
        assert len(capture.end(sig=None)) == 20


@case
def only_the_operator_may():
    """Not another user, and not root of another container of the pod, although both may connect."""
    unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    with Net() as net, Sidecar(net, "--socket-mode", "0666", wrap=unshare) as sidecar:
        os.chmod(os.path.dirname(SOCKET), 0o755)
        code, text = sidecar.ctl("capture", check=False)  # the parent's namespace: its number is 0 for udplaned
        assert code == 1 and "kubectl exec POD -c udplane" in text, (code, text)
        code, text = sidecar.ctl("health", check=False)
        assert code == 0, text
        child = sh("pgrep", "-P", str(sidecar.proc.pid)).split()[0]
        inside = ("nsenter", "-t", child, "-p", "-m")
        nobody = subprocess.run([*inside, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", CTL, "--socket", SOCKET,
                                 "capture"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert nobody.returncode == 1 and "user 65534 may not capture" in nobody.stdout, nobody
        below = subprocess.run([*inside, "unshare", "--pid", "--fork", CTL, "--socket", SOCKET, "capture"], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert below.returncode == 1 and "PID namespace" in below.stdout, below
        with Sock(net, bind=(A4, 5060)) as sock:
            warm(net, sock, 5060)
            capture = Capture(net, "-c", "10", tool=(*inside, CTL))
            talk(net, sock, 5060, socket.AF_INET, 5, 500)
            assert len(capture.end(sig=None)) == 10
        sidecar.kill()  # unshare ignores SIGTERM


@case
def several_workers_are_one_stream():
    with Net(queues=2) as net, Sidecar(net, "--workers", "2") as sidecar, Sock(net, bind=(A4, 5060)) as sock:
        capture = Capture(net, "--port", "5060")
        peers = [net.sock(net.b, bind=(B4, 7000 + i)) for i in range(20)]
        for i in range(10):
            for p in peers:
                p.sendto(b"%d" % i, (A4, 5060))
                until_received(sock)
        workers = [w["counters"]["rx_delivered"] for w in settled(sidecar)["workers"]]
        capture.until(sum(workers))
        frames = capture.end()
        print("   by worker:", workers)
        for p in peers:  # each flow in its order
            mine = [f.data[42:] for f in frames if f.data[34:36] == struct.pack("!H", p.getsockname()[1])]
            assert mine == [b"%d" % i for i in range(10)][-len(mine):] and mine, mine


run()
