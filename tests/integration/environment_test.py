#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packet filters, address translation, IPsec policies, traffic control and programs of control groups: an accelerated socket behaves as a
plain one beside it, `why` names the reason, and the fast path is back when the rules are gone."""
import subprocess

from beside import *

OBJECT = os.path.join(BIN, "tests", "integration", "environment.bpf.o")


def nft(net, text, ns=None):
    sh("nft", "-f", "-", ns=ns or net.a, input=text.replace("} }", "}\n}\n") + "\n")  # its parser wants the line ends


@case
def rules_that_cannot_concern_it_leave_it_fast():
    with Net() as net:
        nft(net, """
table ip nat {
  chain OUTPUT { type nat hook output priority -100; meta l4proto tcp jump ISTIO_OUTPUT; }
  chain PREROUTING { type nat hook prerouting priority -100; meta l4proto tcp redirect to :15006; }
  chain ISTIO_OUTPUT { ip daddr 127.0.0.1/32 return; meta l4proto tcp redirect to :15001; }
}
table inet filter {
  chain in { type filter hook input priority 0; policy drop;
    iifname "lo" accept; udp dport 5000-5999 counter accept; ct state established,related accept; }
  chain out { type filter hook output priority 0; udp sport 7777 drop; oifname "lo" drop; counter; }
  chain through { type filter hook forward priority 0; policy drop; }
}
""")
        with Sidecar(net) as sidecar, Bench(net, sidecar) as b:
            b.becomes()
            b.is_fast()


@case
def destination_translation_of_what_it_sends():
    with Net() as net:
        sh("ip", "-n", net.a, "route", "add", "default", "via", B4)
        sh("ip", "-n", net.b, "addr", "add", "10.99.0.3/24", "dev", "vb")
        with Sidecar(net) as sidecar, Bench(net, sidecar) as b, net.sock(net.b, bind=("10.99.0.3", 5353)) as other:
            b.is_fast()
            nft(net, "table ip kube { chain out { type nat hook output priority -100;"
                     f" ip daddr {VIP} udp dport 53 counter dnat to {B4}:5353; }} }}")
            b.leaves_to_linux("dnat")
            assert b.asks((VIP, 53)) == ((VIP, 53), (VIP, 53))
            # What goes to the target itself would clash with the translated flow: Linux gives it another port. Others are fast.
            sent = b.row()["counters"]["tx_sent"]
            assert b.app.sendto(b"direct", (B4, 5353)) == 6
            data, where = b.peer.recvfrom(100)
            assert data == b"direct" and where[1] != FAST, where
            assert b.row()["counters"]["tx_sent"] == sent
            b.fast_with(other)
            nft(net, "delete table ip kube")
            until(lambda: not sidecar.stats()["route_note"], 8, "the look at the rule that has gone")
            b.becomes()
            b.is_fast()


@case
def the_same_by_iptables_legacy():
    with Net() as net:
        sh("ip", "-n", net.a, "route", "add", "default", "via", B4)
        with Sidecar(net) as sidecar, Bench(net, sidecar) as b:
            rule = ["OUTPUT", "-d", VIP, "-p", "udp", "--dport", "53", "-j", "DNAT", "--to-destination", f"{B4}:5353"]
            sh("iptables-legacy", "-t", "nat", "-A", *rule, ns=net.a)
            b.leaves_to_linux("DNAT")
            assert b.asks((VIP, 53)) == ((VIP, 53), (VIP, 53))
            sh("iptables-legacy", "-t", "nat", "-D", *rule, ns=net.a)
            sh("iptables-legacy", "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP", ns=net.a)
            nft_flush_flows(net)
            until(lambda: not sidecar.stats()["route_note"], 8, "the look at the rule that has gone")
            b.becomes()
            b.is_fast()
            sh("iptables-legacy", "-A", "OUTPUT", "-p", "udp", "--dport", "5353", "-j", "DROP", ns=net.a)
            b.becomes(tx="netfilter")
            fast, plain = b.sends((B4, 5353))
            assert fast == plain, (fast, plain)


def nft_flush_flows(net):
    """Translated flows outlive their rules: ends them by ending conntrack's timeouts at once."""
    sh("ip", "netns", "exec", net.a, "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=1",
       "net.netfilter.nf_conntrack_udp_timeout_stream=1")
    sh("conntrack", "-F", ns=net.a, check=False)


