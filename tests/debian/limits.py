#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What takes capabilities that a container's root lacks."""
import os
import resource
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import *


@case
def a_low_limit_of_descriptors_is_raised():
    """To what max_sockets wants: of the control process, and of the keeper, which has as many."""
    with Net() as net, Sidecar(net, "--max-sockets", "30000", wrap=["prlimit", "--nofile=1024:1024"]) as sidecar:
        pid = sidecar.pid()
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            keeper = int(f.read())
        for process in pid, keeper:
            soft, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
            assert 32048 <= soft == hard, (process, soft, hard)


if __name__ == "__main__":
    run()
