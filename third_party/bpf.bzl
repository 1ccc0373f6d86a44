# SPDX-License-Identifier: Apache-2.0
"""BPF programs, compiled by clang and embedded as libbpf skeletons."""

def bpf_skeleton(name, src, hdrs = [], copts = [], visibility = None):
    """Compiles `src` for the BPF machine and wraps it as cc_library `name`, header "<package>/<name>.skel.h".

    Args:
      name: also the skeleton's: struct `name`, `name__open()`, `name__load()`, `name__attach()`, `name__destroy()`.
      src: one .bpf.c file. It may include <bpf/bpf_helpers.h>, the kernel's <linux/*.h>, and `hdrs`.
      hdrs: header files (labels of files) that it includes, by their path from the workspace or from include/.
      copts: more flags for clang.
      visibility: as usual.
    """
    native.genrule(
        name = name + "_object",
        srcs = [src] + hdrs,
        outs = [name + ".bpf.o"],
        # v3: compare and swap (Linux 5.12). Without BPF's own header path clang misses <asm/types.h>. `gen object` drops DWARF and keeps BTF.
        cmd = " ".join([
            "clang -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror -fno-stack-protector",
            "-idirafter /usr/include/$$(cc -print-multiarch) -I. -Iinclude -I$(GENDIR)",
            "-ffile-prefix-map=$$PWD=.",
            " ".join(copts),
            "-c $(location %s) -o $@.dwarf" % src,
            "&& /usr/sbin/bpftool gen object $@ $@.dwarf && rm -f $@.dwarf",
        ]),
        message = "Compiling BPF program",
        visibility = visibility,
    )
    native.genrule(
        name = name + "_header",
        srcs = [name + ".bpf.o"],
        outs = [name + ".skel.h"],
        cmd = "/usr/sbin/bpftool gen skeleton $< name %s > $@" % name,
        message = "Generating BPF skeleton",
    )
    native.cc_library(
        name = name,
        hdrs = [name + ".skel.h"],
        visibility = visibility,
        deps = ["//third_party:libbpf"],
    )
