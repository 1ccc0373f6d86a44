# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_asan="unit tests under AddressSanitizer, LeakSanitizer and UBSan"
suite_asan() { bazel_suite asan "-no-asan,-xdp" //...; }