@case
def filters_come_and_go():
    with Net() as net, Sidecar(net) as sidecar, Bench(net, sidecar) as b:
        b.is_fast()
        nft(net, "table inet f { chain out { type filter hook output priority 0; udp dport 5353 drop; } }")
        b.becomes(tx="netfilter")
        fast, plain = b.sends((B4, 5353))
        assert fast == plain, (fast, plain)
        assert b.receives() == (True, True)
        nft(net, "delete table inet f\ntable inet f { chain in { type filter hook input priority 0; udp sport 5353 drop; } }")
        b.becomes(rx="netfilter")
        assert b.receives() == (False, False)
        assert b.sends((B4, 5353)) == (True, True)
        nft(net, "delete table inet f\ntable inet f { chain in { type filter hook input priority 0; policy drop; "
                 "ct state established accept; } }")
        b.becomes(rx="netfilter", tx="netfilter")
        assert b.receives() == (False, False)
        assert b.asks((B4, 5353)) == ((B4, 5353), (B4, 5353))
        nft(net, "delete table inet f")
        b.becomes()
        b.is_fast()


@case
def sets_with_and_without_its_port():
    with Net() as net, Sidecar(net) as sidecar, Bench(net, sidecar) as b:
        table = "table inet f { chain in { type filter hook input priority 0; udp dport %s drop; } }"
        nft(net, table % "{ 53, 80 }")
        b.becomes()
        b.is_fast()
        nft(net, "delete table inet f\n" + table % "{ 53, 5060-5061 }")
        b.becomes(rx="netfilter")
        assert b.receives() == (False, False)
        assert b.sends((B4, 5353)) == (True, True)
        nft(net, "delete table inet f")
        nft(net, "table inet f { set blocked { type inet_service; } ; chain in { type filter hook input priority 0; "
                 "udp dport @blocked drop; } }".replace(" ; ", "\n"))
        b.becomes()
        sh("nft", "add", "element", "inet", "f", "blocked", "{ 5060, 5061 }", ns=net.a)  # elements notify, too
        b.becomes(rx="netfilter")
        assert b.receives() == (False, False)
        sh("nft", "delete", "element", "inet", "f", "blocked", "{ 5060 }", ns=net.a)
        b.becomes()
        assert b.receives() == (True, False)
        # Many changes, one after another, cost neither the fast path nor the last of them.
        for port in range(7000, 7050):
            sh("nft", "add", "element", "inet", "f", "blocked", "{ %d }" % port, ns=net.a)
            assert b.rx() == "none"
        sh("nft", "add", "element", "inet", "f", "blocked", "{ 5060 }", ns=net.a)
        b.becomes(rx="netfilter")
        assert b.receives() == (False, False)


@case
def sources_that_a_set_blocks():
    with Net() as net:
        sh("ip", "-n", net.b, "addr", "add", "10.99.0.3/24", "dev", "vb")
        with Sidecar(net) as sidecar, Bench(net, sidecar) as b, net.sock(net.b, bind=("10.99.0.3", 5353)) as other:
            b.is_fast()
            nft(net, "table inet f { set banned { type ipv4_addr; flags timeout; } ; chain in { type filter hook input priority 0; "
                     "ip saddr @banned drop; } }".replace(" ; ", "\n"))
            b.becomes()
            assert b.receives() == (True, True)
            sh("nft", "add", "element", "inet", "f", "banned", "{ %s timeout 1h }" % B4, ns=net.a)
            b.leaves_to_linux("drop")
            assert b.receives() == (False, False)
            b.fast_with(other)
            nft(net, "delete table inet f")
            until(lambda: b.receives() == (True, True), 8, "its end")


# kube-proxy's, mode nftables, as tests/fuzz/environment/rulesets/kube_proxy.nft: one Service, a NodePort, one without endpoints
KUBE = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "kube_proxy.nft")).read()


