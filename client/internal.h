/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside libudplane. One process-wide context; in it the attachment to udplaned, if there is one,
 * and a table of sockets by descriptor.
 *
 *   context ──> attach (refs) ──> lane per worker: TX ring, return ring, doorbell
 *      └─ table[fd] ──> sock ──> attach (a reference while claimed), rxq per worker: RX ring
 *
 * Locks, in the order in which they are taken:
 *
 *   control lock    control messages, attach, bury, claim, release; may be held for a second.
 *                   Never taken under another lock.
 *   sock.rx.lock    everything that receiving needs; also makes sure that the sock is not closed
 *                   meanwhile
 *   sock.tx.lock    everything that sending needs; likewise
 *   lane.tx_lock    TX ring;  lane.ret_lock  return ring;  context.table_lock, context.buf_lock,
 *                                                          context.info_lock
 *
 * A call locks one side of one socket. What takes long (a system call that blocks) first enters
 * itself as a visitor and lets go of the lock. sock memory is never returned to the system, so a
 * thread that finds a stale pointer in the table may lock it and look.
 *
 * Signals: send and receive calls may run in a handler that has interrupted any call of this
 * library, and a handler may leave one by siglongjmp(3). So no lock is waited for without end:
 * lock_take() says no if the thread holds the lock already, or cannot have it in good time (its
 * holder may wait for what an interrupted call holds), and the datagram takes the kernel path. A
 * lock that a jump has left behind is recognised by its owner. Under the control lock signals are
 * blocked. Threads are cancelled where they wait, as visitors, and hold nothing there; all other
 * system calls are no cancellation points (raw_*).
 *
 * Inside, functions return 0 or a count, or -errno; errno is set at the public edge alone.
 */
#ifndef UDPLANE_CLIENT_INTERNAL_H
#define UDPLANE_CLIENT_INTERNAL_H

#include "client/base.h"
#include "client/lock.h"
#include "client/raw.h"
#include "client/state.h"
#include <linux/aio_abi.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <udplane/abi.h>
#include <udplane/ring.h>
#include <unistd.h>
#pragma GCC visibility push( \
	default) /* the rest of the library is compiled with -fvisibility=hidden */
#include <udplane/udplane.h>
#pragma GCC visibility pop

