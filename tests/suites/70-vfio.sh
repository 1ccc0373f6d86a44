# SPDX-License-Identifier: Apache-2.0
# SPDX-License-Identifier: Apache-2.0
title_vfio="a NIC on vfio-pci behind an IOMMU, in QEMU guests"
suite_vfio() { UDPLANE_TEST_TIMEOUT=${UDPLANE_VFIO_TIMEOUT:-900} script_suite tests/vfio/vfio_test.py; }