@case
def kube_proxy_by_sets_and_maps():
    with Net() as net:
        sh("ip", "-n", net.a, "route", "add", "default", "via", B4)
        sh("ip", "-n", net.b, "addr", "add", "10.99.0.3/24", "dev", "vb")
        with Sidecar(net) as sidecar, Bench(net, sidecar) as b, net.sock(net.b, bind=("10.99.0.3", 5353)) as other:
            b.is_fast()
            nft(net, KUBE)
            b.leaves_to_linux("kube-proxy")
            b.fast_with(other)
            # A ClusterIP is translated, and so is the answer; one without such a port is rejected.
            sent = b.row()["counters"]["tx_sent"]
            assert b.asks((VIP, 53)) == ((VIP, 53), (VIP, 53))
            assert b.row()["counters"]["tx_sent"] == sent
            fast, plain = b.sends((VIP, 54))
            assert fast == plain and fast is not True, (fast, plain)
            b.fast_with(other)
            # A NodePort's port belongs to the kernel.
            with Sock(net, bind=("0.0.0.0", 5999), fast=False):
                until(lambda: (b.row(5999) or {}).get("reason") == "netfilter", 8, "the NodePort to be left to Linux")
            nft(net, "delete table ip kube-proxy")
            nft_flush_flows(net)
            b.becomes()
            b.is_fast()


@case
def anothers_masqueraded_flow_is_not_delivered_to_it():
    with Net() as net:
        # c: a pod behind a, whose flow leaves a as if it were a's own
        c = f"udplane-c-{os.getpid()}"
        sh("ip", "netns", "add", c)
        net.fd[c] = os.open(f"/run/netns/{c}", os.O_RDONLY)
        try:
            sh("ip", "link", "add", "vp", "netns", net.a, "type", "veth", "peer", "name", "vc", "netns", c)
            for ns, dev, addr in ((net.a, "vp", "10.244.0.1/24"), (c, "vc", "10.244.0.5/24")):
                sh("ip", "-n", ns, "addr", "add", addr, "dev", dev)
                sh("ip", "-n", ns, "link", "set", dev, "up")
            sh("ip", "-n", c, "route", "add", "default", "via", "10.244.0.1")
            sh("sysctl", "-qw", "net.ipv4.ip_forward=1", ns=net.a)
            nft(net,
                'table ip nat { chain post { type nat hook postrouting priority 100; oifname "va" ip saddr 10.244.0.0/24 masquerade; } }')
            with Sidecar(net) as sidecar, Bench(net, sidecar) as b:
                b.becomes()
                b.is_fast()
                pod = net.sock(c, bind=("10.244.0.5", FAST))
                server = net.sock(net.b, bind=(B4, 5354))  # to which the application has not spoken: its port is free there
                pod.sendto(b"question", (B4, 5354))
                data, where = server.recvfrom(100)
                assert where == (A4, FAST), where
                server.sendto(b"answer", where)
                assert b.got(pod, 2) == (b"answer", (B4, 5354))
                assert b.app.recv_all(0.2) == []
                assert sidecar.stats()["device"]["counters"]["rx_passed_translated"] == 1
                b.is_fast()
                pod.close()
                server.close()
        finally:
            os.close(net.fd.pop(c))
            sh("ip", "netns", "del", c, check=False)


@case
def filters_and_translation_of_ipv6():
    with Net() as net:
        sh("ip", "-n", net.a, "route", "add", "default", "via", B6)
        with Sidecar(net) as sidecar, Bench(net, sidecar, six=True) as b:
            b.is_fast()
            nft(net, "table ip6 f { chain out { type filter hook output priority 0; udp dport 5353 drop; } }")
            b.becomes(tx="netfilter")
            fast, plain = b.sends((B6, 5353))
            assert fast == plain, (fast, plain)
            assert b.receives() == (True, True)
            nft(net, "delete table ip6 f\ntable ip6 kube { chain out { type nat hook output priority -100;"
                     f" ip6 daddr {VIP6} udp dport 53 counter dnat to [{B6}]:5353; }} }}")
            until(lambda: sidecar.stats()["route_note"], 8, "the look at the rule")
            b.becomes()
            assert b.asks((VIP6, 53)) == ((VIP6, 53), (VIP6, 53))
            nft(net, "delete table ip6 kube")
            until(lambda: not sidecar.stats()["route_note"], 8, "the look at the rule that has gone")
            b.becomes()
            b.is_fast()


