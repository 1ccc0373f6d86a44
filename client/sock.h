/* SPDX-License-Identifier: Apache-2.0 */
/* A socket of the application: its state, its two locks, its references. */
#ifndef UDPLANE_CLIENT_SOCK_H
#define UDPLANE_CLIENT_SOCK_H

#include "client/attach.h"
#include "client/base.h"
#include "client/lock.h"
#include "client/pktbuf.h"
#include "client/visitor.h"
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <udplane/abi.h>
#include <udplane/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The receiving end of one RX ring: of one socket and one worker. */
struct rxq {
	struct udplane_ring ring; /* consumer */
	const struct udplane_rx_desc *desc;
	struct udplane_rx_ring *shared;
	/* the ring was armed and then found empty: the next datagram brings a token */
	bool armed;
	uint32_t arm;	  /* by what: UDPLANE_ARM, or UDPLANE_ARM_LIST + group */
	uint32_t signals; /* of the ring head, as far as they are in tokens */
	bool edge;	  /* armed, perhaps when it was not empty: rx_arm_edge() */
	bool taken;	  /* datagrams were taken since it was armed */
	uint32_t back_cnt;
	/* of these, how many belong to consumed entries; fewer than back_cnt only while
	 * datagrams are being copied out */
	uint32_t back_sure;
	uint32_t back[RX_BACK]; /* frames to be returned */
};

/* Work that a call in a signal handler left undone, because it had interrupted a call that holds
 * a lock of the socket. */
enum late { LATE_UPDATE = 1, LATE_KERNEL = 2, LATE_CLOSE = 4 };

#define RCVTIMEO_NO_WAIT 1 /* what a negative SO_RCVTIMEO means */
#define SOCK_ENDED	 0x80000000u
#define VISITORS	 16 /* further ones are counted only */

enum peeked { PEEKED_NONE, PEEKED_KERNEL, PEEKED_RING };

struct watch; /* preload/instance.h */

/* What the preload shim needs of a socket: see shim.h. Under rx.lock, but for what is atomic. */
struct sock_shim {
	bool on;  /* constant: it is the shim's */
	bool hot; /* its watches are in their instances' hot lists */
	/* ep does not show what comes by the kernel: only a receive call needs that */
	bool quiet;
	uint32_t arm;	/* how rings are to be armed; 0: by UDPLANE_ARM */
	bool kfd_own;	/* kfd is a duplicate that the program does not know */
	bool wanted;	/* poll(2), select(2) or epoll_ctl(2) was called for it */
	uint32_t links; /* descriptors of the program; entries in the table */
	struct watch *watch;
	uint32_t sleepers; /* atomic: calls that sleep on ep */
	uint32_t plain;	   /* atomic: calls that wait for fd in the kernel alone */
};

/* What receiving needs: under rx.lock. */
struct sock_rx {
	struct lock lock;
	bool nonblock; /* atomic */
	/* the epoll instance watches the kernel socket for writability, which makes fd readable */
	bool self_signal;
	bool switched;	  /* a datagram marked UDPLANE_RX_SWITCHED was taken since the claim */
	bool error_queue; /* an option was set that fills the error queue; atomic */
	bool kernel_hot;  /* the last look at the kernel socket found something */
	/* enum peeked: the source of the next datagram, which the application has already seen */
	uint8_t peeked;
	bool peeked_ring; /* MSG_PEEK has shown the next datagram of ring rxq_next */
	/* waits for what comes behind all that is in saved and queue: SO_PEEK_OFF */
	bool beyond;
	uint8_t yield; /* spin with sched_yield */
	/* atomic: CMSG_WANT_*, by what the kernel socket's options are; 0 for most sockets */
	uint32_t wants;
	uint32_t waits;
	uint32_t rxq_cnt, rxq_next;
	struct rxq *rxq;
	uint64_t looked_ns; /* when a spinner last looked at the kernel socket */
	uint32_t polls;	    /* calls with UDPLANE_POLL */
	uint32_t ring_run;  /* datagrams from rings since the last look at the kernel socket */
	/* bytes that are in the wake socket, or will soon be, for arms that the worker has taken */
	uint32_t tokens;
	uint32_t switch_run; /* datagrams from the kernel since a marked one was last taken */
	uint32_t kernel_run; /* datagrams from the kernel since the last empty look */
	int error;	     /* to be reported by the next call */
	int wake_fd;
	struct pktbuf *saved, **saved_end;
	/* what was unread at a fork(); NULL while saved holds datagrams */
	struct shared_queue *queue;
	size_t queue_size; /* bytes that are mapped */
	int queue_fd;	   /* -1: another process has made the queue */
	/* atomic: receivers in the kernel's own call that found no free visitor entry */
	uint32_t direct;
	/* other processes may have the socket open since a fork(); changes under the control
	 * lock and rx.lock */
	bool shared;
	bool reader; /* atomic: while shared, other processes know that this one reads it */
	bool lent;   /* atomic: claimed although others have it, as the only reader */
	uint64_t rcvtimeo_ns; /* atomic; 0 if unlimited; or RCVTIMEO_NO_WAIT */
	struct sock_shim shim;
	uint64_t fast_rx;
	uint64_t kernel_rx; /* atomic */
	/* for SO_RXQ_OVFL: drops of the kernel socket at the last look at it; and ours beside
	 * those of the rings: for want of memory, and in claims that have ended */
	uint32_t kernel_drops, past_drops;
};

