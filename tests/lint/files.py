#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The files that the checks are about, by kind.

tests/lint/files.py KIND   prints them, one a line: c, shell, python, man, build, source (all that carry a licence line), text
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What is made or taken from elsewhere: images, papers, inputs of fuzzers. Bazel's links go by their name.
SKIPPED_FOLDERS = (".git", "images", "__pycache__", "papers", "corpus")
SHELLS = ("sh", "bash", "dash")


def everything():
    for folder, folders, names in os.walk(ROOT):
        at_top = folder == ROOT
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS and not (at_top and f.startswith("bazel-")))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield os.path.relpath(path, ROOT)


def interpreter(path):
    """sh of "#!/bin/sh", bash of "#!/usr/bin/env bash"; "" of a file that is no script."""
    with open(os.path.join(ROOT, path), "rb") as f:
        line = f.readline(128)
    if not line.startswith(b"#!"):
        return ""
    words = line[2:].decode(errors="replace").split()
    return os.path.basename(words[-1]) if words else ""


def is_c(path):
    return path.endswith((".c", ".h", ".cc"))


def is_shell(path):
    return path.endswith(".sh") or interpreter(path) in SHELLS


def is_python(path):
    return path.endswith(".py") or interpreter(path).startswith("python")


def is_man(path):
    return path.startswith("docs/man/") and path[-2:] in (".3", ".7", ".1", ".8")


def is_build(path):
    return os.path.basename(path) in ("BUILD.bazel", "WORKSPACE") or path.endswith(".bzl")


def is_source(path):
    return is_c(path) or is_shell(path) or is_python(path) or is_build(path)


def is_text(path):
    with open(os.path.join(ROOT, path), "rb") as f:
        return b"\0" not in f.read(4096)


KINDS = {"c": is_c, "shell": is_shell, "python": is_python, "man": is_man, "build": is_build, "source": is_source, "text": is_text}


def files(kind):
    return [path for path in everything() if KINDS[kind](path)]


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: tests/lint/files.py {'|'.join(KINDS)}")
    print("\n".join(files(sys.argv[1])))
