# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_debian="on Debian's own kernel, with IPVS, bonds and all capabilities, in a QEMU guest"
suite_debian() { UDPLANE_TEST_TIMEOUT=${UDPLANE_VFIO_TIMEOUT:-900} script_suite tests/debian/kernel_test.py; }
