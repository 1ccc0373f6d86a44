/* SPDX-License-Identifier: Apache-2.0 */
/* What the environment's rules and programs leave to one socket. */
#include "sidecar/control/internal.h"
#include <sys/socket.h>

void session_read_programs(struct control *c, struct session *s)
{
	if (!c->environment)
		return;
	if (s->cgroup_fd == SESSION_CGROUP_UNKNOWN) {
		s->cgroup_fd = environment_cgroup_open(c->cgroup_top, s->pid);
		if (s->cgroup_fd < 0)
			s->cgroup_fd = SESSION_CGROUP_NONE;
	}
	s->programs = environment_cgroup_programs(c->environment, s->cgroup_fd);
}

void sock_judge(struct control *c, struct sock *k, bool fresh)
{
	bool group = udplane_addr_is_multicast(&k->claim.local);
	/* it sends from any address; datagrams to groups are judged by judge_group() */
	struct udplane_addr any = {.family = k->claim.local.family,
				   .port_be = k->claim.local.port_be};
	struct judge_socket j = {
		.v4 = k->claim.local.family == AF_INET || k->claim.dual_stack,
		.v6 = k->claim.local.family == AF_INET6,
		.port_be = k->claim.local.port_be,
		.local = group ? &any : &k->claim.local,
		.peer = &k->claim.peer,
	};

	if (!c->environment || (!fresh && k->judged == c->environment_number))
		return;
	j.programs = k->session->programs;
	judge_socket(environment_world(c->environment), &j, &k->verdict);
	k->judged = c->environment_number;
}
