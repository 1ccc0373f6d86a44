/* SPDX-License-Identifier: Apache-2.0 */
// The tables of sockets and counters for people.
#include "client/ctl/view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/names.h"
#include "client/ctl/table.h"

#define PORTS_WIDTH 72

/* How a count is shown, as it is or as a rate. */
struct scale {
	bool rate;
	double seconds;
};

static const char *shown(char out[FORMAT_SIZE], const struct scale *scale, uint64_t now,
			 uint64_t before)
{
	if (scale->rate)
		return format_rate(out, now > before ? (double)(now - before) / scale->seconds : 0);
	snprintf(out, FORMAT_SIZE, "%" PRIu64, now);
	return out;
}

static struct scale scale_of(const struct snapshot *now, const struct snapshot *before)
{
	struct scale s = {0};

	if (before && now->now_ns > before->now_ns) {
		s.rate = true;
		s.seconds = (double)(now->now_ns - before->now_ns) / 1e9;
	}
	return s;
}

static void view_identity(FILE *out, const struct snapshot *s)
{
	char uptime[FORMAT_SIZE], hugepages[FORMAT_SIZE], pages[FORMAT_SIZE];
	char *ports = malloc(FORMAT_PORTS_SIZE);
	uint32_t port_cnt;

	fprintf(out, "udplaned %s  %s  up %s  pid %d  mode %s\n", s->version, state_name(s->state),
		format_duration(uptime, s->now_ns > s->start_ns ? s->now_ns - s->start_ns : 0),
		s->pid, mode_name(s->mode));
	if (s->minor > UDPLANE_ABI_MINOR)
		fprintf(out,
			"note      it is newer than this udplanectl, which may not show all\n");
	fprintf(out, "backend   %s: %s\n", backend_name(s->backend), s->backend_text);
	if (s->ifname[0])
		fprintf(out, "device    %s (index %d, mtu %u): %s\n", s->ifname, s->ifindex, s->mtu,
			s->device);
	if (s->mode_text[0])
		fprintf(out, "          %s\n", s->mode_text);
	if (s->trouble[0])
		fprintf(out, "trouble   %s\n", s->trouble);
	fprintf(out, "memory    %s in hugepages, %s in ordinary pages",
		format_bytes(hugepages, s->hugepage_bytes), format_bytes(pages, s->page_bytes));
	fprintf(out, "; frames %" PRIu64 ": %" PRIu64 " free, %" PRIu64 " with clients\n",
		s->device_counter[UDPLANE_DEVICE_FRAMES_TOTAL],
		s->device_counter[UDPLANE_DEVICE_FRAMES_FREE],
		s->device_counter[UDPLANE_DEVICE_FRAMES_CLIENTS]);
	if (!ports)
		return;
	port_cnt = format_ports(ports, s->ports);
	format_cut_ports(ports, PORTS_WIDTH);
	fprintf(out, "ports     %u asked for%s%s\n", port_cnt, port_cnt ? ": " : "", ports);
	free(ports);
}

/* Adds a total of the counters whose names start with `prefix`, and below it a row for each that is
 * not 0. */
static void device_group(struct table *t, const struct snapshot *now, const struct snapshot *before,
			 const char *title, const char *prefix)
{
	const uint64_t *v = now->device_counter, *old = before ? before->device_counter : NULL;
	struct scale scale = scale_of(now, before);
	char rate[FORMAT_SIZE];

	table_cell(t, "%s", title);
	table_cell(t, "%" PRIu64, counters_sum(&device_counters, v, prefix));
	if (old)
		table_cell(t, "%s",
			   shown(rate, &scale, counters_sum(&device_counters, v, prefix),
				 counters_sum(&device_counters, old, prefix)));
	table_cell(t, "%s", "");
	for (uint32_t i = 0; i < device_counters.cnt; i++) {
		const struct counter_name *c = &device_counters.entry[i];
		const char *name = name_after(c->name, prefix);

		if (!name || !v[i])
			continue;
		table_cell(t, "  %s", name);
		table_cell(t, "%" PRIu64, v[i]);
		if (old)
			table_cell(t, "%s", shown(rate, &scale, v[i], old[i]));
		name = strstr(c->help, ": ");
		table_cell(t, "%s", name ? name + 2 : c->help);
	}
}

