/* SPDX-License-Identifier: Apache-2.0 */
/* Claims: asks udplaned to divert a socket's port, reports changes, and releases the claim. */
#include "client/claim.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/cmsg.h"
#include "client/context.h"
#include "client/control.h"
#include "client/dest.h"
#include "client/lend.h"
#include "client/lock.h"
#include "client/member.h"
#include "client/own.h"
#include "client/public.h"
#include "client/ready.h"
#include "client/resend.h"
#include "client/rxq.h"
#include "client/saved.h"
#include "client/send_option.h"
#include "client/shim.h"
#include "client/sock.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <udplane/ring.h>

void sock_set_reason(struct sock *s, uint32_t reason, const char *text)
{
	if (!lock_insist(&s->tx.lock))
		return;
	s->tx.reason = reason;
	snprintf(s->tx.text, sizeof(s->tx.text), "%s", text);
	lock_drop(&s->tx.lock);
}

/* --- addresses --- */

bool sock_read_names(struct sock *s)
{
	struct sockaddr_storage local = {0}, peer = {0};
	socklen_t len = sizeof(local), v_len = sizeof(int);
	struct udplane_addr here, there;
	int v6only = 0;
	bool connected;

	getsockname(s->kfd, (struct sockaddr *)&local, &len);
	len = sizeof(peer);
	connected = getpeername(s->kfd, (struct sockaddr *)&peer, &len) == 0 &&
		    udplane_addr_from_sockaddr(&there, &peer, len);
	if (s->domain == AF_INET6)
		getsockopt(s->kfd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &v_len);
	udplane_addr_from_sockaddr(&here, &local, sizeof(local));
	if (!send_options_read(s, false) || !lock_insist(&s->tx.lock))
		return false;
	s->tx.connected = connected;
	s->tx.v6only = v6only;
	s->tx.local = here;
	if (connected) {
		const struct sockaddr_in6 *in6 = (const void *)&peer;

		s->tx.peer = there;
		s->tx.peer_fast =
			dest_unicast(&there) && there.port_be &&
			(there.family == AF_INET || (!in6->sin6_flowinfo && !s->tx.wish.flow_send));
	}
	s->tx.seen_seq = 1;
	lock_drop(&s->tx.lock);
	__atomic_store_n(&s->life.bound, here.port_be != 0, __ATOMIC_RELAXED);
	return true;
}

static bool attach_port_asked(const struct attach *a, uint16_t port_be)
{
	const uint8_t *map = a->stats_zone.addr + a->stats->ports_off;
	uint16_t port = (uint16_t)(port_be >> 8 | port_be << 8);

	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		port = port_be;
	return __atomic_load_n(&map[port >> 3], __ATOMIC_RELAXED) >> (port & 7) & 1;
}

/* --- rings --- */

static int attach_add_segment(struct attach *a, int fd, uint64_t len)
{
	struct zone *seg = realloc(a->segment, (a->segment_cnt + 1) * sizeof(*seg));

	if (!seg)
		return -ENOMEM;
	a->segment = seg;
	seg = &seg[a->segment_cnt];
	memset(seg, 0, sizeof(*seg));
	/* counted even if it cannot be mapped, since udplaned counts all that it sent */
	a->segment_cnt++;
	return zone_map(seg, fd, len, PROT_READ | PROT_WRITE, MAP_POPULATE);
}

/* Returns the address of the rings; or NULL, with the reason in *err (-EPROTO if the message is
 * invalid). */
static uint8_t *claim_find_rings(struct attach *a, const struct udplane_claimed *c,
				 struct control_answer *ans, int *err)
{
	struct zone *z;
	struct stat st;

