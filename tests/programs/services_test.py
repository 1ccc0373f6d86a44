#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Servers and clients of other protocols as Debian ships them, under udplane-run, beside the same with plain sockets."""
import hashlib
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import *  # noqa: E402,F403

PACE = 50  # datagrams in a burst: a kernel socket's buffer has room for some 200


def measured(text):
    """Of iperf3's report what is the same in each run: most arrives; on a busy machine a plain socket's buffer may overflow."""
    end = json.loads(text)["end"]["sum"]
    assert end["packets"] > 200 and end["lost_packets"] < end["packets"] // 4, text
    return "error" in text, "out_of_order" in text


@case
def iperf3_server():
    def work(pod):
        server = pod.start("iperf3", "-s", "-B", A4, "--forceflush")
        results = []
        for i, more in enumerate(((), ("-R",), ("-l", "200"))):
            server.says(rf"listening on 5201 \(test #{i + 1}\)")  # until then it is busy
            results.append(measured(pod.peer("iperf3", "-c", A4, "-u", "-t", "1", "-b", "5M", "--json", *more)))
        return results

    beside(work, {"all": FAST})


@case
def iperf3_client():
    def work(pod):
        server = pod.start_peer("iperf3", "-s", "--forceflush")
        results = []
        for i, more in enumerate(((), ("-R",))):
            server.says(rf"listening on 5201 \(test #{i + 1}\)")
            results.append(measured(pod.run("iperf3", "-c", B4, "-u", "-t", "1", "-b", "5M", "--json", *more)))
        return results

    beside(work, {"all": FAST})


@case
def socat_echo():
    def work(pod):
        pod.start("socat", "UDP4-LISTEN:7000", "PIPE", port=7000)
        return echoed(pod, 7000)

    beside(work, {7000: FAST})


@case
def socat_ipv6_receiver():
    def work(pod):
        lines = [f"line {i}\n" for i in range(200)]
        pod.start("socat", "-u", "UDP6-RECV:7001", f"OPEN:{pod.dir}/received,creat", port=7001)
        with pod.net.sock(pod.net.b, socket.AF_INET6, connect=(A6, 7001)) as peer:
            for i, line in enumerate(lines):
                peer.send(line.encode())
                if i % PACE == PACE - 1:
                    until(lambda: read(pod, "received") == "".join(lines[:i + 1]), 10, "all lines")
        return read(pod, "received")

    beside(work, {7001: FAST_RX})


@case
def socat_forks_for_each_datagram():
    """The child takes the datagram from the parent's socket, which both have open."""
    def work(pod):
        pod.start("socat", "UDP4-RECVFROM:7002,fork", "EXEC:/bin/cat", port=7002)
        with pod.net.sock(pod.net.b, connect=(A4, 7002), timeout=20) as peer:
            for i in range(10):
                peer.send(b"%d" % i)
                assert peer.recv(100) == b"%d" % i
        return 10

    beside(work, {7002: set()})


@case
def socat_multicast():
    def work(pod):
        pod.start("socat", "-u", f"UDP4-RECV:7003,ip-add-membership=239.1.2.3:{A4}", f"OPEN:{pod.dir}/received,creat", port=7003)
        with pod.net.sock(pod.net.b) as peer:
            peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(B4))

            def sent(word, to, before):
                for i in range(50):
                    peer.sendto(b"%s %d\n" % (word, i), (to, 7003))
                    until(lambda: read(pod, "received").count("\n") == before + i + 1, 10, "the datagram")

            sent(b"group", "239.1.2.3", 0)
            if pod.fast:
                pod.expect(7003, FAST_RX)  # by the group alone
            sent(b"alone", A4, 50)
        return read(pod, "received")

    beside(work, {7003: FAST_RX})


