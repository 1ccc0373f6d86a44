# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_tsan="tests of shared memory under ThreadSanitizer"
suite_tsan() { bazel_suite tsan "tsan" //...; }
