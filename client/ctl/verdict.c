/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/verdict.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/names.h"

#define PORTS_WIDTH 60

/* What the snapshot says about the port. */
struct found {
	uint32_t socket_cnt, active_cnt;
	const struct snapshot_socket *first_inactive;
};

__attribute__((format(printf, 2, 3))) static void say(char out[1024], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(out, 1024, format, args);
	va_end(args);
}

static bool on_port(const struct snapshot_socket *k, uint16_t port)
{
	return ntohs(k->local.port_be) == port;
}

static struct found find(const struct snapshot *s, uint16_t port)
{
	struct found f = {0};

	for (uint32_t i = 0; i < s->socket_cnt; i++) {
		if (!on_port(&s->sockets[i], port))
			continue;
		f.socket_cnt++;
		if (s->sockets[i].state == UDPLANE_SOCKET_ACTIVE)
			f.active_cnt++;
		else if (!f.first_inactive)
			f.first_inactive = &s->sockets[i];
	}
	return f;
}

static void no_snapshot(struct verdict *v, const struct verdict_input *in)
{
	bool absent = in->attach_error == -ENOENT || in->attach_error == -ENOTDIR ||
		      in->attach_error == -ECONNREFUSED;

	say(v->text, "%s; until then sockets work at kernel speed", in->attach_text);
	if (absent) {
		v->reason = reason_name(UDPLANE_REASON_NO_SIDECAR);
		say(v->todo, "start udplaned, or name its socket with --socket or UDPLANE_SOCKET");
	} else if (in->attach_error == -EPROTONOSUPPORT) {
		v->reason = reason_name(UDPLANE_REASON_VERSION);
		say(v->todo, "use the udplanectl that came with this udplaned");
	} else {
		v->reason = "unreachable";
		say(v->todo, "look at udplaned's log");
	}
}

static void not_running(struct verdict *v, const struct snapshot *s)
{
	v->reason = state_name(s->state);
	say(v->text, "udplaned is %s; until it runs, sockets work at kernel speed", v->reason);
	if (s->state == UDPLANE_STATE_STARTING)
		say(v->todo, "ask again in a second; if it is still so, look at udplaned's log");
	else
		say(v->todo, "start udplaned again: sockets attach by themselves");
}

static bool any_engaged(const struct snapshot *s)
{
	for (uint32_t i = 0; i < s->worker_cnt; i++)
		if (s->worker[i].engaged)
			return true;
	return false;
}

/* Judges the paths of the port's diverted sockets by their traffic of the last seconds. */
static void measure(struct verdict *v, const struct snapshot *s)
{
	const struct snapshot_socket *held_back = NULL;
	uint64_t sum[UDPLANE_RECENT_COUNTER_CNT] = {0};

	for (uint32_t i = 0; i < s->socket_cnt; i++) {
		const struct snapshot_socket *k = &s->sockets[i];

		if (!on_port(k, v->port) || k->state != UDPLANE_SOCKET_ACTIVE)
			continue;
		path_add(sum, k);
		if (k->tx_reason && !held_back)
			held_back = k;
	}
	path_receive(&v->rx, s, sum);
	path_send(&v->tx, s, sum, held_back);
	v->diverted = true;
}

static void claimed_but(struct verdict *v)
{
	bool rx = !path_is_good(&v->rx), tx = !path_is_good(&v->tx);
	const struct path *bad = rx ? &v->rx : &v->tx;

	v->reason = bad->cause;
	say(v->text, "claimed, but %s%s%s", v->rx.text, rx && tx ? "; and " : "",
	    tx ? v->tx.text : "");
	if (!rx)
		say(v->text, "claimed and %s, but %s",
		    v->rx.kind == PATH_IDLE ? "diverted" : "received by the fast path", v->tx.text);
	say(v->todo, "%s", bad->todo);
}

static void rests(struct verdict *v, const struct snapshot *s)
{
	v->reason = "resting";
	say(v->text,
	    "claimed; at this low rate the kernel delivers, because that is faster than "
	    "waking udplaned (mode %s). The fast path engages by itself under load",
	    mode_name(s->mode));
	say(v->todo, "nothing; to have the fast path always, run udplaned with mode "
		     "latency (--mode, annotation udplane.io/mode)");
}

static void diverted(struct verdict *v, const struct snapshot *s, const struct found *f)
{
	measure(v, s);
	v->accelerated = path_is_good(&v->rx) && path_is_good(&v->tx);
	v->reason = reason_name(UDPLANE_REASON_NONE);
	if (!v->accelerated) {
		claimed_but(v);
	} else if (f->first_inactive) {
		say(v->text, "%u of its %u sockets; another is on the kernel path: %s %s",
		    f->active_cnt, f->socket_cnt, reason_name(f->first_inactive->reason),
		    f->first_inactive->text);
		say(v->todo, "%s", reason_help(f->first_inactive->reason));
	} else if (v->rx.kind == PATH_RESTING || (v->rx.kind == PATH_IDLE && !any_engaged(s))) {
		rests(v, s);
	} else if (v->rx.kind == PATH_IDLE && v->tx.kind == PATH_IDLE) {
		say(v->text, "%s; there was too little traffic in the last seconds to measure it",
		    s->backend_text);
	} else {
		say(v->text, "%s", s->backend_text);
	}
}

