/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/json.h"

#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/names.h"
#include "include/preflight/preflight.h"

/* cJSON stores numbers as double, which is exact only up to 2^53. */
static void add_u64(cJSON *to, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	cJSON_AddRawToObject(to, name, text);
}

static void add_i64(cJSON *to, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	cJSON_AddRawToObject(to, name, text);
}

static void add_counters(cJSON *to, const char *key, const struct counter_names *names,
			 const uint64_t *value)
{
	cJSON *o = cJSON_AddObjectToObject(to, key);

	for (uint32_t i = 0; i < names->cnt; i++)
		add_u64(o, names->entry[i].name, value[i]);
}

static void add_addr(cJSON *to, const char *key, const struct udplane_addr *a)
{
	char host[FORMAT_ADDR_SIZE];
	cJSON *o;

	if (!format_host(host, a)[0]) {
		cJSON_AddNullToObject(to, key);
		return;
	}
	o = cJSON_AddObjectToObject(to, key);
	cJSON_AddStringToObject(o, "family", a->family == AF_INET ? "ipv4" : "ipv6");
	cJSON_AddStringToObject(o, "address", host);
	cJSON_AddNumberToObject(o, "port", ntohs(a->port_be));
}

static void add_ports(cJSON *to, const struct snapshot *s)
{
	cJSON *o = cJSON_AddObjectToObject(to, "ports");
	char *text = malloc(FORMAT_PORTS_SIZE);

	if (!text)
		return;
	add_u64(o, "count", format_ports(text, s->ports));
	cJSON_AddStringToObject(o, "asked", text);
	free(text);
}

static void add_socket(cJSON *list, const struct snapshot *all, const struct snapshot_socket *s)
{
	cJSON *o = cJSON_CreateObject(), *client;

	cJSON_AddItemToArray(list, o);
	add_u64(o, "id", s->id);
	cJSON_AddStringToObject(o, "state", socket_state_name(s->state));
	cJSON_AddBoolToObject(o, "accelerated", path_is_carried(all, s));
	cJSON_AddStringToObject(o, "reason", reason_name(s->reason));
	cJSON_AddStringToObject(o, "text", s->text);
	cJSON_AddStringToObject(o, "tx_reason", reason_name(s->tx_reason));
	cJSON_AddStringToObject(o, "tx_text", s->tx_text);
	add_addr(o, "local", &s->local);
	add_addr(o, "peer", &s->peer);
	add_i64(o, "pid", s->pid);
	cJSON_AddStringToObject(o, "comm", s->comm);
	add_u64(o, "channel", s->channel_id);
	add_u64(o, "cookie", s->cookie);
	cJSON_AddBoolToObject(o, "reuseport", s->flags & UDPLANE_SOCKET_F_REUSEPORT);
	cJSON_AddBoolToObject(o, "dual_stack", s->flags & UDPLANE_SOCKET_F_DUAL_STACK);
	add_counters(o, "counters", &socket_counters, s->counter);
	client = cJSON_AddObjectToObject(o, "client");
	add_u64(client, "kernel_rx", s->kernel_rx);
	add_u64(client, "kernel_tx", s->kernel_tx);
	add_u64(client, "kernel_tx_full", s->kernel_tx_full);
	add_u64(client, "engages", s->engages);
	add_counters(o, "recent", &recent_counters, s->recent);
}

static void add_sockets(cJSON *to, const struct snapshot *s)
{
	cJSON *list = cJSON_AddArrayToObject(to, "sockets");

	for (uint32_t i = 0; i < s->socket_cnt; i++)
		add_socket(list, s, &s->sockets[i]);
}

static void add_device(cJSON *to, const struct snapshot *s)
{
	cJSON *o = cJSON_AddObjectToObject(to, "device");

	cJSON_AddStringToObject(o, "interface", s->ifname);
	add_i64(o, "ifindex", s->ifindex);
	add_u64(o, "mtu", s->mtu);
	cJSON_AddStringToObject(o, "text", s->device);
	add_counters(o, "counters", &device_counters, s->device_counter);
	cJSON_AddBoolToObject(o, "attached", s->attached);
	cJSON_AddStringToObject(o, "trouble", s->trouble);
	add_u64(o, "troubles", s->trouble_cnt);
}

/* Adds what took which path in the last seconds. Each socket's share is under its own "recent". */
static void add_recent(cJSON *to, const struct snapshot *s)
{
	cJSON *o = cJSON_AddObjectToObject(to, "recent");

	add_u64(o, "ns", s->recent_ns);
	add_counters(o, "device", &device_counters, s->recent_device);
	add_counters(o, "host", &host_counters, s->recent_host);
}