#ifdef __cplusplus
extern "C" {
#endif

/* --- context.c: the one global, made at the first udplane_socket() --- */

extern struct context context;
void context_init(void);
/* For tests: forgets the attachment and reads the environment again. No other thread may be in the
 * library. */
void context_reset(void);
void context_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void context_set_reason(uint32_t reason, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
const char *reason_name(uint32_t reason);

/* --- table.c --- */

static inline struct sock **table_slot(int fd)
{
	struct sock **chunk;

	if (unlikely((uint32_t)fd >= TABLE_CHUNK * TABLE_CHUNKS))
		return NULL;
	chunk = __atomic_load_n(&context.chunk[(uint32_t)fd / TABLE_CHUNK], __ATOMIC_ACQUIRE);
	return likely(chunk != NULL) ? &chunk[(uint32_t)fd % TABLE_CHUNK] : NULL;
}
static inline struct sock *table_get(int fd)
{
	struct sock **slot = table_slot(fd);

	return likely(slot != NULL) ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : NULL;
}

/* Makes the receive side whole again, after a jump out of a call in the midst of it. rx.lock held.
 */
void rx_recover(struct sock *s);
static inline bool sock_take_rx(struct sock *s)
{
	enum lock_result got = lock_take(&s->rx.lock);

	if (unlikely(got == LOCK_STOLEN))
		rx_recover(s);
	return got != LOCK_BUSY;
}
/* The same of a socket. Both, or neither. */
bool sock_insist_rx(struct sock *s);
bool sock_take_both(struct sock *s);
void sock_drop_both(struct sock *s);

/* The socket with its receive or send side locked, or NULL: EBADF, or LOCK_BUSY, which sock_get()
 * tells from it. */
static inline struct sock *sock_lock_rx(int fd)
{
	struct sock *s = table_get(fd);

	if (unlikely(!s))
		return NULL;
	if (unlikely(!sock_take_rx(s)))
		return NULL;
	if (unlikely(table_get(fd) != s)) {
		lock_drop(&s->rx.lock);
		return NULL;
	}
	return s;
}
static inline struct sock *sock_lock_tx(int fd)
{
	struct sock *s = table_get(fd);

	if (unlikely(!s || !lock_take(&s->tx.lock)))
		return NULL;
	if (unlikely(table_get(fd) != s)) {
		lock_drop(&s->tx.lock);
		return NULL;
	}
	return s;
}
/* Keeps the sock and its descriptors alive; call it with a lock held. */
static inline void sock_ref(struct sock *s)
{
	__atomic_fetch_add(&s->life.refs, 1, __ATOMIC_RELAXED);
}
/* Doorbells rung for it, with these cnt. */
static inline uint64_t sock_count_engages(struct sock *s, uint32_t cnt)
{
	return __atomic_add_fetch(&s->life.engages, cnt, __ATOMIC_RELAXED);
}
void sock_unref(struct sock *s); /* the last one closes the descriptors */
void sock_leave(struct sock *s); /* does it, if this was the last */
struct sock *sock_get(int fd); /* referenced, not locked, in any state of the locks; NULL: EBADF */

/* A system call on the socket, with no lock held; the sock stays what it is till visit_end(). */
struct visit {
	struct sock *s;
	struct visitor *entry; /* NULL: counted */
	uintptr_t frame;
};
/* Call it with a lock or reference held. may_end: the system call may wait, and so be where the
 * thread ends. */
void visit_enter(struct sock *s, struct visit *v, uintptr_t frame, bool may_end);
static inline void visit_begin(struct sock *s, struct visit *v, bool may_end)
{
	visit_enter(s, v, (uintptr_t)__builtin_frame_address(0), may_end);
}
void visit_may_end(struct visit *v); /* changes that */
void visit_sleeps(struct visit *v);  /* sock_leave_sleepers() may end it */
/* False: another call of this thread (a handler's) has closed the socket meanwhile, and it must not
 * be touched any more. */
bool visit_end(struct visit *v);
bool visit_lasts(const struct visit *v);
/* Closing waits no longer for who sleeps on the epoll descriptor, or has jumped out of that: it
 * will find out by itself. */
void sock_leave_sleepers(struct sock *s);
/* by others than this thread in the kernel's own call, where rings do not wake them. rx.lock
 * held */
bool sock_awaited(struct sock *s);
bool sock_visited(struct sock *s); /* by others than this thread, as far as can be told */
struct sock *sock_create(int fd, int kfd, int domain); /* referenced by the table; NULL: ENOMEM */
bool sock_fd_is(const struct sock *s);		       /* is fd still the epoll instance of kfd? */
int table_insert(struct sock *s);
/* Calls fn for each open socket, referenced. */
void table_each(void (*fn)(struct sock *s, void *arg), void *arg);
/* The same in a forked child, where there is one thread and locks mean nothing. */
void table_each_raw(void (*fn)(struct sock *s));
int table_fd_flags(int fd); /* O_CLOEXEC or 0, as the descriptor has it */

/* --- own.c: descriptors that only we know --- */

int own_move(int fd); /* to a high number; the one that it has now */
/* the same, and own_is() will know it; -1: that is not possible, and it is closed */
int own_take(int fd);
bool own_is(int fd);
void own_close(int *fd);				   /* if it is; -1 then */
uint64_t own_cookie(int fd);				   /* of a socket; 0: it is none */
bool sock_kernel_is(const struct sock *s);		   /* is kfd still the socket? */
bool lane_ring_doorbell(struct attach *a, struct lane *l); /* true: rung */

/* --- control.c: messages, under the control lock --- */

#define CONTROL_MAX_FDS (3 + UDPLANE_MAX_WORKERS)

struct control_answer {
	union {
		struct udplane_msg msg;
		struct udplane_welcome welcome;
		struct udplane_claimed claimed;
		struct udplane_done done;
		uint8_t bytes[UDPLANE_MSG_MAX];
	} u;
	int fd[CONTROL_MAX_FDS];
	uint32_t fd_cnt;
	bool fds_cut; /* descriptors were lost: our limit is reached */
};

/* Something is wrong: udplaned will be taken for dead. Any thread. */
static inline void control_distrust(struct control *c)
{
	__atomic_store_n(&c->broken, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->attn, 1, __ATOMIC_RELAXED);
}
/* Sends req (its msg.seq and len are set here) with send_fd (or -1). 0 or -errno. */
int control_send(struct control *c, void *req, size_t len, int send_fd);
/* Waits for the answer to the last request, until deadline_ns. 0; -ETIMEDOUT: it may be asked for
 * again; another -errno: the connection is no longer usable. */
int control_wait(struct control *c, uint16_t type, size_t min_len, uint64_t deadline_ns,
		 struct control_answer *ans);
/* Both. Sends req (its msg.seq and len are set here) with send_fd (or -1) and waits for the answer
 * of the given type and at least min_len bytes. 0; or -errno, and the connection is no longer
 * usable. */
int control_request(struct control *c, void *req, size_t len, int send_fd, uint16_t type,
		    size_t min_len, struct control_answer *ans);
void control_close_fds(struct control_answer *ans);
/* Reads what came unasked. True: udplaned has left or is dead. */
bool control_dead(struct control *c);

/* --- attach.c --- */

/* Closes a connection whose HELLO has not been answered. ctl. */
void attach_forget_hello(void);
/* Attaches if that is due. Sets context.att, or the reason why not and when to try again. Under
 * ctl. */
void attach_try(void);
void attach_put(struct attach *a);
void attach_put_many(struct attach *a, uint32_t cnt);
void attach_close_fds(struct attach *a);
/* Maps a memfd that must be at least len long, as a whole. */
int zone_map(struct zone *z, int fd, uint64_t len, int prot, int flags);
/* Rate-limited look at the control socket; sets control.attn if there is news. Any thread. */
void attach_look(struct attach *a, uint64_t now);
bool attach_awake(const struct attach *a); /* any worker */
/* every worker: what the kernel delivers now is not from their queues */
bool attach_engaged(const struct attach *a);

/* --- dir.c: the control socket's directory after chroot(), under ctl --- */

/* Keeps the directory that the path leads to, if none is kept yet; sure: udplaned was reached by
 * this path. */
void dir_keep(bool sure);
/* Connects fd from the directory that is kept, if the path does not lead there any more. 0; -errno;
 * err: it was not tried. */
int dir_connect(int fd, int err);
void dir_forget(void);

/* --- bury.c: the end of an attachment, under ctl --- */

void attach_bury(struct attach *a);
/* What is due: notices death, attaches, claims s (may be NULL) unless it is lazy and may_claim is
 * false. Call it without locks, s referenced. If block is false it returns at once if another
 * thread is at it. */
void maintain(struct sock *s, bool may_claim, bool block);

static inline bool attach_news(const struct attach *a)
{
	return __atomic_load_n(&a->control.attn, __ATOMIC_RELAXED) ||
	       udplane_load32(&a->stats->state) > UDPLANE_STATE_RUNNING;
}
/* Is something due? Any lock held. Cheap for claimed sockets. */
static inline bool sock_news(const struct sock *s)
{
	uint64_t at;

	if (likely(s->att != NULL))
		return unlikely(attach_news(s->att));
	at = __atomic_load_n(&s->life.retry_ns, __ATOMIC_RELAXED);
	return at != UINT64_MAX && clock_coarse_ns() >= at;
}

/* --- claim.c: under ctl, s referenced and unlocked --- */

void claim_try(struct sock *s);
void claim_update(struct sock *s);
enum claim_end {
	CLAIM_CLOSE,  /* the socket closes */
	CLAIM_KERNEL, /* it stays on the kernel path for good, with reason and text */
	CLAIM_AGAIN,  /* it may be claimed anew */
	CLAIM_SHARED, /* it stays on the kernel path while several processes have it */
};
/* Leaves it to the next maintain(). reason and text: of LATE_KERNEL. */
void claim_later(struct sock *s, uint32_t late, uint32_t reason, const char *text);
/* Ends the claim, if there is one. */
void claim_release(struct sock *s, enum claim_end end, uint32_t reason, const char *text);
/* Takes the rings away. Datagrams in them are saved, unless the socket closes. Both locks held. */
void claim_drop(struct sock *s, bool save);
/* Reads addresses from the kernel after bind, connect or an automatic bind. False: not now. */
bool sock_read_names(struct sock *s);
/* close.c, under ctl: an udplane_close() that could not have the locks */
void sock_close_late(struct sock *s);
/* A socket whose descriptor was closed by close(2), and has been given out anew. NULL: there is
 * none. */
void sock_forget(struct sock *s);
void sock_set_reason(struct sock *s, uint32_t reason, const char *text);
/* May be claimed (or attached for) from the next call on. */
static inline void sock_retry_at(struct sock *s, uint64_t at)
{
	__atomic_store_n(&s->life.retry_ns, at, __ATOMIC_RELAXED);
}

/* --- share.c: sockets that several processes have open after fork() --- */

void share_prepare(void); /* the fork is about to come, ctl held: sockets go to the kernel path */
void share_parent(void);
void share_child(void); /* table_each_raw() holds */
/* May a socket that was shared be claimed? If nobody else has it any more it is ours alone again.
 * Under ctl. */
bool share_resume(struct sock *s);
void share_forget(struct sock *s); /* it closes in this process */
/* A copy of the next datagram that was unread at the fork, taken out unless peek; NULL: none is
 * left, s->rx.queue is gone. rx.lock held. */
struct pktbuf *share_queue_get(struct sock *s, bool peek);
int share_queue_next_len(struct sock *s); /* its length, or -EAGAIN */
void share_queue_drop(struct sock *s);
/* What is left of it back into private memory, in front of what is there. rx.lock held. */
void queue_to_saved(struct sock *s);
void saved_to_queue(struct sock *s); /* s->rx.saved becomes a queue. rx.lock held. */
bool file_open(void);		     /* holders.c. False: who has what open cannot be known. */
bool share_lock(struct sock *s);
bool share_alone(struct sock *s); /* Has no other process the socket open? Under ctl. */

/* --- wait.c: readiness and blocking, under rx.lock --- */

/* Call it before rx.lock is dropped, if anything was received or looked for: leaves fd readable
 * exactly if there is something. */
void rx_settle(struct sock *s);
#define RX_KERNEL_EVENTS (EPOLLIN | EPOLLET) /* of the kernel socket in the epoll instance */
/* Nothing but errors is left in the kernel socket: it does not make fd readable any more until
 * something comes. True: there is more. */
bool rx_hide_error(struct sock *s);
void rx_show_error(struct sock *s); /* if there is any: readable again */
void rx_disarm(struct sock *s);	    /* takes the arms back: the worker signals nobody */
void rx_set_self_signal(struct sock *s, bool on);
bool rx_ready(struct sock *s); /* something in rings or saved */

struct rx_wait {
	uint64_t deadline_ns; /* 0: none */
	uint64_t spin_end_ns; /* 0: not spinning (any more) */
	bool hup;	      /* shutdown() was called on the socket, by whatever road */
	bool begun;
};
/* Waits until a receive is worth another try: 0; or -EAGAIN (time is up), -EINTR, each after a last
 * try. Drops rx.lock while it sleeps. -EBADF: closed meanwhile, and rx.lock is not held. */
int rx_wait(struct sock *s, struct rx_wait *w);
/* Will a wait spin first? */
bool rx_would_spin(const struct sock *s);

/* --- restart.c --- */

/* As ppoll(2) for POLLIN, but that a handler with SA_RESTART does not end it. 1; 0: at the latest
 * after left_ns; -EINTR; -ENOSYS: this is not to be had. */
int restart_poll(struct pollfd *p, uint64_t left_ns);
void restart_child(void); /* table_each_raw() holds */

/* --- rxq.c: this end of the rings --- */

/* Datagrams in a ring, at least as far as min(want, all). */
static inline uint32_t rx_avail(struct sock *s, struct rxq *q, uint32_t want)
{
	uint32_t n = udplane_ring_avail(&q->ring, want);

	if (likely(n != UDPLANE_RING_CORRUPT))
		return n;
	control_distrust(&s->att->control);
	return 0;
}
/* Descriptor i from the ring's index on. False: it makes no sense; skip it. */
static inline bool rx_load(const struct sock *s, const struct rxq *q, uint32_t i,
			   struct udplane_rx_desc *d)
{
	*d = q->desc[udplane_ring_slot(&q->ring, q->ring.idx + i)];
	return d->frame < s->att->frame_cnt && (uint32_t)d->offset + d->len <= s->att->frame_size &&
	       d->offset >= (d->flags & UDPLANE_RX_IPV6 ? 48 : 28);
}
static inline const uint8_t *rx_payload(const struct attach *a, const struct udplane_rx_desc *d)
{
	return a->frames.addr + ((size_t)d->frame << a->frame_shift) + d->offset;
}
/* Asks for the payload of descriptor i, which the worker's core has in its cache. */
static inline void rx_prefetch(const struct sock *s, const struct rxq *q, uint32_t i)
{
	__builtin_prefetch(
		rx_payload(s->att, &q->desc[udplane_ring_slot(&q->ring, q->ring.idx + i)]));
}
void rx_source(const struct attach *a, const struct udplane_rx_desc *d, struct udplane_peer *peer);
/* Gives cnt ring entries back. */
void rx_taken(struct sock *s, struct rxq *q, uint32_t cnt);
/* False: not now, since this thread is returning some, in a call that a handler has interrupted. */
bool rx_flush_back(struct attach *a, struct rxq *q, uint32_t lane);
bool attach_return(struct attach *a, uint32_t lane, const uint32_t *frames, uint32_t cnt);
/* Empties a ring that goes away, into s->rx.saved if save. Both locks held. */
void rx_drain(struct sock *s, uint32_t lane, bool save);
/* There is room: rx_room_back() said so. */
static inline void rx_back(struct sock *s, struct rxq *q, uint32_t frame)
{
	if (likely(frame < s->att->frame_cnt))
		q->back[q->back_cnt++] = frame;
}

/* How many of n datagrams may be taken now, so that their frames can be put down. None are returned
 * from within: a fault in the application's buffer, from which its handler jumps, must find them
 * either in the ring or here. */
static inline uint32_t rx_room_back(struct sock *s, struct rxq *q, uint32_t n)
{
	uint32_t lane = (uint32_t)(q - s->rx.rxq), room = RX_BACK - q->back_cnt;

	if (n <= room)
		return n;
	if (!rx_flush_back(s->att, q, lane))
		return room;
	return n < RX_BACK ? n : RX_BACK;
}

/* --- rx_engage.c --- */

/* After a look at the kernel socket that brought cnt datagrams of asked, or -errno. */
void rx_kernel_looked(struct sock *s, int cnt, uint32_t asked, int flags);
/* A datagram marked UDPLANE_RX_SWITCHED is next: may it be taken? emptied: the kernel socket was
 * found empty in this call. */
bool rx_switch(struct sock *s, bool emptied);

/* --- recv.c --- */

/* Where datagrams go: into messages, or handed out in place. */
struct rx_sink {
	struct mmsghdr *vec;
	struct udplane_pkt *pkts; /* if vec is NULL */
	uint32_t done;		  /* entries filled */
	uint32_t cnt;
	int flags;
	bool poll; /* UDPLANE_POLL */
};
/* Fills at least one entry of the sink, waiting for it if socket and flags say so. How many;
 * -errno. Sets MSG_DONTWAIT in sink->flags if it would not wait. */
int rx_call(int fd, struct rx_sink *sink);
/* Before a socket changes its path: everything that has come so far goes to s->rx.saved in its
 * order, as far as the kernel socket holds something older than the rings do; what comes into it
 * from now on is newer. rx.lock held. */
void rx_to_saved(struct sock *s);
void rx_saved_first(
	struct sock *s); /* all of s->rx.saved is older than what is in the kernel socket */
/* burst.c: gives up what is reserved, if anything. tx.lock held, but in a forked child. */
void burst_cancel(struct sock *s);
/* burst.c: up to cnt datagrams from the kernel socket into private buffers, without waiting;
 * -errno. */
int rx_kernel_pkts(struct sock *s, struct udplane_pkt *pkts, uint32_t cnt);
void rx_saved_pkt(struct pktbuf *b, struct udplane_pkt *p);
void rx_ring_pkt(struct attach *a, uint32_t lane, const struct udplane_rx_desc *d,
		 struct udplane_pkt *p);
/* Must the kernel socket be looked at before the rings? */
static inline bool rx_kernel_due(const struct sock *s)
{
	return s->rx.peeked == PEEKED_KERNEL ||
	       (s->rx.ring_run >= RX_KERNEL_EVERY && s->rx.peeked != PEEKED_RING);
}
/* Length of the next datagram, which stays the next; -EAGAIN: none, or one that comes after what is
 * in the kernel socket, unless that is known to be empty. */
int rx_next_len(struct sock *s, bool emptied);

/* --- dest.c: where a datagram goes, and whether it may go through a ring. tx.lock held --- */

/* False: the kernel's business (another family, a port of 0, too short a name, ...). */
bool dest_of_name(const struct sock *s, const void *name, socklen_t len, struct dest *d);
bool dest_of_peer(const struct sock *s, const struct udplane_peer *p, struct dest *d);
/* Neither multicast, broadcast, loopback nor unspecified. */
bool dest_unicast(const struct dest *d);
/* Does it leave by udplaned's device as plain unicast? Lane locked. */
bool dest_fast(struct sock *s, struct lane *l, const struct dest *d);
socklen_t dest_to_name(int domain, const struct dest *d, struct sockaddr_storage *ss);

/* --- send.c --- */

/* The socket, its send side locked, after what was due is done; NULL: EBADF. */
struct sock *tx_enter(int fd);
/* May cnt datagrams go through the ring now? The lane, locked; or NULL. tx.lock held. */
struct lane *tx_open(struct sock *s, uint32_t cnt);
/* Room for up to want entries; waits a little for the first. 0: none. */
uint32_t tx_room(struct sock *s, struct lane *l, uint32_t want, int flags);
bool tx_alive(const struct sock *s); /* does udplaned still take what s sends? s has a lane */
/* Entry i behind the last published: payload is in its slot. */
void tx_fill(struct sock *s, struct lane *l, uint32_t i, const struct dest *d, uint32_t len);
/* Publishes cnt entries and rings the doorbell if need be; the lane stays locked. */
void tx_publish(struct sock *s, struct lane *l, uint32_t cnt);
/* A connected socket with an error to report: the kernel's call does. tx.lock held. */
bool tx_error_pending(struct sock *s);
void tx_bound_by_send(struct sock *s); /* no lock held, s referenced */
static inline uint8_t *tx_slot(const struct attach *a, const struct lane *l, uint32_t i)
{
	return l->payload + ((size_t)udplane_ring_slot(&l->tx, l->tx.idx + i) << a->tx_slot_shift);
}
static inline uint32_t tx_max_len(const struct attach *a, const struct dest *d)
{
	uint32_t mtu = udplane_load32(&a->stats->mtu), header = d->ipv6 ? 48 : 28;
	uint32_t max = mtu > header ? mtu - header : 0;

	return max < a->tx_slot_size ? max : a->tx_slot_size;
}
void tx_count_kernel(struct sock *s, uint32_t cnt); /* tx.lock held */
/* Sends what a dead udplaned has not taken through the kernel. Both locks and the control lock
 * held. */
void tx_resend(struct sock *s, struct attach *a);

/* --- kernel.c --- */

uint32_t pktbufs_get(struct pktbuf **out,
		     uint32_t cnt);	   /* with room for PKTBUF_SIZE; how many there were */
struct pktbuf *pktbuf_small(uint32_t len); /* with room for len, never kept */
void pktbuf_put(struct pktbuf *b);
void peer_of_name(const struct sockaddr_storage *ss, struct udplane_peer *peer);
socklen_t peer_to_name(int domain, const struct udplane_peer *peer, struct sockaddr_storage *ss);
int set_errno(int err); /* err < 0: sets errno and returns -1; else err */

/* --- option.c --- */

/* What is kept of the socket here but may have been changed through another descriptor: O_NONBLOCK,
 * SO_RCVTIMEO. */
void sock_read_flags(struct sock *s);
/* The values now of all options that matter; NULL: no memory. The name of one that has changed
 * since, or NULL; frees what was read. */
int *options_read(const struct sock *s);
const char *options_changed(struct sock *s);
/* Moves the socket to the kernel path, or tells udplaned, if an option that was just set asks for
 * it. */
void option_was_set(struct sock *s, int level, int name, const void *value, socklen_t len);

#ifdef __cplusplus
}
#endif
#endif