void verdict_of_socket(struct health_socket *h, const struct snapshot *s,
		       const struct snapshot_socket *k)
{
	const struct path *bad;

	memset(h, 0, sizeof(*h));
	h->socket = k;
	h->reason = reason_name(k->reason);
	path_receive(&h->rx, s, k->recent);
	path_send(&h->tx, s, k->recent, k);
	if (k->state != UDPLANE_SOCKET_ACTIVE) {
		snprintf(h->text, sizeof(h->text), "%s",
			 k->text[0] ? k->text : reason_help(k->reason));
		return;
	}
	h->ok = path_is_good(&h->rx) && path_is_good(&h->tx);
	if (h->ok)
		return;
	bad = path_is_good(&h->rx) ? &h->tx : &h->rx;
	h->reason = bad->cause;
	snprintf(h->text, sizeof(h->text), "%s: %s", bad == &h->rx ? "receives" : "sends",
		 bad->text);
}

static void no_device(struct verdict *v, const struct snapshot *s)
{
	v->reason = reason_name(UDPLANE_REASON_BACKEND_KERNEL);
	say(v->text, "udplaned runs without a device: %s%s%s", s->backend_text,
	    s->mode_text[0] ? "; " : "", s->mode_text);
	say(v->todo,
	    "remove that cause and restart udplaned; until then sockets work at kernel speed");
}

static void not_asked(struct verdict *v, const struct snapshot *s)
{
	char *ports = malloc(FORMAT_PORTS_SIZE);

	v->reason = reason_name(UDPLANE_REASON_NOT_ASKED);
	if (ports) {
		format_ports(ports, s->ports);
		format_cut_ports(ports, PORTS_WIDTH);
	}
	say(v->text, "udplaned was not asked to divert it; it was asked for %s",
	    ports && *ports ? ports : "no port");
	say(v->todo, "%s", reason_help(UDPLANE_REASON_NOT_ASKED));
	free(ports);
}

static void on_kernel_path(struct verdict *v, const struct snapshot_socket *k)
{
	char local[FORMAT_ADDR_SIZE];

	v->reason = reason_name(k->reason);
	say(v->text, "socket %s of pid %d (%s) is %s%s%s", format_addr(local, &k->local), k->pid,
	    k->comm,
	    k->state == UDPLANE_SOCKET_PENDING ? "claimed, but not diverted yet"
					       : "on the kernel path",
	    k->text[0] ? ": " : "", k->text);
	say(v->todo, "%s", reason_help(k->reason));
}

/* Refusals are counted for all ports together, so this is a hint and not a proof. */
static void add_refusals(struct verdict *v, const struct snapshot *s)
{
	const char *sep = ". Claims refused since udplaned started, of any port: ";
	size_t len = strlen(v->text);

	for (uint32_t i = UDPLANE_REASON_NONE + 1; i < UDPLANE_REASON_CNT; i++) {
		if (!s->refused[i] || len >= sizeof(v->text))
			continue;
		len += (size_t)snprintf(v->text + len, sizeof(v->text) - len, "%s%s %" PRIu64, sep,
					reason_name(i), s->refused[i]);
		sep = ", ";
	}
}

static void not_claimed(struct verdict *v, const struct snapshot *s, const struct plain_list *plain)
{
	const struct plain_socket *k = &plain->socket[0];
	char local[FORMAT_ADDR_SIZE], who[64];

	v->reason = "not_claimed";
	format_addr(local, &k->local);
	if (k->pid)
		snprintf(who, sizeof(who), "pid %d (%s)", k->pid, k->comm);
	else
		snprintf(who, sizeof(who), "a process of uid %u", k->uid);
	if (k->preloaded)
		say(v->text,
		    "%s has bound it (%s) and runs with libudplane-preload.so, but its socket is "
		    "not claimed",
		    who, local);
	else
		say(v->text, "%s has bound it (%s) with a socket that does not use udplane%s%s",
		    who, local, k->obstacle[0] ? "; the program is " : "", k->obstacle);
	add_refusals(v, s);
	if (k->preloaded)
		say(v->todo,
		    "set UDPLANE_LOG=1 for it: its log says why. A socket is claimed when the "
		    "program receives from it or waits for it; one that several processes have "
		    "open is not");
	else if (k->obstacle[0])
		say(v->todo, "link the program with libudplane");
	else
		say(v->todo,
		    "link the program with libudplane, or run it with "
		    "LD_PRELOAD=libudplane-preload.so (annotation udplane.io/preload); if it does "
		    "already, set UDPLANE_LOG=1 for it: its log then says why the claim failed");
}

static void on_loopback(struct verdict *v, const struct plain_socket *k)
{
	char local[FORMAT_ADDR_SIZE];

	v->reason = reason_name(UDPLANE_REASON_NOT_LOCAL);
	say(v->text,
	    "the socket on it is bound to %s, whose datagrams never come by a network device",
	    format_addr(local, &k->local));
	say(v->todo, "bind to the address of udplaned's interface, or to the wildcard");
}

