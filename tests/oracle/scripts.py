# SPDX-License-Identifier: Apache-2.0
"""The scripts with a name: mostly cross products. Ports: {p} to {s} are the script's own, 7001 to 7003 the peer's, 7009 is closed."""
import itertools
import socket

HERE = {"4": "10.99.0.1", "6": "fd99::1"}
PEER = {"4": "10.99.0.2", "6": "fd99::2"}
ANY = {"4": "0.0.0.0", "6": "::"}
FAMILIES = ("4", "6")
HEADERS = {"4": 28, "6": 48}

# Every bit of the flags that some call knows, and some that none does.
FLAGS = [0, *(1 << n for n in range(32) if n not in (14, 25, 27))]
DONTWAIT, PEEK, TRUNC, WAITALL, ERRQUEUE, MORE, WAITFORONE = 0x40, 2, 0x20, 0x100, 0x2000, 0x8000, 0x10000

groups = {}


def group(function):
    """function yields (name, [operation, ...])."""
    groups[function.__name__] = function
    return function


def opened(family, connect=True, nonblock=0):
    """Slot 0, bound to an address, and connected to the peer's first port."""
    operations = [f"socket 0 {family} {nonblock}", f"bind 0 {HERE[family]} {{p}}"]
    if connect:
        operations.append(f"connect 0 {PEER[family]} 7001")
    return operations


def to_peer(family, connected, length, flags=0):
    return f"send 0 {length} {flags}" if connected else f"sendto 0 {PEER[family]} 7001 {length} {flags}"


def arrives(family, length=5, count=1, source=0, port="{p}"):
    return f"psend {source} {HERE[family]} {port} {length} {count}"


def rest():
    """What is left: readiness, an error, more datagrams than there should be."""
    return ["poll 0 5", "getopt 0 1 4 4", "recv 0 100 0x40", "recv 0 100 0x40"]


@group
def send_lengths():
    for family in FAMILIES:
        fit = 1500 - HEADERS[family]
        lengths = [0, 1, 2, 100, fit - 1, fit, fit + 1, 2000, 2952, 9000, 65000, 65507, 65508, 65527, 65528, 66000, 70000]
        for connected, nonblock, length in itertools.product((True, False), (0, 1), lengths):
            yield (f"v{family}-{'connected' if connected else 'sendto'}-{'nonblock' if nonblock else 'block'}-{length}",
                   opened(family, connected, nonblock) + [to_peer(family, connected, length), "precv", "getopt 0 1 4 4",
                                                          to_peer(family, connected, 3), "precv"])


@group
def send_flags():
    for family, connected, length, flags in itertools.product(FAMILIES, (True, False), (0, 5, 1473), FLAGS):
        yield (f"v{family}-{'connected' if connected else 'sendto'}-{length}-{flags:#x}",
               opened(family, connected) + [to_peer(family, connected, length, flags), to_peer(family, connected, 7), "precv",
                                            "poll 0 5"])


@group
def send_more():
    for family in FAMILIES:
        for first, second in itertools.product((0, 1, 100, 1400, 1472, 1473, 40000), (0, 1, 100, 1452, 40000)):
            yield (f"v{family}-{first}-{second}", opened(family) + [f"send 0 {first} {MORE}", "ioctl 0 0x5411", f"send 0 {second} 0",
                                                                    "precv", "send 0 4 0", "precv"])
        yield f"v{family}-three", opened(family) + [f"send 0 3 {MORE}", f"send 0 4 {MORE}", "send 0 5 0", "precv"]
        yield f"v{family}-other-peer", opened(family, False) + [
            f"sendto 0 {PEER[family]} 7001 3 {MORE}", f"sendto 0 {PEER[family]} 7002 3 0", "precv", "name 0", "peername 0"]
        yield f"v{family}-closed-in-between", opened(family) + [f"send 0 3 {MORE}", "close 0", "precv"]
        yield f"v{family}-cork", opened(family) + ["setopt 0 17 1 1", "send 0 3 0", "send 0 4 0", "precv 0", "setopt 0 17 1 0", "precv",
                                                   "send 0 3 0", "precv"]


@group
def send_names():
    for family in FAMILIES:
        other = "6" if family == "4" else "4"
        for connected in (True, False):
            word = "connected" if connected else "open"
            for length in (-1, 0, 1, 2, 8, 15, 16, 20, 24, 27, 28, 29, 100, 128, 129, 1000):
                yield (f"v{family}-{word}-length-{length}",
                       opened(family, connected) + [f"sendto 0 {PEER[family]} 7002 5 0 {length}", "precv", "peername 0"])
            for name, to in (("none", "- 0"), ("null", "null 0"), ("bad", "bad 0"), ("unspec", "unspec 7001"), ("family77",
                                                                                                                "family77 7001"),
                             ("other-family", f"{PEER[other]} 7001"), ("port-0", f"{PEER[family]} 0"), ("any", f"{ANY[family]} 7001"),
                             ("other-peer", f"{PEER[family]} 7002"), ("self", f"{HERE[family]} {{q}}"),
                             ("closed", f"{PEER[family]} 7009"), ("broadcast", "255.255.255.255 7001"), ("subnet", "10.99.0.255 7001"),
                             ("multicast", "224.0.0.251 7001"), ("routed", "192.0.2.7 7001"), ("no-route", "203.0.113.1 7001"),
                             ("class-e", "240.0.0.1 7001"), ("loopback", "127.0.0.1 7001"), ("mapped", "::ffff:10.99.0.2 7001"),
                             ("no-route6", "2001:db8::1 7001"), ("loopback6", "::1 7001"), ("link-local", "fe80::1 7001")):
                yield (f"v{family}-{word}-{name}", opened(family, connected) + [f"sendto 0 {to} 5 0", "precv", "getopt 0 1 4 4",
                                                                                to_peer(family, connected, 3), "precv"])


