#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A program under libudplane-preload.so that does all at once (storm.c), while udplaned dies and comes back."""
import threading

from preload import *  # noqa: F403

STORM = os.path.join(BIN, "tests", "integration", "storm")
STEADY, CHURNED = 4, 6
SECONDS = int(os.environ.get("UDPLANE_STORM_SECONDS", "7"))


class Thread(threading.Thread):
    """Keeps what its function raised."""

    def __init__(self, function, *args):
        super().__init__()
        self.function, self.args, self.result, self.error = function, args, None, None
        self.start()

    def run(self):
        try:
            self.result = self.function(*self.args)
        except BaseException as e:  # noqa: B902
            self.error = e

    def end(self):
        self.join()
        if self.error:
            raise self.error
        return self.result


def flood(peers, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for peer in peers:
            try:
                peer.send(b"flood")
            except ConnectionError:
                pass
        time.sleep(0.001)


def storm(mode, shim=True):
    with Net() as net:
        sidecar = Sidecar(net, mode=mode)
        peers = [net.sock(net.b, connect=("10.99.0.1", 5000 + i)) for i in range(STEADY + CHURNED)]
        with Program(net, STORM, str(SECONDS + 1), "10.99.0.1", "5000", shim=shim) as p:
            threads = [Thread(stream, peer, SECONDS) for peer in peers[:STEADY]] + [Thread(flood, peers[STEADY:], SECONDS)]
            carried = 0
            for sig in (signal.SIGKILL, signal.SIGTERM):
                time.sleep(SECONDS / 3)
                carried += sum(fast(sidecar, 5000 + i)[0] for i in range(STEADY))
                sidecar.stop(sig)
                sidecar = Sidecar(net, mode=mode)
            results = [t.end() for t in threads][:STEADY]
            assert all(n > 20 * SECONDS for n, _ in results), results
            assert carried > 50 or not shim, "hardly anything went by the fast path"
            left = int(p.end(20))
            assert left < 20, f"{left} descriptors are open"
        until(lambda: not rows(sidecar), 5, "the end of all claims")
        until(lambda: sidecar.stats()["device"]["counters"]["frames_clients"] == 0, 5, "the return of all frames")
        settled(sidecar)
        for peer in peers:
            peer.close()
        sidecar.stop()


@case
def nothing_is_lost_in_a_storm():
    storm("latency")


@case
def nothing_is_lost_in_a_storm_with_a_worker_that_sleeps():
    storm("balanced")


if __name__ == "__main__":
    run()