static void nobody(struct verdict *v, const struct snapshot *s)
{
	v->reason = "nobody";
	say(v->text, "udplaned was asked to divert it, but no socket is bound to it in this "
		     "network namespace");
	add_refusals(v, s);
	say(v->todo, "start the program that serves it");
}

void verdict_decide(struct verdict *v, const struct verdict_input *in)
{
	const struct snapshot *s = in->snapshot;
	struct found f;

	memset(v, 0, sizeof(*v));
	v->port = in->port;
	if (!s) {
		no_snapshot(v, in);
		return;
	}
	f = find(s, in->port);
	if (s->state != UDPLANE_STATE_RUNNING)
		not_running(v, s);
	else if (f.active_cnt)
		diverted(v, s, &f);
	else if (s->backend == UDPLANE_BACKEND_KERNEL)
		no_device(v, s);
	else if (!snapshot_has_port(s, in->port))
		not_asked(v, s);
	else if (f.first_inactive)
		on_kernel_path(v, f.first_inactive);
	else if (in->plain->cnt && udplane_addr_is_loopback(&in->plain->socket[0].local))
		on_loopback(v, &in->plain->socket[0]);
	else if (in->plain->cnt)
		not_claimed(v, s, in->plain);
	else
		nobody(v, s);
}

static void print_socket(FILE *out, const struct snapshot_socket *k)
{
	char local[FORMAT_ADDR_SIZE], peer[FORMAT_ADDR_SIZE];

	fprintf(out, "  %s", format_addr(local, &k->local));
	if (k->peer.family)
		fprintf(out, " <-> %s", format_addr(peer, &k->peer));
	fprintf(out, "  pid %d (%s)  %s", k->pid, k->comm, socket_state_name(k->state));
	if (k->state != UDPLANE_SOCKET_ACTIVE)
		fprintf(out, ", %s", reason_name(k->reason));
	else if (k->tx_reason)
		fprintf(out, ", sends by the kernel: %s %s", reason_name(k->tx_reason), k->tx_text);
	fprintf(out,
		"\n    fast path:   received %" PRIu64 ", dropped %" PRIu64 ", sent %" PRIu64
		"\n    kernel path: received %" PRIu64 ", sent %" PRIu64 "\n",
		k->counter[UDPLANE_SOCKET_RX_DELIVERED],
		counters_sum(&socket_counters, k->counter, "rx_drop_"),
		k->counter[UDPLANE_SOCKET_TX_SENT], k->kernel_rx,
		k->kernel_tx + k->counter[UDPLANE_SOCKET_TX_SLOW]);
}

static void print_path(FILE *out, const char *what, const struct path *p, bool said)
{
	fprintf(out, "  %s: %" PRIu64 " by the fast path, %" PRIu64 " by the kernel", what, p->fast,
		p->kernel);
	if (p->text[0] && !said)
		fprintf(out, ": %s: %s", p->cause, p->text);
	fputc('\n', out);
}

static void print_paths(FILE *out, const struct verdict *v, const struct snapshot *s)
{
	fprintf(out, "in the last %.1f s:\n", (double)s->recent_ns / 1e9);
	print_path(out, "received", &v->rx, !path_is_good(&v->rx));
	print_path(out, "sent", &v->tx, !path_is_good(&v->tx));
	fprintf(out,
		"  Linux counts in this network namespace: %s received %" PRIu64
		" packets (the XDP program saw %" PRIu64 "), kernel sockets %" PRIu64
		" datagrams, sent %" PRIu64 "\n",
		s->ifname, s->recent_host[UDPLANE_HOST_INTERFACE_RX],
		s->recent_device[UDPLANE_DEVICE_RX_SEEN], s->recent_host[UDPLANE_HOST_UDP_IN],
		s->recent_host[UDPLANE_HOST_UDP_OUT]);
}

void verdict_print(FILE *out, const struct verdict *v, const struct verdict_input *in)
{
	const struct snapshot *s = in->snapshot;
	bool partly = v->diverted && !v->accelerated &&
		      (v->rx.kind == PATH_FAST || v->rx.kind == PATH_MIXED ||
		       v->tx.kind == PATH_FAST || v->tx.kind == PATH_MIXED);

	fprintf(out, "port %u is %saccelerated", v->port,
		v->accelerated ? ""
		: partly       ? "only partly "
			       : "not ");
	if (strcmp(v->reason, reason_name(UDPLANE_REASON_NONE)))
		fprintf(out, ": %s", v->reason);
	fprintf(out, "\n  %s\n", v->text);
	if (v->todo[0])
		fprintf(out, "to do: %s\n", v->todo);
	if (s && v->diverted)
		print_paths(out, v, s);
	if (s && s->trouble[0])
		fprintf(out, "device: %s\n", s->trouble);
	for (uint32_t i = 0; s && i < s->socket_cnt; i++)
		if (on_port(&s->sockets[i], v->port))
			print_socket(out, &s->sockets[i]);
}
