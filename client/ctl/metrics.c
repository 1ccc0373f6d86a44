/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/metrics.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/names.h"
#include "client/ctl/paths.h"

/* Texts of a snapshot are printable ASCII, so only these two characters need escaping. */
static void print_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void print_label(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s=\"", name);
	print_text(out, value);
	fputc('"', out);
}

/* In a help text only the backslash is special, and our help texts do not contain any. */
static void print_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_up(FILE *out, int up)
{
	print_head(out, "udplane_up", "gauge", "1 if udplaned runs");
	fprintf(out, "udplane_up %d\n", up);
}

static void print_gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
	print_head(out, name, "gauge", help);
	fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* --- families from the tables --- */

/* Prints the labels of sample i and returns its counters, or NULL if i is behind the last one. */
typedef const uint64_t *sample_at(FILE *out, const struct snapshot *s, uint32_t i);

struct family {
	const char *prefix;
	const struct counter_names *names;
	sample_at *labels;
	uint32_t cnt;
};

static const uint64_t *device_sample(FILE *out, const struct snapshot *s, uint32_t i)
{
	(void)i;
	fputs("{", out);
	print_label(out, "interface", s->ifname);
	fputs("}", out);
	return s->device_counter;
}

static const uint64_t *control_sample(FILE *out, const struct snapshot *s, uint32_t i)
{
	(void)out;
	(void)i;
	return s->control_counter;
}

static const uint64_t *host_sample(FILE *out, const struct snapshot *s, uint32_t i)
{
	(void)out;
	(void)i;
	return s->host_counter;
}

static const uint64_t *worker_sample(FILE *out, const struct snapshot *s, uint32_t i)
{
	fprintf(out, "{worker=\"%u\"}", i);
	return s->worker[i].counter;
}

static const uint64_t *socket_sample(FILE *out, const struct snapshot *s, uint32_t i)
{
	const struct snapshot_socket *k = &s->sockets[i];
	char host[FORMAT_ADDR_SIZE];

	fprintf(out, "{id=\"%u\",", k->id);
	print_label(out, "address", format_host(host, &k->local));
	fprintf(out, ",port=\"%u\",", ntohs(k->local.port_be));
	print_label(out, "comm", k->comm);
	fputs("}", out);
	return k->counter;
}

/* A gauge's name must not end in _total, so frames_total becomes udplane_device_frames. */
static const char *name_family(char name[96], const char *prefix, const char *counter, bool gauge)
{
	size_t len = strlen(counter);

	if (gauge && len > 6 && !strcmp(counter + len - 6, "_total"))
		len -= 6;
	snprintf(name, 96, "udplane_%s_%.*s%s", prefix, (int)len, counter, gauge ? "" : "_total");
	return name;
}

static void print_family(FILE *out, const struct snapshot *s, const struct family *f)
{
	for (uint32_t c = 0; c < f->names->cnt; c++) {
		const struct counter_name *entry = &f->names->entry[c];
		const char *help = name_after(entry->help, "gauge: ");
		char name[96];

		name_family(name, f->prefix, entry->name, help);
		print_head(out, name, help ? "gauge" : "counter", help ? help : entry->help);
		for (uint32_t i = 0; i < f->cnt; i++) {
			const uint64_t *value;

			fputs(name, out);
			value = f->labels(out, s, i);
			fprintf(out, " %" PRIu64 "\n", value[c]);
		}
	}
}

/* --- values that are not counters --- */

static void print_info(FILE *out, const struct snapshot *s)
{
	print_head(out, "udplane_info", "gauge", "always 1; what runs, in its labels");
	fputs("udplane_info{", out);
	print_label(out, "version", s->version);
	fputc(',', out);
	print_label(out, "backend", backend_name(s->backend));
	fputc(',', out);
	print_label(out, "mode", mode_name(s->mode));
	fputc(',', out);
	print_label(out, "interface", s->ifname);
	fputs("} 1\n", out);
}

