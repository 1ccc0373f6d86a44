#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Descriptors that harm a process that closes or uses them (descriptors.c). During each attack an honest client receives, and asks
ten times per second how long udplaned takes to answer: without a defence it would be hours."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import *  # noqa: E402,F403

ATTACK = os.path.join(BIN, "tests", "attack")
SECONDS = 5
ANSWER_MS = 250  # a busy machine's noise; 1 to 5 ms were seen


def run_in(net, *command):
    return subprocess.Popen(["ip", "netns", "exec", net.a, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ready(process, word):
    line = process.stdout.readline().strip()
    if line != word:
        if process.wait(10) == 77:
            raise Skip("no userfaultfd here")
        raise AssertionError(f"{process.args[4:]} said {line!r} and ended with {process.returncode}")


def family(pid):
    """udplaned and the keeper."""
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [pid, *map(int, f.read().split())]


def open_files(pids):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def judge(victim, peer):
    """Feeds it while it lives; then what it says."""
    while victim.poll() is None:
        peer.sendto(b"x", ("10.99.0.1", 6000))
        select.select([], [], [], 0.001)
    said = json.loads(victim.stdout.read())
    print(said)
    assert said["connected"], said
    assert said["ring"] > 100, said
    assert 0 <= said["answer_ms"] < ANSWER_MS, said


def attack(what, after=lambda sidecar, pids: None):
    with Net() as net, Sidecar(net) as sidecar:
        pids = family(sidecar.stats()["pid"])
        peer = net.sock(net.b, bind=("10.99.0.2", 0))
        victim = run_in(net, os.path.join(ATTACK, "victim"), str(SECONDS), "10.99.0.1", "6000")
        ready(victim, "ready")
        before = open_files(pids)
        attacker = run_in(net, os.path.join(ATTACK, "descriptors"), what, "10.99.0.1", "6001")
        try:
            ready(attacker, "done")
            judge(victim, peer)
            attacker.stdin.close()
            attacker.wait(10)
            # All is given back, but what the victim held and its connection.
            until(lambda: open_files(pids) <= before, 10, f"{before} open descriptors")
            after(sidecar, pids)
        finally:
            attacker.kill()
            attacker.wait()
        peer.close()
        start = time.monotonic()
        sidecar.stop()
        assert time.monotonic() - start < 5


@case
def a_lingering_socket_in_a_claim():
    attack("claim")


@case
def lingering_sockets_beside_the_claimed_one():
    attack("surplus")


@case
def lingering_sockets_that_are_never_received():
    attack("unread")


@case
def lingering_sockets_on_connections_that_say_nothing_else():
    attack("early")


@case
def descriptors_in_empty_messages():
    attack("empty")


@case
def a_socket_whose_lock_is_held():
    attack("locked")


@case
def udplaned_ends_while_a_lock_is_held():
    """And the next one starts, while the keeper of the first may still hang."""
    with Net() as net:
        with Sidecar(net) as sidecar:
            attacker = run_in(net, os.path.join(ATTACK, "descriptors"), "locked", "10.99.0.1", "6001")
            try:
                ready(attacker, "done")
                sidecar.stop()
                with Sidecar(net), Sock(net, bind=("10.99.0.1", 6002)) as s:
                    peer = net.sock(net.b, bind=("10.99.0.2", 0))
                    peer.sendto(b"hello", ("10.99.0.1", 6002))
                    until(lambda: s.readable(0.1))
                    assert s.recvfrom()[0] == b"hello"
                    peer.close()
            finally:
                attacker.kill()
                attacker.wait()


run()
