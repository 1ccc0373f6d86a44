#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks of the tree's own rules, which no common linter knows.

tests/lint/structure.py CHECK   prints each finding and how to mend it; the exit status is 1 if there is one
"""
import os
import re
import sys

from files import ROOT, files, interpreter, is_c, is_python

COLUMNS = 100
TAB = 8
LICENCE = "SPDX-License-Identifier: Apache-2.0"
# A BPF program's licence must be one that the kernel lets call its helpers; the header that it shares goes with it.
LICENCES = (LICENCE, LICENCE + " OR GPL-2.0-only")
# Which top-level folders the files of one may include. Of the injector only, deploy/ includes the configuration's parsers.
MAY_INCLUDE = {
    "include": ("include",),
    "sidecar": ("sidecar", "include"),
    "client": ("client", "include"),
    "deploy": ("deploy", "include", "sidecar/base", "sidecar/config"),
}
NO_CODE = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
EXTERN_FUNCTION = re.compile(r"^(?!static\b|typedef\b|#)[A-Za-z_][\w ]*[ *]+(\w+)\([^;{}]*\)\n\{", re.M)
STATIC_FUNCTION = re.compile(r"^static\b[^;{}=]*?\b(\w+)\([^;{}]*\)\n\{", re.M)
CALL = re.compile(r"(?<![\w.>])(\w+)\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def lines_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read().split("\n")


def resolve(path, name):
    """Returns the file of this tree that an #include names, or None."""
    for found in (name, os.path.join("include", name), os.path.join(os.path.dirname(path), name)):
        found = os.path.normpath(found)
        if os.path.isfile(os.path.join(ROOT, found)):
            return found
    return None


def includes():
    """{file: [(line, included file of this tree)]}"""
    graph = {}
    for path in files("c"):
        graph[path] = []
        for number, line in enumerate(lines_of(path), 1):
            match = INCLUDE.match(line)
            target = match and resolve(path, match.group(2))
            if target:
                graph[path].append((number, target))
    return graph


# --- checks: each yields (path, line, what, how to mend it) ---


def check_cycles():
    graph, state = includes(), {}

    def visit(path, way):
        state[path] = "open"
        for number, target in graph.get(path, ()):
            if state.get(target) == "open":
                circle = way[way.index(target):] + [target]
                yield (path, number, "a circle of #include: " + " -> ".join(circle),
                       "declare the struct instead of including its header, or move what both need into a third header")
            elif target not in state:
                yield from visit(target, way + [target])
        state[path] = "done"

    for start in graph:
        if start not in state:
            yield from visit(start, [start])


def call_graph():
    """{folder: {.c file: {.c file of the same folder: a function of it that the first calls}}}. By the text alone: a definition
    begins in the first column, a call is a name before a bracket, and what is called by a pointer is no call."""
    text, defined, graph = {}, {}, {}
    for path in files("c"):
        if path.endswith(".c"):
            text[path] = NO_CODE.sub(" ", "\n".join(lines_of(path)))
            for name in EXTERN_FUNCTION.findall(text[path]):
                defined.setdefault((os.path.dirname(path), name), []).append(path)
    for path, code in text.items():
        folder = os.path.dirname(path)
        calls = graph.setdefault(folder, {}).setdefault(path, {})
        for name in set(CALL.findall(code)) - set(STATIC_FUNCTION.findall(code)):
            where = defined.get((folder, name), ())
            if len(where) == 1 and where[0] != path:
                calls[where[0]] = min(name, calls.get(where[0], name))
    return graph


def circle_in(calls):
    """The files of one circle, the first of them again at the end; None."""
    done = set()

    def visit(path, way):
        for target in sorted(calls[path]):
            if target in way:
                return way[way.index(target):] + [target]
            if target not in done:
                found = visit(target, way + [target])
                if found:
                    return found
        done.add(path)
        return None

    for start in sorted(calls):
        circle = start not in done and visit(start, [start])
        if circle:
            return circle
    return None


