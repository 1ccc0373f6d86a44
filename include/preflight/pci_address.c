/* SPDX-License-Identifier: Apache-2.0 */
#include "include/preflight/pci_address.h"

#include <stdio.h>

bool pci_address_parse(const char *text, char out[PCI_ADDRESS_SIZE])
{
	unsigned domain = 0, bus, slot, function;
	int used = 0;

	if (sscanf(text, "%4x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &used) != 4) {
		domain = 0;
		if (sscanf(text, "%2x:%2x.%1x%n", &bus, &slot, &function, &used) != 3)
			return false;
	}
	if (text[used] || slot > 0x1f || function > 7)
		return false;
	snprintf(out, PCI_ADDRESS_SIZE, "%04x:%02x:%02x.%x", domain & 0xffff, bus & 0xff, slot,
		 function);
	return true;
}
