# SPDX-License-Identifier: Apache-2.0
"""For the tests of this folder: programs of others, unmodified, first with plain sockets and then under udplane-run.

    @case
    def a_server():
        def work(pod):
            pod.start("server", "--port", "5300", port=5300)
            return pod.peer("client", A4, "5300")

        beside(work, {5300: FAST})

beside() demands that both runs return the same, and that the second one took the path that is expected of the port. What is started runs
in the pod's namespace beside udplaned (10.99.0.1, fd99::1); peers are plain programs in the other namespace (10.99.0.2, fd99::2).
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import *  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
MODULES = os.environ.get("UDPLANE_PYTHON_MODULES", os.path.expanduser("~/.cache/udplane-programs/python"))
RUN = os.path.join(BIN, "client", "run", "udplane-run")
os.environ["UDPLANE_PRELOAD"] = os.path.join(BIN, "client", "libudplane-preload.so")
A4, B4, A6, B6 = "10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Programs change their user: as the volume in a pod and the chart have it.
os.chmod(os.path.dirname(SOCKET), 0o755)
FLAGS = ("--socket-mode", "0666")

FAST = {"rx", "tx"}  # it receives and sends over the fast path
FAST_RX = {"rx"}
FAST_TX = {"tx"}


class Program:
    """One that runs until the end of the work, its output in a file."""

    def __init__(self, name, command, log, env):
        self.name, self.log = name, log
        with open(log, "w") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                                            env=env)

    def output(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def alive(self):
        assert self.process.poll() is None, f"{self.name} ended with status {self.process.returncode}:\n{self.output()[-4000:]}"
        return True

    def says(self, text, seconds=20):
        """Waits for a line that matches."""
        return until(lambda: re.search(text, self.output()) or self.alive() and None, seconds, f'"{text}" from {self.name}')

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self):
        """By SIGTERM, as an operator would; what is left then is killed, and what cannot end at SIGTERM is a failure."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self.process.wait()
                raise AssertionError(f"{self.name} did not end at SIGTERM:\n{self.output()[-4000:]}")
        self.signal(signal.SIGKILL)


