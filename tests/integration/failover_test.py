#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplaned goes and comes under a program that knows nothing of it, while numbered datagrams go both ways.

    UDPLANE_FAILOVERS=100 UDPLANE_FAILOVER_RATE=50000 UDPLANE_AWAY=30 UDPLANE_KILLS=1000 tests/integration/failover_test.py

how often it ends (3), datagrams per second and direction (10000), and for how long it stays away in all (3 s). UDPLANE_KILLS (40) programs
are killed, too. Each case prints its figures.
"""
import contextlib
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from preload import *  # noqa: E402,F403

DUPLEX = os.environ.get("UDPLANE_DUPLEX", os.path.join(BIN, "tests", "integration", "duplex"))
A4, B4, PORT = "10.99.0.1", "10.99.0.2", "5060"
TURNS = int(os.environ.get("UDPLANE_FAILOVERS", "3"))
PER_SECOND = int(os.environ.get("UDPLANE_FAILOVER_RATE", "10000"))
KILLS = int(os.environ.get("UDPLANE_KILLS", "40"))
AWAY = float(os.environ.get("UDPLANE_AWAY", "3"))


def ask(program, word=""):
    program.say(word)
    return json.loads(program.line())


def moved(sidecar):
    row = [r for r in rows(sidecar) if r["local"]["port"] == int(PORT) and r["state"] == "active"]
    return bool(row) and row[0]["counters"]["rx_delivered"] > 500 and row[0]["counters"]["tx_sent"] > 500


def failovers(turn, shim=True):
    """turn(net) begins with no udplaned and ends with none. Returns the figures of both directions: what the program received and what
    its peer received."""
    with Net() as net:
        # Without GRO a veth has its NAPI queue for XDP only, and frees what is in there when the program goes (docs/measurements.md).
        sh("ethtool", "-K", "va", "gro", "on", ns=net.a)
        # The peer receives without NAPI, whose ring of 256 is too short for the bursts of a program that has waited for a CPU.
        sh("ethtool", "-K", "vb", "gro", "off", ns=net.b)
        with Program(net, DUPLEX, A4, B4, PORT, str(PER_SECOND), shim=shim) as program, \
                Program(net, DUPLEX, B4, A4, PORT, str(PER_SECOND), shim=False, ns=net.b) as peer:
            ask(peer, "go"), ask(program, "go")
            for _ in range(TURNS):
                turn(net, shim)
            ask(program, "stop"), ask(peer, "stop")
            until(lambda: ask(program)["idle"] > 300 and ask(peer)["idle"] > 300, 20, "the end of both streams")
            in_, out = ask(program), ask(peer)
    in_["lost"], out["lost"] = out["sent"] - (in_["received"] - in_["doubled"]), in_["sent"] - (out["received"] - out["doubled"])
    for name, figures in (("received", in_), ("sent", out)):
        print(f"{'udplane' if shim else 'kernel'} {name}: {figures}")
    assert in_["errors"] == out["errors"] == 0, (in_, out)
    assert in_["doubled"] == out["doubled"] == 0, (in_, out)
    return in_, out


def fast_then(end):
    def turn(net, shim):
        sidecar = Sidecar(net)
        if shim:
            until(lambda: moved(sidecar), 20, "the fast path")
        end(sidecar)

    return turn


def both(turn):
    """The figures, those of a plain program in its place beside them."""
    failovers(turn, shim=False)
    return failovers(turn)


@case
def sigterm_loses_nothing():
    in_, out = both(fast_then(lambda sidecar: sidecar.stop()))
    assert in_["lost"] == out["lost"] == 0, (in_, out)


@case
def kill_9_loses_what_is_in_queues():
    in_, out = both(fast_then(lambda sidecar: sidecar.kill()))
    # The AF_XDP socket's ring, and the kernel's teardown: up to 50 ms until the program is gone (docs/measurements.md).
    assert in_["lost"] <= TURNS * (2048 + PER_SECOND * 0.05) and out["lost"] <= TURNS * 512, (in_, out)


@case
def stopped_by_sigstop():
    """A udplaned that stands still: the kernel takes over within 100 ms; what it had taken before is old when it goes on, and dropped."""
    def end(sidecar):
        pid = sidecar.pid()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)  # how long it stands still
        os.kill(pid, signal.SIGCONT)
        sidecar.stop()

    in_, out = both(fast_then(end))
    assert in_["lost"] <= TURNS * PER_SECOND * 0.3 and out["lost"] <= TURNS * PER_SECOND * 0.3, (in_, out)


@case
def away_for_long():
    def end(sidecar):
        sidecar.stop()
        time.sleep(AWAY / TURNS)

    in_, out = both(fast_then(end))
    assert in_["lost"] == out["lost"] == 0, (in_, out)


def left(sidecar):
    """What clients have of udplaned's."""
    stats = sidecar.stats()
    return (stats["device"]["counters"]["frames_clients"], len(stats["sockets"]), stats["control"]["clients"], sidecar.descriptors())


@case
def programs_killed_at_any_moment():
    """kill -9 while they start, claim, receive and send: frames, sockets, sessions and descriptors all come back, and the port is free."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    with Net() as net, Sidecar(net) as sidecar:
        with Program(net, DUPLEX, A4, B4, PORT, str(PER_SECOND)) as program:  # one that ends well: what is made once is made
            ask(program, "go")
            until(lambda: (net.sock(net.b).sendto(b"1234", (A4, int(PORT))), rows(sidecar))[1], what="a claim")
        until(lambda: left(sidecar)[:3] == (0, 0, 0), what="the end of the first")
        before = left(sidecar)
        peer = Program(net, DUPLEX, B4, A4, PORT, str(PER_SECOND), shim=False, ns=net.b)
        ask(peer, "go")

        def free():
            with contextlib.suppress(OSError):
                net.sock(net.a, bind=(A4, int(PORT))).close()
                return True

        for _ in range(KILLS):
            program = Program(net, DUPLEX, A4, B4, PORT, str(PER_SECOND), ready=False)
            program.say("go")
            time.sleep(rng.random() * 0.25)  # the moment
            program.proc.kill()
            program.proc.communicate()
            until(free, 1, "the dead program's port")
        peer.proc.kill()
        until(lambda: left(sidecar)[:3] == (0, 0, 0), what="all that they had")
        until(lambda: left(sidecar)[3] <= before[3], what=f"no more descriptors than the {before[3]} at the start")
        settled(sidecar)
        print({key: sidecar.stats()["control"][key] for key in ("claims", "releases")})


run()
