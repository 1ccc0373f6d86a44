# SPDX-License-Identifier: Apache-2.0
title_fuzz="libFuzzer on every parser, ${UDPLANE_FUZZ_SECONDS:-20} s each"
suite_fuzz() { fuzz_suite; }