IOVECS = ["-", "0", "1", "5", "0,0", "3,4", "0,3,0,4", "1,1,1,1,1,1,1,1", "700,772", "700,773", "700,752", "60x1", "64x0", "40x36",
          "n0", "n0,5", "5,n0", "n5", "3,n5", "b0", "b5", "3,b4", "k5", "5,k5", "u5", "3,u4", "65000,507", "65000,508", "many", "none"]

LONG = {word: ",".join([word.split("x")[1]] * int(word.split("x")[0])) for word in ("60x1", "64x0", "40x36")}


@group
def sendmsg_iovecs():
    for family, connected, iov in itertools.product(FAMILIES, (True, False), IOVECS):
        to = "- 0" if connected else f"{PEER[family]} 7001"
        yield (f"v{family}-{'connected' if connected else 'sendto'}-{iov}",
               opened(family, connected) + [f"sendmsg 0 {to} 0 - {LONG.get(iov, iov)}", "precv", to_peer(family, connected, 3), "precv"])


CONTROLS = {
    "none": "-", "null": "null", "bad": "bad", "cut": "cut", "long": "long", "pktinfo": "pktinfo",
    "tos": "0/1/8", "tos-ecn": "0/1/1", "tos-256": "0/1/256", "ttl": "0/2/3", "ttl-0": "0/2/0", "ttl-256": "0/2/256", "two": "0/1/8,0/2/3",
    "tclass": "41/67/8", "tclass-minus-1": "41/67/-1", "tclass-256": "41/67/256", "hops": "41/52/3", "hops-0": "41/52/0",
    "dontfrag": "41/62/1", "segment": "17/103/100", "segment-0": "17/103/0", "unknown-level": "77/1/1", "unknown-ip": "0/99/1",
    "unknown-udp": "17/99/1", "mark": "1/36/0", "mark-5": "1/36/5", "priority": "1/12/3", "rights": "1/1/0", "txtime": "1/61/0",
}


@group
def sendmsg_control():
    for family, connected, (name, control), length in itertools.product(FAMILIES, (True, False), CONTROLS.items(), (5, 1600)):
        to = "- 0" if connected else f"{PEER[family]} 7001"
        if name.startswith("segment") and length > 1000:
            continue  # the capture may see several as one
        yield (f"v{family}-{'connected' if connected else 'sendto'}-{name}-{length}",
               opened(family, connected) + [f"sendmsg 0 {to} 0 {control} {length}", "precv", to_peer(family, connected, 3), "precv"])


@group
def sendmmsg():
    for family, connected, iov in itertools.product(FAMILIES, (True, False), ("-", "5", "1,2,3", "0,0,0", "3,70000,4", "70000,3", "3,b5,4",
                                                                              "b5,4", "1472,1473,3", "n0,3")):
        to = "- 0" if connected else f"{PEER[family]} 7001"
        for flags in (0, DONTWAIT, MORE, 1):
            yield (f"v{family}-{'connected' if connected else 'sendto'}-{iov}-{flags:#x}",
                   opened(family, connected) + [f"sendmmsg 0 {to} {flags} {iov}", "precv", "getopt 0 1 4 4", to_peer(family, connected, 3),
                                                "precv"])


@group
def receive_flags():
    for family, length, room, flags in itertools.product(FAMILIES, (0, 5), (0, 3, 100), FLAGS):
        yield (f"v{family}-{length}-into-{room}-{flags:#x}",
               opened(family, False) + [arrives(family, length), arrives(family, 7), f"recv 0 {room} {flags}", "ioctl 0 0x541b",
                                        "recv 0 100 0x40"] + rest())


@group
def receive_lengths():
    for family, connected, nonblock in itertools.product(FAMILIES, (True, False), (0, 1)):
        for length in (0, 1, 100, 1400, 1472, 1452, 1473, 2000, 9000, 65507):
            yield (f"v{family}-{'connected' if connected else 'open'}-{'nonblock' if nonblock else 'block'}-{length}",
                   opened(family, connected, nonblock) + [arrives(family, length), "poll 0 1", "ioctl 0 0x541b", "recvfrom 0 66000 0 128"]
                   + rest())


