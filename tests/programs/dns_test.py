#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""DNS servers as Debian ships them, under udplane-run: what dig and dnsperf say is what they say of plain sockets.

Configurations have the data, addresses and ports only.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import *  # noqa: E402,F403
from zone import bind9_server, zone  # noqa: E402

QUESTIONS = [("www.example.test", "A"), ("www.example.test", "AAAA"), ("alias.example.test", "A"), ("example.test", "MX"),
             ("none.example.test", "A"), ("example.test", "SOA")]
MANY = "".join(f"h{i % 200}.example.test A\n" for i in range(2000))


def stable(text):
    """Without what differs from call to call."""
    return re.sub(r"id: \d+|COOKIE: .*", "", text)


def asked(pod, long=True, questions=QUESTIONS, addresses=(A4, A6)):
    """What dig prints for the questions over both families, and what dnsperf counts."""
    if long:
        questions = questions + [("long.example.test", "TXT")]
    batch = pod.file("batch", "".join(f"@{a} {name} {kind}\n" for a in addresses for name, kind in questions))
    answers = stable(pod.peer("dig", "+noall", "+comments", "+answer", "+nottlid", "+noedns", "+ignore", "-f", batch))
    if long:
        answers += stable(pod.peer("dig", "+noall", "+comments", "+answer", "+nottlid", f"@{A4}", "long.example.test", "TXT"))  # by TCP
    many = pod.file("many", MANY)
    counted = "".join(pod.peer("dnsperf", "-s", a, "-d", many, "-n", "1", "-q", "50") for a in addresses)
    counts = re.findall(r"(Queries (?:sent|completed|lost)|Response codes): *(.*?)(?: \([0-9.]*%\))?$", counted, re.M)
    assert counts.count(("Queries completed", "2000")) == len(addresses), counted
    return answers, counts


def upstream(pod):
    """A plain server for the zone in the other namespace."""
    conf = pod.file("upstream.conf", f"server:\n ip-address: {B4}@53\n zonesdir: {pod.dir}\n username: \"\"\n database: \"\"\n"
                    f" pidfile: {pod.dir}/upstream.pid\n xfrdfile: {pod.dir}/upstream.xfrd\n"
                    f"remote-control:\n control-enable: no\nzone:\n name: example.test\n zonefile: {zone(pod)}\n")
    pod.start_peer("nsd", "-d", "-c", conf, port=53)


@case
def bind9():
    def work(pod):
        bind9_server(pod)
        return asked(pod)

    beside(work, {53: FAST})


@case
def nsd():
    """The process that answers has its sockets from a parent that keeps them open and never reads."""
    def work(pod):
        nsd_server(pod)
        return asked(pod)

    beside(work, {53: FAST})


@case
def nsd_reloads():
    """At SIGHUP another process answers; what the former one has not read is the next one's."""
    def work(pod):
        server = nsd_server(pod)
        said = []
        for _ in range(3):
            os.kill(server.process.pid, signal.SIGHUP)
            said.append(asked(pod, long=False))
        return said

    beside(work, {53: FAST})


def nsd_server(pod):
    conf = pod.file("nsd.conf", f"server:\n ip-address: {A4}\n ip-address: {A6}\n zonesdir: {pod.dir}\n"
                    f" pidfile: {pod.dir}/pid\n xfrdfile: {pod.dir}/xfrd\n zonelistfile: {pod.dir}/list\n"
                    f"zone:\n name: example.test\n zonefile: {zone(pod)}\n")
    return pod.start("nsd", "-d", "-c", conf, port=53, ready="started")


@case
def knot():
    def work(pod):
        conf = pod.file("knot.conf", f"server:\n    rundir: {pod.dir}\n    listen: [ {A4}@53, {A6}@53 ]\n"
                        f"database:\n    storage: {pod.dir}\n"
                        f"zone:\n  - domain: example.test\n    file: {zone(pod)}\n    zonefile-load: whole\n")
        pod.start("knotd", "-c", conf, port=53, ready="server started")
        return asked(pod)

    beside(work, {53: FAST})


@case
def pdns():
    def work(pod):
        zones = pod.file("bind.conf", f'zone "example.test" {{ type master; file "{zone(pod)}"; }};\n')
        conf = pod.file("pdns.conf", f"launch=bind\nbind-config={zones}\nlocal-address={A4}, {A6}\nsocket-dir={pod.dir}\n")
        pod.start("pdns_server", "--config-dir=" + os.path.dirname(conf), port=53, ready="Done launching")
        return asked(pod)

    beside(work, {53: FAST})


@case
def dnsmasq():
    def work(pod):
        hosts = pod.file("hosts", "192.0.2.80 www.example.test\n2001:db8::80 www.example.test\n" +
                         "".join(f"192.0.2.{i} h{i}.example.test\n" for i in range(200)))
        pod.start("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                  "--addn-hosts=" + hosts, "--pid-file=" + pod.dir + "/pid", port=53, ready="read .*hosts")
        return asked(pod, long=False, questions=[("www.example.test", "A"), ("www.example.test", "AAAA"), ("none.example.test", "A")])

    beside(work, {53: FAST})


@case
def unbound():
    """A resolver: each question that it asks has a socket of its own."""
    def work(pod):
        upstream(pod)
        conf = pod.file("unbound.conf", f"server:\n interface: {A4}\n interface: {A6}\n access-control: 10.99.0.0/24 allow\n"
                        f" access-control: fd99::/64 allow\n directory: {pod.dir}\n pidfile: {pod.dir}/pid\n use-syslog: no\n"
                        f"stub-zone:\n name: example.test\n stub-addr: {B4}\n")
        pod.start("unbound", "-d", "-c", conf, port=53, ready="start of service")
        return asked(pod)

    beside(work, {53: FAST})


@case
def dnsdist():
    """A load balancer in front of a server in the other namespace."""
    def work(pod):
        upstream(pod)
        conf = pod.file("dnsdist.conf", f'addLocal("{A4}:53")\naddLocal("[{A6}]:53")\nnewServer("{B4}:53")\n'
                        'addACL("10.99.0.0/24")\naddACL("fd99::/64")\n')
        pod.start("dnsdist", "-C", conf, "--supervised", "--disable-syslog", port=53, ready="Marking downstream .* as 'up'")
        return asked(pod)

    beside(work, {53: FAST, "all": FAST})


run()
