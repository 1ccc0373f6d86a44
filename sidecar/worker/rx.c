/* SPDX-License-Identifier: Apache-2.0 */
/* Receives one burst. Each frame is classified and then delivered by a descriptor in the ring of
 * its socket, passed to the kernel, or dropped and counted. Descriptors become visible at the end
 * of the burst, with at most one signal per socket. */
#include "sidecar/base/probe.h"
#include "sidecar/worker/internal.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/clock.h>
#include <unistd.h>

/* in rx_burst.sock: */
#define SOCK_PASS  (PORT_NONE - 1) /* pass to the kernel */
#define SOCK_MCAST (PORT_NONE - 2) /* for the members of a multicast group */
/* If all signals of a burst together take longer, one of them may be slow, or the CPU was taken
 * away from this thread. A signal usually takes 3 to 10 us. */
#define WAKES_SUSPECT_NS 1000000ull
/* Afterwards each signal is timed for so long, which costs 0.4 us per signal. */
#define WAKES_MEASURE_NS 1000000000ull
/* A signal is slow if it takes longer than WAKE_SLOW_NS, and longer than WAKE_FACTOR times the cost
 * of a signal that nobody watches (1 us; 50 us on an emulated CPU): see worker_wake_limit(). */
#define WAKE_SLOW_NS 250000ull
#define WAKE_FACTOR  200
#define WAKES_SLOW   16

/* A burst, and where each of its frames goes. */
struct rx_burst {
	struct device_frame frame[DEVICE_BURST];
	struct packet_info info[DEVICE_BURST];
	/* a socket; PORT_NONE if dropped (and counted); SOCK_PASS; SOCK_MCAST */
	uint32_t sock[DEVICE_BURST];
	struct device_frame pass[DEVICE_BURST];
	uint32_t pass_cnt;
	uint32_t put[DEVICE_BURST]; /* frames to return to the device */
	uint32_t put_cnt;
	struct worker_socket *touched[DEVICE_BURST * WORKER_MEMBERS];
	uint32_t touched_cnt;
	uint64_t stamp_ns; /* CLOCK_REALTIME; 0 if no socket wants it */
	/* Why each was dropped, for captures: RX_DROP_*. Written only where a frame is dropped, so
	 * it is garbage for others, unless worker_rx() has cleared it. */
	uint8_t why[DEVICE_BURST];
	uint8_t copies[DEVICE_BURST]; /* of a multicast datagram, likewise */
};

/* Counts the drop of frame i. */
static void drop(struct worker *w, struct rx_burst *b, uint32_t i, enum udplane_worker_counter c)
{
	PROBE2(rx_drop, w->opt.id, c);
	udplane_count(&w->counter[c], 1);
	b->why[i] = (uint8_t)c;
}

static enum udplane_worker_counter verdict_counter(enum packet_verdict v)
{
	switch (v) {
	case PACKET_DROP_IP_CHECKSUM: return UDPLANE_WORKER_RX_DROP_IP_CHECKSUM;
	case PACKET_DROP_UDP_CHECKSUM:
	case PACKET_PASS_ZERO_CHECKSUM6: return UDPLANE_WORKER_RX_DROP_UDP_CHECKSUM;
	case PACKET_PASS_MARTIAN:
	case PACKET_PASS_NOT_UNICAST: return UDPLANE_WORKER_MARTIANS;
	default: return UDPLANE_WORKER_RX_DROP_MALFORMED;
	}
}

/* Returns true if the frame is addressed to this host. Only needed for devices that pass frames;
 * others have checked already. Remembers the last local address, since most hosts have one. */
static bool is_ours(struct worker *w, const uint8_t *frame, const struct packet_info *info)
{
	struct worker_local *l = &w->local;

	if (memcmp(frame, w->queue->dev->mac, 6))
		return false;
	if (l->generation == w->flow_generation && l->family == info->family &&
	    !memcmp(l->addr, info->dst.bytes, 16))
		return true;
	if (!w->route || !route_is_local(w->route, info->family, info->dst.bytes))
		return false;
	memcpy(l->addr, info->dst.bytes, 16);
	l->family = info->family;
	l->generation = w->flow_generation;
	return true;
}