	*err = -EPROTO;
	if (ans->fd_cnt != 1u + !!c->segment_len) {
		*err = ans->fds_cut ? -EMFILE : -EPROTO;
		return NULL;
	}
	if (fstat(ans->fd[0], &st) || !S_ISSOCK(st.st_mode))
		return NULL;
	if (c->segment_len) {
		if (c->segment != a->segment_cnt + 1)
			return NULL;
		*err = attach_add_segment(a, ans->fd[1], c->segment_len);
		if (*err)
			return NULL;
	}
	*err = -EPROTO;
	if (c->segment > a->segment_cnt || c->sock >= a->stats->socket_max)
		return NULL;
	z = c->segment ? &a->segment[c->segment - 1] : &a->channel;
	if (!z->addr) {
		*err = -ENOMEM;
		return NULL;
	}
	if (c->ring_size < 2 || c->ring_size > 1 << 20 || (c->ring_size & (c->ring_size - 1)) ||
	    c->ring_off % 64 || c->ring_len % 64 ||
	    c->ring_len < sizeof(struct udplane_rx_ring) +
				  (uint64_t)c->ring_size * sizeof(struct udplane_rx_desc) ||
	    c->ring_off > z->len || (uint64_t)c->ring_len * a->worker_cnt > z->len - c->ring_off)
		return NULL;
	return z->addr + c->ring_off;
}

static struct rxq *claim_make_rxqs(const struct attach *a, const struct udplane_claimed *c,
				   uint8_t *rings)
{
	struct rxq *rxq = calloc(a->worker_cnt, sizeof(*rxq));

	for (uint32_t i = 0; rxq && i < a->worker_cnt; i++) {
		struct udplane_rx_ring *shared = (void *)(rings + (size_t)i * c->ring_len);

		udplane_ring_init(&rxq[i].ring, &shared->head, c->ring_size,
				  udplane_word_load(&shared->head.cons_idx));
		rxq[i].desc = shared->desc;
		rxq[i].shared = shared;
	}
	return rxq;
}

/* A socket of the shim gets its epoll instance at its first claim. Both locks held. */
static bool sock_make_ep(struct sock *s)
{
	struct epoll_event ev = {.events = EPOLLET};

	if (!s->rx.shim.on || own_is(s->ep))
		return true;
	s->rx.shim.quiet = true;
	s->ep = own_take(epoll_create1(EPOLL_CLOEXEC));
	if (s->ep >= 0 && epoll_ctl(s->ep, EPOLL_CTL_ADD, s->kfd, &ev))
		own_close(&s->ep);
	return s->ep >= 0;
}

/* Owns rxq and wake_fd in either case. Returns false if the socket was closed, or its locks
 * could not be taken. */
static bool claim_install(struct sock *s, struct attach *a, const struct udplane_claimed *c,
			  struct rxq *rxq, int wake_fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	bool locked = sock_take_both(s), open;

	open = locked && !s->closed && !s->kernel_only &&
	       (!s->rx.shim.on || context.shim->may_claim(s)) && sock_make_ep(s);
	if (open) {
		__atomic_fetch_add(&a->refs, 1, __ATOMIC_RELAXED);
		s->att = a;
		s->rx.rxq = rxq;
		s->rx.rxq_cnt = a->worker_cnt;
		s->rx.rxq_next = 0;
		s->rx.wake_fd = wake_fd;
		s->rx.tokens = 0;
		s->rx.switched = false;
		cmsg_read_options(s);
		s->tx.id = c->sock;
		s->tx.zone = (const void *)(a->stats_zone.addr + a->stats->socket_off +
					    (size_t)c->sock * a->stats->socket_len);
		s->tx.lane = &a->lane[c->sock % a->worker_cnt];
		s->tx.counters = rxq[0].shared;
		s->tx.used = false;
		s->tx.seen_seq = 1;
		s->tx.reason = UDPLANE_REASON_NONE;
		s->tx.text[0] = 0;
		epoll_ctl(s->ep, EPOLL_CTL_ADD, wake_fd, &ev);
		if (s->rx.shim.on)
			context.shim->claimed(s);
		rx_update_readiness(s);
	}
	if (locked)
		sock_drop_both(s);
	if (!open) {
		free(rxq);
		own_close(&wake_fd);
	}
	return open;
}

void claim_drop_rings(struct sock *s, bool save)
{
	cmsg_keep_drops(s);
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		rx_drain(s, i, save);
	free(s->rx.rxq);
	s->rx.rxq = NULL;
	s->rx.rxq_cnt = 0;
	s->rx.tokens = 0;
	s->rx.peeked = s->rx.peeked == PEEKED_RING ? PEEKED_NONE : s->rx.peeked;
	if (own_is(s->rx.wake_fd))
		epoll_ctl(s->ep, EPOLL_CTL_DEL, s->rx.wake_fd,
			  NULL); /* a forked child may hold it, too */
	own_close(&s->rx.wake_fd);
}