@group
def receive_nothing():
    for family, nonblock, flags, room in itertools.product(FAMILIES, (0, 1), (0, DONTWAIT, PEEK, TRUNC, WAITALL, ERRQUEUE, 1), (0, 100)):
        yield (f"v{family}-{'nonblock' if nonblock else 'block'}-{flags:#x}-{room}",
               opened(family, False, nonblock) + [f"recv 0 {room} {flags}", f"recvfrom 0 {room} {flags} 16",
                                                  f"recvmsg 0 {flags} 128 64 {room}", "poll 0 5"])


@group
def receive_names():
    for family, call, there in itertools.product(FAMILIES, ("recvfrom", "recvmsg"), (True, False)):
        for length in (-1, 0, 1, 2, 3, 4, 8, 15, 16, 17, 24, 27, 28, 29, 100, 128, "none", "null", "bad"):
            if call == "recvmsg" and length in ("null", "bad"):
                continue
            operation = f"recvfrom 0 100 0x40 {length}" if call == "recvfrom" else f"recvmsg 0 0x40 {length} 0 100"
            before = [arrives(family, 5, 2)] if there else []
            yield f"v{family}-{call}-{'data' if there else 'empty'}-{length}", opened(family, False) + before + [operation] + rest()


@group
def recvmsg_iovecs():
    for family, flags in itertools.product(FAMILIES, (0, PEEK, TRUNC)):
        for iov in ("-", "0", "3", "5", "100", "0,0", "2,2", "2,3", "2,2,100", "0,5", "n0,5", "5,n5", "3,n5", "n5", "b5",
                    "3,b5", "b0", "k5",
                    "5,k5", "u5", "3,u9", "many", "none"):
            yield (f"v{family}-{iov}-{flags:#x}",
                   opened(family, False) + [arrives(family, 5, 2), f"recvmsg 0 {flags | DONTWAIT} 128 0 {iov}"] + rest())


@group
def peek_offsets():
    """SO_PEEK_OFF counts the bytes of all datagrams that are queued, by whichever path they have come."""
    peek, take, offset = "recv 0 {room} 0x42", "recv 0 {room} 0x40", "getopt 0 1 42 4"
    for family, room, lengths, late in itertools.product(FAMILIES, (0, 3, 5, 100), ((5,), (5, 7, 3), (0, 5, 0, 4), (5, 2000, 3)), (0, 1)):
        come = [arrives(family, n) for n in lengths]
        if 2000 in lengths:
            come = [arrives(family, 2000), arrives(family, 1500)]  # both by the kernel
        sets = [*come, "setopt 0 1 42 0"] if late else ["setopt 0 1 42 0", *come]
        looks = [o.format(room=room) for o in (peek, offset, peek, offset, "recv 0 {room} 0x62", peek, take, offset, peek, take, peek,
                                               "recv 0 {room} 0x60", offset, peek, take, peek)]
        yield (f"v{family}-into-{room}-{'-'.join(map(str, lengths))}{'-late' if late else ''}",
               opened(family, False) + sets + looks + [arrives(family, 6), peek.format(room=4), peek.format(room=4), offset,
                                                       peek.format(room=4), "setopt 0 1 42 -1", peek.format(room=4), offset]
               + ["recv 0 100 0x40"] * 5 + [offset])
    for family, start in itertools.product(FAMILIES, (0, 1, 4, 5, 6, 11, 12, 13, 100)):
        yield (f"v{family}-from-{start}", opened(family, False) + [arrives(family, 5), arrives(family, 7), f"setopt 0 1 42 {start}"]
               + ["recv 0 4 0x42", offset] * 4 + ["recvmsg 0 0x42 128 64 2,1,9", "recvfrom 0 2 0x42 128", "recvmmsg 0 0x42 4,4,4 -1",
                                                  offset, "ioctl 0 0x541b", "poll 0 1", "recvmmsg 0 0x40 3,9 -1", offset])
        yield (f"v{family}-waits-from-{start}", opened(family, False) + [arrives(family, 5), f"setopt 0 1 42 {start}",
                                                                         "timeout 0 0 20000", "recv 0 4 2", "recv 0 9 2", offset,
                                                                         "poll 0 1", arrives(family, 20), "recv 0 9 2", offset,
                                                                         "recv 0 9 0", "recv 0 9 0", offset])
    for family in FAMILIES:
        yield (f"v{family}-mixed", opened(family, False) + [
            "setopt 0 1 42 0", arrives(family, 1600), "recv 0 500 0x42", arrives(family, 1700), "recv 0 2000 0x42", "recv 0 2000 0x42",
            offset, "recv 0 2000 0x40", offset, arrives(family, 1800), "recv 0 2000 0x42", offset, "recv 0 2000 0x40", "recv 0 2000 0x42"])
        yield (f"v{family}-error", opened(family, False) + [
            "setopt 0 1 42 0", arrives(family, 5), "recv 0 2 0x42", f"connect 0 {PEER[family]} 7009", "send 0 3 0", "precv", "poll 0 8",
            *["recv 0 9 0x42", offset] * 3, "recv 0 9 0x40"])