/* Judges a frame that is no valid unicast datagram. The device diverts datagrams to multicast
 * groups that claimed sockets have joined; what else it diverts is dropped. */
static uint32_t classify_other(struct worker *w, struct rx_burst *b, uint32_t i, const uint8_t *p,
			       enum packet_verdict v)
{
	const struct device_frame *f = &b->frame[i];
	struct packet_info *info = &b->info[i];

	if (v == PACKET_PASS_NOT_UNICAST && w->groups.cnt) {
		v = packet_parse_group(p, f->len, info);
		if (v == PACKET_UDP && !(f->flags & DEVICE_FRAME_VERIFIED))
			v = packet_verify(p, info, w->opt.checksum);
		if (v == PACKET_UDP)
			return SOCK_MCAST;
	}
	if (w->ops->pass && packet_verdict_is_pass(v))
		return SOCK_PASS;
	drop(w, b, i, verdict_counter(v));
	return PORT_NONE;
}

/* Returns the socket of frame i, by its headers and checksums. */
static uint32_t classify(struct worker *w, struct rx_burst *b, uint32_t i)
{
	const struct device_frame *f = &b->frame[i];
	struct packet_info *info = &b->info[i];
	const uint8_t *p = w->opt.frames + (size_t)f->frame * w->opt.frame_size + f->off;
	enum packet_verdict v = packet_parse(p, f->len, info);
	struct port_tuple tuple;
	uint32_t sock;

	if (__builtin_expect(f->flags & DEVICE_FRAME_STALE, 0)) {
		drop(w, b, i, UDPLANE_WORKER_RX_DROP_STALLED);
		return PORT_NONE;
	}
	if (v == PACKET_UDP && !(f->flags & DEVICE_FRAME_VERIFIED))
		v = packet_verify(p, info, w->opt.checksum);
	if (v != PACKET_UDP)
		return classify_other(w, b, i, p, v);
	if (w->ops->pass &&
	    (!is_ours(w, p, info) || !route_source_valid(w->route, info->family, info->src.bytes)))
		return SOCK_PASS;
	tuple.family = info->family;
	tuple.src_port_be = info->src_port_be;
	tuple.dst_port_be = info->dst_port_be;
	tuple.src = info->src.bytes;
	tuple.dst = info->dst.bytes;
	tuple.hash = packet_flow_hash(info, w->opt.hash_seed);
	/* (it touches a cache line that is not needed otherwise) */
	tuple.cookie = worker_has_groups(w) && w->ops->receiver ? w->ops->receiver(p, f) : 0;
	tuple.cookies = w->cookie;
	sock = port_table_lookup(w->ports, &tuple);
	if (sock == PORT_NONE && w->ops->pass)
		return SOCK_PASS;
	if (sock == PORT_NONE)
		drop(w, b, i, UDPLANE_WORKER_RX_DROP_NO_SOCKET);
	return sock;
}

/* Returns how many frames one client may hold: twice the frames that all clients leave free
 * (dynamic threshold). A client that never returns any gets two thirds, and the rest stays for
 * others. */
static uint32_t quota(const struct worker *w)
{
	return w->held < w->capacity ? 2 * (w->capacity - w->held) : 0;
}

static enum udplane_socket_counter room(struct worker *w, struct worker_socket *s)
{
	uint32_t free;

	if (s->lane->held >= quota(w))
		return UDPLANE_SOCKET_RX_DROP_QUOTA;
	free = udplane_ring_free(&s->rx, s->staged + 1);
	if (free == UDPLANE_RING_CORRUPT) {
		worker_corrupt(w, s->lane);
		return UDPLANE_SOCKET_RX_DROP_RING_FULL;
	}
	return free > s->staged ? UDPLANE_SOCKET_RX_DELIVERED : UDPLANE_SOCKET_RX_DROP_RING_FULL;
}