static void add_workers(cJSON *to, const struct snapshot *s)
{
	cJSON *list = cJSON_AddArrayToObject(to, "workers");

	for (uint32_t i = 0; i < s->worker_cnt; i++) {
		const struct snapshot_worker *w = &s->worker[i];
		cJSON *o = cJSON_CreateObject();

		cJSON_AddItemToArray(list, o);
		add_u64(o, "id", i);
		add_i64(o, "cpu", w->cpu);
		cJSON_AddBoolToObject(o, "awake", w->awake);
		cJSON_AddBoolToObject(o, "engaged", w->engaged);
		cJSON_AddNumberToObject(o, "sleep_share", view_sleep_share(s, NULL, i));
		add_counters(o, "counters", &worker_counters, w->counter);
	}
}

static void add_prefixes(cJSON *to, const struct snapshot *s)
{
	cJSON *list = cJSON_AddArrayToObject(to, "prefixes");
	char text[FORMAT_ADDR_SIZE];

	for (uint32_t i = 0; i < s->prefix_cnt; i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddItemToArray(list, o);
		cJSON_AddStringToObject(o, "prefix", format_prefix(text, &s->prefix[i]));
		cJSON_AddBoolToObject(o, "on_link", s->prefix[i].on_link);
		cJSON_AddBoolToObject(o, "slow", s->prefix[i].slow);
	}
	cJSON_AddStringToObject(to, "route_note", s->route_note);
}

static void add_refused(cJSON *to, const struct snapshot *s)
{
	cJSON *o = cJSON_AddObjectToObject(to, "refused");

	for (uint32_t i = UDPLANE_REASON_NONE + 1; i < UDPLANE_REASON_CNT; i++)
		add_u64(o, reason_name(i), s->refused[i]);
}

static void add_conservation(cJSON *to, const struct snapshot *s)
{
	struct conservation c = snapshot_conservation(s);
	cJSON *o = cJSON_AddObjectToObject(to, "conservation");

	add_u64(o, "received", c.received);
	add_u64(o, "delivered", c.delivered);
	add_u64(o, "passed", c.passed);
	add_u64(o, "dropped", c.dropped);
	add_i64(o, "in_flight", c.in_flight);
}

static void add_identity(cJSON *to, const struct snapshot *s)
{
	cJSON *o;

	cJSON_AddStringToObject(to, "version", s->version);
	o = cJSON_AddObjectToObject(to, "abi");
	add_u64(o, "major", s->major);
	add_u64(o, "minor", s->minor);
	cJSON_AddStringToObject(to, "state", state_name(s->state));
	add_i64(to, "pid", s->pid);
	add_u64(to, "now_ns", s->now_ns);
	add_u64(to, "start_ns", s->start_ns);
	add_u64(to, "refresh_ns", s->refresh_ns);
	add_u64(to, "uptime_ns", s->now_ns > s->start_ns ? s->now_ns - s->start_ns : 0);
	cJSON_AddStringToObject(to, "backend", backend_name(s->backend));
	cJSON_AddStringToObject(to, "backend_text", s->backend_text);
	cJSON_AddStringToObject(to, "mode", mode_name(s->mode));
	cJSON_AddStringToObject(to, "mode_text", s->mode_text);
	o = cJSON_AddObjectToObject(to, "memory");
	add_u64(o, "hugepage_bytes", s->hugepage_bytes);
	add_u64(o, "page_bytes", s->page_bytes);
	add_u64(to, "socket_max", s->socket_max);
}

static int print(FILE *out, cJSON *root, bool compact)
{
	char *text = compact ? cJSON_PrintUnformatted(root) : cJSON_Print(root);

	cJSON_Delete(root);
	if (!text)
		return -ENOMEM;
	fprintf(out, "%s\n", text);
	cJSON_free(text);
	return 0;
}

int json_stats(FILE *out, const struct snapshot *s, bool compact)
{
	cJSON *root = cJSON_CreateObject();

	add_identity(root, s);
	add_ports(root, s);
	add_device(root, s);
	add_workers(root, s);
	add_counters(root, "control", &control_counters, s->control_counter);
	add_counters(root, "host", &host_counters, s->host_counter);
	add_recent(root, s);
	add_refused(root, s);
	add_prefixes(root, s);
	add_conservation(root, s);
	add_sockets(root, s);
	return print(out, root, compact);
}

int json_sockets(FILE *out, const struct snapshot *s)
{
	cJSON *root = cJSON_CreateObject();

	add_sockets(root, s);
	return print(out, root, false);
}

