#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `udplane-injector patch` writes means the same as what it read, and the sidecar. PyYAML, another implementation, judges: it
resolves every node's tag, and keeps the order of keys."""
import glob
import os
import subprocess
import sys

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, ROOT, case, run

INJECTOR = os.path.join(BIN, "deploy", "injector", "udplane-injector")
CORPUS = os.path.join(ROOT, "tests", "unit", "injector", "corpus")
POD = """\
metadata: {name: p, annotations: {udplane.io/ports: '53'}}
kind: Pod
spec:
  containers:
  - {name: a, env: }
"""
NULL = "tag:yaml.org,2002:null"
PRELOAD = "/run/udplane/lib/libudplane-preload.so"

# Each is a document next to a pod that is injected. Those of the second list are refused with a reason.
NASTY = [
    # Scalars that quotes or their absence decide.
    "[1, '1', \"1\", 0x1F, 0o17, 0644, '0644', 1_000, +1, -1, .5, 1., 1e3, 1.5e+3, .inf, -.Inf, .NaN, '.nan']",
    "[yes, 'yes', No, on, off, y, n, true, 'true', TRUE, null, 'null', ~, '~', '', Null, NULL, nUlL]",
    "{a: 12:30, b: 190:20:30, c: 2001-12-14, d: 2001-12-14t21:59:43.10-05:00, e: '2001-12-14', f: 12:30:45.5}",
    "{12:30: a, 1: b, '1': c, yes: d, 'yes': e, ~: f, 2001-01-01: g, '=': h}",
    "a:\nb: ~\nc: ''\nd: \"\"\ne:\n- \n-\n- ''\n- ~\n",
    "{a: , b: [], c: {}, d: [[]], e: [{}]}",
    "[a: b, {c: d}, e]",
    "9007199254740993",
    "[123456789012345678901234567890, 0.1, 1.10, 1.0, 1e400]",
    # Tags.
    "[!!str 5, !!str yes, !!str 'a', !!int '5', !!float 1, !!null '', !!bool 'yes', ! 5, ! yes, ! 'x']",
    "!!map {a: !!seq [b], c: !!str '' }",
    "- !!binary aGk=\n- !!str\n- !!null\n- !!str # a comment\n",
    "{a: !local x, b: !local {c: d}, c: !local [e], d: !<tag:example.com,2000:x> y}",
    "!!set {a, b}",
    # Block scalars.
    "a: |\n  x\n\n   y\n  z\nb: |-\n  x\nc: |+\n  x\n\n\nd: >\n  folded\n  line\n\n  more\n    indented\n  end\ne: >-\n  x\n  y\n",
    "a: |2\n    two more\n  x\nb: |\n\n  leading\nc: |1\n \n  x\n",
    "a: |\n  tab\there\n  trailing  \n  \tindented by a tab\nb: >+\n\n  x\n\n",
    "|+\n  last\n\n",
    "- |\n for (;;) {\n }\n- '# no comment'\n- \"a: b # c\"\n- a#b\n- 'x: y'\n- http://example.com:80/#f\n",
    "a: \"\"\nb: |\n  \nc: |+\n\nd: >+\n\n",
    # Strings over several lines, escapes, all of Unicode.
    "a: plain\n  over\n\n  lines\nb: 'single\n  quoted\n\n  lines'\n"
    "c: \"double \\\n  quoted\n\n  lines \\n \\t \\x07 \\u263a \\U0001F600\"\n",
    "[\"\\0\", \"\\e[1m\", \"\\N\", \"\\_\", \"\\L\", \"\\P\", \"\\r\\n\", \" lead\", 'trail ', \"\\\\\", '''', \"\\\"\"]",
    "[\u00fc\u00f1\u00ef, \u65e5\u672c\u8a9e, '\U0001F600', a\u00a0b, '\u2028', \"\u0085\"]",
    "? a long key " + "k" * 200 + "\n: v\n'quoted': w\n\"a\\nb\": x\n? |\n  block key\n: y\n",
    "[-, '-', -a, '- a', --- a, '---', ..., '?', ?a, ':', ':a', '*a', '&a', '!a', '%a', '@a', '`a', '#a', a b, '{', '[', ']']",
    "- - - a\n    - b\n  - - c\n-\n  - d\n",
    # Anchors, aliases and merge keys in a document that is not ours.
    "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\nf: &y [1, *x]\ng: *y\nh: &z\ni: *z\nj: &s 'str'\nk: *s\n",
    "[&a 1, &b '1', *a, *b, &c 2, *c]",
    "&root {a: *root}",
    # Layout that no tool writes.
    "{a: {b: {c: [1, {d: [2,\n 3]}]}}}   # end",
    "\n\n# only a comment before\n\na:    1\nb:\n      c:  2\n",
    "",
    "plain",
    "''",
]
REFUSED = {
    "? [a]\n: b": "a key that is no string",
    "? \n: empty key": "a key that is no string",
    "a: !": "a tag \"!\" before nothing",
    "a: *nowhere": "an alias (*name) without its anchor (&name)",
    "[" * 300 + "]" * 300: "nested too deeply",
    "a: [1": "line ",
    "a: 1\n b: 2": "line ",
    "a: \"\\q\"": "line ",
    "\ta: 1": "line ",
}


