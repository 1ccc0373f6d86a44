#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sockets that several processes have open since a fork, under libudplane-preload.so: the only one that reads has the fast path, and every
datagram is read once, whoever reads, ends, or is killed. The kernel is the oracle: scripts give the same with plain sockets."""
from preload import *  # noqa: F403

# Process 0 makes the socket and the others; each does what a line says: its number, a verb, arguments.
CODE = """
import errno, fcntl, signal
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(("10.99.0.1", 5000))
me, pids, pipes = 0, {}, {}

def tell(text):
    os.write(1, ("%d %s\\n" % (me, text)).encode())

def wait_recv():
    pass

def wait_poll():
    p = select.poll()
    p.register(s, select.POLLIN)
    p.poll()

def wait_select():
    select.select([s], [], [])

def wait_epoll(e=[]):
    if not e:
        e.append(select.epoll())
        e[0].register(s, select.EPOLLIN)
    e[0].poll()

def do_read(how, count):
    wait = globals()["wait_" + how]
    for _ in range(int(count)):
        while True:
            wait()
            try:
                d, a = s.recvfrom(2000, 0 if how == "recv" else socket.MSG_DONTWAIT)
                break
            except BlockingIOError:  # another process has taken it
                if how == "recv":
                    tell("again")
                    return
        tell(d.decode())
        if echo:
            s.sendto(d, a)

echo = False
def do_echo():
    global echo
    echo = True

def do_look(seconds):  # is anything there?
    tell("readable" if select.select([s], [], [], float(seconds))[0] else "silent")

def do_peek():
    tell(s.recv(2000, socket.MSG_PEEK).decode())

def do_length():
    import array, termios
    n = array.array("i", [0])
    fcntl.ioctl(s, termios.FIONREAD, n)
    tell("length %d" % n[0])

def do_fork(i):
    global me
    r, w = os.pipe()
    pid = os.fork()
    if pid:
        os.close(r)
        pids[i], pipes[i] = pid, w
        return tell("forked " + i)
    os.dup2(r, 0)
    os.close(r)
    me = int(i)
    pids.clear()
    pipes.clear()
    tell("born")
    obey(open(0, "r", closefd=False))

def do_kill(i, number):
    os.kill(pids[i], int(number))
    if int(number) == 9:
        os.waitpid(pids[i], 0)
    tell("killed")

def do_await(i):
    os.waitpid(pids[i], 0)
    tell("ended")

def do_close():
    s.close()
    tell("closed")

def do_connect(host, port):
    s.connect((host, int(port)))
    tell("connected")

def do_nonblock(on):
    os.set_blocking(s.fileno(), on == "0")
    tell("set")

def do_filter():  # accepts nothing
    import ctypes, struct
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    s.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 1, ctypes.addressof(code)))
    tell("set")

def do_pid():
    tell(str(os.getpid()))

def do_pass():
    here, there = socket.socketpair()
    socket.send_fds(here, [b"x"], [s.fileno()])
    tell("passed")

def do_leave():
    s.close()
    os._exit(0)

def do_exit():
    sys.exit()

def obey(lines):
    while True:
        line = lines.readline()
        if not line:
            sys.exit()
        i, verb, *args = line.split()
        if int(i) == me:
            globals()["do_" + verb](*args)
        else:
            for w in [pipes[i]] if i in pipes else pipes.values():
                os.write(w, line.encode())