int json_ports(FILE *out, const struct snapshot *s, const struct port_use *uses, int cnt)
{
	cJSON *root = cJSON_CreateObject(), *list;

	add_ports(root, s);
	list = cJSON_AddArrayToObject(root, "in_use");
	for (int i = 0; i < cnt; i++) {
		const struct port_use *u = &uses[i];
		cJSON *o = cJSON_CreateObject();

		cJSON_AddItemToArray(list, o);
		add_u64(o, "port", u->port);
		add_u64(o, "sockets", u->socket_cnt);
		add_u64(o, "active", u->active_cnt);
		add_u64(o, "unclaimed", u->plain_cnt);
		cJSON_AddBoolToObject(o, "accelerated", u->active_cnt > u->stray_cnt);
		add_u64(o, "carried_by_kernel", u->stray_cnt);
		cJSON_AddStringToObject(o, "reason",
					u->plain_cnt ? "not_claimed" : reason_name(u->reason));
		cJSON_AddStringToObject(o, "text", u->text);
	}
	return print(out, root, false);
}

/* Adds the members that `lines` contains, one "name\tvalue\n" per line. */
static void add_info(cJSON *to, const char *lines)
{
	cJSON *o = cJSON_AddObjectToObject(to, "facts");
	char *copy = strdup(lines), *at = copy, *line;

	while (copy && (line = strsep(&at, "\n"))) {
		char *name = strsep(&line, "\t");

		if (line)
			cJSON_AddStringToObject(o, name, line);
	}
	free(copy);
}

int json_device(FILE *out, const struct snapshot *s)
{
	cJSON *root = cJSON_CreateObject();

	cJSON_AddStringToObject(root, "backend", backend_name(s->backend));
	cJSON_AddStringToObject(root, "interface", s->ifname);
	cJSON_AddStringToObject(root, "device", s->device);
	add_info(root, s->info);
	add_counters(root, "counters", &device_counters, s->device_counter);
	return print(out, root, false);
}

int json_preflight(FILE *out, const struct preflight *p)
{
	cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "checks");

	cJSON_AddStringToObject(root, "verdict", preflight_verdict_name(preflight_worst(p)));
	for (uint32_t i = 0; i < p->cnt; i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddItemToArray(list, o);
		cJSON_AddStringToObject(o, "name", p->check[i].name);
		cJSON_AddStringToObject(o, "verdict", preflight_verdict_name(p->check[i].verdict));
		cJSON_AddStringToObject(o, "text", p->check[i].text);
	}
	return print(out, root, false);
}

static void add_path(cJSON *to, const char *key, const struct path *p)
{
	cJSON *o = cJSON_AddObjectToObject(to, key);

	cJSON_AddStringToObject(o, "path", path_name(p->kind));
	add_u64(o, "fast", p->fast);
	add_u64(o, "kernel", p->kernel);
	cJSON_AddStringToObject(o, "cause", p->cause);
	cJSON_AddStringToObject(o, "text", p->text);
}

static void add_health_socket(cJSON *list, const struct health_socket *h)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToArray(list, o);
	add_addr(o, "local", &h->socket->local);
	add_i64(o, "pid", h->socket->pid);
	cJSON_AddStringToObject(o, "comm", h->socket->comm);
	cJSON_AddBoolToObject(o, "ok", h->ok);
	cJSON_AddStringToObject(o, "state", socket_state_name(h->socket->state));
	cJSON_AddStringToObject(o, "reason", h->reason);
	cJSON_AddStringToObject(o, "text", h->text);
	add_path(o, "receive", &h->rx);
	add_path(o, "send", &h->tx);
}

int json_health(FILE *out, bool ok, const char *text, const struct health_socket *sockets,
		uint32_t cnt)
{
	cJSON *root = cJSON_CreateObject(), *list;

	cJSON_AddBoolToObject(root, "ok", ok);
	cJSON_AddStringToObject(root, "text", text);
	list = cJSON_AddArrayToObject(root, "sockets");
	for (uint32_t i = 0; i < cnt; i++)
		add_health_socket(list, &sockets[i]);
	return print(out, root, false);
}

int json_verdict(FILE *out, const struct verdict *v)
{
	cJSON *root = cJSON_CreateObject();

	add_u64(root, "port", v->port);
	cJSON_AddBoolToObject(root, "accelerated", v->accelerated);
	cJSON_AddStringToObject(root, "reason", v->reason);
	cJSON_AddStringToObject(root, "text", v->text);
	cJSON_AddStringToObject(root, "todo", v->todo);
	if (v->diverted) {
		add_path(root, "receive", &v->rx);
		add_path(root, "send", &v->tx);
	}
	return print(out, root, false);
}
