# SPDX-License-Identifier: Apache-2.0
"""Guests of QEMU that print cases on their console: "PASS name", "FAIL name", "SKIP name", and "DONE" at their end."""

import re
import subprocess
import sys
import threading
import time

BOOTS = 3
FIRST = 120  # seconds to the first case: the slowest took 40 on two busy cores


class Run:
    """One boot of a guest."""

    def __init__(self, command, limit, log, hear):
        """limit: seconds. log: file for the console. hear(line, is_case): called for each line."""
        self.cases = self.failed = 0
        self.done = False
        self.tail = []
        self.start = time.monotonic()
        self.log, self.hear = log, hear
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.timers = [threading.Timer(seconds, self.process.kill) for seconds in (FIRST, limit)]
        for timer in self.timers:
            timer.start()
        try:
            for raw in self.process.stdout:
                self.line(raw.decode(errors="replace").strip("\r\n"))
            self.process.wait()
        finally:
            for timer in self.timers:
                timer.cancel()
            self.process.kill()
            self.process.wait()

    def seconds(self):
        return time.monotonic() - self.start

    def line(self, line):
        self.log.write(f"{self.seconds():7.2f} {line}\n")
        self.log.flush()
        self.tail = [*self.tail[-9:], line]
        found = re.search(r"(PASS|FAIL|SKIP) \S.*", line)  # behind what the firmware prints
        if found:
            self.timers[0].cancel()
            self.cases += 1
            self.failed += found.group(1) == "FAIL"
        self.done |= line == "DONE"
        self.hear(found.group(0) if found else line, bool(found))
        sys.stdout.flush()


def run(name, command, limit, log, hear):
    """Returns the number of failures. A guest that hangs or ends before its first case (QEMU does so now and then) is switched on again.

    command(): called for each boot, returns QEMU's command."""
    for _ in range(BOOTS):
        guest = Run(command(), limit, log, hear)
        if guest.done:
            print(f"{name}: {guest.cases} cases, {guest.failed} failed, {guest.seconds():.0f} s", flush=True)
            return guest.failed
        if guest.cases:
            print(f"FAIL {name} guest ended before its last case after {guest.seconds():.0f} s (status {guest.process.returncode})")
            print("\n".join(f"  console | {line}" for line in guest.tail), flush=True)
            return guest.failed + 1
        print(f"  {name}: no case in {guest.seconds():.0f} s (status {guest.process.returncode}), last line: {guest.tail[-1:]}", flush=True)
    print(f"FAIL {name} does not boot")
    return 1