RECEIVED = {  # options that give control data: level, name, families
    "pktinfo": (0, 8, "4"), "recvtos": (0, 13, "4"), "recvttl": (0, 12, "4"), "origdst": (0, 20, "4"), "recvopts": (0, 6, "4"),
    "fragsize": (0, 25, "4"), "timestamp": (1, 29, "46"), "timestampns": (1, 35, "46"), "rxq_ovfl": (1, 40, "46"), "mark": (1, 75, "46"),
    "pktinfo6": (41, 49, "6"), "recvtclass": (41, 66, "6"), "recvhoplimit": (41, 51, "6"), "flowinfo": (41, 11, "6"),
    "pathmtu": (41, 60, "6"), "fragsize6": (41, 77, "6"), "origdst6": (41, 74, "6"), "gro": (17, 104, "46"), "timestamping": (1, 37, "46"),
}


@group
def recvmsg_control():
    for name, (level, option, families) in RECEIVED.items():
        for family, room in itertools.product(families, (0, 8, 16, 20, 24, 40, 128, "bad")):
            yield (f"v{family}-{name}-{room}",
                   opened(family, False) + [f"setopt 0 {level} {option} 1", arrives(family, 5), f"recvmsg 0 0x40 128 {room} 100",
                                            arrives(family, 1600), f"recvmsg 0 0x40 128 {room} 2000"] + rest())


@group
def recvmmsg():
    for family, count, vector, flags in itertools.product(FAMILIES, (0, 1, 3), ("-", "100", "100,100,100,100", "3,0,100", "100,b9,100"),
                                                          (0, DONTWAIT, WAITFORONE, WAITFORONE | PEEK, 1)):
        yield (f"v{family}-{count}-{vector}-{flags:#x}",
               opened(family, False) + [arrives(family, 5, count), f"recvmmsg 0 {flags} {vector} 20"] + rest())
    for limit in (-1, 0, 1, 30):
        yield f"limit-{limit}", opened("4", False) + [arrives("4", 5, 2), f"recvmmsg 0 0 9,9,9 {limit}"] + rest()


@group
def peer_sources():
    """From whom a socket takes datagrams: any, or the one that it is connected to."""
    for family, connected in itertools.product(FAMILIES, (True, False)):
        send = [arrives(family, 3, 2, source) for source in (0, 1, 2, 0)]
        yield (f"v{family}-{'connected' if connected else 'open'}",
               opened(family, connected) + send + ["recvfrom 0 100 0x40 128"] * 9)
        yield (f"v{family}-connect-{'again' if connected else 'late'}",
               opened(family, connected) + send + [f"connect 0 {PEER[family]} 7002"] + send + ["recvfrom 0 100 0x40 128"] * 17)
        yield (f"v{family}-disconnect-{connected}",
               opened(family, connected) + send + ["connect 0 unspec 0", "name 0"] + send + ["recvfrom 0 100 0x40 128"] * 17)


@group
def unreachable():
    """The peer's port is closed: ICMP comes back, and the next call has the error."""
    nexts = {"recv": "recv 0 100 0", "recv-dontwait": "recv 0 100 0x40", "peek": "recv 0 100 0x42",
             "errqueue": "recvmsg 0 0x2040 128 256 100",
             "send": "send 0 5 0", "error": "getopt 0 1 4 4", "sendmmsg": "sendmmsg 0 - 0 0 3,4", "recvmmsg": "recvmmsg 0 0x40 9,9 -1",
             "recvfrom": "recvfrom 0 100 0 16", "epoll": "epoll 0 5", "select": "select 0", "connect": "connect 0 unspec 0",
             "fionread": "ioctl 0 0x541b", "recvmmsg-0": "recvmmsg 0 0x40 - -1", "close": "close 0"}
    for family, (name, operation), recverr, bound in itertools.product(FAMILIES, nexts.items(), (0, 1), (0, 1)):
        level, option = ("0", "11") if family == "4" else ("41", "25")
        yield (f"v{family}-{name}{'-recverr' if recverr else ''}{'-bound' if bound else ''}",
               [f"socket 0 {family} 0", f"bind 0 {HERE[family]} {{p}}"][:1 + bound] + [f"connect 0 {PEER[family]} 7009"]
               + [f"setopt 0 {level} {option} 1"][:recverr]
               + ["send 0 5 0", "precv", "poll 0 1", operation, "epoll 0 5", "recv 0 9 0x40", "recvmsg 0 0x2040 128 256 100",
                  "getopt 0 1 4 4",
                  "recv 0 9 0x40", "recvmsg 0 0x2040 128 256 100", "epoll 0 5"])
    for family in FAMILIES:
        yield (f"v{family}-not-connected", opened(family, False) + [f"sendto 0 {PEER[family]} 7009 5 0", "precv", "epoll 0 1",
                                                                    "recv 0 9 0x40", to_peer(family, False, 3), "precv"])
        yield (f"v{family}-behind-data", [f"socket 0 {family} 0", f"bind 0 {HERE[family]} {{p}}"]
               + [arrives(family, 5, 2), f"connect 0 {PEER[family]} 7009", "send 0 5 0", "precv", "poll 0 8"]
               + ["recv 0 9 0x40"] * 4)