/* What a datagram asks for besides its destination: as flags to src4_be of a TX descriptor, without
 * UDPLANE_TX_IPV6. */
struct tx_options {
	uint16_t flags;
	uint8_t tos, ttl;
	uint32_t src4_be;
};

/* A source address of control data, and the prefixes with which it was judged. */
struct tx_source {
	uint8_t addr[16];
	uint32_t seq;
	uint8_t family; /* 0: none */
};
#define TX_SOURCES 8

/* What the socket's options say about sending: send_option.h. [0] is for IPv4 destinations, [1]
 * for IPv6 ones. */
struct tx_wishes {
	struct tx_options options[2];
	bool bounded[2]; /* what is longer than tx_bound() says is the kernel's */
	bool strict[2];	 /* Linux refuses what is longer than the path's MTU */
	bool hops_set[2];
	bool df_always; /* IPv4: DF even if what is sent by one call is longer than the MTU */
	bool known;	/* they have been read */
	/* IPV6_FLOWINFO_SEND has been set: a peer's flow label may be in force */
	bool flow_send;
	uint16_t segment_size; /* UDP_SEGMENT; 0 if not set */
	uint32_t mtu6;	       /* IPV6_MTU; 0 if not set */
	uint32_t unicast_if[2];
	uint32_t slow; /* options that only the kernel honours, a bit for each; none if 0 */
};

/* What sending needs: under tx.lock. */
struct sock_tx {
	struct lock lock __attribute__((aligned(UDPLANE_LINE)));
	uint32_t id;	   /* at udplaned; changes under both locks */
	struct lane *lane; /* NULL if all sends take the kernel path */
	/* RX ring of worker 0, whose head has counters; valid while lane is set */
	struct udplane_rx_ring *counters;
	const struct udplane_socket_zone *zone;
	bool connected, v6only;
	bool more;		  /* MSG_MORE: the kernel holds part of a datagram */
	struct udplane_addr peer; /* the destination, if connected */
	bool peer_fast; /* the fast path may be used, as far as is known without prefixes */
	/* where it is bound; AF_INET also if an AF_INET6 socket is bound to a v4-mapped address */
	struct udplane_addr local;
	struct udplane_addr seen; /* last destination judged, with prefixes of seen_seq */
	uint32_t seen_seq;
	bool seen_fast;
	struct tx_wishes wish;
	/* sources that the kernel has accepted, and the one that it is about to judge */
	struct tx_source source[TX_SOURCES], try_source;
	uint32_t source_next;
	uint32_t end; /* index behind the last entry in the lane's TX ring */
	bool used;
	uint64_t error_ticks; /* when a pending error was last checked for */
	bool test_cancel;     /* the next call is a cancellation point */
	uint64_t fast_tx, kernel_tx, kernel_tx_full;
	/* atomic: sent through the kernel without tx.lock, and not in kernel_tx yet */
	uint64_t unlocked_tx;
	pthread_t burst_owner;	  /* between reserve and submit, both of one thread */
	uint32_t burst_cnt;	  /* entries reserved */
	struct lane *burst_lane;  /* NULL if they are in burst_buf */
	struct attach *burst_att; /* of burst_lane: referenced, so that the slots stay mapped */
	struct pktbuf *burst_buf[BURST_MAX];
	uint32_t reason; /* why it takes the kernel path */
	char text[UDPLANE_TEXT_LEN];
};

