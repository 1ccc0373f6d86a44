/* SPDX-License-Identifier: Apache-2.0 */
/* Checks lengths and descriptor counts of a client's message before its fields are read. */
#include "sidecar/control/message.h"

#include <stdio.h>
#include <string.h>
#include <udplane/abi.h>

static const struct {
	uint16_t len;
	uint8_t fds;
	const char *name;
} kinds[] = {
	[UDPLANE_MSG_HELLO] = {UDPLANE_HELLO_LEN_MIN, 0, "HELLO"},
	[UDPLANE_MSG_CLAIM] = {sizeof(struct udplane_claim), 1, "CLAIM"},
	[UDPLANE_MSG_UPDATE] = {sizeof(struct udplane_sock_req), 0, "UPDATE"},
	[UDPLANE_MSG_RELEASE] = {sizeof(struct udplane_sock_req), 0, "RELEASE"},
};

int message_check(const void *buf, size_t len, bool welcomed, bool observer, uint32_t fds,
		  char *text, size_t text_len)
{
	struct udplane_msg m;

	if (len < sizeof(m)) {
		snprintf(text, text_len, "message of %zu bytes; the header alone has %zu", len,
			 sizeof(m));
		return 0;
	}
	memcpy(&m, buf, sizeof(m));
	if (m.type >= sizeof(kinds) / sizeof(kinds[0]) || !kinds[m.type].name) {
		snprintf(text, text_len, "message type %u is not one that a client sends", m.type);
		return 0;
	}
	/* A newer minor may have appended fields: longer is fine, as long as the sender says so. */
	if (m.len != len || len < kinds[m.type].len || len > UDPLANE_MSG_MAX) {
		snprintf(text, text_len, "%s of %zu bytes that says %u; expected %u or more",
			 kinds[m.type].name, len, m.len, kinds[m.type].len);
		return 0;
	}
	if (!m.seq) {
		snprintf(text, text_len, "%s with seq 0; requests carry a number that is echoed",
			 kinds[m.type].name);
		return 0;
	}
	if (fds != kinds[m.type].fds) {
		snprintf(text, text_len, "%s with %u descriptors; expected %u", kinds[m.type].name,
			 fds, kinds[m.type].fds);
		return 0;
	}
	if (m.type == UDPLANE_MSG_HELLO ? welcomed && !observer : !welcomed || observer) {
		snprintf(text, text_len, "%s %s", kinds[m.type].name,
			 m.type == UDPLANE_MSG_HELLO ? "twice"
						     : "before HELLO, or from an observer");
		return 0;
	}
	return m.type;
}