/* The client can write to its ring at any time, so the descriptor is written there and never read
 * back. */
static void write_desc(struct worker_socket *s, struct udplane_rx_desc d)
{
	size_t off = udplane_ring_slot(&s->rx, s->rx.idx + s->staged) * sizeof(d);
	uint64_t word[2];

	memcpy(word, &d, sizeof(d));
	foreign_store64(s->desc, off, word[0]);
	foreign_store64(s->desc, off + 8, word[1]);
}

/* Notes time and drops in front of the Ethernet header. Returns UDPLANE_RX_STAMPED; or 0 if the
 * socket has not asked, or the device has left no room. */
static uint16_t stamp(struct worker *w, struct rx_burst *b, const struct worker_socket *s,
		      uint32_t i)
{
	const struct device_frame *f = &b->frame[i];
	struct udplane_rx_front front = {.time_ns = b->stamp_ns};

	if (!w->source[b->sock[i]].stamp || f->off < sizeof(front))
		return 0;
	front.drops = s->counter[UDPLANE_SOCKET_RX_DROP_RING_FULL] +
		      s->counter[UDPLANE_SOCKET_RX_DROP_QUOTA];
	memcpy(w->opt.frames + (size_t)f->frame * w->opt.frame_size + f->off - sizeof(front),
	       &front, sizeof(front));
	return UDPLANE_RX_STAMPED;
}

/* Writes the descriptor. publish() makes it visible. */
static inline void stage(struct worker *w, struct rx_burst *b, uint32_t sock, uint32_t i,
			 uint16_t flags)
{
	struct worker_socket *s = &w->socket[sock];
	const struct packet_info *info = &b->info[i];
	struct udplane_rx_desc d = {
		.frame = b->frame[i].frame,
		.offset = (uint16_t)(b->frame[i].off + info->payload_off),
		.len = info->payload_len,
		.src4_be = info->src.v4_be,
		.src_port_be = info->src_port_be,
		.flags = flags | (info->family == AF_INET6 ? UDPLANE_RX_IPV6 : 0),
	};

	if (s->epoch != w->epoch) {
		d.flags |= UDPLANE_RX_SWITCHED;
		s->epoch = w->epoch;
		if (w->served_epoch[sock] != w->epoch && w->served_cnt < w->opt.socket_max) {
			w->served_epoch[sock] = w->epoch;
			w->served[w->served_cnt++] = sock;
		}
	}
	write_desc(s, d);
	s->lane->held++;
	if (s->staged++ == 0)
		b->touched[b->touched_cnt++] = s;
	s->staged_bytes += info->payload_len;
}

static void drop_for(struct worker *w, struct rx_burst *b, uint32_t i, struct worker_socket *s,
		     enum udplane_socket_counter c)
{
	udplane_count(&s->counter[c], 1);
	drop(w, b, i,
	     c == UDPLANE_SOCKET_RX_DROP_QUOTA ? UDPLANE_WORKER_RX_DROP_QUOTA
					       : UDPLANE_WORKER_RX_DROP_RING_FULL);
}

/* The copies are one frame, which is free again when all have given it back. */
static void set_owners(struct worker *w, uint32_t frame, const uint16_t *owner, uint32_t cnt)
{
	w->held++;
	if (cnt == 1) {
		w->owner[frame] = owner[0];
		return;
	}
	w->owner[frame] = WORKER_OWNER_COPIES;
	w->copies[frame].cnt = cnt;
	memcpy(w->copies[frame].owner, owner, cnt * sizeof(*owner));
}

