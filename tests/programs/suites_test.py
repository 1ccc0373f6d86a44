#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tests of libuv and of node that concern UDP, from Debian's sources (tests/programs/sources): the same results under udplane-run.

They talk to themselves, mostly on loopback, which is never accelerated; but their sockets are claimed, and the library sees every call.
"""
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import *  # noqa: E402,F403

SOURCES = os.path.expanduser("~/.cache/udplane-programs")


def claimed(pod):
    return pod.sidecar.stats()["control"]["claims"]


def multicast(pod):
    """libuv's and node's tests join groups on whatever interface the routes say."""
    sh("ip", "-n", pod.net.a, "route", "replace", "224.0.0.0/4", "dev", "va")


@case
def libuv():
    """By names of tests, since a run is one process for each."""
    def work(pod):
        multicast(pod)
        before = claimed(pod)
        out = pod.output(pod.net.a, [os.path.join(SOURCES, "libuv", "udp", "run")], env={"UV_RUN_AS_ROOT": "1"}, status=None)
        lines = re.findall(r"^((?:not )?ok) \d+ - (.*)$", out, re.M)
        print(f"{len(lines)} tests, {sum(ok == 'ok' for ok, _ in lines)} ok, {claimed(pod) - before} claims")
        print(*re.findall(r"^not ok (?:.|\n#)*", out, re.M), sep="\n")
        assert len(lines) > 40, out
        assert (claimed(pod) > before) == pod.fast
        return lines

    beside(work, {})


@case
def node_dgram():
    def work(pod):
        multicast(pod)
        before, results = claimed(pod), {}
        for path in sorted(glob.glob(os.path.join(SOURCES, "node", "test", "parallel", "test-dgram-*.js"))):
            words = open(path).read()
            flags = re.search(r"^// Flags: (.*)$", words, re.M)
            p = subprocess.run(pod.command(pod.net.a, ["node", *(flags[1].split() if flags else []), path]), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=60, cwd=pod.dir,
                               env=pod.env())
            results[os.path.basename(path)] = p.returncode
            if p.returncode:
                print(f"{os.path.basename(path)}: status {p.returncode}\n{p.stdout[-1500:]}")
        print(f"{len(results)} tests, {sum(not status for status in results.values())} ok, {claimed(pod) - before} claims")
        assert len(results) > 60
        assert (claimed(pod) > before) == pod.fast
        return results

    beside(work, {})


run()
