#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""QUIC stacks under udplane-run: aioquic from PyPI, ngtcp2 from Debian; servers and clients."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import *  # noqa: E402,F403

PYTHONPATH = {"PYTHONPATH": MODULES}


def keys(pod):
    """Paths of a key and of a certificate that it has signed itself."""
    key, certificate = os.path.join(pod.dir, "key.pem"), os.path.join(pod.dir, "certificate.pem")
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
       "-subj", "/CN=pod.example.test", "-keyout", key, "-out", certificate)
    return key, certificate


def needs_modules():
    if not os.path.isdir(os.path.join(MODULES, "aioquic")):
        raise Skip("no aioquic: run tests/programs/modules")


@case
def aioquic_server():
    needs_modules()

    def work(pod):
        for address in (A4, A6):
            pod.start(PYTHON, os.path.join(HERE, "quic_server.py"), address, "4433" if address == A4 else "4434", *keys(pod),
                      port=4433 if address == A4 else 4434, env=PYTHONPATH)
        client = (PYTHON, os.path.join(HERE, "quic_client.py"))
        return (pod.peer(*client, A4, "4433", "20", "50000", env=PYTHONPATH), pod.peer(*client, A6, "4434", "20", "5000", env=PYTHONPATH))

    beside(work, {4433: FAST, 4434: FAST})


@case
def aioquic_client():
    needs_modules()

    def work(pod):
        pod.start_peer(PYTHON, os.path.join(HERE, "quic_server.py"), B4, "4433", *keys(pod), port=4433, env=PYTHONPATH)
        return pod.run(PYTHON, os.path.join(HERE, "quic_client.py"), B4, "4433", "20", "50000", env=PYTHONPATH)

    beside(work, {"all": FAST})


def files(pod):
    """A folder to serve, and its file's content."""
    content = bytes(i * i % 251 for i in range(400_000))
    os.mkdir(os.path.join(pod.dir, "served"))
    pod.file("served/file", content)
    return os.path.join(pod.dir, "served"), content


def download(pod, serve, fetch, address):
    """Serves a file at the address by serve(), and fetches it by fetch(); returns its length."""
    folder, content = files(pod)
    serve("gtlsserver", "-q", "-d", folder, address, "4433", *keys(pod), port=4433)
    fetch("gtlsclient", "-q", "--exit-on-all-streams-close", "--download", pod.dir, address, "4433", f"https://{address}:4433/file")
    with open(os.path.join(pod.dir, "file"), "rb") as f:
        assert f.read() == content
    return len(content)


@case
def ngtcp2_server():
    beside(lambda pod: download(pod, pod.start, pod.peer, A4), {4433: FAST})


@case
def ngtcp2_client():
    beside(lambda pod: download(pod, pod.start_peer, pod.run, B4), {"all": FAST})


run()