/* --- verbs --- */

static void claim_refused(struct sock *s, uint32_t reason, const char *text)
{
	uint64_t wait = s->life.claim_wait_ns ? 2 * s->life.claim_wait_ns : CLAIM_RETRY_NS;

	s->life.claim_wait_ns = wait < CLAIM_RETRY_MAX_NS ? wait : CLAIM_RETRY_MAX_NS;
	sock_retry_at(s, clock_now_ns() + s->life.claim_wait_ns);
	sock_set_reason(s, reason, text);
	context_log(2, "socket %d stays with the kernel: %s: %s", s->fd, reason_name(reason), text);
}

static void claim_send_release(struct attach *a, uint32_t sock, uint32_t reason, const char *text)
{
	struct udplane_sock_req req = {
		.msg.type = UDPLANE_MSG_RELEASE, .sock = sock, .reason = reason};
	struct control_answer ans;

	snprintf(req.text, sizeof(req.text), "%s", text);
	if (!control_request(&a->control, &req, sizeof(req), -1, UDPLANE_MSG_DONE,
			     sizeof(struct udplane_done), &ans))
		control_close_fds(&ans);
}

static void claimed(struct sock *s, struct attach *a, struct control_answer *ans)
{
	const struct udplane_claimed *c = &ans->u.claimed;
	struct rxq *rxq = NULL;
	uint8_t *rings;
	int err;

	rings = claim_find_rings(a, c, ans, &err);
	if (rings)
		rxq = claim_make_rxqs(a, c, rings);
	if (rxq) {
		s->life.claim_wait_ns = 0;
		sock_retry_at(s, UINT64_MAX);
		if (!claim_install(s, a, c, rxq, own_take(ans->fd[0]))) {
			claim_send_release(a, c->sock, UDPLANE_REASON_NONE, "");
			sock_retry_at(s, clock_now_ns() + CLAIM_RETRY_NS);
		} else {
			member_tell_all(s);
		}
		ans->fd[0] = -1;
		context_log(2, "socket %d is claimed as %u", s->fd, c->sock);
		return;
	}
	if (!rings && err == -EPROTO) {
		claim_refused(s, UDPLANE_REASON_BAD_MESSAGE, "udplaned's answer is invalid");
		control_distrust(&a->control);
		return;
	}
	claim_refused(s, err == -EMFILE ? UDPLANE_REASON_DESCRIPTORS : UDPLANE_REASON_MEMORY_MAP,
		      "the socket's rings cannot be mapped");
	claim_send_release(a, c->sock, UDPLANE_REASON_NONE, "");
}

/* Drops the stats row that says why the last claim was released. */
static void claim_drop_row(struct sock *s, struct attach *a)
{
	if (!s->life.held)
		return;
	if (s->life.held == a)
		claim_send_release(a, s->tx.id, UDPLANE_REASON_NONE, "");
	attach_put(s->life.held);
	s->life.held = NULL;
}

/* Of the shim: while a call waits for the socket in the kernel alone, it is not claimed. */
static bool sock_may_claim(struct sock *s)
{
	bool may;

	if (!s->rx.shim.on)
		return true;
	if (!sock_insist_rx(s))
		return false;
	may = context.shim->may_claim(s);
	lock_drop(&s->rx.lock);
	if (!may)
		sock_retry_at(s, clock_now_ns() + SHIM_CLAIM_RETRY_NS);
	return may;
}

static void claim_ask(struct sock *s, struct attach *a)
{
	struct udplane_claim req = {.msg.type = UDPLANE_MSG_CLAIM};
	struct control_answer ans;
	int err;

	claim_drop_row(s, a);
	if (!sock_may_claim(s) || !lock_insist(&s->tx.lock))
		return;
	req.local = s->tx.local;
	lock_drop(&s->tx.lock);
	err = control_request(&a->control, &req, sizeof(req), s->kfd, UDPLANE_MSG_CLAIMED,
			      sizeof(struct udplane_claimed), &ans);
	if (err) {
		claim_refused(s,
			      err == -ETOOMANYREFS ? UDPLANE_REASON_DESCRIPTORS
						   : UDPLANE_REASON_NO_SIDECAR,
			      strerror(-err));
		return;
	}
	if (ans.u.claimed.status)
		claim_refused(s, ans.u.claimed.reason, ans.u.claimed.text);
	else
		claimed(s, a, &ans);
	control_close_fds(&ans);
}

