/* SPDX-License-Identifier: Apache-2.0 */
/* Control data of a send: no input makes the parser read beyond it, and what it accepts is what a
 * descriptor can say. */
#include "client/cmsg_send.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t none[16];
	struct cmsg_send c;
	uint8_t *copy;

	if (size < 1)
		return 0;
	copy = malloc(size); /* of the exact size, so that a read beyond is seen */
	memcpy(copy, data, size);
	if (cmsg_send_parse(copy + 1, size - 1, data[0] & 1 ? AF_INET6 : AF_INET, data[0] & 2,
			    &c)) {
		if (size - 1 > CMSG_SEND_MAX ||
		    (c.flags & ~(UDPLANE_TX_TOS | UDPLANE_TX_TTL | UDPLANE_TX_SOURCE)))
			abort();
		if (c.flags & UDPLANE_TX_TTL && !c.ttl)
			abort();
		if (!(c.flags & UDPLANE_TX_SOURCE) != !memcmp(c.src, none, sizeof(none)))
			abort();
	}
	free(copy);
	return 0;
}
