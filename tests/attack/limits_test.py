#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What others can hold against udplaned: locks, limits of the user, numbers, log lines; and options set behind its back."""
import array
import fcntl
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import *  # noqa: E402,F403

A4, B4 = "10.99.0.1", "10.99.0.2"
SO_ATTACH_BPF = 50


class Raw:
    """A client that speaks the control protocol by hand."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(5)
        self.s.connect(path)
        self.s.send(struct.pack("<HHIQHHI", 1, 24, 1, 0x31656E616C706475, 1, 0, 0))
        data, control, _, _ = self.s.recvmsg(1024, 4096)
        for _, _, body in control:
            for fd in array.array("i", body):
                os.close(fd)
        self.status = struct.unpack_from("<i", data, 20)[0]

    def claim(self, fd, port):
        body = bytes(16) + struct.pack(">H", port) + bytes([socket.AF_INET, 0]) + bytes(4)
        self.s.sendmsg([struct.pack("<HHI", 3, 8 + len(body), 1) + body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        return struct.unpack_from("<iI", self.s.recv(1024), 8)


def reason(s):
    s.accelerated()
    return s.status().reason.decode()


@case
def a_lock_that_a_client_holds_does_not_keep_udplaned_out():
    with Net() as net:
        with Sidecar(net):
            pass
        with open(SOCKET + ".lock", "rb") as held:  # reading is enough
            fcntl.flock(held, fcntl.LOCK_EX)
            with Sidecar(net) as sidecar:
                assert "a client holds the lock" in sidecar.output()
                # The file that it has made instead does keep another one out.
                second = Sidecar(net, ready=False)
                assert second.proc.wait(10) == 1 and "another udplaned serves" in second.output(), second.output()
                assert sidecar.healthy()
                with Sock(net, bind=(A4, 5060)):
                    pass


@case
def descriptors_of_others_on_their_way_refuse_and_do_not_disconnect():
    weak = ["setpriv", "--bounding-set", "-sys_resource,-sys_admin", "prlimit", "--nofile=300:300"]
    with Net() as net, Sidecar(net, wrap=weak) as sidecar, Sock(net, bind=(A4, 5060)) as first:
        peer = net.sock(net.b, bind=(B4, 0))
        left, right = socket.socketpair()
        for _ in range(2):
            socket.send_fds(left, [b"x"], [0] * 250)
        with Sock(net, bind=(A4, 5061), fast=False) as second:
            until(lambda: reason(second) == "descriptor_limit", what="refusal, not " + reason(second))
            peer.sendto(b"kernel", (A4, 5061))
            second.timeout(5)
            assert second.recvfrom()[0] == b"kernel"
            assert first.status().accelerated
            before = first.status().fast_rx
            peer.sendto(b"fast", (A4, 5060))
            first.timeout(5)
            assert first.recvfrom()[0] == b"fast" and first.status().fast_rx == before + 1
            left.close()
            right.close()
            until(second.accelerated, 20, "acceleration once the others are gone")
        assert "disconnected" not in sidecar.output(), sidecar.output()
        peer.close()


@case
def the_kernel_backend_has_its_limits_too():
    with Net() as net, Sidecar(net, "--backend", "kernel", "--max-clients", "2") as sidecar:
        clients = [Raw(sidecar.path) for _ in range(3)]
        assert [c.status for c in clients] == [0, 0, -errno.EUSERS], [c.status for c in clients]
        clients[0].s.close()
        until(lambda: Raw(sidecar.path).status == 0, what="a place")


@case
def refused_claims_do_not_fill_the_log():
    with Net() as net, Sidecar(net, ports="5000") as sidecar:
        client, fd = Raw(sidecar.path), net.sock(net.a, bind=(A4, 7000))
        for _ in range(500):
            assert client.claim(fd.fileno(), 7000)[0] < 0
        assert sidecar.stats()["control"]["claims_refused"] == 500
        said = sidecar.output().count("claim refused")
        assert 0 < said <= 20, said


def ebpf_filter():
    """A socket filter that drops everything, as a descriptor: mov r0, 0; exit."""
    code = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
    text, name = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    attr = struct.pack("<IIQQIIQ", 1, 2, ctypes.addressof(text), ctypes.addressof(name), 0, 0, 0).ljust(120, b"\0")
    fd = libc.syscall(321, 5, attr, len(attr))  # bpf(BPF_PROG_LOAD, BPF_PROG_TYPE_SOCKET_FILTER)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return fd


def behind_its_back(net, s, level, name, value):
    with socket.socket(fileno=os.dup(s.kernel_fd())) as k:
        k.setsockopt(level, name, value)


@case
def an_ebpf_filter_is_noticed():
    with Net() as net, Sidecar(net) as sidecar:
        program = ebpf_filter()
        with Sock(net, bind=(A4, 5060)) as s:
            behind_its_back(net, s, socket.SOL_SOCKET, SO_ATTACH_BPF, program)
            until(lambda: reason(s) == "socket_filter", what="the filter")
        fd = net.sock(net.a, bind=(A4, 5061))
        fd.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, program)
        status, why = Raw(sidecar.path).claim(fd.fileno(), 5061)
        assert status < 0 and why == 10, (status, why)
        os.close(program)


@case
def sharing_that_is_allowed_after_the_claim_is_noticed():
    with Net() as net, Sidecar(net), Sock(net, bind=(A4, 5060)) as s:
        behind_its_back(net, s, socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        plain = net.sock(net.a)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        plain.bind((A4, 5060))
        until(lambda: not s.accelerated(), 10, "the return of the port to the kernel")
        assert "shared_with_plain_socket" in s.status().reason.decode(), s.status().reason
        plain.close()
        until(s.accelerated, 10, "acceleration")


run()
