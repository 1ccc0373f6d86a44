#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""udplane-injector against anyone who reaches its ports: the API server's next request and the kubelet's probe are always answered, and
memory stays below the chart's limit. Addresses of 127.0.0.0/8 are the different clients."""
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, case, run, sh, until

API_SERVER, KUBELET, ATTACKER = "127.0.0.1", "127.0.0.2", "127.0.0.66"
HWM_MAX_KIB = 64 << 10   # limits.memory of the chart
TLS = ssl._create_unverified_context()


def free_port():
    with socket.socket() as s:
        s.bind(("0.0.0.0", 0))
        return s.getsockname()[1]


class Injector:
    def __init__(self, *flags, descriptors=None):
        self.dir = tempfile.mkdtemp(prefix="udplane-injector-")
        self.port, self.status_port = free_port(), free_port()
        crt, key = (os.path.join(self.dir, name) for name in ("tls.crt", "tls.key"))
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj",
           "/CN=injector", "-keyout", key, "-out", crt)
        limit = ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []
        self.log = open(os.path.join(self.dir, "log"), "w+")
        self.process = subprocess.Popen(
            [*limit, os.path.join(BIN, "deploy/injector/udplane-injector"), "serve", "--certificate", crt, "--key", key, "--port",
             str(self.port), "--status-port", str(self.status_port), "--drain-seconds", "0", *flags], stderr=self.log)
        until(self.serves, 20, "an injector that serves")

    def serves(self):
        assert self.process.poll() is None, open(self.log.name).read()
        try:
            return self.probe()
        except OSError:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = "none"
        if status != 0 or sys.exc_info()[0]:
            print(open(self.log.name).read()[-3000:])
        self.log.close()
        shutil.rmtree(self.dir)
        assert status == 0, f"exit status {status}"

    def connect(self, source, port=None, timeout=20):
        return socket.create_connection(("127.0.0.1", port or self.port), timeout, (source, 0))

    def https(self, source=API_SERVER, timeout=20):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, source_address=(source, 0), context=TLS)
        connection.connect()
        return connection

    def get(self, path, source=KUBELET):
        connection = http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=5, source_address=(source, 0))
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def probe(self):
        return self.get("/healthz") == (200, "ok\n")

    def metric(self, name):
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"udplane_injector_{name}"))

    def hwm_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))


def post(connection, body, headers={}):
    connection.request("POST", "/review", body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def review(pod):
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "namespace": "n", "operation": "CREATE", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "object": pod}})


def pod(**container):
    return {"metadata": {"name": "p", "annotations": {"udplane.io/ports": "53"}}, "spec": {"containers": [{"name": "a", **container}]}}


def admitted(connection):
    status, text = post(connection, review(pod()))
    assert status == 200 and "patch" in json.loads(text)["response"], (status, text[:200])
    return True


def honest(injector, source=API_SERVER):
    connection = injector.https(source)
    admitted(connection)
    connection.close()
    assert injector.probe()


def below_limit(injector):
    hwm = injector.hwm_kib()
    print(f"VmHWM {hwm / 1024:.1f} MiB")
    assert hwm < HWM_MAX_KIB, hwm


@case
def one_request_takes_little_memory():
    containers = pod()
    containers["spec"]["containers"] = [{"name": "a"}] * 30000
    long_name = pod()
    long_name["spec"]["containers"][0]["name"] = "a" * 3000000
    long_key = pod()
    long_key["metadata"]["annotations"]["udplane.io/" + "x" * 3000000] = ""
    preload = pod(env=[{"name": "LD_PRELOAD", "value": "x" * 3000000}])
    preload["metadata"]["annotations"]["udplane.io/preload"] = "*"
    names = pod()
    names["spec"]["containers"] = [{"name": f"c{i}"} for i in range(256)]
    names["metadata"]["annotations"]["udplane.io/preload"] = "c255," * 3276 + "c255"
    many_names = pod()
    many_names["metadata"]["annotations"]["udplane.io/preload"] = "a," * 1000000 + "a"
    hostile = [
        ("8 MiB of small values", 413, "larger", "[" + "1," * (4 << 20) + "1]"),
        ("just below the size", 413, "JSON values", "[" + "1," * (2000 << 10) + "1]"),
        ("a million empty arguments", 413, "JSON values", review(pod(args=[""] * 1000000))),
        ("deep", 413, "deep", "[" * 2000000),
        ("deep objects", 413, "deep", '{"a":' * 500000),
        ("no end", 400, "no JSON", "[" + '"' + "\\" * 3000001),
        ("many containers", 200, "30000 containers", review(containers)),
        ("a long name", 200, "uid", review(long_name)),
        ("a long key", 200, "unknown", review(long_key)),
        ("a long LD_PRELOAD", 200, "3000000 bytes", review(preload)),
        ("as many names as are taken", 200, "patch", review(names)),
        ("a million names", 200, "too long", review(many_names)),
        ("many values that are taken", 200, "patch", review(pod(args=[""] * 90000))),
        ("large, and taken", 200, "patch", review(pod(args=["x" * 1500000] * 2))),
    ]
    with Injector() as injector:
        for what, status, text, body in hostile:
            got = post(injector.https(ATTACKER), body)
            assert got[0] == status and text in got[1], (what, got[0], got[1][:300])
            print(f"{what}: VmHWM {injector.hwm_kib() / 1024:.1f} MiB")
        for length in "100000000", "99999999999999999999999":
            connection = injector.https(ATTACKER)
            connection.putrequest("POST", "/review")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", length)
            connection.endheaders()
            assert connection.getresponse().status == 413, length
        honest(injector)
        below_limit(injector)


