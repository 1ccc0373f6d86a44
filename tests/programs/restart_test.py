#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplaned is killed and started again under servers that know nothing of it: their clients see no error, and then they are fast again."""
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import *  # noqa: E402,F403
from zone import bind9_server  # noqa: E402

ROUNDS = 3
RATE = 2000  # questions per second


def survives(start, load, port):
    """start(pod) starts a server; load(pod) runs a client until the function that it returns is called, which returns what it saw."""
    with Net() as net:
        sidecar = Sidecar(net, *FLAGS, ports="1-65535")
        with Pod(net, sidecar, True) as pod:
            start(pod)
            finish = load(pod)
            try:
                for _ in range(ROUNDS):
                    pod.expect(port, FAST, 20)
                    pod.sidecar.kill()
                    pod.sidecar = Sidecar(net, *FLAGS, ports="1-65535")
                pod.expect(port, FAST, 20)
            finally:
                seen = finish()
        pod.sidecar.stop()
    return seen


@case
def bind9_under_dnsperf():
    """What is on its way at the kill -9 may be lost, as on a wire; dnsperf does not ask again."""
    def load(pod):
        many = pod.file("many", "".join(f"h{i}.example.test A\n" for i in range(200)))
        log = pod.start_peer("dnsperf", "-s", A4, "-d", many, "-l", "60", "-Q", str(RATE), "-t", "2", "-q", "10000")

        def finish():
            log.process.send_signal(signal.SIGINT)
            log.process.wait(20)
            return log.output()

        return finish

    text = survives(bind9_server, load, 53)
    print(text)
    count = {key: int(value) for key, value in re.findall(r"Queries (sent|completed|lost): *(\d+)", text)}
    codes = re.findall(r"Response codes: *(.*)", text)
    assert count["completed"] > 1000 and count["lost"] <= ROUNDS * RATE // 2, count
    assert codes == [f"NOERROR {count['completed']} (100.00%)"], codes
    assert "rror" not in text.replace("NOERROR", ""), text


@case
def epoll_program():
    """One datagram after another, each answered before the next: what is lost by the kill is sent again."""
    def start(pod):
        program = os.path.join(pod.dir, "echo")
        sh("gcc", "-D_GNU_SOURCE", "-O1", "-o", program, os.path.join(HERE, "echo.c"))
        pod.start(program, A4, "7000", port=7000)

    def load(pod):
        seen = {"sent": 0, "again": 0, "other": 0}
        stop = threading.Event()
        peer = pod.net.sock(pod.net.b, connect=(A4, 7000), timeout=1)

        def run():
            while not stop.is_set():
                data = b"%d" % seen["sent"]
                seen["sent"] += 1
                for _ in range(20):
                    peer.send(data)
                    try:
                        while (answer := peer.recv(100)) != data:
                            seen["other"] += int(answer) >= int(data)  # an earlier one may come late
                        break
                    except TimeoutError:
                        seen["again"] += 1

        thread = threading.Thread(target=run)
        thread.start()

        def finish():
            stop.set()
            thread.join()
            peer.close()
            return seen

        return finish

    seen = survives(start, load, 7000)
    print(seen)
    assert seen["sent"] > 100 and seen["again"] <= 2 * ROUNDS and not seen["other"], seen


run()