def read(pod, name):
    try:
        with open(os.path.join(pod.dir, name), errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


@case
def rsyslog():
    def work(pod):
        conf = pod.file("rsyslog.conf", f'global(workDirectory="{pod.dir}")\nmodule(load="imudp")\n'
                        f'input(type="imudp" address="{A4}" port="514")\ninput(type="imudp" address="{A6}" port="514")\n'
                        'template(name="plain" type="string" '
                        'string="%fromhost-ip% %syslogfacility-text%.%syslogseverity-text% %msg%\\n")\n'
                        f'action(type="omfile" file="{pod.dir}/messages" template="plain")\n')
        pod.start("rsyslogd", "-n", "-f", conf, "-i", pod.dir + "/pid", port=514)
        sent = 0
        for family, address in ((socket.AF_INET, A4), (socket.AF_INET6, A6)):
            with pod.net.sock(pod.net.b, family, connect=(address, 514)) as peer:
                for i in range(300):
                    peer.send(b"<%d>Nov 29 12:00:00 host test: message %d" % (8 + i % 8, i))
                    sent += 1
                    if sent % PACE == 0:
                        until(lambda: read(pod, "messages").count("\n") >= sent, 10, "all messages")
        return sorted(read(pod, "messages").splitlines())

    beside(work, {514: FAST_RX})


@case
def snmpd():
    def work(pod):
        conf = pod.file("snmpd.conf", "rocommunity public\nsysLocation here\nsysContact nobody <nobody@example.test>\nsysName pod\n")
        pod.start("snmpd", "-f", "-Lo", "-C", "-c", conf, "-p", pod.dir + "/pid", f"udp:{A4}:161", port=161,
                  env={"SNMP_PERSISTENT_DIR": pod.dir})
        clients = {"SNMP_PERSISTENT_DIR": pod.dir}
        # Not the times that it tells.
        query = ("-v2c", "-c", "public", "-On", A4)
        return [pod.peer("snmpget", *query, *(f".1.3.6.1.2.1.1.{i}.0" for i in (1, 4, 5, 6)), env=clients),
                *(pod.peer(tool, *query, f".1.3.6.1.2.1.1.9.1.{i}", env=clients) for tool in ("snmpwalk", "snmpbulkwalk") for i in (2, 3))]

    beside(work, {161: FAST})


@case
def atftpd():
    """Each transfer has a connected socket of its own."""
    def work(pod):
        content = bytes(i * i % 251 for i in range(300_000))
        pod.file("file", content)
        pod.start("atftpd", "--daemon", "--no-fork", "--logfile", "-", "--user", "root.root", "--bind-address", A4, pod.dir,
                  port=69)
        for _ in range(3):
            pod.peer("atftp", "--get", "--remote-file", "file", "--local-file", pod.dir + "/copy", A4)
            with open(pod.dir + "/copy", "rb") as f:
                assert f.read() == content
        pod.peer("atftp", "--option", "blksize 1400", "--put", "--local-file", pod.dir + "/file", "--remote-file", "upload", A4)
        with open(pod.dir + "/upload", "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()

    beside(work, {69: FAST_RX, "all": FAST})


@case
def freeradius():
    def work(pod):
        conf = os.path.join(pod.dir, "raddb")
        shutil.copytree("/etc/freeradius/3.0", conf, symlinks=True)
        sh("chmod", "-R", "a+rX", conf)
        with open(conf + "/clients.conf", "a") as f:
            f.write(f"client peer {{\n ipaddr = {B4}\n secret = testing123\n}}\n")
        with open(conf + "/mods-config/files/authorize", "r+") as f:
            users = f.read()
            f.seek(0)
            f.write('bob Cleartext-Password := "hello"\n' + users)
        pod.start("freeradius", "-f", "-l", "stdout", "-d", conf, port=1812, ready="Ready to process requests")
        right = pod.file("right", "User-Name = bob\nUser-Password = hello\n")
        wrong = pod.file("wrong", "User-Name = bob\nUser-Password = other\n")
        accepted = pod.peer("radclient", "-q", "-s", "-c", "100", "-p", "10", "-f", right, A4, "auth", "testing123")
        rejected = pod.peer("radclient", "-q", "-s", "-f", wrong, A4, "auth", "testing123", status=1)
        return [re.findall(r"(\S.*\S) *: *(\d+)", out) for out in (accepted, rejected)]

    beside(work, {1812: FAST})


run()