static void print_memory(FILE *out, const struct snapshot *s)
{
	print_head(out, "udplane_memory_bytes", "gauge", "shared memory, by the kind of its pages");
	fprintf(out, "udplane_memory_bytes{pages=\"huge\"} %" PRIu64 "\n", s->hugepage_bytes);
	fprintf(out, "udplane_memory_bytes{pages=\"ordinary\"} %" PRIu64 "\n", s->page_bytes);
}

static void print_refused(FILE *out, const struct snapshot *s)
{
	print_head(out, "udplane_refused_total", "counter",
		   "sockets left to the kernel, by reason");
	for (uint32_t i = UDPLANE_REASON_NONE + 1; i < UDPLANE_REASON_CNT; i++)
		fprintf(out, "udplane_refused_total{reason=\"%s\"} %" PRIu64 "\n", reason_name(i),
			s->refused[i]);
}

static void print_worker_state(FILE *out, const struct snapshot *s)
{
	print_head(out, "udplane_worker_awake", "gauge", "1 while it polls, 0 while it sleeps");
	for (uint32_t i = 0; i < s->worker_cnt; i++)
		fprintf(out, "udplane_worker_awake{worker=\"%u\"} %d\n", i, s->worker[i].awake);
}

static void print_socket_state(FILE *out, const struct snapshot *s)
{
	print_head(out, "udplane_socket_accelerated", "gauge",
		   "1 while the fast path carries what it has; `udplanectl why PORT` says why not");
	for (uint32_t i = 0; i < s->socket_cnt; i++) {
		fputs("udplane_socket_accelerated", out);
		socket_sample(out, s, i);
		fprintf(out, " %d\n", path_is_carried(s, &s->sockets[i]));
	}
}

/* Counts that libudplane reports about itself; the application could write any value there. */
static const struct client_counter {
	const char *name, *help;
	size_t at;
} client_counters[] = {
	{"udplane_socket_kernel_rx_total", "datagrams that it got from its kernel socket",
	 offsetof(struct snapshot_socket, kernel_rx)},
	{"udplane_socket_kernel_tx_total", "datagrams that it sent through its kernel socket",
	 offsetof(struct snapshot_socket, kernel_tx)},
	{"udplane_socket_kernel_tx_full_total", "of these, because its TX ring was full",
	 offsetof(struct snapshot_socket, kernel_tx_full)},
	{"udplane_socket_engages_total", "times that it asked for the fast path at a rising rate",
	 offsetof(struct snapshot_socket, engages)},
};

static void print_client_counter(FILE *out, const struct snapshot *s,
				 const struct client_counter *c)
{
	print_head(out, c->name, "counter", c->help);
	for (uint32_t i = 0; i < s->socket_cnt; i++) {
		const char *k = (const char *)&s->sockets[i];

		fputs(c->name, out);
		socket_sample(out, s, i);
		fprintf(out, " %" PRIu64 "\n", *(const uint64_t *)(k + c->at));
	}
}

void metrics_print_down(FILE *out)
{
	print_up(out, 0);
}

void metrics_print(FILE *out, const struct snapshot *s)
{
	const struct family families[] = {
		{"device", &device_counters, device_sample, 1},
		{"worker", &worker_counters, worker_sample, s->worker_cnt},
		{"control", &control_counters, control_sample, 1},
		{"host", &host_counters, host_sample, 1},
		{"socket", &socket_counters, socket_sample, s->socket_cnt},
	};

	print_up(out, s->state == UDPLANE_STATE_RUNNING);
	print_info(out, s);
	print_gauge(out, "udplane_uptime_seconds", "since udplaned started",
		    s->now_ns > s->start_ns ? (s->now_ns - s->start_ns) / 1000000000 : 0);
	print_gauge(out, "udplane_attached",
		    "1 while datagrams of claimed ports can come to the workers; 0: `udplanectl "
		    "stats` says why not",
		    s->attached);
	print_memory(out, s);
	print_worker_state(out, s);
	print_refused(out, s);
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		print_family(out, s, &families[i]);
	for (size_t i = 0; i < sizeof(client_counters) / sizeof(client_counters[0]); i++)
		print_client_counter(out, s, &client_counters[i]);
	print_socket_state(out, s);
}