def patch(text):
    ran = subprocess.run([INJECTOR, "patch"], input=text.encode("utf-8", "surrogatepass"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         timeout=60)
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


def patched(text):
    status, out, err = patch(text)
    assert status == 0, err
    return out


class Comparison:
    """Whether two graphs of nodes mean the same; with `more`, the second may have members, items, lists in place of nulls, and the
    library in front of a value, too."""

    def __init__(self, more=False):
        self.more, self.seen = more, {}

    def same(self, a, b):
        if self.more and a.tag == NULL and not isinstance(b, yaml.ScalarNode):
            return True
        if type(a) is not type(b) or a.tag != b.tag:
            return False
        if isinstance(a, yaml.ScalarNode):
            return a.value == b.value or a.tag == NULL or (self.more and b.value == ":".join(filter(None, (PRELOAD, a.value))))
        if id(a) in self.seen:
            return self.seen[id(a)] is b
        self.seen[id(a)] = b
        rest = iter(b.value)
        for x in a.value:
            found = self.found(x, rest) if self.more else self.pair(x, next(rest, None))
            if not found:
                del self.seen[id(a)]
                return False
        return self.more or next(rest, None) is None

    def found(self, x, rest):
        return any(self.pair(x, y) for y in rest)

    def pair(self, x, y):
        if y is None:
            return False
        return self.same(x[0], y[0]) and self.same(x[1], y[1]) if isinstance(x, tuple) else self.same(x, y)


def documents(text):
    return list(yaml.compose_all(text, Loader=yaml.SafeLoader))


def expect_same(before, after, what, more=False):
    assert len(before) == len(after), (what, len(before), len(after))
    for a, b in zip(before, after):
        assert a is b is None or Comparison(more).same(a, b), f"{what}\n--- was\n{yaml.serialize(a)}--- is\n{yaml.serialize(b)}"


@case
def nasty_documents_beside_a_pod():
    for nasty in NASTY:
        text = f"{POD}---\n{nasty}\n"
        before = documents(text)
        out = patched(text)
        after = documents(out)
        assert "UDPLANE_SOCKET" in out, out
        expect_same(before[1:], after[1:], repr(nasty))
        expect_same(before[:1], after[:1], repr(nasty), more=True)
        # Once more, from what it wrote itself.
        again = documents(patched(f"{POD}---\n" + out.split("\n---", 1)[1].lstrip("\n")))
        expect_same(before[1:], again[1:], "again: " + repr(nasty))
    print(f"{len(NASTY)} documents")


@case
def nasty_values_in_the_pod_itself():
    """As an annotation's value and as a container's argument; aliases are refused there."""
    count = 0
    for nasty in NASTY:
        value = nasty if nasty.strip() else "~"
        lines = "\n".join("    " + line if line.strip() else "" for line in value.split("\n"))
        text = f"x:\n{lines}\n{POD}"
        try:
            before = documents(text)
        except yaml.YAMLError:
            continue   # no value of a key
        count += 1
        if "*" in nasty and "&" in nasty and "'*a'" not in nasty:
            status, out, err = patch(text)
            assert status == 1 and not out and "aliases (*name)" in err, (nasty, err)
            continue
        expect_same(before, documents(patched(text)), repr(nasty), more=True)
    print(f"{count} values")
    assert count > len(NASTY) * 2 // 3


@case
def what_it_cannot_keep_is_refused():
    for nasty, why in REFUSED.items():
        status, out, err = patch(f"{POD}---\n{nasty}\n")
        assert status == 1 and out == "" and why in err, (nasty, status, err)


@case
def corpus():
    files = [f for folder in ("pods", "workloads") for f in glob.glob(os.path.join(CORPUS, folder, "*"))]
    for file in files:
        with open(file, newline="") as f:
            text = f.read()
        out = patched(text)
        assert "UDPLANE_SOCKET" in out, file
        expect_same(documents(text), documents(out), file, more=True)
        assert patched(out) == out, file   # and nothing a second time
    print(f"{len(files)} files")
    assert len(files) > 15


@case
def examples():
    """What we show is taken, and injected; of unmodified servers, only the container that is named has the library."""
    files = glob.glob(os.path.join(ROOT, "deploy", "examples", "*.yaml"))
    for file in files:
        with open(file) as f:
            text = f.read()
        # The node's DaemonSet, which a pod with hostNetwork needs, is not on by default.
        out = patched(text.replace("hostNetwork: true", "hostNetwork: false"))
        expect_same(documents(text.replace("hostNetwork: true", "hostNetwork: false")), documents(out), file, more=True)
        assert "UDPLANE_SOCKET" in out, file
        assert out.count(PRELOAD) == text.count("udplane.io/preload: "), file
    assert any("preload" in file for file in files) and len(files) >= 3, files


@case
def nothing_to_inject_changes_nothing():
    for nasty in NASTY:
        text = f"# a comment\n{nasty}\n"
        assert patched(text) == text, nasty


run()
