# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_xdp="the XDP program in the kernel (BPF_PROG_TEST_RUN)"
suite_xdp() { bazel_suite "" "xdp" --build_tests_only //...; }
