/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/snapshot.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/names.h"
#include "udplane/ring.h"

#define SEQ_TRIES 1000

/* The words of the header that say where the parts of the zone are. Each is read only once. */
struct layout {
	const uint8_t *image;
	size_t len;
	uint32_t worker_cnt, socket_max, socket_high;
	uint32_t worker_off, socket_off, socket_len, counters_off, ports_off;
};

static void copy_text(char *to, const char *from, size_t size)
{
	size_t i;

	for (i = 0; i < size && from[i]; i++)
		to[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
	to[i] = 0;
}

static void copy_counters(uint64_t *to, const uint64_t *from, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		to[i] = udplane_load64(&from[i]);
}

/* Returns true if [off, off + cnt * size) is inside the image and aligned for 64-bit words. */
static bool part_fits(const struct layout *l, uint64_t off, uint64_t cnt, uint64_t size)
{
	return off % 8 == 0 && size % 8 == 0 && off >= UDPLANE_STATS_LEN_MIN && off <= l->len &&
	       (size == 0 || cnt <= (l->len - off) / size);
}

static int wrong(struct error *error, const char *what, uint64_t value)
{
	return error_set(
		error, -EPROTO,
		"stats zone: %s (%llu): not written by udplaned, or damaged; restart udplaned",
		what, (unsigned long long)value);
}

static int layout_read(struct layout *l, const void *image, size_t len, struct error *error)
{
	const struct udplane_stats_zone *z = image;

	l->image = image;
	l->len = len;
	l->worker_cnt = udplane_load32(&z->worker_cnt);
	l->socket_max = udplane_load32(&z->socket_max);
	l->socket_high = udplane_load32(&z->socket_high);
	l->worker_off = udplane_load32(&z->worker_off);
	l->socket_off = udplane_load32(&z->socket_off);
	l->socket_len = udplane_load32(&z->socket_len);
	l->counters_off = udplane_load32(&z->counters_off);
	l->ports_off = udplane_load32(&z->ports_off);

	if (l->worker_cnt > UDPLANE_MAX_WORKERS)
		return wrong(error, "worker_cnt is out of range", l->worker_cnt);
	if (!part_fits(l, l->worker_off, l->worker_cnt, sizeof(struct udplane_worker_zone)))
		return wrong(error, "worker_off leads out of it", l->worker_off);
	if (l->socket_len < sizeof(struct udplane_socket_zone) || l->socket_len % 8)
		return wrong(error, "socket_len is wrong", l->socket_len);
	if (!part_fits(l, l->socket_off, l->socket_max, l->socket_len))
		return wrong(error, "socket_off or socket_max leads out of it", l->socket_off);
	if (!part_fits(l, l->counters_off, (uint64_t)l->socket_max * l->worker_cnt,
		       sizeof(struct udplane_socket_counters)))
		return wrong(error, "counters_off leads out of it", l->counters_off);
	if (!part_fits(l, l->ports_off, 1, SNAPSHOT_PORTS_SIZE))
		return wrong(error, "ports_off leads out of it", l->ports_off);
	if (l->socket_high > l->socket_max)
		return wrong(error, "socket_high is above socket_max", l->socket_high);
	return 0;
}

static int identity_check(const struct udplane_stats_zone *z, size_t len, struct error *error)
{
	uint16_t major;

	if (len < sizeof(*z))
		return wrong(error, "too short", len);
	if (udplane_load64(&z->magic) != UDPLANE_ABI_MAGIC)
		return wrong(error, "bad magic number", udplane_load64(&z->magic));
	major = z->major;
	if (major == UDPLANE_ABI_MAJOR)
		return 0;
	return error_set(
		error, -EPROTONOSUPPORT,
		"udplaned speaks ABI %u, this udplanectl %u: use the udplanectl of its version",
		major, UDPLANE_ABI_MAJOR);
}

static void prefixes_read(struct snapshot *s, const struct udplane_stats_zone *z)
{
	uint32_t seq, tries = 0;

	do {
		if (tries)
			sched_yield();
		seq = udplane_seq_read(&z->prefix_seq);
		s->prefix_cnt = udplane_load32(&z->prefix_cnt);
		memcpy(s->prefix, z->prefix, sizeof(s->prefix));
		copy_text(s->route_note, z->route_note, sizeof(z->route_note));
	} while (udplane_seq_retry(&z->prefix_seq, seq) && ++tries < SEQ_TRIES);
	if (s->prefix_cnt > UDPLANE_MAX_PREFIXES)
		s->prefix_cnt = UDPLANE_MAX_PREFIXES;
}

/* Copies the texts that change while udplaned runs. */
static void texts_read(struct snapshot *s, const struct udplane_stats_zone *z)
{
	uint32_t seq, tries = 0;

	do {
		if (tries)
			sched_yield();
		seq = udplane_seq_read(&z->text_seq);
		copy_text(s->device, z->device, sizeof(z->device));
		copy_text(s->mode_text, z->mode_text, sizeof(z->mode_text));
		copy_text(s->trouble, z->trouble, sizeof(z->trouble));
		s->trouble_cnt = udplane_load32(&z->trouble_cnt);
	} while (udplane_seq_retry(&z->text_seq, seq) && ++tries < SEQ_TRIES);
}

static void header_read(struct snapshot *s, const struct udplane_stats_zone *z)
{
	s->major = z->major;
	s->minor = z->minor;
	s->state = udplane_load32(&z->state);
	s->backend = udplane_load32(&z->backend);
	s->mode = udplane_load32(&z->mode);
	s->pid = z->pid;
	s->ifindex = z->ifindex;
	s->mtu = z->mtu;
	s->start_ns = udplane_load64(&z->start_ns);
	s->refresh_ns = udplane_load64(&z->refresh_ns);
	s->hugepage_bytes = udplane_load64(&z->hugepage_bytes);
	s->page_bytes = udplane_load64(&z->page_bytes);
	copy_text(s->version, z->version, sizeof(z->version));
	copy_text(s->ifname, z->ifname, sizeof(z->ifname));
	copy_text(s->backend_text, z->backend_text, sizeof(z->backend_text));
	texts_read(s, z);
	/* Device before workers: both counts only grow, so traffic between the two copies makes the
	 * workers appear ahead of the device. */
	copy_counters(s->device_counter, z->device_counter, UDPLANE_DEVICE_COUNTER_CNT);
	copy_counters(s->control_counter, z->control_counter, UDPLANE_CONTROL_COUNTER_CNT);
	copy_counters(s->refused, z->refused, UDPLANE_REASON_CNT);
	prefixes_read(s, z);
	s->attached = udplane_load32(&z->attached);
	copy_counters(s->host_counter, z->host_counter, UDPLANE_HOST_COUNTER_CNT);
	s->recent_ns = udplane_load64(&z->recent_ns);
	copy_counters(s->recent_device, z->recent_device_counter, UDPLANE_DEVICE_COUNTER_CNT);
	copy_counters(s->recent_host, z->recent_host_counter, UDPLANE_HOST_COUNTER_CNT);
}

static void workers_read(struct snapshot *s, const struct layout *l)
{
	const struct udplane_worker_zone *w = (const void *)(l->image + l->worker_off);

	s->worker_cnt = l->worker_cnt;
	for (uint32_t i = 0; i < l->worker_cnt; i++) {
		s->worker[i].awake = udplane_load32(&w[i].awake);
		s->worker[i].engaged = udplane_load32(&w[i].engaged);
		s->worker[i].cpu = w[i].cpu;
		copy_counters(s->worker[i].counter, w[i].counter, UDPLANE_WORKER_COUNTER_CNT);
	}
}

static bool socket_copy(struct udplane_socket_zone *to, const struct udplane_socket_zone *from)
{
	uint32_t seq;

	for (int tries = 0; tries < SEQ_TRIES; tries++) {
		if (tries)
			sched_yield();
		seq = udplane_seq_read(&from->seq);
		memcpy(to, from, sizeof(*to));
		if (!udplane_seq_retry(&from->seq, seq))
			return true;
	}
	return false;
}

static void socket_counters_read(struct snapshot_socket *s, const struct layout *l)
{
	const struct udplane_socket_counters *c = (const void *)(l->image + l->counters_off);

	c += (size_t)s->id * l->worker_cnt;
	for (uint32_t w = 0; w < l->worker_cnt; w++)
		for (uint32_t i = 0; i < UDPLANE_SOCKET_COUNTER_CNT; i++)
			s->counter[i] += udplane_load64(&c[w].counter[i]);
}

/* Copies one entry. Returns false if it is free. */
static bool socket_read(struct snapshot_socket *s, const struct layout *l, uint32_t id)
{
	struct udplane_socket_zone z;

	memset(s, 0, sizeof(*s));
	s->id = id;
	s->torn = !socket_copy(
		&z, (const void *)(l->image + l->socket_off + (size_t)id * l->socket_len));
	if (z.state == UDPLANE_SOCKET_FREE)
		return false;
	s->state = z.state;
	s->reason = z.reason;
	s->channel_id = z.channel_id;
	s->flags = z.flags;
	s->pid = z.pid;
	s->local = z.local;
	s->peer = z.peer;
	s->cookie = z.cookie;
	s->kernel_rx = z.client[0];
	s->kernel_tx = z.client[1];
	s->kernel_tx_full = z.client[2];
	s->engages = z.client[3];
	copy_text(s->comm, z.comm, sizeof(z.comm));
	copy_text(s->text, z.text, sizeof(z.text));
	s->tx_reason = z.tx_reason;
	copy_text(s->tx_text, z.tx_text, sizeof(z.tx_text));
	copy_counters(s->recent, z.recent, UDPLANE_RECENT_COUNTER_CNT);
	socket_counters_read(s, l);
	return true;
}

/* Like copy_text(), but keeps tabs and newlines. Returns NULL if out of memory. */
static char *info_read(const struct layout *l)
{
	const struct udplane_stats_zone *z = (const void *)l->image;
	uint32_t off = udplane_load32(&z->info_off), size = udplane_load32(&z->info_size), seq;
	const char *from = (const char *)l->image + off;
	bool none = !off || !size || !part_fits(l, off, 1, size);
	char *to = calloc(1, none ? 1 : (size_t)size + 1);

	for (int tries = 0; to && !none && tries < SEQ_TRIES; tries++) {
		seq = udplane_seq_read(&z->info_seq);
		memcpy(to, from, size);
		if (!udplane_seq_retry(&z->info_seq, seq))
			break;
		sched_yield();
	}
	for (char *c = to; c && *c; c++)
		if ((*c < ' ' || *c > '~') && *c != '\t' && *c != '\n')
			*c = '?';
	return to;
}

int snapshot_read(struct snapshot *s, const void *image, size_t len, struct error *error)
{
	uint64_t now_ns = s->now_ns;
	struct layout l;
	uint32_t id;
	int ret = identity_check(image, len, error);

	if (!ret)
		ret = layout_read(&l, image, len, error);
	if (ret)
		return ret;
	memset(s, 0, sizeof(*s));
	s->now_ns = now_ns;
	s->socket_max = l.socket_max;
	s->sockets = calloc(l.socket_high ? l.socket_high : 1, sizeof(*s->sockets));
	s->info = info_read(&l);
	if (!s->sockets || !s->info) {
		snapshot_free(s);
		return error_set(error, -ENOMEM, "out of memory for %u sockets", l.socket_high);
	}
	header_read(s, image);
	workers_read(s, &l);
	memcpy(s->ports, l.image + l.ports_off, sizeof(s->ports));
	for (id = 0; id < l.socket_high; id++)
		s->socket_cnt += socket_read(&s->sockets[s->socket_cnt], &l, id);
	return 0;
}

void snapshot_free(struct snapshot *s)
{
	free(s->sockets);
	free(s->info);
	s->sockets = NULL;
	s->info = NULL;
	s->socket_cnt = 0;
}

struct conservation snapshot_conservation(const struct snapshot *s)
{
	struct conservation c = {
		.received = s->device_counter[UDPLANE_DEVICE_RX_SEEN],
		.passed = counters_sum(&device_counters, s->device_counter, "rx_passed_"),
		.dropped = counters_sum(&device_counters, s->device_counter, "rx_lost_"),
	};

	for (uint32_t i = 0; i < s->worker_cnt; i++) {
		const uint64_t *v = s->worker[i].counter;

		c.received += v[UDPLANE_WORKER_RX_COPIES];
		c.delivered += v[UDPLANE_WORKER_RX_DELIVERED];
		c.passed += v[UDPLANE_WORKER_RX_PASSED];
		c.dropped += counters_sum(&worker_counters, v, "rx_drop_");
	}
	c.in_flight = (int64_t)(c.received - c.delivered - c.passed - c.dropped);
	return c;
}