class Pod:
    """The pod's namespace: programs with plain sockets, or under udplane-run."""

    def __init__(self, net, sidecar, fast):
        self.net, self.sidecar, self.fast = net, sidecar, fast
        self.programs = []

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="udplane-programs-")
        os.chmod(self.dir, 0o777)  # several programs change to a user of their own
        return self

    def __exit__(self, *failure):
        if failure[0]:
            print(brief(self.rows()))
        try:
            for program in reversed(self.programs):
                program.stop()
        finally:
            for program in self.programs:
                program.signal(signal.SIGKILL)
                if failure[0]:
                    print(f"---- {program.name} (fast: {self.fast}):\n{program.output()[-3000:]}")
            self.clear()
            shutil.rmtree(self.dir, True)

    def left(self):
        """Processes in the namespaces that are no udplaned: all are of these tests."""
        pids = []
        for ns in (self.net.a, self.net.b):
            for pid in sh("ip", "netns", "pids", ns).split():
                with contextlib.suppress(FileNotFoundError):
                    if os.path.basename(os.readlink(f"/proc/{pid}/exe")) != "udplaned":
                        pids.append(int(pid))
        return pids

    def clear(self):
        """Ends what a program has left in a session of its own."""
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.left(), 10, "the end of all programs")

    def file(self, name, text="", mode=0o644):
        """Writes a file for the programs, and returns its path."""
        path = os.path.join(self.dir, name)
        with open(path, "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def command(self, ns, words):
        run = [RUN] if self.fast and ns == self.net.a else []
        return ["ip", "netns", "exec", ns, *run, *words]

    def env(self, more=None):
        return {**os.environ, "PATH": PATH, "HOME": self.dir, **(more or {})}

    def start(self, *words, port=None, ns=None, env=None, ready=None):
        """Starts a program that runs on; waits until it has bound the UDP port, and until it has said what matches `ready`."""
        ns = ns or self.net.a
        if port:
            until(lambda: not bound(self.net, ns, port), 10, f"port {port} to be free")
        name = os.path.basename(words[0])
        log = os.path.join(self.dir, f"{name}.{len(self.programs)}.log")
        program = Program(name, self.command(ns, words), log, self.env(env))
        self.programs.append(program)
        if port:
            until(lambda: program.alive() and bound(self.net, ns, port), 30, f"port {port} of {name}")
        if ready:
            program.says(ready)
        return program

    def start_peer(self, *words, **kw):
        return self.start(*words, ns=self.net.b, **kw)

    def output(self, ns, words, status=0, seconds=60, env=None):
        p = subprocess.run(self.command(ns, words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace", timeout=seconds, cwd=self.dir, env=self.env(env))
        assert status in (None, p.returncode), f"{' '.join(words)}: status {p.returncode}\n{p.stdout[-4000:]}"
        return p.stdout

    def run(self, *words, **kw):
        """Runs a program in the pod to its end; returns its output."""
        return self.output(self.net.a, words, **kw)

    def peer(self, *words, **kw):
        """Runs a plain program in the other namespace to its end; returns its output."""
        return self.output(self.net.b, words, **kw)

    # ---- what udplaned says ----

    def rows(self, port=None):
        rows = json.loads(self.sidecar.ctl("sockets", "--json")[1])["sockets"]
        return [row for row in rows if port in (None, row["local"]["port"])]

    def paths(self, port):
        """{"rx", "tx"} as far as the active sockets of this port have received and sent over the fast path."""
        counters = [row["counters"] for row in self.rows(port) if row["state"] == "active"]
        return {word for word, key in (("rx", "rx_delivered"), ("tx", "tx_sent")) if any(c[key] for c in counters)}

    def moved(self):
        """(received, sent) by the fast path so far, by all sockets that there were."""
        workers = [w["counters"] for w in self.sidecar.stats()["workers"]]
        return sum(w["rx_delivered"] for w in workers), sum(w["tx_sent"] for w in workers)

    def expect(self, port, expected, seconds=3):
        """Fails unless sockets of this port are active and have used these directions over the fast path, or none for set(). A text: they
        have not, and udplaned gives this reason. None: either will do."""
        rows = []

        def ok():
            rows[:] = self.rows(port)
            if expected is None:
                return True
            if isinstance(expected, str):
                texts = " ".join(f"{row['reason']}: {row['text']}; {row['tx_reason']}: {row['tx_text']}" for row in rows)
                return rows and not self.paths(port) and expected in texts
            return self.paths(port) >= expected if expected else not self.paths(port)

        try:
            until(ok, seconds)
        except AssertionError:
            raise AssertionError(f"port {port}: expected {expected}, but: {brief(rows)}")
        print(f"port {port}: {brief(rows)}")


def brief(rows):
    """For people: what became of sockets."""
    out = []
    for row in rows:
        c, k = row["counters"], row["client"]
        out.append(f"{row['comm']} {row['local']['address']} {row['state']} {row['reason']} {row['text']!r} {row['tx_reason']} "
                   f"{row['tx_text']!r} rx {c['rx_delivered']}/{k['kernel_rx']} tx {c['tx_sent']}+{c['tx_slow']}/{k['kernel_tx']}")
    return "\n  ".join(out) or "udplaned knows no such socket"


def bound(net, ns, port):
    """Whether a UDP socket of the namespace has this local port."""
    def look():
        tables = ""
        for name in ("udp", "udp6"):
            with open(f"/proc/thread-self/net/{name}") as f:
                tables += f.read()
        return tables

    return re.search(rf"^ *\d+: [0-9A-F]+:{port:04X} ", net.inside(net.fd and ns, look), re.M)


def beside(work, expected, mode="latency", flags=()):
    """Does work(pod) with plain sockets and then with accelerated ones, and compares.

    expected: for each local port what Pod.expect() takes, looked at while the programs still run; FAST under the key "all" is for sockets
    that do not live as long: what all of them have moved.
    """
    results = []
    with Net() as net, Sidecar(net, *FLAGS, *flags, ports="1-65535", mode=mode) as sidecar:
        for fast in (False, True):
            with Pod(net, sidecar, fast) as pod:
                before = pod.moved()
                results.append(work(pod))
                after = pod.moved()
                print(f"fast path: received {after[0] - before[0]}, sent {after[1] - before[1]}")
                if not fast:
                    assert before == after, "plain sockets took the fast path"
                    continue
                for port, how in expected.items():
                    if port != "all":
                        pod.expect(port, how)
                        continue
                    assert "rx" not in how or after[0] > before[0], "nothing was received over the fast path"
                    assert "tx" not in how or after[1] > before[1], "nothing was sent over the fast path"
        assert sidecar.proc.poll() is None
    plain, accelerated = results
    assert plain == accelerated, f"results differ:\nplain: {str(plain)[:3000]}\nunder udplane-run: {str(accelerated)[:3000]}"
    assert plain or plain is None, "the work had no result"


def echoed(pod, port, count=200, family=socket.AF_INET, address=A4):
    """Sends numbered datagrams of several lengths to an echo server, each after the answer to the last."""
    lengths = (0, 1, 64, 512, 1400)
    with pod.net.sock(pod.net.b, family, connect=(address, port), timeout=20) as peer:
        for i in range(count):
            data = (b"%d " % i * 300)[:lengths[i % len(lengths)]] or b"%d" % i
            peer.send(data)
            assert peer.recv(2000) == data
    return count
