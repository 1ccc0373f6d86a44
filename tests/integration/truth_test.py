#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `why`, `stats` and `health --accelerated` say is what happened; and what can be mended is mended, without losing a datagram.

Each case brings about that the kernel carries what udplane has claimed, compares what is said with what was carried, and waits until it is
mended, where it can be.
"""
import threading

from harness import *

PORT = 5060
HERE = ("10.99.0.1", PORT)
RATE = 2000  # datagrams a second: enough to tell by, little for a busy machine


class Stream:
    """Numbered datagrams from a plain socket of namespace b, until told to stop; the receiving end checks that none is
    lost or overtaken."""

    def __init__(self, net, sock, rate=RATE, size=64, to=HERE):
        self.sock, self.sent, self.got, self.lost, self.turned = sock, 0, 0, 0, 0
        self.rate, self.size, self.to = rate, size, to
        self.out = net.sock(net.b)
        # While a verb runs nothing is read: the kernel's queue must hold what arrives until then, as the ring does.
        room = ctypes.c_int(8 << 20)
        assert not libc.setsockopt(sock.kernel_fd(), socket.SOL_SOCKET, 33, ctypes.byref(room), 4)  # SO_RCVBUFFORCE
        self.stopped, self.paused, self.pausing = threading.Event(), threading.Event(), False
        self.thread = threading.Thread(target=self.send, daemon=True)

    def __enter__(self):
        self.next = 0
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        self.out.close()

    def send(self):
        due, last = 0.0, time.monotonic()
        while not self.stopped.wait(0.005):
            now = time.monotonic()
            due, last = due + (0 if self.pausing else (now - last) * self.rate), now
            if self.pausing:
                self.paused.set()
                continue
            for _ in range(min(int(due) - self.sent, 100)):
                self.out.sendto(self.sent.to_bytes(4, "big").ljust(self.size, b"x"), self.to)
                self.sent += 1

    def receive(self, seconds=0.02):
        """What there is, for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                data, _ = self.sock.recvfrom(MSG_DONTWAIT)
            except BlockingIOError:
                self.sock.readable(0.005)
                continue
            number = int.from_bytes(data[:4], "big")
            self.turned += number < self.next
            self.lost += max(0, number - self.next)
            self.next = max(self.next, number + 1)
            self.got += 1

    def until(self, ok, seconds=20.0, what="a condition"):
        """As until(), but also receives while it waits."""
        end = time.monotonic() + seconds
        while True:
            self.receive()
            value = ok()
            if value:
                return value
            assert time.monotonic() < end, f"{what} did not come about within {seconds} s"

    def quietly(self, act):
        """Calls act() while nothing is on its way: what others do to an interface may turn or drop what is."""
        self.paused.clear()
        self.pausing = True
        self.until(self.paused.is_set, what="a pause")
        self.until(lambda: self.next >= self.sent, what="what was sent")
        act()
        self.pausing = False

    def finish(self):
        """Sends no more; all that was sent must have come, in order."""
        self.stopped.set()
        self.thread.join()
        self.until(lambda: self.next >= self.sent, what=f"the end of {self.sent} datagrams")
        assert (self.lost, self.turned) == (0, 0), (self.lost, self.turned, self.got, self.sent)


def why(sidecar, port=PORT):
    """(exit status, JSON)"""
    status, text = sidecar.ctl("why", str(port), "--json", check=False)
    return status, json.loads(text)


def said(sidecar, reason):
    """True when `why` says no for that reason; its text must agree."""
    def look():
        status, verdict = why(sidecar)
        return verdict if status == 1 and verdict["reason"] == reason else None
    return look


def carried(sidecar):
    """True when `why` says that the fast path carries what is received."""
    def look():
        status, verdict = why(sidecar)
        return verdict if status == 0 and verdict.get("receive", {}).get("path") == "fast" else None
    return look


def healthy(sidecar):
    status, text = sidecar.ctl("health", "--accelerated", "--json", check=False)
    answer = json.loads(text)
    assert answer["ok"] == (status == 0), (status, answer)
    return answer


def bad_socket(sidecar):
    """The one socket that `health --accelerated` finds wrong."""
    answer = healthy(sidecar)
    bad = [s for s in answer["sockets"] if not s["ok"]]
    assert len(bad) == 1 and not answer["ok"], answer
    return bad[0]


# ---- delivered past native XDP ----

