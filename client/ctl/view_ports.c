/* SPDX-License-Identifier: Apache-2.0 */
// The table of ports for people.
#include "client/ctl/view.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/names.h"
#include "client/ctl/paths.h"
#include "client/ctl/table.h"

static void count_sockets(struct port_use *use, const struct snapshot *s)
{
	for (uint32_t i = 0; i < s->socket_cnt; i++) {
		const struct snapshot_socket *k = &s->sockets[i];
		struct port_use *u = &use[ntohs(k->local.port_be)];

		u->socket_cnt++;
		if (k->state == UDPLANE_SOCKET_ACTIVE) {
			u->active_cnt++;
			u->stray_cnt += !path_is_carried(s, k);
		} else if (!u->text) {
			u->reason = k->reason;
			u->text = k->text;
		}
	}
}

static void count_plain(struct port_use *use, const struct snapshot *s,
			const struct plain_list *plain)
{
	for (size_t i = 0; i < plain->cnt; i++) {
		uint16_t port = ntohs(plain->socket[i].local.port_be);

		if (snapshot_has_port(s, port) && !use[port].socket_cnt)
			use[port].plain_cnt++;
	}
}

int view_port_uses(const struct snapshot *s, const struct plain_list *plain, struct port_use **uses)
{
	struct port_use *use = calloc(65536, sizeof(*use));
	int cnt = 0;

	if (!use)
		return -ENOMEM;
	count_sockets(use, s);
	count_plain(use, s, plain);
	for (uint32_t port = 0; port < 65536; port++) {
		if (!use[port].socket_cnt && !use[port].plain_cnt)
			continue;
		use[cnt] = use[port];
		use[cnt].port = (uint16_t)port;
		if (!use[cnt].text)
			use[cnt].text = "";
		cnt++;
	}
	*uses = use;
	return cnt;
}

const char *view_accelerated(const struct port_use *use)
{
	if (use->active_cnt == use->stray_cnt)
		return "no";
	return use->active_cnt - use->stray_cnt == use->socket_cnt ? "yes" : "partly";
}

/* Returns true if b is the port after a and the same holds for both; they then share a row. */
static bool alike(const struct port_use *a, const struct port_use *b)
{
	return b->port == a->port + 1 && a->socket_cnt == b->socket_cnt &&
	       a->active_cnt == b->active_cnt && a->plain_cnt == b->plain_cnt &&
	       a->stray_cnt == b->stray_cnt && a->reason == b->reason && !strcmp(a->text, b->text);
}

static void port_row(struct table *t, const struct port_use *u, uint16_t last)
{
	if (last == u->port)
		table_cell(t, "%u", last);
	else
		table_cell(t, "%u-%u", u->port, last);
	table_cell(t, "%u", u->socket_cnt + u->plain_cnt);
	table_cell(t, "%s", view_accelerated(u));
	if (u->plain_cnt)
		table_cell(t, "no claim: see udplanectl why %u", u->port);
	else if (u->stray_cnt)
		table_cell(t, "claimed, but the kernel carries it: see udplanectl why %u", u->port);
	else if (u->active_cnt == u->socket_cnt)
		table_cell(t, "%s", "");
	else
		table_cell(t, "%s%s%s", reason_name(u->reason), u->text[0] ? ": " : "", u->text);
}

void view_ports(FILE *out, const struct snapshot *s, const struct port_use *uses, int cnt)
{
	struct table t = table_create("<PORT", ">SOCKETS EACH", "<ACCELERATED", "<REASON", NULL);
	char *ports = malloc(FORMAT_PORTS_SIZE);
	uint32_t asked;

	if (ports) {
		asked = format_ports(ports, s->ports);
		fprintf(out, "asked for (%u): %s\n", asked, asked ? ports : "none");
		free(ports);
	}
	if (!cnt) {
		fprintf(out, "none of them is in use\n");
		return;
	}
	for (int i = 0, last; i < cnt; i = last + 1) {
		for (last = i; last + 1 < cnt && alike(&uses[last], &uses[last + 1]); last++)
			;
		port_row(&t, &uses[i], uses[last].port);
	}
	fputc('\n', out);
	table_print(&t, out);
}
