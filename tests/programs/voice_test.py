#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIP and TURN as Debian ships them, under udplane-run: Kamailio between two SIPp, SIPp itself, coturn with its own client."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import *  # noqa: E402,F403

RATE = ("-m", "200", "-r", "200", "-d", "10")  # calls, calls per second, ms


def sipp(*words):
    return ("sipp", "-nostdin", "-trace_err", "-timeout", "50s", "-timeout_error", *words)


def counted(text):
    """The last "Successful call" and "Failed call" of SIPp's report: what it has counted in all."""
    return [re.findall(rf"{kind} call *\| *\d+ *\| *(\d+)", text)[-1] for kind in ("Successful", "Failed")]


def retransmitted(text):
    return sum(int(n) for n in re.findall(r"(?:INVITE|ACK|BYE) -+> *\d+ +(\d+)", text))


@case
def kamailio():
    """In its default configuration a registrar: eight processes receive on the socket, which only the kernel can deliver to."""
    kamailio_with(8, set())


@case
def kamailio_with_one_child():
    """The others have the socket open and never read it."""
    kamailio_with(1, FAST)


def kamailio_with(children, path):
    def work(pod):
        pod.start("kamailio", "-DD", "-E", "-l", f"udp:{A4}:5060", "-n", str(children), "-Y", pod.dir, port=5060)
        registered = pod.peer(*sipp("-sf", os.path.join(HERE, "register.xml"), "-i", B4, "-p", "5072", "-m", "1", f"{A4}:5060"))
        pod.start_peer(*sipp("-sf", os.path.join(HERE, "answer.xml"), "-i", B4, "-p", "5070"), port=5070)
        called = pod.peer(*sipp("-sf", os.path.join(HERE, "call.xml"), "-i", B4, "-p", "5071", "-s", "service", *RATE,
                                f"{A4}:5060"))
        print("retransmissions:", retransmitted(called))
        return counted(registered), counted(called)

    beside(work, {5060: path})


@case
def sipp_server():
    def work(pod):
        pod.start(*sipp("-sn", "uas", "-i", A4, "-p", "5060"), port=5060)
        return counted(pod.peer(*sipp("-sn", "uac", "-i", B4, "-p", "5071", *RATE, f"{A4}:5060")))

    beside(work, {5060: FAST})


@case
def sipp_client():
    def work(pod):
        pod.start_peer(*sipp("-sn", "uas", "-i", B4, "-p", "5060"), port=5060)
        return counted(pod.run(*sipp("-sn", "uac", "-i", A4, "-p", "5071", *RATE, f"{B4}:5060")))

    beside(work, {"all": FAST})


@case
def coturn():
    """Two clients talk through a relay; each has a relayed port."""
    def work(pod):
        pod.start("turnserver", "-n", "--no-auth", "-L", A4, "--log-file", "stdout", "--pidfile", pod.dir + "/pid", "--no-cli",
                  "--db", pod.dir + "/db", port=3478)
        text = pod.peer("turnutils_uclient", "-y", "-m", "2", "-n", "20", "-l", "200", "-c", A4)
        return re.findall(r"(tot_send_msgs=\d+, tot_recv_msgs=\d+)", text)[-1:], re.findall(r"Total lost packets (\d+)", text)

    beside(work, {3478: FAST, "all": FAST})


run()
