/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel writes the file in net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_seq_show(). */
#include "sidecar/environment/ipvs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void ipvs_free(struct ipvs *v)
{
	free(v->end);
	memset(v, 0, sizeof(*v));
}

bool ipvs_equal(const struct ipvs *a, const struct ipvs *b)
{
	return a->end_cnt == b->end_cnt &&
	       (!a->end_cnt || !memcmp(a->end, b->end, a->end_cnt * sizeof(*a->end)));
}

static int add(struct ipvs *v, const struct ipvs_end *e)
{
	uint32_t room = v->room ? 2 * v->room : 64;
	struct ipvs_end *more;

	if (v->end_cnt == v->room) {
		more = realloc(v->end, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		v->end = more;
		v->room = room;
	}
	v->end[v->end_cnt++] = *e;
	return 0;
}

/* "0A60000A:0035" or "[fd96:0000:0000:0000:0000:0000:0000:0010]:0035" */
static bool parse_end(const char *text, struct ipvs_end *e)
{
	char six[INET6_ADDRSTRLEN];
	unsigned addr, port;
	uint32_t be;

	memset(e, 0, sizeof(*e)); /* including padding, as entries are compared as bytes */
	if (sscanf(text, "[%45[0-9a-fA-F:]]:%4x", six, &port) == 2) {
		e->family = AF_INET6;
		if (inet_pton(AF_INET6, six, e->addr) != 1)
			return false;
	} else if (sscanf(text, "%8x:%4x", &addr, &port) == 2) {
		e->family = AF_INET;
		be = htonl(addr);
		memcpy(e->addr, &be, sizeof(be));
	} else {
		return false;
	}
	e->port_be = htons((uint16_t)port);
	return true;
}

/* *udp: true if the last service that was read receives UDP; its servers are on the lines after
 * it. */
static int read_line(struct ipvs *v, const char *line, bool *udp)
{
	const bool server = !strncmp(line, "  -> ", 5);
	struct ipvs_end e;

	if (!server)
		*udp = !strncmp(line, "UDP ", 4) || !strncmp(line, "FWM ", 4);
	if (!*udp || line[0] == 'F')
		return 0;
	line += server ? 4 : 3;
	if (!parse_end(line + strspn(line, " "), &e))
		return -EPROTO;
	e.server = server;
	return add(v, &e);
}

int ipvs_read(struct ipvs *v, FILE *f)
{
	char line[256];
	bool udp = false;
	int err = 0;

	ipvs_free(v);
	while (!err && f && fgets(line, sizeof(line), f))
		err = read_line(v, line, &udp);
	if (!err && f && ferror(f))
		err = -EIO;
	if (err)
		ipvs_free(v);
	return err;
}
