/* SPDX-License-Identifier: Apache-2.0 */
/* Control messages: no input makes the check read beyond it, and whatever passes is as long as its
 * type's struct. */
#include "sidecar/control/message.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <udplane/abi.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t least(int type)
{
	switch (type) {
	case UDPLANE_MSG_HELLO: return UDPLANE_HELLO_LEN_MIN;
	case UDPLANE_MSG_CLAIM: return sizeof(struct udplane_claim);
	case UDPLANE_MSG_MEMBER: return sizeof(struct udplane_member);
	case UDPLANE_MSG_CAPTURE: return sizeof(struct udplane_capture);
	default: return sizeof(struct udplane_sock_req);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error error = {0};
	void *copy;
	int type;

	if (size < 1)
		return 0;
	copy = malloc(size); /* of the exact size, so that a read beyond is seen */
	memcpy(copy, data + 1, size - 1);
	type = message_check(copy, size - 1, data[0] & 1, data[0] & 2, data[0] >> 4, &error);
	if (type && (size - 1 < least(type) || size - 1 > UDPLANE_MSG_MAX))
		abort();
	free(copy);
	return 0;
}
