/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel writes the file in net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_seq_show(). */
#include "sidecar/environment/ipvs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void ipvs_free(struct ipvs *v)
{
	free(v->end);
	memset(v, 0, sizeof(*v));
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

	memset(e, 0, sizeof(*e));
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

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, offsetof(struct ipvs_end, addr) + sizeof(((struct ipvs_end *)0)->addr));
}

static int read_lines(struct ipvs *v, FILE *f)
{
	char line[256];
	bool udp = false;
	int err = 0;

	while (!err && f && fgets(line, sizeof(line), f))
		err = read_line(v, line, &udp);
	if (!err && f && ferror(f))
		err = -EIO;
	if (v->end_cnt)
		qsort(v->end, v->end_cnt, sizeof(*v->end), compare);
	return err;
}

/* Merges two sorted lists, of which the second one may name an end several times. */
static int merge(struct ipvs *out, const struct ipvs *old, const struct ipvs *listed,
		 uint64_t now_ns, bool *changed)
{
	uint32_t i = 0, k = 0;
	int err = 0;

	*changed = false;
	while (!err && (i < old->end_cnt || k < listed->end_cnt)) {
		int order = i == old->end_cnt	   ? 1
			    : k == listed->end_cnt ? -1
						   : compare(&old->end[i], &listed->end[k]);
		struct ipvs_end e = order < 0 ? old->end[i] : listed->end[k];

		if (order >= 0)
			e.seen_ns = now_ns;
		i += order <= 0;
		while (order >= 0 && k < listed->end_cnt && !compare(&e, &listed->end[k]))
			k++;
		if (now_ns - e.seen_ns < IPVS_LINGER_NS)
			err = add(out, &e);
		*changed |= order > 0 || now_ns - e.seen_ns >= IPVS_LINGER_NS;
	}
	return err;
}

int ipvs_read(struct ipvs *v, FILE *f, uint64_t now_ns, bool *changed)
{
	struct ipvs listed = {0}, merged = {0};
	int err = read_lines(&listed, f);

	if (!err)
		err = merge(&merged, v, &listed, now_ns, changed);
	ipvs_free(&listed);
	ipvs_free(err ? &merged : v);
	if (!err)
		*v = merged;
	return err;
}
