# SPDX-License-Identifier: Apache-2.0
"""How to compile a file that includes DPDK's headers: `copts = DPDK_COPTS`, `deps = ["//third_party:dpdk"]`."""

# What `pkg-config --cflags libdpdk` prints on Debian 12. The rest of udplane is compiled for the baseline processor, so keep
# these to the files that need them.
DPDK_COPTS = select({
    "//third_party:aarch64": [
        "-isystem/usr/include/dpdk",
        "-isystem/usr/include/aarch64-linux-gnu/dpdk",
        "-include",
        "rte_config.h",
        "-march=armv8-a+crc",
    ],
    "//conditions:default": [
        "-isystem/usr/include/dpdk",
        "-isystem/usr/include/x86_64-linux-gnu/dpdk",
        "-include",
        "rte_config.h",
        "-march=corei7",
    ],
})
