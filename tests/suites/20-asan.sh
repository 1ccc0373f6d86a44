# SPDX-License-Identifier: Apache-2.0
title_asan="unit tests under AddressSanitizer, LeakSanitizer and UBSan"
suite_asan() { bazel_suite asan "-no-asan,-xdp" //...; }
