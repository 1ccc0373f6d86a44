# SPDX-License-Identifier: Apache-2.0
"""Where an accelerated socket may differ from a plain one, and why. docs/differences.md says the same to users."""
import re
import select

READING = select.POLLIN | select.POLLPRI | select.POLLERR | select.POLLHUP | 0x2000  # POLLRDHUP


def events(way, asked, seen):
    """What poll and epoll show where the plain socket shows seen. API: the descriptor is not the kernel's, and shows reading only."""
    if way != "api" or seen & 0x20:  # POLLNVAL
        return seen
    return select.POLLIN if asked & select.POLLIN and seen & READING else 0


class Rule:
    """matches(operation's words, plain lines, accelerated lines); ends: what follows is not comparable"""

    def __init__(self, name, why, matches, ways=("api",), ends=False):
        self.name, self.why, self.matches, self.ways, self.ends = name, why, matches, ways, ends


def readiness(words, plain, fast):
    if words[0] not in ("poll", "epoll"):
        return False
    a, b = (int(line[-1].split()[-1], 0) for line in (plain, fast))
    return b == events("api", int(words[2], 0), a)


def selected(words, plain, fast):
    """select(2) counts errors as readable, and never writable."""
    if words[0] != "select":
        return False
    a, b = (re.findall(r"(?:in|out|err) (\d)", line[-1]) for line in (plain, fast))
    return len(a) == len(b) == 3 and a[0] == b[0] and b[1:] == ["0", "0"]


def segv(words, plain, fast):
    return "EFAULT" in plain[-1] and fast[-1].endswith("SIGSEGV")


def same_error(words, plain, fast):
    """The same errno, and only what stands in a buffer whose datagram is lost anyway differs."""
    cut = [re.sub(r" data \w+", "", line[-1]) for line in (plain, fast)]
    return words[0].startswith("recv") and cut[0] == cut[1] and (" EFAULT" in cut[0] or " EINVAL" in cut[0])


def later_buffer(words, plain, fast):
    """A buffer that the datagram does not reach."""
    return words[0] == "recvmsg" and "," in words[5] and "n" in words[5] and " EFAULT" in fast[-1]


def two_paths(words, plain, fast):
    """Fragments overtake what waits in the ring, or are overtaken."""
    return words[0] == "precv" and sorted(plain) == sorted(fast) and any(" more 1 " in line for line in plain)


def error_later(words, plain, fast):
    """ICMP errors are the kernel socket's, data may be the ring's: data that has arrived before comes first."""
    return words[0].startswith("recv") and " ECONNREFUSED" in plain[-1] and fast[-1].split()[1].isdigit()


def stamp(words, plain, fast):
    return words[0] == "ioctl" and words[2] == str(0x8906)


class Words(list):
    """Of the operation; before: the operations before it."""


def kept_error(words, plain, fast):
    """Readiness differs in POLLERR, and POLLIN in its place, after an error that the library keeps until the next call."""
    if words[0] not in ("poll", "epoll") or not any(o.startswith(("recvmmsg", "connect")) for o in words.before):
        return False
    a, b = (int(line[-1].split()[-1], 0) for line in (plain, fast))
    return a & 8 and (a ^ b) & ~9 == 0


def just_bound(words, plain, fast):
    """Two SO_REUSEADDR sockets on one address: the one bound last has it all, here not at once."""
    binds = [o.split()[2:] for o in words.before if o.startswith("bind ")]
    return words[0].startswith("recv") and len(binds) > len({tuple(b) for b in binds}) and any(" 1 2 1" in o for o in words.before)


RULES = [
    Rule("reading-only", "the descriptor is an epoll instance, which shows reading only", readiness),
    Rule("select-reading-only", "the same by select(2)", selected),
    Rule("segv", "the process itself copies, so that memory that is not mapped raises SIGSEGV", segv, ends=True),
    Rule("same-error", "a datagram that is lost by a bad address is not copied before", same_error, ways=("api", "shim")),
    Rule("later-buffer", "a bad buffer behind the end of the datagram is found before", later_buffer, ways=("api", "shim"), ends=True),
    Rule("two-paths", "what is longer than the MTU goes by the kernel, and is not in order with the rest", two_paths, ways=("api", "shim")),
    Rule("error-later", "an ICMP error is returned after the data in the ring", error_later, ways=("api", "shim"), ends=True),
    Rule("kept-error", "an error that the library keeps for the next call is not POLLERR of the kernel's descriptor", kept_error,
         ways=("shim",)),
    Rule("just-bound", "a socket that shares an address by SO_REUSEADDR gets its datagrams a moment after bind, since most connect then",
         just_bound, ways=("api", "shim"), ends=True),
    Rule("siocgstamp", "the kernel does not see when datagrams of the fast path come", stamp, ways=("api", "shim")),
]


def rule(way, operations, plain, fast):
    """The rule for a difference at the last of the operations, or None."""
    words = Words(operations[-1].split())
    words.before = operations[:-1]
    for r in RULES:
        if way in r.ways and r.matches(words, plain, fast):
            return r
    return None
