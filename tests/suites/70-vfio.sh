# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_vfio="a NIC on vfio-pci behind an IOMMU, in QEMU guests"
suite_vfio() { UDPLANE_TEST_TIMEOUT=${UDPLANE_VFIO_TIMEOUT:-900} script_suite tests/vfio/vfio_test.py; }