#define NO_DESCRIPTORS "the program might run out of descriptors: raise RLIMIT_NOFILE"

void claim_try(struct sock *s)
{
	struct attach *a = context.att;

	if (s->att || s->kernel_only || __atomic_load_n(&s->closed, __ATOMIC_RELAXED) ||
	    context.disabled || !s->life.bound) {
		sock_retry_at(s, UINT64_MAX);
		return;
	}
	if (!a) {
		sock_retry_at(s, context.next_attach_ns);
		return;
	}
	if (a->backend == UDPLANE_BACKEND_KERNEL) {
		sock_set_reason(s, UDPLANE_REASON_BACKEND_KERNEL, a->text);
		sock_retry_at(s, clock_now_ns() + ATTACH_RETRY_MAX_NS);
		return;
	}
	if (a->control.failed || udplane_load32(&a->stats->state) > UDPLANE_STATE_RUNNING) {
		sock_set_reason(s, UDPLANE_REASON_LEAVING, "udplaned is stopping");
		sock_retry_at(s, clock_now_ns() + ATTACH_RETRY_NS);
		return;
	}
	if (clock_coarse_ns() < s->life.retry_ns)
		return;
	if (!sock_kernel_is(s)) {
		claim_refused(s, UDPLANE_REASON_DESCRIPTORS,
			      "the program has closed the descriptor of the kernel socket");
		return;
	}
	if (own_room() < CLAIM_DESCRIPTORS) {
		claim_refused(s, UDPLANE_REASON_DESCRIPTORS, NO_DESCRIPTORS);
		return;
	}
	/* saves a request for each client socket */
	if (!attach_port_asked(a, s->tx.local.port_be)) {
		claim_refused(s, UDPLANE_REASON_NOT_ASKED,
			      "the port is not among those that udplaned was asked to accelerate");
		return;
	}
	__atomic_store_n(&context.claiming, 1, __ATOMIC_SEQ_CST);
	claim_ask(s, a);
	__atomic_store_n(&context.claiming, 0, __ATOMIC_RELEASE);
}

/* No entry of this socket may come after the next message to udplaned. */
static bool sock_stop_sending(struct sock *s)
{
	if (!lock_insist(&s->tx.lock))
		return false;
	s->tx.lane = NULL;
	lock_drop(&s->tx.lock);
	return true;
}

void claim_later(struct sock *s, uint32_t late, uint32_t reason, const char *text)
{
	if (late == LATE_KERNEL) {
		s->life.late_reason = reason;
		snprintf(s->life.late_text, sizeof(s->life.late_text), "%s", text);
	}
	__atomic_fetch_or(&s->life.late, late, __ATOMIC_RELEASE);
	__atomic_store_n(&context.late, 1, __ATOMIC_RELAXED);
	if (s->att)
		__atomic_store_n(&s->att->control.attn, 1, __ATOMIC_RELAXED);
	else
		sock_retry_at(s, 0);
}

/* What has arrived so far must be read before what arrives by the new path. */
static void sock_keep_order(struct sock *s)
{
	if (!sock_take_rx(s)) /* a call of this thread holds it, interrupted by a handler */
		return;
	rx_to_saved(s);
	rx_update_readiness(s);
	lock_drop(&s->rx.lock);
}

void claim_update(struct sock *s)
{
	struct udplane_sock_req req = {.msg.type = UDPLANE_MSG_UPDATE};
	struct attach *a = s->att;
	struct control_answer ans;

	if (!sock_read_names(s) || !sock_stop_sending(s)) {
		claim_later(s, LATE_UPDATE, 0, NULL);
		return;
	}
	if (!a) {
		s->life.claim_wait_ns = 0;
		sock_retry_at(s, 0);
		return;
	}
	sock_keep_order(s);
	if (!s->life.bound) {
		claim_release(s, CLAIM_AGAIN, UDPLANE_REASON_NOT_BOUND,
			      "the socket is not bound to a port any more");
		return;
	}
	req.sock = s->tx.id;
	if (control_request(&a->control, &req, sizeof(req), -1, UDPLANE_MSG_DONE,
			    sizeof(struct udplane_done), &ans))
		return; /* the attachment will be ended */
	control_close_fds(&ans);
	if (ans.u.done.status) {
		claim_release(s, CLAIM_AGAIN, ans.u.done.reason, ans.u.done.text);
		claim_refused(s, ans.u.done.reason, ans.u.done.text);
		return;
	}
	if (!lock_insist(&s->tx.lock)) {
		claim_later(s, LATE_UPDATE, 0, NULL);
		return;
	}
	s->tx.lane = &a->lane[s->tx.id % a->worker_cnt];
	lock_drop(&s->tx.lock);
}