OPTIONS = {
    "SO_DEBUG": (1, 1), "SO_REUSEADDR": (1, 2), "SO_TYPE": (1, 3), "SO_ERROR": (1, 4), "SO_DONTROUTE": (1, 5), "SO_BROADCAST": (1, 6),
    "SO_SNDBUF": (1, 7), "SO_RCVBUF": (1, 8), "SO_KEEPALIVE": (1, 9), "SO_OOBINLINE": (1, 10), "SO_NO_CHECK": (1, 11),
    "SO_PRIORITY": (1, 12), "SO_LINGER": (1, 13), "SO_REUSEPORT": (1, 15), "SO_RCVLOWAT": (1, 18), "SO_SNDLOWAT": (1, 19),
    "SO_RCVTIMEO": (1, 20), "SO_SNDTIMEO": (1, 21), "SO_BINDTODEVICE": (1, 25), "SO_DETACH_FILTER": (1, 27), "SO_TIMESTAMP": (1, 29),
    "SO_ACCEPTCONN": (1, 30), "SO_SNDBUFFORCE": (1, 32), "SO_RCVBUFFORCE": (1, 33), "SO_TIMESTAMPNS": (1, 35), "SO_MARK": (1, 36),
    "SO_PROTOCOL": (1, 38), "SO_DOMAIN": (1, 39), "SO_RXQ_OVFL": (1, 40), "SO_PEEK_OFF": (1, 42), "SO_LOCK_FILTER": (1, 44),
    "SO_SELECT_ERR_QUEUE": (1, 45), "SO_BUSY_POLL": (1, 46), "SO_MAX_PACING_RATE": (1, 47), "SO_ZEROCOPY": (1, 60),
    "SO_PREFER_BUSY_POLL": (1, 69), "SO_77777": (1, 77777),
    "IP_TOS": (0, 1), "IP_TTL": (0, 2), "IP_RECVOPTS": (0, 6), "IP_RETOPTS": (0, 7), "IP_PKTINFO": (0, 8), "IP_MTU_DISCOVER": (0, 10),
    "IP_RECVERR": (0, 11), "IP_RECVTTL": (0, 12), "IP_RECVTOS": (0, 13), "IP_MTU": (0, 14), "IP_FREEBIND": (0, 15),
    "IP_TRANSPARENT": (0, 19), "IP_RECVORIGDSTADDR": (0, 20), "IP_MINTTL": (0, 21), "IP_NODEFRAG": (0, 22), "IP_CHECKSUM": (0, 23),
    "IP_BIND_ADDRESS_NO_PORT": (0, 24), "IP_RECVFRAGSIZE": (0, 25), "IP_RECVERR_RFC4884": (0, 26), "IP_MULTICAST_TTL": (0, 33),
    "IP_MULTICAST_LOOP": (0, 34), "IP_MULTICAST_ALL": (0, 49), "IP_UNICAST_IF": (0, 50), "IP_99": (0, 99),
    "IPV6_UNICAST_HOPS": (41, 16), "IPV6_MULTICAST_HOPS": (41, 18), "IPV6_MTU_DISCOVER": (41, 23), "IPV6_MTU": (41, 24),
    "IPV6_RECVERR": (41, 25), "IPV6_V6ONLY": (41, 26), "IPV6_RECVPKTINFO": (41, 49), "IPV6_RECVHOPLIMIT": (41, 51),
    "IPV6_DONTFRAG": (41, 62), "IPV6_RECVTCLASS": (41, 66), "IPV6_TCLASS": (41, 67), "IPV6_AUTOFLOWLABEL": (41, 70),
    "IPV6_MINHOPCOUNT": (41, 73), "IPV6_FREEBIND": (41, 78), "IPV6_FLOWINFO_SEND": (41, 33), "IPV6_99": (41, 199),
    "UDP_CORK": (17, 1), "UDP_ENCAP": (17, 100), "UDP_NO_CHECK6_TX": (17, 101), "UDP_NO_CHECK6_RX": (17, 102), "UDP_SEGMENT": (17, 103),
    "UDP_GRO": (17, 104), "UDP_99": (17, 99), "LEVEL_77": (77, 1),
}


@group
def options_read():
    for family, (name, (level, option)) in itertools.product(FAMILIES, OPTIONS.items()):
        reads = [f"getopt 0 {level} {option} {n}" for n in (4, 0, 1, 2, 3, 8, 16, 100, -1)]
        yield f"v{family}-{name}", opened(family) + reads + [f"getopt 0 {level} {option} 4 null", f"getopt 0 {level} {option} 4 bad"]


@group
def options_set():
    """An option and what it changes on the wire, in both directions."""
    for family, (name, (level, option)), value in itertools.product(FAMILIES, OPTIONS.items(), (0, 1, 2, 8, 255, 256, 1400, -1)):
        if name == "UDP_SEGMENT" and value in (1, 2):
            continue  # the capture sees the kernel's segments before they are cut: tx_options_test.py compares them
        yield (f"v{family}-{name}-{value}",
               opened(family) + [f"setopt 0 {level} {option} {value}", f"getopt 0 {level} {option} 4", "send 0 5 0x40", "precv",
                                 arrives(family, 6), "recvmsg 0 0x40 128 256 100", "setopt 0 17 1 0", "precv 0"])


