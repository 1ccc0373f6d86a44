# SPDX-License-Identifier: Apache-2.0
"""For the attack scripts: an honest client next to hostile ones, and what must hold for it in every case."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import *  # noqa: E402,F401,F403
import harness  # noqa: E402

PROGRAMS = os.path.join(BIN, "tests", "attack")
A4, B4 = "10.99.0.1", "10.99.0.2"
# Bounds for a busy test machine of two cores, on which the attackers spin, too. Measured alone, the answers take some ms.
ANSWER_MS = 1000 if harness.WRAP else 250


def start(net, program, *arguments):
    """A program of this folder in namespace a; its standard output is piped."""
    return subprocess.Popen(["ip", "netns", "exec", net.a, os.path.join(PROGRAMS, program), *map(str, arguments)],
                            stdout=subprocess.PIPE, text=True)


def result(process, seconds=60):
    """Waits for its end; the JSON of its last line."""
    out, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, (process.args, process.returncode, out)
    return json.loads(out.splitlines()[-1])


class Victim:
    """An honest client on port 7000, which a plain socket in namespace b sends `rate` datagrams a second."""

    def __init__(self, net, seconds, port=7000, rate=2000):
        self.net, self.port = net, port
        self.process = start(net, "victim", seconds, A4, port)
        assert self.process.stdout.readline() == "ready\n"
        self.sender = subprocess.Popen(["ip", "netns", "exec", net.b, os.path.join(BIN, "tests", "integration", "numbers"), "send", A4,
                                        str(port), str(rate)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def finish(self):
        """Its report, with "sent"."""
        sent = int(self.sender.communicate()[0])
        report = result(self.process)
        report["sent"] = sent
        return report

    def unharmed(self):
        """Everything arrived, each question was answered in time, it is still attached. Returns the report."""
        report = self.finish()
        print("   victim:", report)
        assert report["connected"], report
        assert report["ring"] + report["kernel"] == report["sent"], report
        assert 0 <= report["answer_ms"] < ANSWER_MS, report
        return report


__all__ = [n for n in dir() if not n.startswith("_")]
