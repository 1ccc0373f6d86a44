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
	[UDPLANE_MSG_MEMBER] = {sizeof(struct udplane_member), 0, "MEMBER"},
	[UDPLANE_MSG_CAPTURE] = {sizeof(struct udplane_capture), 0, "CAPTURE"},
};

/* May a client send it now? HELLO comes first; then attached clients and observers ask for
 * different things. */
static bool in_turn(uint16_t type, bool welcomed, bool observer)
{
	if (type == UDPLANE_MSG_HELLO)
		return !welcomed || observer;
	return welcomed && observer == (type == UDPLANE_MSG_CAPTURE);
}

int message_check(const void *buf, size_t len, bool welcomed, bool observer, uint32_t fds,
		  struct error *error)
{
	struct udplane_msg m;

	if (len < sizeof(m))
		return error_set(error, 0, "message of %zu bytes; the header alone has %zu", len,
				 sizeof(m));
	memcpy(&m, buf, sizeof(m));
	if (m.type >= sizeof(kinds) / sizeof(kinds[0]) || !kinds[m.type].name)
		return error_set(error, 0, "message type %u is not one that a client sends",
				 m.type);
	/* A newer minor may have appended fields: longer is fine, as long as the sender says so. */
	if (m.len != len || len < kinds[m.type].len || len > UDPLANE_MSG_MAX)
		return error_set(error, 0, "%s of %zu bytes that says %u; expected %u or more",
				 kinds[m.type].name, len, m.len, kinds[m.type].len);
	if (!m.seq)
		return error_set(error, 0, "%s with seq 0; requests carry a number that is echoed",
				 kinds[m.type].name);
	if (fds != kinds[m.type].fds)
		return error_set(error, 0, "%s with %u descriptors; expected %u",
				 kinds[m.type].name, fds, kinds[m.type].fds);
	if (!in_turn(m.type, welcomed, observer))
		return error_set(error, 0, "%s %s", kinds[m.type].name,
				 m.type == UDPLANE_MSG_HELLO ? "twice"
				 : m.type == UDPLANE_MSG_CAPTURE
					 ? "before HELLO, or not from an observer"
					 : "before HELLO, or from an observer");
	return m.type;
}