/* Delivers a copy to each member that wants the datagram's source. */
static void deliver_mcast(struct worker *w, struct rx_burst *b, uint32_t i)
{
	const struct worker_mcast *m = worker_mcast_find(w, &b->info[i]);
	uint32_t wanted = 0, alive = 0, copies = 0;
	uint16_t owner[WORKER_MEMBERS];

	for (uint32_t k = 0; m && k < m->member_cnt; k++) {
		struct worker_socket *s = &w->socket[m->member[k].sock];
		enum udplane_socket_counter c;

		if (!s->lane || s->lane->expelled)
			continue;
		alive++;
		if (!worker_member_wants(&m->member[k], &b->info[i]))
			continue;
		wanted++;
		c = room(w, s);
		if (c != UDPLANE_SOCKET_RX_DELIVERED) {
			drop_for(w, b, i, s, c);
			continue;
		}
		stage(w, b, m->member[k].sock, i, 0);
		owner[copies++] = (uint16_t)(s->lane->id + 1);
	}
	if (wanted)
		udplane_count(&w->counter[UDPLANE_WORKER_RX_COPIES], wanted - 1);
	else
		drop(w, b, i,
		     alive ? UDPLANE_WORKER_RX_DROP_FILTERED : UDPLANE_WORKER_RX_DROP_NO_SOCKET);
	b->copies[i] = (uint8_t)copies;
	if (copies)
		set_owners(w, b->frame[i].frame, owner, copies);
	else
		b->put[b->put_cnt++] = b->frame[i].frame;
}

static void deliver(struct worker *w, struct rx_burst *b, uint32_t i)
{
	struct worker_socket *s;
	enum udplane_socket_counter c;

	if (__builtin_expect(b->sock[i] >= SOCK_MCAST, 0)) {
		if (b->sock[i] == SOCK_MCAST)
			deliver_mcast(w, b, i);
		else if (b->sock[i] == SOCK_PASS)
			b->pass[b->pass_cnt++] = b->frame[i];
		else
			b->put[b->put_cnt++] = b->frame[i].frame;
		return;
	}
	s = &w->socket[b->sock[i]];
	if ((!s->lane || s->lane->expelled) && w->ops->pass) {
		b->pass[b->pass_cnt++] = b->frame[i]; /* its kernel socket may still be open */
		return;
	}
	if (!s->lane || s->lane->expelled) {
		drop(w, b, i, UDPLANE_WORKER_RX_DROP_NO_SOCKET);
		goto put;
	}
	c = room(w, s);
	if (c == UDPLANE_SOCKET_RX_DELIVERED) {
		stage(w, b, b->sock[i], i,
		      __builtin_expect(b->stamp_ns != 0, 0) ? stamp(w, b, s, i) : 0);
		w->owner[b->frame[i].frame] = (uint16_t)(s->lane->id + 1);
		w->held++;
		return;
	}
	drop_for(w, b, i, s, c);
put:
	b->put[b->put_cnt++] = b->frame[i].frame;
}

/* Returns true if the frame was left to the kernel (devices that pass frames). b.pass holds them in
 * the order of the burst, from *next on. */
static bool was_passed(const struct rx_burst *b, uint32_t i, uint32_t *next)
{
	if (*next == b->pass_cnt || b->pass[*next].frame != b->frame[i].frame)
		return false;
	++*next;
	return true;
}

/* Copies the burst for those who capture, before its frames are given back or passed on. What is
 * delivered stays as it is until this thread has taken it back, since clients cannot write it. */
static void capture(struct worker *w, const struct rx_burst *b, uint32_t n)
{
	uint64_t now = clock_real_ns();
	uint32_t passed = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t why = b->why[i];
		struct worker_captured c = {
			.frame = &b->frame[i],
			.info = &b->info[i],
			.sock = b->sock[i] < SOCK_MCAST ? b->sock[i] : UDPLANE_CAPTURE_NO_SOCKET,
			.copies = b->copies[i],
			.reason = was_passed(b, i, &passed) ? UDPLANE_WORKER_RX_PASSED
				  : b->copies[i]	    ? 0
							    : why,
		};

		worker_capture_frame(w, now, &c);
	}
	worker_capture_publish(w);
}