static void device_row(struct table *t, const struct snapshot *now, const struct snapshot *before,
		       const char *title, enum udplane_device_counter c)
{
	const uint64_t *v = now->device_counter, *old = before ? before->device_counter : NULL;
	struct scale scale = scale_of(now, before);
	char rate[FORMAT_SIZE];

	table_cell(t, "%s", title);
	table_cell(t, "%" PRIu64, v[c]);
	if (old)
		table_cell(t, "%s", shown(rate, &scale, v[c], old[c]));
	table_cell(t, "%s", device_counters.entry[c].help);
}

static void view_device(FILE *out, const struct snapshot *now, const struct snapshot *before)
{
	struct table t = before ? table_create("<DEVICE", ">TOTAL", ">RATE/S", "<", NULL)
				: table_create("<DEVICE", ">TOTAL", "<", NULL);

	device_row(&t, now, before, "received", UDPLANE_DEVICE_RX_SEEN);
	device_row(&t, now, before, "diverted", UDPLANE_DEVICE_RX_DIVERTED);
	device_group(&t, now, before, "passed to the kernel", "rx_passed_");
	device_group(&t, now, before, "lost", "rx_lost_");
	device_row(&t, now, before, "sent", UDPLANE_DEVICE_TX_DONE);
	if (now->device_counter[UDPLANE_DEVICE_TX_INVALID])
		device_row(&t, now, before, "refused", UDPLANE_DEVICE_TX_INVALID);
	table_print(&t, out);
}

double view_sleep_share(const struct snapshot *now, const struct snapshot *before, uint32_t worker)
{
	static const uint64_t none[UDPLANE_WORKER_COUNTER_CNT];
	const struct snapshot_worker *w = &now->worker[worker];
	const uint64_t *old = before ? before->worker[worker].counter : none;
	uint64_t since = before ? before->now_ns : now->start_ns;
	uint64_t slept = w->counter[UDPLANE_WORKER_SLEEP_NS] - old[UDPLANE_WORKER_SLEEP_NS];
	double share;

	if (now->now_ns <= since)
		return 0;
	/* A sleep is counted when it ends. One that began before `before` and still lasts has added
	 * nothing. */
	if (before && !w->awake && !before->worker[worker].awake &&
	    w->counter[UDPLANE_WORKER_SLEEPS] == old[UDPLANE_WORKER_SLEEPS])
		return 1;
	share = (double)slept / (double)(now->now_ns - since);
	return share > 1 ? 1 : share;
}

static const char *worker_state(const struct snapshot_worker *w)
{
	if (w->engaged)
		return w->awake ? "awake, engaged" : "asleep, engaged";
	return w->awake ? "awake, not engaged" : "asleep, kernel path";
}

static void worker_row(struct table *t, const struct snapshot *now, const struct snapshot *before,
		       uint32_t i)
{
	static const enum udplane_worker_counter columns[] = {
		UDPLANE_WORKER_RX_FRAMES, UDPLANE_WORKER_RX_DELIVERED, UDPLANE_WORKER_TX_SENT,
		UDPLANE_WORKER_TX_SLOW,	  UDPLANE_WORKER_WAKES_CLIENT, UDPLANE_WORKER_DOORBELLS,
		UDPLANE_WORKER_SLEEPS,
	};
	static const uint64_t none[UDPLANE_WORKER_COUNTER_CNT];
	const uint64_t *v = now->worker[i].counter,
		       *old = before ? before->worker[i].counter : none;
	struct scale scale = scale_of(now, before);
	char text[FORMAT_SIZE];

	table_cell(t, "%u", i);
	if (now->worker[i].cpu < 0)
		table_cell(t, "-");
	else
		table_cell(t, "%d", now->worker[i].cpu);
	table_cell(t, "%s", worker_state(&now->worker[i]));
	for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++)
		table_cell(t, "%s", shown(text, &scale, v[columns[c]], old[columns[c]]));
	table_cell(t, "%s%s", !before && !now->worker[i].awake ? ">=" : "",
		   format_share(text, view_sleep_share(now, before, i)));
	table_cell(t, "%s",
		   shown(text, &scale, counters_sum(&worker_counters, v, "rx_drop_"),
			 counters_sum(&worker_counters, old, "rx_drop_")));
	table_cell(t, "%s",
		   shown(text, &scale, counters_sum(&worker_counters, v, "tx_drop_"),
			 counters_sum(&worker_counters, old, "tx_drop_")));
}

