# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_unit="unit tests, as shipped (gcc -O2)"
suite_unit() { bazel_suite "" "-xdp" //...; }
