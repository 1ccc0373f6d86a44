/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnetlink messages, as notifications and as parts of dumps, and the table that is built from
 * them. Bit 0x80 of nlmsg_pid makes a message part of a dump, the lower bits choose the kind.
 */
#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sidecar/route/route.h"
#include "sidecar/route/route_mirror.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(struct route_mirror *m, const struct nlmsghdr *nlh)
{
	if (nlh->nlmsg_pid & 0x80) {
		enum mirror_kind kind =
			(enum mirror_kind)((nlh->nlmsg_pid & 0x7f) % MIRROR_KIND_CNT);

		route_mirror_dump_begin(m);
		route_mirror_dump_add(m, kind, nlh);
		route_mirror_dump_commit(m, kind);
	} else {
		route_mirror_event(m, nlh);
	}
}

static void use(const struct route_mirror *m, const uint8_t dst[16])
{
	struct udplane_prefix prefix[UDPLANE_MAX_PREFIXES];
	uint8_t locals[4][16];
	struct route_table *t;
	struct route_input in;
	struct route_hop hop;

	route_mirror_locals(m, locals, 4);
	route_mirror_input(m, &in);
	in.policy_rules[0] = in.policy_rules[1] = false; /* what is dirty would hide all else */
	in.up = true;
	t = route_table_build(&in);
	if (!t)
		abort(); /* the parsers let something through */
	route_lookup(t, AF_INET, dst, NULL, &hop);
	route_lookup(t, AF_INET6, dst, NULL, &hop);
	if (in.addr_cnt)
		route_lookup(t, in.addrs[0].family, dst, in.addrs[0].addr, &hop);
	if (in.route_cnt)
		route_lookup(t, in.routes[0].family, in.routes[0].dst, NULL, &hop);
	if (route_table_prefixes(t, prefix, UDPLANE_MAX_PREFIXES) > UDPLANE_MAX_PREFIXES)
		abort();
	route_table_destroy(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct route_mirror m;
	const struct nlmsghdr *nlh;
	uint8_t dst[16] = {0};
	uint32_t len = (uint32_t)size;
	const void *at;
	void *copy = malloc(size + 1); /* aligned, and its end is watched */

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	memcpy(dst, data + (size > 16 ? size - 16 : 0), size > 16 ? 16 : size);
	route_mirror_init(&m, 7);
	for (at = copy; (nlh = route_next_message(&at, &len));)
		take(&m, nlh);
	use(&m, dst);
	route_mirror_free(&m);
	free(copy);
	return 0;
}