print("ready", flush=True)
obey(open(0, "r", closefd=False))
"""


class Family:
    """The processes, and their peer, which sends numbers."""

    def __init__(self, net, shim=True, children=2):
        self.program = python(net, CODE, shim=shim, start_new_session=True)
        self.peer = net.sock(net.b, connect=("10.99.0.1", 5000))
        self.sent = 0
        self.heard = b""
        for i in range(1, children + 1):
            self.fork(i)

    def __enter__(self):
        self.program.__enter__()
        return self

    def __exit__(self, *why):
        self.peer.close()
        try:
            os.killpg(self.program.proc.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.program.__exit__(*why)

    def do(self, i, *words):
        self.program.say(" ".join(map(str, (i, *words))))

    def line(self, seconds=10):
        """The next line that one of them has written; None if there is none in time."""
        fd = self.program.proc.stdout.fileno()
        while b"\n" not in self.heard:
            if not select.select([fd], [], [], seconds)[0]:
                return None
            more = os.read(fd, 4096)
            if not more:
                raise AssertionError("the program has ended: " + self.program.proc.stderr.read())
            self.heard += more
        line, self.heard = self.heard.split(b"\n", 1)
        return line.decode()

    def hear(self, count=1):
        lines = []
        while len(lines) < count:
            line = self.line()
            assert line is not None, f"nothing more after {lines}"
            lines.append(line)
        return lines

    def ask(self, i, *words, answers=1):
        self.do(i, *words)
        heard = self.hear(answers)
        return heard[0] if answers == 1 else heard

    def fork(self, i, by=0):
        self.do(by, "fork", i)
        assert sorted(self.hear(2)) == sorted([f"{by} forked {i}", f"{i} born"])

    def send(self, count=1):
        for _ in range(count):
            self.peer.send(b"%d" % self.sent)
            self.sent += 1

    def expect(self, i, count=1):
        """The next numbers, from process i, in order."""
        self.expect_from(i, self.sent - count, count)

    def expect_from(self, i, first, count):
        heard = self.hear(count)
        assert heard == [f"{i} {n}" for n in range(first, first + count)], (first, heard)

    def survive(self, i):
        """Datagrams may be lost until the kernel delivers again."""
        self.do(i, "read", "epoll", 1)

        def once():
            self.send()
            return self.line(0.02)
        until(once, 5, "a datagram after the end of udplaned")
        self.drain(i)

    def drain(self, i):
        while self.ask(i, "look", 0.05) == f"{i} readable":
            self.ask(i, "read", "recv", 1)

    def read(self, i, how="epoll", count=1):
        self.do(i, "read", how, count)
        self.send(count)
        self.expect(i, count)

    def accelerate(self, i, sidecar, how="epoll"):
        def once():
            self.read(i, how)
            return active(sidecar)
        until(once, 10, "acceleration")


@case
def the_only_reader_is_fast():
    """As in NSD: the parent keeps the socket and never reads."""
    with Net() as net, Sidecar(net) as sidecar:
        for how in ("epoll", "poll", "select", "recv"):
            with Family(net) as family:
                family.do(2, "echo")
                family.accelerate(2, sidecar, how)
                before = fast(sidecar)
                family.read(2, how, 100)
                assert fast(sidecar)[0] - before[0] == 100, (how, before, fast(sidecar))
                assert fast(sidecar)[1] - before[1] >= 99, (how, before, fast(sidecar))
                for _ in range(family.sent):
                    family.peer.recv(100)


@case
def a_second_reader_gets_what_is_unread():
    """Once two processes read, any of them gets the next datagram; in the first one's ring nothing stays."""
    with Net() as net, Sidecar(net) as sidecar:
        for how in ("epoll", "poll", "select", "recv"):
            with Family(net) as family:
                family.accelerate(1, sidecar, how)
                before = fast(sidecar)[0]
                family.send(20)
                until(lambda: fast(sidecar)[0] == before + 20, what="delivery to the ring")
                family.do(2, "read", how, 15)
                family.expect_from(2, family.sent - 20, 15)
                family.do(1, "read", how, 5)
                family.expect_from(1, family.sent - 5, 5)
                assert not active(sidecar), how
                family.read(2, how, 3)
                family.read(1, how, 3)
                assert family.ask(0, "kill", 1, 9) == "0 killed"
                family.accelerate(2, sidecar, how)


def script(net, sidecar, shim):
    """Processes that take turns. What each call said."""
    heard = []
    with Family(net, shim=shim) as family:
        def ask(*words, **kw):
            heard.append(family.ask(*words, **kw))

        def send(count):
            if shim:
                family.accelerate(1, sidecar)
                before = fast(sidecar)[0]
            else:
                family.read(1)
            first = family.sent
            family.send(count)
            if shim:
                until(lambda: fast(sidecar)[0] == before + count, what="delivery to the ring")
            return first

        def numbers(i, first, count):
            heard.append("numbers")
            family.expect_from(i, first, count)

        first = send(10)
        ask(2, "peek")
        assert heard.pop() == f"2 {first}"
        family.do(2, "read", "recv", 4)
        numbers(2, first, 4)
        ask(2, "length")
        ask(0, "look", 0)
        family.do(0, "read", "poll", 6)
        numbers(0, first + 4, 6)
        ask(1, "look", 0)
        ask(2, "look", 0.01)
        family.read(2)
    with Family(net, shim=shim) as family:
        first = send(10)
        ask(2, "length")
        family.do(1, "read", "epoll", 3)
        numbers(1, first, 3)
        ask(2, "look", 0)
        family.do(1, "exit")
        ask(0, "await", 1)
        family.do(2, "read", "select", 7)
        numbers(2, first + 3, 7)
        ask(0, "look", 0)
    with Family(net, shim=shim) as family:
        first = send(10)
        ask(1, "close")
        ask(2, "look", 0)
        family.do(2, "read", "recv", 10)
        numbers(2, first, 10)
        family.fork(3, by=2)
        family.read(3)
    return heard


@case
def processes_that_take_turns():
    with Net() as net, Sidecar(net) as sidecar:
        plain, shim = script(net, sidecar, False), script(net, sidecar, True)
        assert plain == shim, (plain, shim)


@case
def what_another_process_changes_holds_at_once():
    """The reader is fast; the parent changes the socket."""
    with Net() as net, Sidecar(net) as sidecar, net.sock(net.b) as other:
        with Family(net) as family:
            family.accelerate(1, sidecar)
            family.ask(0, "nonblock", 1)
            assert family.ask(1, "read", "recv", 1) == "1 again"
            family.ask(0, "nonblock", 0)
            family.accelerate(1, sidecar)
            family.ask(0, "connect", "10.99.0.2", family.peer.getsockname()[1])
            other.sendto(b"of another", ("10.99.0.1", 5000))
            family.read(1, count=5)
            assert family.ask(1, "look", 0.05) == "1 silent"
            family.accelerate(1, sidecar)
        with Family(net) as family:
            family.accelerate(1, sidecar)
            family.ask(0, "filter")
            family.send(5)
            assert family.ask(1, "look", 0.2) == "1 silent"
            until(lambda: not active(sidecar), what="the kernel path")