@group
def options_set_lengths():
    for family, (name, (level, option)) in itertools.product(FAMILIES, OPTIONS.items()):
        sets = [f"setopt 0 {level} {option} 1 {n}" for n in (0, 1, 2, 3, 8, 16, 100, -1)]
        yield (f"v{family}-{name}", [f"socket 0 {family} 0"] + sets + [f"setopt 0 {level} {option} 1 4 null",
                                                                       f"setopt 0 {level} {option} 1 4 bad",
                                                                       f"getopt 0 {level} {option} 4"])


@group
def timeouts():
    for family, (seconds, micros) in itertools.product(FAMILIES, ((-1, 0), (0, 1), (0, 20000), (0, 999), (0, 1000000), (0, -1), (-1, 5))):
        yield (f"v{family}-{seconds}-{micros}", opened(family, False) + [f"timeout 0 {seconds} {micros}", "getopt 0 1 20 16", "recv 0 9 0",
                                                                         "recvmsg 0 0 128 0 9", "recvmmsg 0 0 9,9 30"])


@group
def binds():
    for family in FAMILIES:
        other = "6" if family == "4" else "4"
        targets = {"any-0": f"{ANY[family]} 0", "any": f"{ANY[family]} {{p}}", "here": f"{HERE[family]} {{p}}",
                   "here-0": f"{HERE[family]} 0",
                   "peers": f"{PEER[family]} {{p}}", "other-family": f"{HERE[other]} {{p}}", "null": "null 0", "bad": "bad 0",
                   "unspec": "unspec 0", "family77": "family77 1", "broadcast": "255.255.255.255 {p}", "multicast": "224.0.0.251 {p}",
                   "loopback": "127.0.0.1 {p}", "loopback6": "::1 {p}", "mapped": "::ffff:10.99.0.1 {p}", "low": f"{ANY[family]} 80"}
        use = ["name 0", f"sendto 0 {PEER[family]} 7001 5 0", "precv", f"psend 0 {HERE[family]} slot:0 4 2", "name 0", "poll 0 1",
               "recvfrom 0 100 0x40 128", "recvfrom 0 100 0x40 128", "recvfrom 0 100 0x40 128"]
        for name, target in targets.items():
            yield f"v{family}-{name}", [f"socket 0 {family} 0", f"bind 0 {target}", *use]
            yield f"v{family}-{name}-twice", [f"socket 0 {family} 0", f"bind 0 {target}", f"bind 0 {target}", "name 0"]
            two = [f"socket 0 {family} 0", f"socket 1 {family} 0", "setopt 0 1 {option} 1", f"bind 0 {target}", f"bind 1 {target}",
                   "setopt 1 1 {option} 1", f"bind 1 {target}", "name 1"]
            both = [arrives(family, 4), "recv 0 9 0x40", "recv 1 9 0x40"]
            # of a SO_REUSEPORT group either may get it
            for option, between in ((2, both), (15, [])):
                yield (f"v{family}-{name}-two-sockets-option-{option}",
                       [o.replace("{option}", str(option)) for o in two] + between + ["close 1", arrives(family, 4), "recv 0 9 0x40"])
        for length in (-1, 0, 1, 2, 8, 15, 16, 24, 27, 28, 29, 128, 129):
            yield f"v{family}-length-{length}", [f"socket 0 {family} 0", f"bind 0 {HERE[family]} {{p}} {length}", "name 0"]
        yield f"v{family}-unbound", [f"socket 0 {family} 0", *use]
        yield f"v{family}-unbound-name", [f"socket 0 {family} 0", "name 0", "peername 0", "poll 0 5", "recv 0 9 0x40"]


@group
def connects():
    targets = {"peer": "{peer} 7001", "port-0": "{peer} 0", "any": "{any} 7001", "closed": "{peer} 7009", "self": "{here} {{p}}",
               "unspec": "unspec 0", "null": "null 0", "bad": "bad 0", "family77": "family77 1", "broadcast": "255.255.255.255 7001",
               "multicast": "224.0.0.251 7001", "routed": "192.0.2.7 7001", "no-route": "203.0.113.1 7001", "loopback": "127.0.0.1 7001",
               "mapped": "::ffff:10.99.0.2 7001", "no-route6": "2001:db8::1 7001"}
    for family, (name, target), bound in itertools.product(("4", "6", "d"), targets.items(), (0, 1, 2)):
        f = "6" if family == "d" else family
        target = target.format(peer=PEER[f], any=ANY[f], here=HERE[f]).replace("{{", "{").replace("}}", "}")
        bind = [[], [f"bind 0 {ANY[f]} {{p}}"], [f"bind 0 {HERE[f]} {{p}}"]][bound]
        yield (f"v{family}-{name}-{('unbound', 'any', 'bound')[bound]}",
               [f"socket 0 {family} 0", *bind, f"connect 0 {target}", "name 0", "peername 0", "send 0 5 0", "precv",
                f"psend 0 {HERE[f]} slot:0 4 1", "recvfrom 0 100 0x40 128", "recvfrom 0 100 0x40 128", "connect 0 unspec 0", "name 0",
                "peername 0", "send 0 5 0", f"sendto 0 {PEER[f]} 7002 6 0", "precv"])
    for family, length in itertools.product(FAMILIES, (-1, 0, 1, 2, 8, 15, 16, 24, 27, 28, 29, 128, 129)):
        yield f"v{family}-length-{length}", opened(family, False) + [f"connect 0 {PEER[family]} 7001 {length}", "peername 0"]