/* Shows what was dropped, by reason, in one line for each worker that dropped anything. These are
 * totals, even when rates are shown. */
static void view_drops(FILE *out, const struct snapshot *s, uint32_t worker)
{
	const uint64_t *v = s->worker[worker].counter;
	const char *sep = "";

	if (!counters_sum(&worker_counters, v, "rx_drop_") &&
	    !counters_sum(&worker_counters, v, "tx_drop_"))
		return;
	fprintf(out, "  worker %u dropped in total: ", worker);
	for (uint32_t i = 0; i < worker_counters.cnt; i++) {
		const char *name = worker_counters.entry[i].name;

		if (!v[i] || (!name_after(name, "rx_drop_") && !name_after(name, "tx_drop_")))
			continue;
		fprintf(out, "%s%s %" PRIu64, sep, name, v[i]);
		sep = ", ";
	}
	fputc('\n', out);
}

static void view_workers(FILE *out, const struct snapshot *now, const struct snapshot *before)
{
	struct table t = table_create(">WORKER", ">CPU", "<STATE", ">FRAMES", ">DELIVERED", ">SENT",
				      ">SLOW-SENT", ">WAKES", ">DOORBELLS", ">SLEEPS", ">ASLEEP",
				      ">RX-DROP", ">TX-DROP", NULL);

	for (uint32_t i = 0; i < now->worker_cnt; i++)
		worker_row(&t, now, before, i);
	fprintf(out, "\n");
	table_print(&t, out);
	for (uint32_t i = 0; i < now->worker_cnt; i++)
		view_drops(out, now, i);
}

static void view_control(FILE *out, const struct snapshot *s)
{
	bool refused = false;

	fprintf(out, "\ncontrol  ");
	for (uint32_t i = 0; i < control_counters.cnt; i++)
		if (s->control_counter[i] || i == UDPLANE_CONTROL_CLIENTS ||
		    i == UDPLANE_CONTROL_SOCKETS)
			fprintf(out, " %s %" PRIu64, control_counters.entry[i].name,
				s->control_counter[i]);
	fputc('\n', out);
	for (uint32_t i = 0; i < UDPLANE_REASON_CNT; i++) {
		if (!s->refused[i])
			continue;
		fprintf(out, "%s %s %" PRIu64, refused ? "," : "refused  ", reason_name(i),
			s->refused[i]);
		refused = true;
	}
	if (refused)
		fputc('\n', out);
}

/* The numbers of one socket, or their sum over several. */
enum socket_column {
	COLUMN_RX,
	COLUMN_RX_DROP,
	COLUMN_TX,
	COLUMN_TX_SLOW,
	COLUMN_TX_DROP,
	COLUMN_KERNEL_RX,
	COLUMN_KERNEL_TX,
	COLUMN_CNT
};

struct socket_row {
	const struct snapshot_socket *socket;
	uint64_t now[COLUMN_CNT], before[COLUMN_CNT];
	uint64_t weight; /* datagrams in the time shown, for sorting */
};

