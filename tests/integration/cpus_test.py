#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Key cpus within the cpuset that a container runtime gives."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: F401,F403


def allowed(sidecar):
    """The CPUs that the worker thread may run on."""
    tasks = f"/proc/{sidecar.pid()}/task"
    worker = next(t for t in os.listdir(tasks) if open(f"{tasks}/{t}/comm").read().startswith("udplane-worker"))
    return os.sched_getaffinity(int(worker))


@case
def outside_of_the_cpuset():
    """A CPU that is not ours: said, and the worker is not pinned; udplaned runs."""
    with Net() as net, Sidecar(net, "--cpus", "0,900") as sidecar:
        assert "CPU 900 is not in the cpuset; workers are not pinned" in sidecar.output(), sidecar.output()
        assert allowed(sidecar) == os.sched_getaffinity(0)


@case
def own():
    """The CPUs of the cpuset, whatever they are."""
    last = max(os.sched_getaffinity(0))
    with Net() as net, Sidecar(net, "--cpus", "own", wrap=("taskset", "-c", str(last))) as sidecar:
        assert allowed(sidecar) == {last}


@case
def one_of_several():
    first = min(os.sched_getaffinity(0))
    with Net() as net, Sidecar(net, "--cpus", str(first)) as sidecar:
        assert allowed(sidecar) == {first}


run()
