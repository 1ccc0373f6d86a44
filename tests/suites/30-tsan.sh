# SPDX-License-Identifier: Apache-2.0
title_tsan="tests of shared memory under ThreadSanitizer"
suite_tsan() { bazel_suite tsan "tsan" //...; }