@group
def names():
    for family, call, length in itertools.product(FAMILIES, ("name", "peername"), (-1, 0, 1, 2, 4, 8, 15, 16, 17, 24, 27, 28,
                                                                                   29, 128, "null")):
        yield f"v{family}-{call}-{length}", opened(family) + [f"{call} 0 {length}"]


@group
def dual_stack():
    for bound in ("::", "::ffff:10.99.0.1", "fd99::1", "-"):
        bind = [f"bind 0 {bound} {{p}}"] if bound != "-" else []
        for to in ("::ffff:10.99.0.2", "fd99::2", "10.99.0.2"):
            yield (f"{bound}-to-{to}", ["socket 0 d 0", *bind, f"sendto 0 {to} 7001 5 0", "precv", "name 0", "psend 0 10.99.0.1 slot:0 4 1",
                                        "psend 1 fd99::1 slot:0 5 1", *["recvfrom 0 100 0x40 128"] * 3, f"connect 0 {to} 7002", "name 0",
                                        "peername 0", "send 0 7 0", "precv", "psend 1 10.99.0.1 slot:0 4 1", "psend 1 fd99::1 slot:0 5 1",
                                        *["recvmsg 0 0x40 128 128 100"] * 3])
    yield ("one-family-after-the-other",
           ["socket 0 d 0", "bind 0 :: {p}", "connect 0 fd99::2 7001", "connect 0 ::ffff:10.99.0.2 7001", "name 0",
            "psend 0 fd99::1 {p} 4 2", "psend 0 10.99.0.1 {p} 4 2", *["recvfrom 0 100 0x40 128"] * 3, "send 0 5 0", "precv"])
    yield "beside-v4", ["socket 0 d 0", "socket 1 4 0", "bind 0 :: {p}", "bind 1 0.0.0.0 {p}", "close 0", "bind 1 0.0.0.0 {p}"]
    yield "only-beside-v4", ["socket 0 6 0", "socket 1 4 0", "bind 0 :: {p}", "bind 1 0.0.0.0 {p}", "psend 0 10.99.0.1 {p} 3 2",
                             "psend 0 fd99::1 {p} 4 2", *["recvfrom 0 9 0x40 128", "recvfrom 1 9 0x40 128"] * 3]


@group
def shutdowns():
    for family, how, connected in itertools.product(FAMILIES, (0, 1, 2, 3, -1), (True, False)):
        for data in (0, 2):
            yield (f"v{family}-{how}-{'connected' if connected else 'open'}-{data}",
                   opened(family, connected) + [arrives(family, 5, data)][:data] + [f"shutdown 0 {how}", "poll 0 1",
                                                                                    "epoll 0 0x2015", "select 0"]
                   + ["recv 0 9 0", "recv 0 9 0x40", "recv 0 9 0x40", to_peer(family, connected, 5), "precv", arrives(family,
                                                                                                                      3), "recv 0 9 0x40",
                      "recv 0 0 0x40", "recvmmsg 0 0x40 9,9 -1", "getopt 0 1 4 4", f"shutdown 0 {how}", "name 0", "peername 0",
                      f"connect 0 {PEER[family]} 7002", "send 0 6 0", "precv", "epoll 0 0x2015"])


@group
def readiness():
    for family, (call, asked), state in itertools.product(
            FAMILIES, (*(("epoll", e) for e in (0, 1, 4, 5, 2, 8, 0x2001, 0x40, 0x80000001, 0x40000001)),
                       *(("poll", e) for e in (0, 1, 4, 5, 2, 0x2001, 0x41)), ("select", 0)), ("empty", "data", "zero", "read", "closed")):
        before = {"empty": [], "data": [arrives(family, 5, 2)], "zero": [arrives(family, 0)],
                  "read": [arrives(family, 5), "recv 0 9 0x40"], "closed": ["close 0"]}[state]
        if state == "closed" and call == "select":
            continue
        yield f"v{family}-{call}-{asked:#x}-{state}", opened(family, False) + before + [f"{call} 0 {asked}", "recv 0 9 0x40",
                                                                                        f"{call} 0 {asked}"]


@group
def ioctls():
    for family, (name, request), data in itertools.product(
            FAMILIES, (("fionread", 0x541b), ("outq", 0x5411), ("siocgstamp", 0x8906), ("siocatmark", 0x8905), ("siocgpgrp", 0x8904),
                       ("unknown", 0x1234)), (None, 0, 5, 1500)):
        before = [] if data is None else [arrives(family, data), arrives(family, 9)]
        yield f"v{family}-{name}-{data}", opened(family, False) + before + [f"ioctl 0 {request}", f"ioctl 0 {request} bad",
                                                                            "recv 0 2000 0x40",
                                                                            f"ioctl 0 {request}"]
    for family, verb, value in itertools.product(FAMILIES, ("nonblock", "fionbio"), (0, 1)):
        yield f"v{family}-{verb}-{value}", opened(family, False, 1 - value) + [f"{verb} 0 {value}",
                                                                               "nonblock 0 " + str(value), "recv 0 9 0"][
            :3 if value else 2]