@case
def many_large_requests_take_little_memory():
    """At the same time: complete requests are answered or refused in any order, and nothing piles up."""
    bodies = [review(pod(args=["x" * 1900000] * 2)), review(pod(args=[""] * 90000)), "[" + "1," * 1000000]
    counts = {}

    def attack(body):
        for _ in range(4):
            try:
                status = post(injector.https(ATTACKER), body)[0]
            except (OSError, http.client.HTTPException):
                status = "cut"
            counts[status] = counts.get(status, 0) + 1
    with Injector() as injector:
        threads = [threading.Thread(target=attack, args=(bodies[i % 3],)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(counts)
        assert set(counts) <= {200, 413, 503, "cut"} and counts.get(200) and counts.get(413), counts
        honest(injector)
        below_limit(injector)


@case
def bodies_that_never_end():
    """128 requests that each stop after 300 KiB of 4 MiB, and an honest one."""
    with Injector() as injector:
        slow = []
        for i in range(128):
            connection = injector.https(f"127.0.0.{60 + i % 4}")
            connection.putrequest("POST", "/review")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(4 << 20))
            connection.endheaders()
            try:
                connection.send(b"[" + b" " * 300000)
            except OSError:
                pass   # it was cut for another's
            slow.append(connection)
            if i % 32 == 31:
                honest(injector)
        assert injector.metric('connections_cut_total{reason="room"}') > 0
        below_limit(injector)


@case
def answers_that_nobody_reads():
    """A small request with a large answer, 400 times."""
    many = pod()
    many["spec"]["containers"] = [{"name": "a"}] * 256
    body = review(many)
    with Injector() as injector:
        length = len(post(injector.https(ATTACKER), body)[1])
        held = []
        for i in range(400):
            connection = injector.https(f"127.0.0.{60 + i % 4}")
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.request("POST", "/review", body, {"Content-Type": "application/json"})
            held.append(connection)
            if i % 100 == 99:
                honest(injector)
        print(f"{length} bytes each")
        assert length > 50000
        below_limit(injector)


def floods(injector, count, sources, tls):
    """Idle connections; it is no error if some are cut."""
    opened = []
    for i in range(count):
        try:
            s = injector.connect(sources[i % len(sources)])
            opened.append(TLS.wrap_socket(s) if tls else s)
        except OSError:
            pass
    return opened


@case
def idle_connections():
    """More than there is room for, without and with TLS: the API server gets in, also from the attacker's own address."""
    for tls in False, True:
        with Injector() as injector:
            before = injector.https()
            admitted(before)
            held = floods(injector, 600, [ATTACKER], tls)
            honest(injector)
            honest(injector, ATTACKER)
            admitted(before)   # never the connection of an address that has only one
            held += floods(injector, 600, ["127.0.0.67", "127.0.0.68", "127.0.0.69"], tls)
            honest(injector)
            admitted(before)
            assert len(held) > 1000, len(held)
            until(lambda: injector.metric("connections ") <= 512, 10, "at most 512 connections")
            assert injector.metric('connections_cut_total{reason="room"}') >= 500
            below_limit(injector)


@case
def an_api_server_with_many_requests():
    """200 at the same time from one address, none cut."""
    with Injector() as injector:
        connections = [injector.https() for _ in range(200)]
        for connection in connections:
            connection.request("POST", "/review", review(pod()), {"Content-Type": "application/json"})
        for connection in connections:
            assert connection.getresponse().status == 200
        assert injector.metric("connections_cut_total") == 0


@case
def a_handshake_that_trickles():
    """Bytes that keep coming do not put the deadline off."""
    with Injector() as injector:
        hello = ssl.MemoryBIO()
        try:
            TLS.wrap_bio(ssl.MemoryBIO(), hello).do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = hello.read()
        slow = injector.connect(ATTACKER)
        start = time.monotonic()
        sent = 0

        def is_cut():
            nonlocal sent
            try:
                if sent < len(hello) - 1 and time.monotonic() - start > sent / 10:
                    slow.send(hello[sent:sent + 1])
                    sent += 1
                slow.settimeout(0.05)
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True
        until(is_cut, 30, "a cut")
        took = time.monotonic() - start
        print(f"cut after {took:.1f} s and {sent} bytes")
        assert took > 8 and injector.metric('connections_cut_total{reason="deadline"}') == 1


@case
def few_descriptors():
    """Where the limit is low, there are fewer connections, and probes are answered as ever."""
    with Injector(descriptors=320) as injector:
        held = floods(injector, 400, [ATTACKER, "127.0.0.67"], False)
        honest(injector)
        assert len(held) == 400 and injector.metric("connections ") < 100
        assert "RLIMIT_NOFILE is 320" in open(injector.log.name).read()


@case
def probes_beside_a_flood_of_the_status_port():
    with Injector() as injector:
        held = []
        for i in range(300):
            held.append(injector.connect(f"127.0.0.{60 + i % 8}", injector.status_port))
            if i % 50 == 49:
                assert injector.probe() and injector.get("/readyz")[0] == 200
        for s in held[-40:]:
            try:
                s.send(b"GET /healthz HTTP/1.1\r\n")
            except OSError:
                pass
        assert injector.probe()


run()
