# SPDX-License-Identifier: Apache-2.0
"""The zone example.test, and BIND with it."""
from programs import A4, A6

# Larger than one datagram of the device: answered in fragments, or by TC and TCP.
LONG = " ".join(f'"{str(i) * 200}"' for i in range(9))
ZONE = f"""$TTL 300
@ IN SOA ns.example.test. admin.example.test. 1 3600 600 86400 300
  IN NS ns
  IN MX 10 mail
ns IN A 10.99.0.1
mail IN A 192.0.2.25
www IN A 192.0.2.80
www IN AAAA 2001:db8::80
alias IN CNAME www
long IN TXT {LONG}
""" + "".join(f"h{i} IN A 192.0.2.{i}\n" for i in range(200))


def zone(pod):
    return pod.file("example.test.zone", ZONE)


def bind9_server(pod):
    conf = pod.file("named.conf", f'options {{ directory "{pod.dir}"; listen-on {{ {A4}; }}; listen-on-v6 {{ {A6}; }}; }};\n'
                    f'zone "example.test" {{ type primary; file "{zone(pod)}"; }};\n')
    return pod.start("named", "-g", "-c", conf, port=53, ready="all zones loaded")