@case
def peers_of_ipv6_that_rules_name():
    """Sets, connections, Services: they concern the peers that they name, also a socket that takes both families."""
    third = B6[:-1] + "3"
    with Net() as net:
        sh("ip", "-n", net.a, "route", "add", "default", "via", B6)
        sh("ip", "-n", net.b, "addr", "add", third + "/64", "dev", "vb", "nodad")
        with Sidecar(net) as sidecar, Bench(net, sidecar, six=True) as b, \
                net.sock(net.b, socket.AF_INET6, bind=(third, 5353)) as other:
            b.is_fast()
            nft(net, f"table inet f {{ set banned {{ type ipv6_addr; elements = {{ {B6} }}\n }}\n"
                     " chain in { type filter hook input priority 0; ip6 saddr @banned drop; } }")
            b.leaves_to_linux("drop")
            assert b.receives() == (False, False)
            b.fast_with(other)
            # Who has not been spoken to may not speak: the kernel must see both ways.
            nft(net, "delete table inet f\ntable inet f { chain in { type filter hook input priority 0;"
                     f" ip6 saddr {B6} ct state new drop; }} }}")
            until(lambda: b.asks((B6, 5353))[0] is not None, 8, "an answer")
            b.leaves_to_linux("drop")
            assert b.asks((B6, 5353)) == ((B6, 5353), (B6, 5353))
            nft_flush_flows(net)
            assert b.receives() == (False, False)
            b.fast_with(other)
            # A Service: its endpoint also speaks for itself.
            nft(net, "delete table inet f\ntable ip6 kube { chain out { type nat hook output priority -100;"
                     f" ip6 daddr {VIP6} udp dport 53 counter dnat to [{B6}]:5353; }} }}")
            b.leaves_to_linux("dnat")
            assert b.asks((VIP6, 53)) == ((VIP6, 53), (VIP6, 53))
            b.fast_with(other)
            nft(net, "delete table ip6 kube")
            nft_flush_flows(net)
            b.becomes()
            b.is_fast()


@case
def ipsec_policies():
    with Net() as net, Sidecar(net) as sidecar, Bench(net, sidecar) as b:
        tmpl = ["tmpl", "src", A4, "dst", B4, "proto", "esp", "mode", "transport"]
        policy = ["src", f"{A4}/32", "dst", f"{B4}/32", "proto", "udp", "dport", "5353"]
        sh("ip", "-n", net.a, "xfrm", "policy", "add", "dir", "out", *policy, *tmpl)
        until(lambda: b.sends((B4, 5353), 0.1)[0] is not True, 5, "the policy's effect")
        fast, plain = b.sends((B4, 5353))
        assert fast == plain, (fast, plain)
        assert b.receives() == (True, True)
        sh("ip", "-n", net.a, "xfrm", "policy", "delete", "dir", "out", *policy)
        until(lambda: b.sends((B4, 5353), 0.1) == (True, True), 5, "the policy's end")
        policy = ["src", f"{B4}/32", "dst", f"{A4}/32", "proto", "udp"]
        sh("ip", "-n", net.a, "xfrm", "policy", "add", "dir", "in", *policy, "action", "block")
        b.becomes(rx="ipsec_policy")
        assert b.receives() == (False, False)
        sh("ip", "-n", net.a, "xfrm", "policy", "delete", "dir", "in", *policy)
        b.becomes()
        b.is_fast()


@case
def traffic_control():
    with Net() as net, Sidecar(net) as sidecar, Bench(net, sidecar) as b:
        tc = ["ip", "netns", "exec", net.a, "tc"]
        sh(*tc, "qdisc", "add", "dev", "va", "clsact")
        b.becomes()
        b.is_fast()
        sh(*tc, "filter", "add", "dev", "va", "ingress", "protocol", "ip", "bpf", "da", "obj", OBJECT, "sec", "tc")
        b.becomes(rx="traffic_control")
        assert b.receives() == (False, False)
        assert b.sends((B4, 5353)) == (True, True)
        sh(*tc, "filter", "del", "dev", "va", "ingress")
        b.becomes()
        sh(*tc, "filter", "add", "dev", "va", "egress", "protocol", "ip", "bpf", "da", "obj", OBJECT, "sec", "tc")
        b.becomes(tx="traffic_control")
        fast, plain = b.sends((B4, 5353))
        assert fast == plain, (fast, plain)
        sh(*tc, "qdisc", "del", "dev", "va", "clsact")
        b.becomes()
        sh(*tc, "qdisc", "add", "dev", "va", "root", "tbf", "rate", "1mbit", "burst", "10k", "latency", "50ms")
        b.becomes(tx="traffic_control")
        sent = b.row()["counters"]["tx_sent"]
        assert b.sends((B4, 5353)) == (True, True)
        assert b.row()["counters"]["tx_sent"] == sent
        sh(*tc, "qdisc", "replace", "dev", "va", "root", "pfifo")
        b.becomes()
        b.is_fast()