@case
def killed_readers_are_replaced():
    """What the killed one had not taken comes to the next, who waits in the kernel."""
    with Net() as net, Sidecar(net) as sidecar, Family(net, children=1) as family:
        for i in range(1, 6):
            family.accelerate(i, sidecar)
            family.read(i, count=50)
            family.fork(i + 1)
            if i % 2:
                family.do(i + 1, "read", "recv", 5)
                until(lambda: not active(sidecar), what="two readers")
            family.ask(0, "kill", i, 9)
            until(lambda: not active(sidecar), what="the end of the claim")
            if not i % 2:
                family.do(i + 1, "read", "epoll", 5)
            family.send(5)
            family.expect(i + 1, 5)


@case
def the_parents_end_changes_nothing():
    with Net() as net, Sidecar(net) as sidecar, Family(net, children=1) as family:
        family.fork(2, by=1)
        family.accelerate(2, sidecar)
        os.kill(int(family.ask(0, "pid").split()[1]), signal.SIGKILL)
        family.program.proc.wait()


@case
def udplaned_comes_and_goes_under_the_only_reader():
    with Net() as net:
        sidecar = Sidecar(net)
        with Family(net) as family:
            for sig in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
                family.accelerate(1, sidecar)
                family.read(1, count=50)
                sidecar.stop(sig)
                family.read(1, count=5) if sig == signal.SIGTERM else family.survive(1)
                sidecar = Sidecar(net)
            family.accelerate(1, sidecar)
            family.do(2, "read", "recv", 3)
            until(lambda: not active(sidecar), what="two readers")
            family.send(3)
            family.expect(2, 3)
        sidecar.stop()


@case
def a_storm_of_readers():
    """Readers come, pause, end and are killed in any order, while one datagram after the other comes. Each is read once, but for what a
    killed one had in its ring."""
    rnd = random.Random(4)
    with Net() as net, Sidecar(net) as sidecar, Family(net, children=3) as family:
        alive, last, was_fast = [1, 2, 3], 3, 0
        for _ in range(60):
            size = rnd.choice((1, 5, 20))
            first = family.sent
            family.send(size)
            got = []
            while len(got) < size:
                i = rnd.choice(alive)
                some = min(rnd.choice((1, 2, size)), size - len(got))
                family.do(i, "read", rnd.choice(("epoll", "poll", "select", "recv")), some)
                heard = [line.split() for line in family.hear(some)]
                assert all(h[0] == str(i) for h in heard), heard
                got += [int(h[1]) for h in heard]
            assert got == list(range(first, first + size)), (first, got)
            was_fast += active(sidecar)
            end = rnd.random()
            if end < 0.2 and len(alive) > 1:
                i = alive.pop(rnd.randrange(len(alive)))
                if end < 0.1:
                    family.ask(0, "kill", i, 9)
                    until(lambda: not active(sidecar), what="the end of the claim")
                else:
                    family.do(i, rnd.choice(("exit", "exit", "leave")))
                    family.ask(0, "await", i)
            elif end < 0.35 and len(alive) < 4:
                last += 1
                family.fork(last)
                alive.append(last)
        assert was_fast, "never fast"
        for i in alive[1:]:
            family.ask(0, "kill", i, 9)
        family.accelerate(alive[0], sidecar)


@case
def a_stopped_reader_gives_back_when_it_goes_on():
    with Net() as net, Sidecar(net) as sidecar, Family(net) as family:
        family.accelerate(1, sidecar)
        before = fast(sidecar)[0]
        first = family.sent
        family.send(10)
        until(lambda: fast(sidecar)[0] == before + 10, what="delivery to the ring")
        family.ask(0, "kill", 1, signal.SIGSTOP.value)
        family.do(2, "read", "recv", 5)
        assert family.line(0.3) is None
        family.ask(0, "kill", 1, signal.SIGCONT.value)
        until(lambda: not active(sidecar), what="the end of the claim")
        family.send(5)
        heard = family.hear(5)  # what waits for it in the kernel, and what the other has given back
        family.do(1, "read", "poll", 10)
        heard += family.hear(10)
        assert [h[0] for h in heard] == ["2"] * 5 + ["1"] * 10, heard
        assert sorted(int(h.split()[1]) for h in heard) == list(range(first, first + 15)), heard
        family.read(1)
        family.read(2)


@case
def a_passed_socket_is_not_lent_any_more():
    """Of those that get it by a message nothing is known."""
    with Net() as net, Sidecar(net) as sidecar, Family(net) as family:
        family.accelerate(1, sidecar)
        family.ask(0, "pass")
        until(lambda: not active(sidecar), what="the kernel path")
        for _ in range(20):
            family.read(1)
            time.sleep(0.005)
        assert not active(sidecar)


if __name__ == "__main__":
    run()
