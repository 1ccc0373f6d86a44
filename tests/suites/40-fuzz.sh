# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_fuzz="libFuzzer on every parser, ${UDPLANE_FUZZ_SECONDS:-20} s each"
suite_fuzz() { fuzz_suite; }
