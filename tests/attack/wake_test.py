#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a client can do to the signal that wakes it: no other client waits for it."""
from attack import *


def attack(net, how, expect_attached):
    """The victim next to a client whose every datagram causes a signal, 2000 per second."""
    victim = Victim(net, 5)
    attacker = start(net, "slow_wake", 3, how)
    assert attacker.stdout.readline() == "ready\n"
    flood = subprocess.Popen(["ip", "netns", "exec", net.b, os.path.join(BIN, "tests", "integration", "numbers"), "send",
                              A4, "6000", "2000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    report = result(attacker)
    flood.communicate()
    print("   attacker:", report)
    assert report["datagrams"] > 0 and report["attached"] == expect_attached, report
    return victim.unharmed()


@case
def a_reader_that_stands_still_delays_nobodys_signal():
    """Readers of a pipe hold its mutex while they wait for a page: the worker's write waited with them."""
    with Net() as net, Sidecar(net) as sidecar:
        attack(net, "reader", expect_attached=True)
        settled(sidecar)
        assert sidecar.stats()["control"]["slow_signal_clients"] == 0


@case
def a_signal_with_thousands_of_watchers_costs_its_owner_the_attachment():
    with Net() as net, Sidecar(net) as sidecar:
        attack(net, "watchers", expect_attached=False)
        settled(sidecar)
        control = sidecar.stats()["control"]
        assert control["slow_signal_clients"] == 1 and control["corrupt_clients"] == 0, control
        assert sidecar.output().count("signals to it take too long") == 1, sidecar.output()


run()
