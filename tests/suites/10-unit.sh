# SPDX-License-Identifier: Apache-2.0
title_unit="unit tests, as shipped (gcc -O2)"
suite_unit() { bazel_suite "" "-xdp" //...; }