class HostRouting(Net):
    """Namespace a is a pod behind eBPF host routing: b's vb -- (nic0, lxc0 in a third namespace) -- va. As Net but for that."""

    def __init__(self):
        self.host = f"udplane-h-{os.getpid()}"
        self.a, self.b = f"udplane-a-{os.getpid()}", f"udplane-b-{os.getpid()}"
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.fd = {}
        for ns in (self.a, self.b, self.host):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        for ns in (self.a, self.b):
            self.fd[ns] = os.open(f"/run/netns/{ns}", os.O_RDONLY)
        for name, index, dev, ns, n in (("lxc0", 1001, "va", self.a, 1), ("nic0", 1002, "vb", self.b, 2)):
            sh("ip", "-n", self.host, "link", "add", name, "index", str(index), "type", "veth", "peer", "name", dev, "netns", ns)
            sh("ip", "-n", self.host, "link", "set", name, "up")
            sh("ip", "-n", ns, "addr", "add", f"10.99.0.{n}/24", "dev", dev)
            sh("ip", "-n", ns, "link", "set", dev, "up")
        mac = {d: sh("cat", f"/sys/class/net/{d}/address", ns=n).strip() for d, n in (("va", self.a), ("vb", self.b))}
        sh("ip", "-n", self.b, "neigh", "replace", "10.99.0.1", "lladdr", mac["va"], "dev", "vb", "nud", "permanent")
        sh("ip", "-n", self.a, "neigh", "replace", "10.99.0.2", "lladdr", mac["vb"], "dev", "va", "nud", "permanent")
        # As from another host: a frame on a wire has its checksum.
        sh("ethtool", "-K", "vb", "tx", "off", ns=self.b)
        for dev, section in (("nic0", "tc/in"), ("lxc0", "tc/out")):
            sh("tc", "-n", self.host, "qdisc", "add", "dev", dev, "clsact")
            sh("tc", "-n", self.host, "filter", "add", "dev", dev, "ingress", "bpf", "da", "obj",
               os.path.join(BIN, "tests", "integration", "host_routing.bpf.o"), "sec", section)

    def __exit__(self, *_):
        super().__exit__()
        sh("ip", "netns", "del", self.host, check=False)


@case
def redirect_peer_is_said_where_a_mode_was_asked_for():
    with HostRouting() as net, Sidecar(net, "--xdp-mode", "copy") as sidecar, Sock(net, bind=HERE) as sock, Stream(net, sock) as stream:
        verdict = stream.until(said(sidecar, "past_xdp"), what="the truth")
        assert verdict["receive"]["fast"] == 0 and verdict["receive"]["path"] == "kernel", verdict
        assert f"0 of {verdict['receive']['kernel']} datagrams came by XDP" in verdict["text"], verdict
        assert "bpf_redirect_peer" in verdict["text"], verdict
        stream.until(lambda: "bpf_redirect_peer" in sidecar.stats()["device"]["trouble"], what="trouble in stats")
        assert "native, copy" in sidecar.stats()["device"]["text"]
        bad = bad_socket(sidecar)
        assert bad["reason"] == "past_xdp" and bad["receive"]["path"] == "kernel", bad
        assert sock.status().fast_rx == 0
        stream.finish()


@case
def redirect_peer_in_mode_auto_ends_in_generic_mode():
    with HostRouting() as net, Sidecar(net) as sidecar, Sock(net, bind=HERE) as sock, Stream(net, sock) as stream:
        pid = sidecar.stats()["pid"]
        stream.until(lambda: "generic, copy" in sidecar.stats()["device"]["text"], what="generic mode")
        assert "bpf_redirect_peer" in sidecar.stats()["mode_text"]
        verdict = stream.until(carried(sidecar), what="the fast path")
        assert verdict["receive"]["fast"] > 0, verdict
        assert healthy(sidecar)["ok"]
        stream.finish()
        stats = settled(sidecar)
        assert stats["pid"] == pid and stats["control"]["reattaches"] == 1 and stats["control"]["attaches"] == 1, stats["control"]
        assert sock.status().fast_rx > 0 and "generic mode" in sidecar.output()
        with net.sock(net.b, bind=("10.99.0.2", 7000)) as peer:  # and the answers
            sock.sendto(b"answer", ("10.99.0.2", 7000))
            assert peer.recv(100) == b"answer"


# ---- the program is taken away ----

def link_of(net, dev="va"):
    """The number of the bpf_link on the interface: all namespaces share the list."""
    program = json.loads(sh("ip", "-n", net.a, "-json", "link", "show", "dev", dev))[0]["xdp"]["prog"]["id"]
    mine = [link["id"] for link in json.loads(sh("bpftool", "--json", "link", "show")) if link.get("prog_id") == program]
    assert len(mine) == 1, mine
    return str(mine[0])