uint64_t worker_wake_limit(void)
{
	uint64_t least = UINT64_MAX;
	char byte;
	int p[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p))
		return 100 * WAKE_SLOW_NS;
	for (int i = 0; i < WAKES_SLOW; i++) {
		uint64_t start = clock_thread_ns(), took;

		(void)!send(p[1], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		took = clock_thread_ns() - start;
		(void)!recv(p[0], &byte, 1, MSG_DONTWAIT);
		if (took < least)
			least = took;
	}
	close(p[0]);
	close(p[1]);
	return least * WAKE_FACTOR > WAKE_SLOW_NS ? least * WAKE_FACTOR : WAKE_SLOW_NS;
}

static void signal_client(struct worker *w, struct worker_socket *s)
{
	/* EAGAIN: its buffer is full, so it is readable already. EPIPE: the client has ended, and
	 * the control thread will notice. */
	if (send(s->wake_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		return;
	udplane_count(&s->counter[UDPLANE_SOCKET_WAKES], 1);
	udplane_count(&w->counter[UDPLANE_WORKER_WAKES_CLIENT], 1);
}

/*
 * A client cannot block a signal, but it can make it expensive: ten thousand epoll instances that
 * watch its wake socket cause ten thousand callbacks (0.6 ms) per signal. The thread's CPU time
 * shows that; it does not advance while another thread has the CPU, but it does while the
 * hypervisor has it, which may be at any time. So a client is detached only if its signals take
 * longer than the limit WAKES_SLOW times in a row.
 */
static void signal_measured(struct worker *w, struct worker_socket *s)
{
	uint8_t *slow = &w->wakes_slow[s - w->socket];
	uint64_t start = clock_thread_ns();

	signal_client(w, s);
	*slow = clock_thread_ns() - start > w->wake_limit_ns ? *slow + 1 : 0;
	if (*slow < WAKES_SLOW)
		return;
	*slow = 0;
	if (!s->lane->expelled)
		s->lane->expelled = WORKER_EVENT_SLOW_SIGNAL;
}

/* Notes that a socket has got something, for a client that will look. Returns true if it may sleep,
 * and must be woken: struct udplane_ready. */
static bool list_ready(struct worker *w, struct worker_socket *s, uint32_t group)
{
	struct foreign ready = s->lane->ready;
	size_t sock = (size_t)(s - w->socket);

	if (group >= UDPLANE_READY_GROUPS)
		return false;
	foreign_set64(ready, offsetof(struct udplane_ready, bits) + sock / 64 * sizeof(uint64_t),
		      1ull << sock % 64);
	if (!foreign_load32(ready, offsetof(struct udplane_ready, sleepers) + group * 4))
		return false;
	udplane_ring_count_signal(&s->rx);
	return true;
}

/* Wakes the clients that sleep. */
static void signal_clients(struct worker *w, struct rx_burst *b)
{
	uint64_t start = 0, end;
	bool measured = false;

	for (uint32_t i = 0; i < b->touched_cnt; i++) {
		struct worker_socket *s = b->touched[i];

		uint32_t arm = udplane_ring_take_arm_as(&s->rx);

		if (!arm || (arm >= UDPLANE_ARM_LIST && !list_ready(w, s, arm - UDPLANE_ARM_LIST)))
			continue;
		if (!start) {
			start = clock_now_ns();
			measured = start < w->wakes_measured_until_ns;
		}
		if (measured)
			signal_measured(w, s);
		else
			signal_client(w, s);
	}
	if (!start)
		return;
	end = clock_now_ns();
	if (end - start > WAKES_SUSPECT_NS)
		w->wakes_measured_until_ns = end + WAKES_MEASURE_NS;
}

/* One barrier per burst, between publishing and checking the sleepers' flags. */
static void publish(struct worker *w, struct rx_burst *b)
{
	uint64_t delivered = 0, bytes = 0;

	for (uint32_t i = 0; i < b->touched_cnt; i++) {
		struct worker_socket *s = b->touched[i];

		udplane_count(&s->counter[UDPLANE_SOCKET_RX_DELIVERED], s->staged);
		udplane_count(&s->counter[UDPLANE_SOCKET_RX_BYTES], s->staged_bytes);
		delivered += s->staged;
		bytes += s->staged_bytes;
		udplane_ring_publish(&s->rx, s->staged);
		s->staged = 0;
		s->staged_bytes = 0;
	}
	udplane_count(&w->counter[UDPLANE_WORKER_RX_DELIVERED], delivered);
	udplane_count(&w->counter[UDPLANE_WORKER_RX_BYTES], bytes);
	udplane_fence();
	signal_clients(w, b);
}

/* The kernel may deliver again only when all rings are empty. Then datagrams in a kernel socket are
 * always older than those in the ring, and the client keeps the order by emptying the kernel socket
 * before it starts on the ring. */
bool worker_rx_all_read(struct worker *w)
{
	for (uint32_t i = 0; i < w->served_cnt; i++) {
		struct worker_socket *s = &w->socket[w->served[i]];

		if (s->lane && !s->lane->expelled &&
		    udplane_ring_free(&s->rx, s->rx.size) != s->rx.size)
			return false;
	}
	return true;
}

void worker_new_epoch(struct worker *w)
{
	w->epoch++;
	if (worker_rx_all_read(w)) /* a late frame may have been delivered just before */
		w->served_cnt = 0;
}

/* The kernel had taken over because this worker had stalled; it receives again now. */
static void resume(struct worker *w)
{
	w->queue->resumed = false;
	worker_new_epoch(w);
	udplane_count(&w->counter[UDPLANE_WORKER_STALLS], 1);
}

uint32_t worker_rx(struct worker *w)
{
	struct rx_burst b;
	uint32_t n = w->ops->rx_burst(w->queue, b.frame, DEVICE_BURST);

	if (__builtin_expect(w->queue->resumed, 0))
		resume(w);
	if (!n)
		return 0;
	b.put_cnt = 0;
	b.pass_cnt = 0;
	b.touched_cnt = 0;
	b.stamp_ns = __builtin_expect(w->stamp_cnt != 0, 0) ? clock_real_ns() : 0;
	udplane_count(&w->counter[UDPLANE_WORKER_RX_FRAMES], n);
	if (__builtin_expect(w->capture != NULL, 0)) {
		memset(b.why, 0, sizeof(b.why));
		memset(b.copies, 0, sizeof(b.copies));
		memset(b.info, 0, sizeof(b.info)); /* not every frame is parsed */
	}
	for (uint32_t i = 0; i < n && i < 4; i++)
		__builtin_prefetch(w->opt.frames + (size_t)b.frame[i].frame * w->opt.frame_size +
				   b.frame[i].off);
	for (uint32_t i = 0; i < n; i++) {
		if (i + 4 < n) /* another CPU wrote the frame: its headers are a cache miss */
			__builtin_prefetch(w->opt.frames +
					   (size_t)b.frame[i + 4].frame * w->opt.frame_size +
					   b.frame[i + 4].off);
		b.sock[i] = classify(w, &b, i);
		if (b.sock[i] < SOCK_MCAST)
			__builtin_prefetch(&w->socket[b.sock[i]], 1);
	}
	for (uint32_t i = 0; i < n; i++)
		deliver(w, &b, i);
	publish(w, &b);
	if (__builtin_expect(w->capture != NULL, 0))
		capture(w, &b, n);
	if (b.put_cnt)
		w->ops->frames_put(w->queue, b.put, b.put_cnt);
	if (b.pass_cnt) {
		udplane_count(&w->counter[UDPLANE_WORKER_RX_PASSED], b.pass_cnt);
		w->ops->pass(w->queue, b.pass, b.pass_cnt);
	}
	return n;
}
