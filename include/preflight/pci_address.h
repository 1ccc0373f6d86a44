/* SPDX-License-Identifier: Apache-2.0 */
/* PCI addresses as users write them and as sysfs names them. Pure. */
#ifndef PREFLIGHT_PCI_ADDRESS_H
#define PREFLIGHT_PCI_ADDRESS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PCI_ADDRESS_SIZE 16 /* bytes, including the terminating zero */

/*
 * Converts DDDD:BB:SS.F or BB:SS.F, in hexadecimal, to DDDD:BB:SS.F in lower case. Returns false
 * and leaves `out` unchanged if `text` is neither.
 */
bool pci_address_parse(const char *text, char out[PCI_ADDRESS_SIZE]);

#ifdef __cplusplus
}
#endif

#endif