@case
def a_detached_program_is_attached_again():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=HERE) as sock, Stream(net, sock) as stream:
        stream.until(carried(sidecar), what="the fast path")
        for times in (1, 2):
            stream.quietly(lambda: sh("bpftool", "link", "detach", "id", link_of(net)))
            stream.until(lambda: sidecar.stats()["control"]["reattaches"] == times, what="the program")
            fast = sock.status().fast_rx
            stream.until(lambda: sock.status().fast_rx > fast, what="datagrams on the fast path again")
        stream.until(carried(sidecar), what="the fast path")
        stream.finish()
        assert settled(sidecar)["device"]["attached"]
        assert "detached or replaced by somebody else" in sidecar.output()


@case
def another_program_in_its_place_is_named():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=HERE) as sock, Stream(net, sock) as stream:
        stream.until(carried(sidecar), what="the fast path")

        def replace():
            sh("bpftool", "link", "detach", "id", link_of(net))
            sh("ip", "-n", net.a, "link", "set", "dev", "va", "xdp", "obj", os.path.join(BIN, "tests", "integration", "pass.bpf.o"),
               "sec", "xdp")

        stream.quietly(replace)
        verdict = stream.until(said(sidecar, "detached"), what="the truth")
        assert "XDP program" in verdict["text"] and "is attached to va already" in verdict["text"], verdict
        stats = sidecar.stats()
        assert not stats["device"]["attached"] and "is attached to va already" in stats["device"]["trouble"], stats["device"]
        assert bad_socket(sidecar)["reason"] == "detached"
        fast = sock.status().fast_rx
        stream.receive(0.1)
        assert sock.status().fast_rx == fast
        sh("ip", "-n", net.a, "link", "set", "dev", "va", "xdp", "off")
        stream.until(carried(sidecar), what="the fast path")
        stats = sidecar.stats()
        assert stats["device"]["attached"] and not stats["device"]["trouble"], stats["device"]
        stream.finish()


# ---- the interface changes ----