GROUPS = next((line.split()[1] for line in open("/proc/mounts") if line.split()[2] == "cgroup2"), None)


@case
def a_socket_load_balancer():
    if not GROUPS:
        raise Skip("no cgroup2 is mounted")
    with Net() as net:
        sh("ip", "-n", net.a, "route", "add", "default", "via", B4)
        name = f"udplane-test-{os.getpid()}"
        group = os.path.join(GROUPS, name)
        pins = f"/sys/fs/bpf/{name}"
        mounted = not os.path.ismount("/sys/fs/bpf")
        if mounted:
            sh("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
        os.mkdir(group)
        try:
            os.mkdir(pins)
            sh("bpftool", "prog", "loadall", OBJECT, pins)
            with Sidecar(net) as sidecar:
                p = child(net, f"""
sys.stdin.readline()
app = Sock(Here, bind=("{A4}", {FAST}))
plain = Here.inside(None, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
plain.bind(("{A4}", {PLAIN}))
plain.settimeout(1)
print("ready", flush=True)
for line in sys.stdin:
    host, port = line.split()
    app.sendto(b"fast", (host, int(port)))
    print(app.recvfrom()[1] if app.readable(1) else None, flush=True)
    plain.sendto(b"plain", (host, int(port)))
    try:
        print(plain.recvfrom(100)[1], flush=True)
    except OSError:
        print(None, flush=True)
""", stdin=subprocess.PIPE)
                with open(os.path.join(group, "cgroup.procs"), "w") as f:  # a socket belongs to the group in which it is made
                    f.write(str(p.pid))
                p.stdin.write("\n")
                p.stdin.flush()
                echo = net.sock(net.b, bind=(B4, 5353))

                def ask(to):
                    p.stdin.write("%s %d\n" % to)
                    p.stdin.flush()
                    for _ in range(2):
                        echo.settimeout(2)
                        data, where = echo.recvfrom(100)
                        echo.sendto(data, where)
                        line = p.stdout.readline()
                        yield line.strip()

                def reasons():
                    row = next(r for r in json.loads(sidecar.ctl("sockets", "--json")[1])["sockets"] if r["local"]["port"] == FAST)
                    return row["reason"], row["tx_reason"]

                try:
                    assert p.stdout.readline() == "ready\n"
                    assert reasons() == ("none", "none")
                    assert list(ask((B4, 5353))) == [str((B4, 5353))] * 2
                    for kind in ("sendmsg4", "recvmsg4", "connect4", "getpeername4"):
                        sh("bpftool", "cgroup", "attach", group, kind, "pinned", f"{pins}/{kind}")
                    until(lambda: reasons() == ("cgroup_program", "cgroup_program"), 5, "its programs to be seen")
                    assert list(ask((VIP, 53))) == [str((VIP, 53))] * 2
                    for kind in ("sendmsg4", "recvmsg4", "connect4", "getpeername4"):
                        sh("bpftool", "cgroup", "detach", group, kind, "pinned", f"{pins}/{kind}")
                    until(lambda: reasons() == ("none", "none"), 5, "its programs' end to be seen")
                    assert list(ask((B4, 5353))) == [str((B4, 5353))] * 2
                finally:
                    p.stdin.close()
                    p.wait(10)
                    echo.close()
        finally:
            shutil.rmtree(pins, True)
            if mounted:
                sh("umount", "/sys/fs/bpf", check=False)
            until(lambda: not open(os.path.join(group, "cgroup.procs")).read(), what="an empty control group")
            os.rmdir(group)


@case
def what_is_declared_harmless_is_not_looked_at():
    with Net() as net:
        nft(net,
            "table inet f { chain in { type filter hook input priority 0; udp dport 5060 ct state new counter accept; policy drop; } }")
        with Sidecar(net, "--trust-rules", "netfilter,ipsec") as sidecar, Bench(net, sidecar) as b:
            b.becomes()


run()