@group
def closed():
    calls = ["bind 0 10.99.0.1 {q}", "connect 0 10.99.0.2 7001", "send 0 5 0", "sendto 0 10.99.0.2 7001 5 0", "sendmsg 0 - 0 0 - 5",
             "sendmmsg 0 - 0 0 5", "recv 0 9 0", "recvfrom 0 9 0 16", "recvmsg 0 0 16 0 9", "recvmmsg 0 0 9 -1", "setopt 0 1 2 1",
             "getopt 0 1 2 4", "shutdown 0 2", "ioctl 0 0x541b", "nonblock 0 1", "name 0", "peername 0", "close 0", "poll 0 5", "epoll 0 1"]
    for family, call in itertools.product(FAMILIES, calls):
        yield f"v{family}-{call.split()[0]}", opened(family) + ["send 0 5 0", "precv", "close 0", call]
    for family in FAMILIES:
        yield f"v{family}-reopened", opened(family) + [arrives(family, 5, 2), "close 0", arrives(family, 6), *opened(family, False),
                                                       arrives(family, 7, 2), "recv 0 9 0x40", *rest()]


@group
def pointers():
    for family, there, kind in itertools.product(FAMILIES, (0, 2), ("null", "bad", "gone")):
        before = opened(family) + [arrives(family, 5, there)][:there]
        for length in (0, 5):
            yield f"v{family}-{there}-recv-{kind}-{length}", before + [f"recv 0 {length} 0x40 {kind}"] + rest()
            yield (f"v{family}-{there}-send-{kind}-{length}",
                   before + [f"send 0 {length} 0 {kind}", "precv", "send 0 4 0", "precv"])


@group
def fragments():
    """Datagrams longer than the MTU take the kernel path: order with those that fit."""
    for family, lengths in itertools.product(FAMILIES, ((2000, 5), (5, 2000), (5, 2000, 6), (2000, 5, 9000, 6, 65000, 7))):
        yield (f"v{family}-from-peer-{'-'.join(map(str, lengths))}",
               opened(family, False) + [arrives(family, n) for n in lengths[:1]] + ["recvfrom 0 66000 0x40 128"]
               + [o for n in lengths[1:] for o in (arrives(family, n), "recvfrom 0 66000 0x40 128")] + rest())
        yield (f"v{family}-to-peer-{'-'.join(map(str, lengths))}",
               opened(family) + [o for n in lengths for o in (f"send 0 {n} 0", "precv")])


@group
def order():
    """Datagrams that wait while the socket changes."""
    changes = {"pktinfo": "setopt 0 0 8 1", "ttl": "setopt 0 0 2 9", "connect": "connect 0 {peer} 7001", "disconnect": "connect 0 unspec 0",
               "shutdown": "shutdown 0 1", "rcvbuf": "setopt 0 1 8 4096", "peek-off": "setopt 0 1 42 0", "reuseport": "setopt 0 1 15 1"}
    for family, (name, change) in itertools.product(FAMILIES, changes.items()):
        yield (f"v{family}-{name}", opened(family, False) + [arrives(family, 3), arrives(family, 4), change.format(peer=PEER[family]),
                                                             arrives(family, 5), arrives(family, 6)] + ["recv 0 100 0x40"] * 5)


@group
def descriptors():
    """Shim only: calls on the program's own descriptor that the library does not have."""
    for family in FAMILIES:
        data = [arrives(family, 5, 3)]
        yield f"v{family}-read", opened(family) + data + ["read 0 100", "read 0 3", "read 0 0"] + rest()
        yield f"v{family}-write", opened(family) + ["write 0 5", "precv", "write 0 0", "precv", "write 0 2000", "precv"]
        yield f"v{family}-readv", opened(family) + data + ["readv 0 2,2,9", "readv 0 0,9", "readv 0 -"] + rest()
        yield f"v{family}-writev", opened(family) + ["writev 0 2,3", "precv", "writev 0 0,0", "precv", "writev 0 -", "precv"]
        yield f"v{family}-dup", opened(family) + data + ["dup 1 0", "recv 1 9 0x40", "recv 0 9 0x40", "close 0",
                                                         "recv 1 9 0x40", "send 1 5 0",
                                                         "precv", arrives(family, 4), "poll 1 1", "read 1 9", "name 1",
                                                         "close 1", "recv 1 9 0"]
        yield f"v{family}-read-blocks", opened(family) + ["read 0 9", "readv 0 9", "nonblock 0 1", "read 0 9", "readv 0 9"]


SHIM_ONLY = ("descriptors",)

assert socket.SO_REUSEPORT == 15, "the options' numbers are those of x86-64 and arm64"