static void socket_columns(uint64_t out[COLUMN_CNT], const struct snapshot_socket *s)
{
	out[COLUMN_RX] = s->counter[UDPLANE_SOCKET_RX_DELIVERED];
	out[COLUMN_RX_DROP] = counters_sum(&socket_counters, s->counter, "rx_drop_");
	out[COLUMN_TX] = s->counter[UDPLANE_SOCKET_TX_SENT];
	out[COLUMN_TX_SLOW] = s->counter[UDPLANE_SOCKET_TX_SLOW];
	out[COLUMN_TX_DROP] = s->counter[UDPLANE_SOCKET_TX_DROP];
	out[COLUMN_KERNEL_RX] = s->kernel_rx;
	out[COLUMN_KERNEL_TX] = s->kernel_tx;
}

static int by_id(const void *a, const void *b)
{
	const struct snapshot_socket *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int by_weight(const void *a, const void *b)
{
	const struct socket_row *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight < y->weight ? 1 : -1;
	return by_id(x->socket, y->socket);
}

static void socket_row_fill(struct socket_row *r, const struct snapshot_socket *s,
			    const struct snapshot *before)
{
	const struct snapshot_socket *old = NULL;

	memset(r, 0, sizeof(*r));
	r->socket = s;
	socket_columns(r->now, s);
	if (before)
		old = bsearch(s, before->sockets, before->socket_cnt, sizeof(*s), by_id);
	if (old && old->cookie == s->cookie)
		socket_columns(r->before, old);
	for (int i = 0; i < COLUMN_CNT; i++)
		r->weight += r->now[i] - r->before[i];
}

static void socket_numbers(struct table *t, const struct socket_row *r, const struct scale *scale)
{
	char text[FORMAT_SIZE];

	for (int i = 0; i < COLUMN_CNT; i++)
		table_cell(t, "%s", shown(text, scale, r->now[i], r->before[i]));
}

static void socket_line(struct table *t, const struct socket_row *r, const struct scale *scale)
{
	const struct snapshot_socket *s = r->socket;
	char local[FORMAT_ADDR_SIZE], peer[FORMAT_ADDR_SIZE];

	table_cell(t, "%s", format_addr(local, &s->local));
	table_cell(t, "%s", format_addr(peer, &s->peer));
	if (s->pid)
		table_cell(t, "%d/%s", s->pid, s->comm);
	else
		table_cell(t, "?/%s", s->comm); /* in another PID namespace; it chose its name */
	table_cell(t, "%s", socket_state_name(s->state));
	socket_numbers(t, r, scale);
	if (s->state != UDPLANE_SOCKET_ACTIVE)
		table_cell(t, "%s", reason_name(s->reason));
	else
		table_cell(t, "%s%s", s->tx_reason ? "sends by kernel: " : "",
			   s->tx_reason ? reason_name(s->tx_reason) : "");
}

static void socket_rest(struct table *t, const struct socket_row *rows, uint32_t cnt,
			const struct scale *scale)
{
	struct socket_row sum = {0};

	for (uint32_t r = 0; r < cnt; r++)
		for (int i = 0; i < COLUMN_CNT; i++) {
			sum.now[i] += rows[r].now[i];
			sum.before[i] += rows[r].before[i];
		}
	table_cell(t, "and %u more", cnt);
	for (int i = 0; i < 3; i++)
		table_cell(t, "%s", "");
	socket_numbers(t, &sum, scale);
	table_cell(t, "all: udplanectl sockets");
}

static void socket_table(FILE *out, const struct snapshot *now, const struct snapshot *before,
			 uint32_t max)
{
	struct table t =
		table_create("<LOCAL", "<PEER", "<PID/COMMAND", "<STATE", ">RX", ">RX-DROP", ">TX",
			     ">TX-SLOW", ">TX-DROP", ">KERNEL-RX", ">KERNEL-TX", "<REASON", NULL);
	struct socket_row *rows = calloc(now->socket_cnt + 1, sizeof(*rows));
	struct scale scale = scale_of(now, before);
	uint32_t shown_cnt = now->socket_cnt < max ? now->socket_cnt : max, i;

	if (!rows)
		return;
	for (i = 0; i < now->socket_cnt; i++)
		socket_row_fill(&rows[i], &now->sockets[i], before);
	if (shown_cnt < now->socket_cnt)
		qsort(rows, now->socket_cnt, sizeof(*rows), by_weight);
	for (i = 0; i < shown_cnt; i++)
		socket_line(&t, &rows[i], &scale);
	if (shown_cnt < now->socket_cnt)
		socket_rest(&t, rows + shown_cnt, now->socket_cnt - shown_cnt, &scale);
	table_print(&t, out);
	free(rows);
}

void view_sockets(FILE *out, const struct snapshot *s)
{
	if (!s->socket_cnt)
		fprintf(out, "no socket is claimed\n");
	else
		socket_table(out, s, NULL, UINT32_MAX);
	for (uint32_t i = 0; i < s->socket_cnt; i++) {
		char local[FORMAT_ADDR_SIZE];

		if (s->sockets[i].text[0])
			fprintf(out, "%s: %s\n", format_addr(local, &s->sockets[i].local),
				s->sockets[i].text);
		if (s->sockets[i].state == UDPLANE_SOCKET_ACTIVE && s->sockets[i].tx_reason)
			fprintf(out, "%s: sends by the kernel: %s\n",
				format_addr(local, &s->sockets[i].local), s->sockets[i].tx_text);
	}
}

/* Shows what each path carried, next to counts that are not udplaned's own, so that a claim without
 * effect is visible here as well. */
static void view_recent(FILE *out, const struct snapshot *s)
{
	uint64_t sum[UDPLANE_RECENT_COUNTER_CNT] = {0};

	for (uint32_t i = 0; i < s->socket_cnt; i++)
		for (int c = 0; c < UDPLANE_RECENT_COUNTER_CNT; c++)
			sum[c] += s->sockets[i].recent[c];
	fprintf(out,
		"last %.1f s: claimed sockets received %" PRIu64 " by the fast path, %" PRIu64
		" by the kernel, sent %" PRIu64 " and %" PRIu64 "\n",
		(double)s->recent_ns / 1e9,
		sum[UDPLANE_RECENT_RX_FAST] + sum[UDPLANE_RECENT_RX_FAST_LOST],
		sum[UDPLANE_RECENT_RX_KERNEL] + sum[UDPLANE_RECENT_RX_KERNEL_LOST],
		sum[UDPLANE_RECENT_TX_FAST],
		sum[UDPLANE_RECENT_TX_KERNEL] + sum[UDPLANE_RECENT_TX_SLOW]);
	fprintf(out,
		"           Linux: %s received %" PRIu64 " packets, other interfaces %" PRIu64
		"; kernel sockets %" PRIu64 " datagrams, sent %" PRIu64 "\n",
		s->ifname[0] ? s->ifname : "no interface",
		s->recent_host[UDPLANE_HOST_INTERFACE_RX], s->recent_host[UDPLANE_HOST_OTHER_RX],
		s->recent_host[UDPLANE_HOST_UDP_IN], s->recent_host[UDPLANE_HOST_UDP_OUT]);
}

static void view_conservation(FILE *out, const struct snapshot *s)
{
	struct conservation c = snapshot_conservation(s);

	fprintf(out,
		"\nreceived %" PRIu64 " = delivered %" PRIu64 " + passed %" PRIu64
		" + dropped %" PRIu64,
		c.received, c.delivered, c.passed, c.dropped);
	if (c.in_flight > 0)
		fprintf(out, " + on the way %" PRId64, c.in_flight);
	else if (c.in_flight < 0)
		fprintf(out, " - %" PRId64 " (arrived while this was read)", -c.in_flight);
	fputc('\n', out);
}

void view_stats(FILE *out, const struct snapshot *now, const struct snapshot *before)
{
	view_identity(out, now);
	fputc('\n', out);
	view_device(out, now, before);
	view_workers(out, now, before);
	view_conservation(out, now);
	view_recent(out, now);
	view_control(out, now);
	fprintf(out, "\n");
	if (now->socket_cnt)
		socket_table(out, now, before, VIEW_SOCKETS);
	else
		fprintf(out, "no socket is claimed\n");
}
