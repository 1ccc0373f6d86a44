#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Echo servers on the event loops of other languages and C libraries, under udplane-run."""
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import *  # noqa: E402,F403


def server(*command, port=7000, address=A4):
    """Work that echoes through the server that `command ADDRESS PORT` starts."""
    def work(pod):
        program = pod.start(*command, address, str(port), port=port)
        count = echoed(pod, port, family=socket.AF_INET6 if ":" in address else socket.AF_INET, address=address)
        return count, program.output()

    return work


def compiled(compiler, directory, *options):
    program = os.path.join(directory, "echo")
    sh(compiler, "-D_GNU_SOURCE", "-O1", "-Wall", "-Werror", *options, "-o", program, os.path.join(HERE, "echo.c"))
    return program


def needs(program, package):
    if not shutil.which(program):
        raise Skip(f"no {program}: install Debian's {package}")


@case
def python_asyncio():
    beside(server(PYTHON, os.path.join(HERE, "echo.py")), {7000: FAST})


@case
def node_dgram():
    needs("node", "nodejs")
    beside(server("node", os.path.join(HERE, "echo.js")), {7000: FAST})


@case
def node_dgram_v6():
    needs("node", "nodejs")
    beside(server("node", os.path.join(HERE, "echo.js"), address=A6), {7000: FAST})


@case
def java_datagram_channel():
    """Its default is a socket of IPv6 for both families."""
    needs("javac", "openjdk-17-jdk-headless")
    beside(server("java", os.path.join(HERE, "Echo.java")), {7000: FAST})


@case
def java_netty():
    needs("javac", "openjdk-17-jdk-headless")
    jars = "/usr/share/java/netty-transport.jar"
    if not os.path.exists(jars):
        raise Skip(f"no {jars}: install Debian's libnetty-java")
    beside(server("java", "-cp", "/usr/share/java/*", os.path.join(HERE, "Netty.java")), {7000: FAST})


@case
def musl_epoll():
    with tempfile.TemporaryDirectory() as directory:
        beside(server(compiled("musl-gcc", directory)), {7000: FAST})


@case
def glibc_epoll():
    with tempfile.TemporaryDirectory() as directory:
        beside(server(compiled("gcc", directory)), {7000: FAST})


@case
def calls_by_number():
    """The program's own recvmmsg and sendmmsg, by syscall(2)."""
    with tempfile.TemporaryDirectory() as directory:
        beside(server(compiled("gcc", directory, "-DBY_NUMBER")), {7000: FAST})


@case
def statically_linked():
    """Cannot be preloaded: it has to work all the same, and `why` says it."""
    with tempfile.TemporaryDirectory() as directory:
        serve = server(compiled("musl-gcc", directory, "-static"))

        def work(pod):
            said = serve(pod)
            why = sh(CTL, "--socket", SOCKET, "why", "7000", ns=pod.net.a, check=False)
            assert "the program is statically linked: nothing can be preloaded" in why, why
            return said

        beside(work, {7000: set()})


run()