/* Both locks held. */
static void sock_go_kernel(struct sock *s, uint32_t reason, const char *text)
{
	s->kernel_only = true;
	sock_retry_at(s, UINT64_MAX);
	s->tx.reason = reason;
	snprintf(s->tx.text, sizeof(s->tx.text), "%s", text);
	context_log(1, "socket %d leaves the fast path: %s: %s", s->fd, reason_name(reason), text);
}

/* A sleeping worker takes returned frames back with its next packet only. Wakes it, so that
 * others can have the frames now. */
static void attach_wake_for_returns(struct attach *a)
{
	for (uint32_t i = 0; i < a->worker_cnt; i++) {
		struct lane *l = &a->lane[i];
		bool left;

		if (!lock_insist(&l->ret_lock))
			return;
		left = udplane_word_load(&l->ret.head->cons_idx) != l->ret.idx;
		lock_drop(&l->ret_lock);
		if (left && !udplane_load32(&l->zone->awake) && !lane_ring_doorbell(a, l))
			return;
	}
}

/* The rings are saved after the answer, when nothing more is put into them, and before the next
 * claim, which may get the same rings. */
void claim_release(struct sock *s, enum claim_end end, uint32_t reason, const char *text)
{
	struct attach *a = s->att ? s->att : s->life.held;
	bool rings = s->att != NULL, keep_row = end == CLAIM_KERNEL || end == CLAIM_SHARED;

	if (end == CLAIM_KERNEL && reason == UDPLANE_REASON_PROCESSES)
		lend_bar(s);
	if (!sock_take_both(s)) {
		claim_later(s,
			    end == CLAIM_KERNEL	 ? LATE_KERNEL
			    : end == CLAIM_CLOSE ? LATE_CLOSE
						 : LATE_UPDATE,
			    reason, text);
		return;
	}
	if (end == CLAIM_KERNEL) {
		sock_go_kernel(s, reason, text);
	} else if (end == CLAIM_AGAIN || (end == CLAIM_SHARED && rings)) {
		s->tx.reason = reason;
		snprintf(s->tx.text, sizeof(s->tx.text), "%s", text);
	}
	s->tx.lane = NULL;
	if (rings && end != CLAIM_CLOSE) {
		rx_to_saved(s);
		rx_update_readiness(s);
	}
	sock_drop_both(s);
	if (!a || (!rings && keep_row))
		return;
	claim_send_release(a, s->tx.id, keep_row ? reason : UDPLANE_REASON_NONE,
			   keep_row ? text : "");
	/* unlikely, as it was possible a moment ago; detach_sock() will do it */
	if (!sock_take_both(s))
		return;
	if (a->control.failed)
		tx_resend(s, a);
	if (rings)
		claim_drop_rings(s, end != CLAIM_CLOSE);
	rx_saved_first(s);
	s->att = NULL;
	s->life.held = keep_row ? a : NULL;
	lend_end(s, true);
	if (end != CLAIM_CLOSE)
		rx_update_readiness(s);
	sock_drop_both(s);
	attach_wake_for_returns(a);
	if (!keep_row)
		attach_put(a);
	if (end == CLAIM_AGAIN)
		sock_retry_at(s, 0);
}

void claim_give_descriptors(struct sock *s)
{
	claim_release(s, CLAIM_AGAIN, UDPLANE_REASON_DESCRIPTORS, NO_DESCRIPTORS);
	claim_refused(s, UDPLANE_REASON_DESCRIPTORS, NO_DESCRIPTORS);
	if (!sock_take_both(s))
		return;
	/* a call may sleep on it, with other sockets */
	if (!s->att && !__atomic_load_n(&s->rx.shim.sleepers, __ATOMIC_SEQ_CST))
		own_close(&s->ep);
	sock_drop_both(s);
}
