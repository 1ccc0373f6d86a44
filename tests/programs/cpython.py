# SPDX-License-Identifier: Apache-2.0
"""Runs tests of CPython's own suite, of Debian's libpython3.11-testsuite, with one side of each in another network namespace.

    cpython.py HOST4 HOST6 PEER-NAMESPACE PEER4 PEER6 TEST... [PATTERN...]

The suite talks to itself on "localhost", which udplaned has nothing to do with. Here the host is an address of this namespace, and
what the suite calls the client (a thread of its own) lives in the other one. Prints a line for each test: its name and what became of it.
"""
import ctypes
import functools
import os
import socket
import sys
import threading
import unittest

from test.support import socket_helper

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
host4, host6, namespace, peer4, peer6 = sys.argv[1:6]
home, away = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{namespace}", os.O_RDONLY)
here = threading.local()


def go(fd):
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    here.away = fd == away


def as_peer(function):
    """What it does, this thread does in the other namespace."""
    @functools.wraps(function)
    def run(*args, **kwargs):
        go(away)
        try:
            return function(*args, **kwargs)
        finally:
            go(home)

    return run


def bind_port(sock, host=host4, real=socket_helper.bind_port):
    if getattr(here, "away", False):
        host = {host4: peer4, host6: peer6}.get(host, host)
    port = real(sock, host)
    if sock.type == socket.SOCK_DGRAM:
        try:
            sock.recv(1, socket.MSG_DONTWAIT)  # a port is claimed at the first receive; most tests receive only once
        except BlockingIOError:
            pass
    return port


class Result(unittest.TestResult):
    def line(self, test, word, why=""):
        print(f"{word} {test.id()} {why}".strip(), flush=True)

    def addSuccess(self, test):
        self.line(test, "ok")

    def addSkip(self, test, reason):
        self.line(test, "skipped", reason)

    def addError(self, test, err):
        self.bad(test, "error", err)

    def addFailure(self, test, err):
        self.bad(test, "failed", err)

    def addSubTest(self, test, subtest, err):
        if err:
            self.bad(subtest, "failed", err)

    def bad(self, test, word, err):
        self.line(test, word)
        print(self._exc_info_to_string(err, test), file=sys.stderr, flush=True)


def main(names):
    socket_helper.HOST = socket_helper.HOSTv4 = host4
    socket_helper.HOSTv6 = host6
    socket_helper.bind_port = bind_port
    if any(name.startswith("test.test_socket.") for name in names):
        from test import test_socket
        test_socket.ThreadableTest.clientRun = as_peer(test_socket.ThreadableTest.clientRun)
    if "test.test_socketserver" in names:
        from test import test_socketserver
        test_socketserver.SocketServerTest.dgram_examine = as_peer(test_socketserver.SocketServerTest.dgram_examine)
    loader = unittest.TestLoader()
    loader.testNamePatterns = [name for name in names if "*" in name] or None
    loader.loadTestsFromNames([name for name in names if "*" not in name]).run(Result())


main(sys.argv[6:])
