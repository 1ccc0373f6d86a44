/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the kernel for a socket's membership in a multicast group, and for its source filter. */
#include "sidecar/claim/claim.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

union filter {
	struct group_filter f;
	uint8_t space[GROUP_FILTER_SIZE(CLAIM_SOURCES)];
};

static void read_sources(const struct group_filter *f, struct claim_member *m)
{
	struct udplane_addr a;

	for (uint32_t i = 0; i < f->gf_numsrc; i++) {
		udplane_addr_from_sockaddr(&a, &f->gf_slist[i], sizeof(f->gf_slist[i]));
		memcpy(m->source[m->source_cnt++], a.addr, sizeof(a.addr));
	}
}

void claim_read_member(int fd, int ifindex, const struct udplane_addr *group,
		       struct claim_member *m)
{
	int level = group->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	union filter buf;
	socklen_t len = sizeof(buf);

	memset(m, 0, sizeof(*m));
	udplane_addr_set(&m->group, group->family, group->addr);
	memset(&buf, 0, sizeof(buf));
	buf.f.gf_interface = (uint32_t)ifindex;
	buf.f.gf_numsrc = CLAIM_SOURCES;
	udplane_addr_to_sockaddr(&m->group, group->family, &buf.f.gf_group);
	if (getsockopt(fd, level, MCAST_MSFILTER, &buf, &len)) {
		m->unclear = errno != EADDRNOTAVAIL && errno != ENODEV;
		return;
	}
	m->member = true;
	m->exclude = buf.f.gf_fmode == MCAST_EXCLUDE;
	m->unclear = buf.f.gf_numsrc > CLAIM_SOURCES;
	if (!m->unclear)
		read_sources(&buf.f, m);
}