@case
def queues_that_are_added_are_bound():
    with Net(queues=4) as net:
        for ns, dev in ((net.a, "va"), (net.b, "vb")):
            sh("ethtool", "-L", dev, "rx", "1", "tx", "1", ns=ns)
        with Sidecar(net) as sidecar, Sock(net, bind=HERE) as sock, Stream(net, sock) as stream:
            start = sidecar.stats()["start_ns"]
            assert "1 queue," in sidecar.stats()["device"]["text"]
            stream.until(carried(sidecar), what="the fast path")

            looks = [0]  # in a row that found it up: Linux takes it away for a moment, and says so later

            def carrier_is_back():
                up = all(json.loads(sh("ip", "-n", ns, "-json", "link", "show", "dev", dev))[0]["operstate"] == "UP"
                         for ns, dev in ((net.a, "va"), (net.b, "vb")))
                looks[0] = looks[0] + 1 if up else 0
                return looks[0] >= 50

            def add():
                sh("ethtool", "-L", "va", "rx", "4", ns=net.a)
                sh("ethtool", "-L", "vb", "tx", "4", ns=net.b)
                until(carrier_is_back, what="carrier")

            stream.quietly(add)

            def bound():
                try:
                    stats = sidecar.stats()
                except subprocess.CalledProcessError:
                    return False  # between two lives
                return stats if stats["start_ns"] != start and "4 queues" in stats["device"]["text"] else None

            stream.until(bound, what="the new queues")
            assert sidecar.proc.poll() is None
            fast = sock.status().fast_rx
            stream.until(lambda: sock.status().fast_rx > fast + RATE // 2, what="the fast path")
            stream.finish()
            assert settled(sidecar)["device"]["counters"]["rx_passed_no_queue"] == 0


@case
def an_interface_that_appears_late_is_taken():
    with Net() as net, Sidecar(net, interface="late0") as sidecar:
        stats = sidecar.stats()
        assert stats["backend"] == "kernel" and "late0" in stats["backend_text"], stats["backend_text"]
        assert sidecar.ctl("health", "--accelerated", check=False)[0] == 1
        with Sock(net, bind=("0.0.0.0", PORT), fast=False) as sock:
            assert why(sidecar)[1]["reason"] == "backend_kernel"
            sh("ip", "link", "add", "late0", "netns", net.a, "type", "veth", "peer", "name", "late1", "netns", net.b)
            for ns, dev, n in ((net.a, "late0", 1), (net.b, "late1", 2)):
                sh("ip", "-n", ns, "addr", "add", f"10.98.0.{n}/24", "dev", dev)
                sh("ip", "-n", ns, "link", "set", dev, "up")
            until(sock.accelerated, 15, "acceleration")
            with Stream(net, sock, to=("10.98.0.1", PORT)) as stream:
                stream.until(carried(sidecar), what="the fast path")
                stream.finish()
        assert sidecar.stats()["backend"] == "af_xdp" and sidecar.proc.poll() is None


# ---- the kernel carries, for good reasons ----

@case
def at_a_low_rate_it_rests():
    with Net() as net, Sidecar(net, mode="balanced") as sidecar, Sock(net, bind=HERE) as sock, Stream(net, sock, rate=100) as stream:
        def rests():
            status, verdict = why(sidecar)
            return verdict if verdict.get("receive", {}).get("path") == "resting" else None

        verdict = stream.until(rests, what="rest")
        assert verdict["accelerated"] and verdict["reason"] == "resting" and verdict["receive"]["kernel"] > verdict["receive"]["fast"]
        assert healthy(sidecar)["ok"]
        stream.finish()
        assert sock.status().kernel_rx > sock.status().fast_rx


@case
def another_interface_is_named():
    with Net() as net:
        sh("ip", "link", "add", "vc", "netns", net.a, "type", "veth", "peer", "name", "vd", "netns", net.b)
        for ns, dev, n in ((net.a, "vc", 1), (net.b, "vd", 2)):
            sh("ip", "-n", ns, "addr", "add", f"10.97.0.{n}/24", "dev", dev)
            sh("ip", "-n", ns, "link", "set", dev, "up")
        with Sidecar(net) as sidecar, Sock(net, bind=("0.0.0.0", PORT)) as sock, Stream(net, sock, to=("10.97.0.1", PORT)) as stream:
            verdict = stream.until(said(sidecar, "other_interface"), what="the truth")
            assert verdict["receive"]["fast"] == 0, verdict
            assert bad_socket(sidecar)["reason"] == "other_interface"
            assert "native" in sidecar.stats()["device"]["text"] and not sidecar.stats()["device"]["trouble"]
            stream.finish()


@case
def fragments_are_named():
    with Net() as net, Sidecar(net) as sidecar, Sock(net, bind=HERE) as sock, Stream(net, sock, rate=200, size=4000) as stream:
        verdict = stream.until(said(sidecar, "fragments"), what="the truth")
        assert "rx_passed_fragment" in verdict["text"] and verdict["receive"]["fast"] == 0, verdict
        assert sidecar.stats()["device"]["counters"]["rx_passed_jumbo"] == 0
        stream.finish()


@case
def local_senders_in_generic_mode_have_their_own_counter():
    with Net() as net, Sidecar(net, "--xdp-mode", "generic") as sidecar, Sock(net, bind=HERE) as sock, Stream(net, sock) as stream:
        verdict = stream.until(said(sidecar, "partial_checksum"), what="the truth")
        counters = sidecar.stats()["device"]["counters"]
        assert counters["rx_passed_partial"] > 0 and counters["rx_passed_jumbo"] == 0, counters
        assert verdict["receive"]["fast"] == 0, verdict
        stream.finish()
        settled(sidecar)


@case
def sending_is_told_apart_from_receiving():
    with Net() as net:
        with Sidecar(net) as sidecar, Sock(net, bind=HERE) as sock, Stream(net, sock) as stream, \
                net.sock(net.b, bind=("10.99.0.2", 7000)) as peer:
            peer.setblocking(False)
            big = b"y" * 4000  # the kernel cuts it

            def sent():
                for _ in range(20):
                    sock.sendto(big, ("10.99.0.2", 7000))
                status, verdict = why(sidecar)
                done = verdict["send"]["path"] == "kernel" and verdict["receive"]["path"] == "fast"
                return (status, verdict) if done else None

            status, verdict = stream.until(sent, what="both")
            assert status == 1 and verdict["reason"] == "destination" and not verdict["accelerated"], verdict
            assert verdict["send"]["fast"] == 0 and "sent by the kernel" in verdict["text"], verdict
            bad = bad_socket(sidecar)
            assert bad["text"].startswith("sends: ") and bad["receive"]["path"] == "fast", bad
            stream.finish()


if __name__ == "__main__":
    run()