def check_circles():
    for calls in call_graph().values():
        circle = circle_in(calls)
        if circle:
            steps = [f"{a} calls {calls[a][b]}() of {os.path.basename(b)}" for a, b in zip(circle, circle[1:])]
            yield (circle[0], 1, "a circle of calls: " + "; ".join(steps),
                   "move what both need into a file below them, or pass a function")


def check_sides():
    for path, targets in includes().items():
        allowed = MAY_INCLUDE.get(path.split("/")[0])
        for number, target in targets:
            if allowed and not any(target.startswith(folder + "/") for folder in allowed):
                yield (path, number, f"includes {target}",
                       f"{path.split('/')[0]}/ may include {', '.join(allowed)}; what several sides need belongs in include/")


def licence_line(path, text):
    """How the licence line reads in this file: one form for each language."""
    if path.endswith(".cc"):
        return "// " + text
    return f"/* {text} */" if is_c(path) else "# " + text


def check_licence():
    for path in files("source"):
        lines = lines_of(path)
        at = 1 if lines[0].startswith("#!") else 0
        if len(lines) <= at or lines[at] not in [licence_line(path, text) for text in LICENCES]:
            has_one = any("SPDX-License-Identifier" in line for line in lines[:3])
            if has_one and is_c(path) and not switched_on("format"):
                continue  # tests/lint/format rewrites it
            yield (path, at + 1, "another licence line" if has_one else "no licence line",
                   f'write "{licence_line(path, LICENCE)}" here; tests/lint/format does so for an existing one of C and C++')


def breakable(lines):
    """(number, line) of those that clang-format may break: not its "off" regions, and no raw strings."""
    off = raw = False
    for number, line in enumerate(lines, 1):
        off = (off or "clang-format off" in line) and "clang-format on" not in line
        was_raw = raw
        for mark in re.findall(r'R"\w*\(|\)\w*"', line):
            raw = mark.startswith("R")
        if not (off or raw or was_raw or 'R"' in line):
            yield number, line


def check_width():
    for path in files("c"):
        for number, line in breakable(lines_of(path)):
            width = len(line.expandtabs(TAB))
            if width > COLUMNS:
                yield (path, number, f"{width} columns, {COLUMNS} are allowed",
                       "break the line: tests/lint/format does, but for long strings and what clang-format must not touch")


def check_packages():
    for path in files("build"):
        text = "\n".join(lines_of(path))
        if os.path.basename(path) == "BUILD.bazel" and "default_visibility" not in text:
            yield (path, 1, "no default visibility", "add package(default_visibility = [...]) behind the load() lines")


def check_scripts():
    for path in files("source"):
        runs = os.access(os.path.join(ROOT, path), os.X_OK)
        if runs and not interpreter(path):
            yield (path, 1, "executable, but has no #! line", "chmod -x, or add the line")
        elif not runs and interpreter(path):
            yield (path, 1, "has a #! line, but is not executable", "chmod +x, or remove the line")
        if is_python(path) and "\t" in "".join(lines_of(path)):
            number = next(i for i, line in enumerate(lines_of(path), 1) if "\t" in line)
            yield (path, number, "a tab in Python", "four spaces, or \\t in a string")


def switched_on(check):
    """Checks that the tree does not pass yet are named in tests/lint/off."""
    path = os.path.join(ROOT, "tests/lint/off")
    return not os.path.exists(path) or check not in [line.split("#")[0].strip() for line in lines_of("tests/lint/off")]


CHECKS = {name[len("check_"):]: check for name, check in list(globals().items()) if name.startswith("check_")}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in CHECKS:
        sys.exit(f"usage: tests/lint/structure.py {'|'.join(CHECKS)}")
    found = 0
    for path, number, what, mend in CHECKS[sys.argv[1]]():
        print(f"{path}:{number}: {what}\n    {mend}")
        found += 1
    return found > 0


if __name__ == "__main__":
    sys.exit(main())
