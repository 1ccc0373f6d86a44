#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The kernel as oracle: scripts of calls on a plain and on an accelerated socket; results, readiness, data and frames are the same.

  oracle_test.py                           a quarter of the scripts in each way and mode, and UDPLANE_ORACLE_SECONDS (60) of random ones
  oracle_test.py GROUP | GROUP/SCRIPT ...  some, in every way and mode: "send_flags", "send_flags/v4-connected-5-0x8000"
  oracle_test.py seed:N ...                random ones again

Ways: api is libudplane's calls; shim is the plain program under udplane-run. UDPLANE_ORACLE_WAYS and UDPLANE_ORACLE_MODES name fewer,
with commas; UDPLANE_ORACLE_ALL=1 runs all scripts in all of them.
"""
import collections
import itertools
import os
import sys
import time
import zlib

import scripts
import walker
from sides import SHIM, Pair, WAYS, World

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import hugepages  # noqa: E402

MODES = ("latency", "balanced")
SECONDS = float(os.environ.get("UDPLANE_ORACLE_SECONDS", "60"))
ALL = os.environ.get("UDPLANE_ORACLE_ALL") == "1"


class Tally:
    def __init__(self):
        self.cases, self.failed = 0, 0
        self.scripts, self.steps, self.fast = 0, 0, 0
        self.accepted = collections.Counter()

    def add(self, result):
        self.scripts += 1
        self.steps += result.compared
        self.accepted.update(result.accepted)

    def case(self, name, ok, what):
        self.cases += 1
        self.failed += not ok
        print(f"{'PASS' if ok else 'FAIL'} {name} ({what})", flush=True)


def chosen(group, script, wanted, turn, turns):
    """Whether it is this combination's turn: each script has one, always the same."""
    if wanted:
        return group in wanted or f"{group}/{script}" in wanted
    return ALL or (zlib.crc32(f"{group}/{script}".encode()) + len(script)) % turns == turn


def differs(pair, operations):
    """A script that differs once is looked at again: what a busy machine does to one side alone comes once. Returns (the first
    result, how often it differed out of 4)."""
    first = pair.run(operations)
    if not first.differences:
        return first, 0
    return first, 1 + sum(bool(pair.run(operations).differences) for _ in range(3))


def directed(pair, suffix, wanted, turn, turns, tally):
    for group, function in scripts.groups.items():
        if group in scripts.SHIM_ONLY and pair.way != "shim":
            continue
        before, start, failed, unsteady = tally.steps, time.monotonic(), 0, 0
        run = [(s, o) for s, o in function() if chosen(group, s, wanted, turn, turns)]
        for script, operations in run:
            result, times = differs(pair, operations)
            tally.add(result)
            if times:
                print(f"  {group}/{script}-{suffix}: differs {times} times of 4\n{result.text()}", flush=True)
                failed += times > 1
                unsteady += times == 1
        if run:
            tally.case(f"{group}-{suffix}", not failed, f"{len(run)} scripts, {tally.steps - before} steps, {failed} differ, "
                       f"{unsteady} differed once, {time.monotonic() - start:.1f} s")


def tell_failure(pair, seed, operations, suffix):
    """Prints the seed and the shortest script that shows it."""
    short = walker.shrink(operations, lambda o: any(pair.run(o).differences for _ in range(2)))
    print(f"  seed:{seed} ({suffix}) differs; the shortest script that does:")
    print("\n".join(f"      {o}" for o in short))
    print(pair.run(short).text(), flush=True)


def enough(world):
    received, sent = world.carried()
    return received > 100 and sent > 25


def walk(pair, suffix, seeds, seconds, tally, more=lambda: False):
    """Runs scripts for `seconds`, and for up to 60 s longer while more() is true."""
    end, run, failed, unsteady, before = time.monotonic() + seconds, 0, [], [], tally.steps
    for seed in seeds:
        over = time.monotonic() - end
        if len(failed) >= 3 or over > 60 or (over > 0 and not more()):
            break
        run += 1
        operations = walker.Script(seed, pair.way == "shim").operations
        result, times = differs(pair, operations)
        tally.add(result)
        if times > 1:
            failed.append(seed)
            tell_failure(pair, seed, operations, suffix)
        elif times:
            unsteady.append(seed)
            print(f"  seed:{seed} ({suffix}) differed once of 4 times\n{result.text()}", flush=True)
    if run:
        tally.case(f"walk-{suffix}", not failed, f"{run} scripts, {tally.steps - before} steps, failing seeds {failed}, once {unsteady}")


def combinations(tally):
    """The (way, mode) to run; a way that is not there is told."""
    ways = os.environ.get("UDPLANE_ORACLE_WAYS", ",".join(WAYS)).split(",")
    modes = os.environ.get("UDPLANE_ORACLE_MODES", ",".join(MODES)).split(",")
    if "shim" in ways and not os.path.exists(SHIM):
        print(f"SKIP shim ({SHIM} does not exist)")
        ways.remove("shim")
    return list(itertools.product(ways, modes))


def one(way, mode, wanted, turn, turns, tally):
    suffix = f"{way}-{mode}"
    seeds = [int(w[5:], 0) for w in wanted if w.startswith("seed:")]
    names = [w for w in wanted if not w.startswith("seed:")]
    with World(mode) as world, Pair(world.net, way) as pair:
        if names or not wanted:
            directed(pair, suffix, names, turn, turns, tally)
        if seeds:
            walk(pair, suffix, seeds, 600, tally)
        elif not wanted:
            first = int(time.time() * 1000) % 10**9 * 1000 + turn
            print(f"  first seed of {suffix}: {first}")
            walk(pair, suffix, itertools.count(first), SECONDS / turns, tally, lambda: not enough(world))
        received, sent = world.carried()
        tally.fast += received + sent
        if not wanted:
            tally.case(f"fast-path-{suffix}", enough(world), f"{received} received and {sent} sent on it")


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        sys.exit(77)
    hugepages()
    tally = Tally()
    wanted = sys.argv[1:]
    todo = combinations(tally)
    for turn, (way, mode) in enumerate(todo):
        one(way, mode, wanted, turn, len(todo), tally)
    print(f"{tally.scripts} scripts, {tally.steps} steps compared, {tally.fast} datagrams on the fast path; accepted differences: "
          f"{dict(tally.accepted.most_common())}")
    sys.exit(1 if tally.failed or not tally.cases else 0)


if __name__ == "__main__":
    main()