/* A multicast group, and the interface by which the application has joined it; 0: not named. */
struct sock_group {
	struct udplane_addr addr; /* port_be and scope_id are 0 */
	uint32_t ifindex;
};

/* Claim and end: changes under the control lock, but for what is atomic. */
struct sock_life {
	/* atomic; SOCK_ENDED once the descriptors are closed, or about to be */
	uint32_t refs;
	/* the claim was released with a reason; its row in stats stays until close */
	struct attach *held;
	bool bound; /* has a port; atomic */
	bool lazy;  /* only a receive call may claim it; atomic */
	/* atomic: when to attach or claim again; UINT64_MAX for never */
	uint64_t retry_ns;
	uint64_t claim_wait_ns;
	uint32_t late; /* atomic: enum late */
	uint32_t late_reason;
	char late_text[UDPLANE_TEXT_LEN];
	/* while shared or lent: values of options that only the kernel path honours */
	int *options;
	int bell;	   /* wakes the process to which it is lent: lend.h; -1 if there is none */
	uint32_t holds;	   /* calls of this process that change it, while shared */
	uint32_t ask_seen; /* while lent: what had been asked for before */
	bool asked;	   /* it was asked for, and has not been given back yet */
	struct sock_group *group; /* that it has joined, as far as is known */
	uint32_t group_cnt;
	uint64_t engages; /* atomic: doorbells rung, by either side */
	struct sock *next_free;
};

/* Fields of the socket itself are constant, or change under both locks, but for visitor[]. */
struct sock {
	/* constant: the descriptor handed out; the kernel socket. One and the same for the shim,
	 * whose dup2() and close() may change them. */
	int fd, kfd;
	/* the epoll instance over the kernel socket and the wake socket: fd; for the shim, of
	 * its own from the first claim on, -1 before that */
	int ep;
	uint64_t cookie;  /* constant: of the kernel socket */
	uint16_t domain;  /* constant */
	bool fd_gone;	  /* the program has closed fd itself, and its number is somebody else's */
	bool closed;	  /* atomic for those who hold neither */
	bool kernel_only; /* for good; changes under the control lock, too */
	struct attach *att; /* while claimed; changes under the control lock, too */
	struct sock_rx rx;
	struct sock_tx tx;
	/* never reset */
	struct visitor visitor[VISITORS] __attribute__((aligned(UDPLANE_LINE)));
	struct sock_life life;
} __attribute__((aligned(UDPLANE_LINE)));

/* Repairs the receive side after a jump out of a call that was changing it. rx.lock held. */
void rx_recover(struct sock *s);
static inline bool sock_take_rx(struct sock *s)
{
	enum lock_result got = lock_take(&s->rx.lock);

	if (unlikely(got == LOCK_STOLEN))
		rx_recover(s);
	return got != LOCK_BUSY;
}
/* As lock_insist(); sock_take_both() takes both locks or neither. */
bool sock_insist_rx(struct sock *s);
bool sock_take_both(struct sock *s);
void sock_drop_both(struct sock *s);

/* Adds cnt to the doorbells rung for s. Returns the sum. */
static inline uint64_t sock_count_engages(struct sock *s, uint32_t cnt)
{
	return __atomic_add_fetch(&s->life.engages, cnt, __ATOMIC_RELAXED);
}
/* returns true if ep is still the epoll instance of kfd */
bool sock_fd_is(const struct sock *s);
bool sock_kernel_is(const struct sock *s); /* returns true if kfd is still the socket */

static inline uint32_t rx_wants(const struct sock *s)
{
	return __atomic_load_n(&s->rx.wants, __ATOMIC_RELAXED);
}

/* Returns true if maintain() has something to do. Call it with either lock held. Cheap for
 * claimed sockets. */
static inline bool sock_news(const struct sock *s)
{
	uint64_t at;

	if (likely(s->att != NULL))
		return unlikely(attach_news(s->att));
	at = __atomic_load_n(&s->life.retry_ns, __ATOMIC_RELAXED);
	return at != UINT64_MAX && clock_coarse_ns() >= at;
}

#ifdef __cplusplus
}
#endif

#endif
