/* SPDX-License-Identifier: Apache-2.0 */
/* The state of the library: the attachment, sockets, the one context. The head of internal.h says
 * which lock guards what. */
#ifndef UDPLANE_CLIENT_STATE_H
#define UDPLANE_CLIENT_STATE_H

#include "client/base.h"
#include "client/lock.h"
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

/* --- attachment --- */

struct zone {
	uint8_t *addr; /* NULL: not mapped */
	size_t len;
};

/* Private copy of the destinations that leave by the fast path. */
struct prefix_set {
	uint32_t seq; /* odd: not copied yet */
	uint32_t cnt;
	struct udplane_prefix prefix[UDPLANE_MAX_PREFIXES];
};

/* What a worker and this process share. */
struct lane {
	struct lock tx_lock;
	struct udplane_ring tx; /* producer */
	struct udplane_tx_desc *desc;
	uint8_t *payload;
	uint64_t checked_ticks; /* control socket last looked at */
	uint64_t window_ns;	/* sends while the worker slept: since when, how many */
	uint32_t window_cnt;
	uint32_t stall_cons; /* the worker's index */
	/* since when it has not moved though there is something to take; 0: it has */
	uint64_t stall_ns;
	/* for too long: the worker does not run, and what is sent takes the kernel's way */
	bool stalled;
	struct prefix_set prefixes;
	/* the slots from tx.idx on are in the application's hands, between reserve and submit */
	bool reserved;
	bool reserved_long; /* for longer than is waited for */
	pthread_t reserved_by;

	struct lock ret_lock __attribute__((aligned(UDPLANE_LINE)));
	struct udplane_ring ret; /* producer */
	uint32_t *frame;

	int doorbell;
	const struct udplane_worker_zone *zone;
} __attribute__((aligned(UDPLANE_LINE)));

/* The control socket. Under the control lock, but for what is atomic. */
struct control {
	int fd;
	uint32_t seq;	 /* of the last request */
	uint32_t attn;	 /* atomic: it has news, or something is wrong */
	uint32_t broken; /* atomic: a ring holds what cannot be */
	bool goodbye;	 /* udplaned took leave */
	bool failed;	 /* it broke the protocol, or did not answer */
	bool silent;	 /* it did not answer: its worker may be alive */
};

/* One connection to one udplaned. Made and buried under the control lock. */
struct attach {
	uint32_t
		refs; /* atomic: the context, claimed sockets, packets in the application's hands */
	uint32_t live; /* atomic: 0 once buried: rings are not to be written any more */
	struct control control;
	uint32_t backend, mode, worker_cnt;
	uint32_t frame_cnt, frame_size, frame_shift;
	uint32_t tx_slot_size, tx_slot_shift;
	const struct udplane_stats_zone *stats;
	struct zone stats_zone, frames, channel;
	struct zone *segment; /* [segment_cnt] */
	uint32_t segment_cnt;
	uint64_t checked_ns; /* atomic */
	/* Receptions through the kernel, of all sockets; approximate, atomic. */
	uint64_t rx_window_ns, rx_rang_ns;
	uint32_t rx_window_cnt;
	uint64_t resend_until_ns; /* ctl: once it is dead */
	char text[UDPLANE_TEXT_LEN];
	struct lane lane[]; /* [worker_cnt] */
} __attribute__((aligned(UDPLANE_LINE)));

/* --- socket --- */

struct dest {
	uint8_t addr[16]; /* IPv6, or IPv4 in the first four bytes */
	uint16_t port_be;
	bool ipv6;
	uint32_t scope_id;
};

/* A datagram in private memory: of the kernel path in the burst calls, or saved from rings that
 * went away. */
struct pktbuf {
	struct pktbuf *next;
	struct udplane_peer peer;
	uint32_t len;
	bool small; /* not of the pool */
	/* it came with UDPLANE_RX_SWITCHED: the kernel socket is to be emptied before */
	bool switched;
	uint8_t data[] __attribute__((aligned(64)));
};

/* Receiving end of one (socket, worker). */
struct rxq {
	struct udplane_ring ring; /* consumer */
	const struct udplane_rx_desc *desc;
	struct udplane_rx_ring *shared;
	/* the arm was set and the ring then seen empty: the next datagram brings a token */
	bool armed;
	bool taken; /* datagrams were taken since */
	uint32_t back_cnt;
	/* of these: taken from the ring for good; more only while datagrams are being copied out */
	uint32_t back_sure;
	uint32_t back[RX_BACK]; /* frames to be returned */
};

/* A call that is in a system call on the socket's descriptors, without a lock. It may never come
 * back: a handler jumps out of it, or the thread is cancelled. So these are entered by name, and
 * not just counted. All atomic. */
struct visitor {
	uintptr_t thread; /* thread_id(); 0: free */
	uintptr_t frame;
	uintptr_t tid_of; /* whose tid it is */
	uint32_t tid;	  /* 0: not known */
	/* in ppoll(2), which does no harm to whatever has the descriptor's number later */
	bool sleeps;
};

/* What a call in a signal handler could not do, since it had interrupted one that holds a lock of
 * the socket. */
enum late { LATE_UPDATE = 1, LATE_KERNEL = 2, LATE_CLOSE = 4 };

#define RCVTIMEO_NO_WAIT 1 /* what a negative SO_RCVTIMEO means */
#define SOCK_ENDED	 0x80000000u
#define VISITORS	 16 /* more at a time are counted */

enum peeked { PEEKED_NONE, PEEKED_KERNEL, PEEKED_RING };

/* What receiving needs: under rx.lock. */
struct sock_rx {
	struct lock lock;
	bool nonblock;	  /* atomic */
	bool self_signal; /* the kernel socket's writability is watched, which makes fd readable */
	bool switched;	  /* a datagram marked UDPLANE_RX_SWITCHED was taken since the claim */
	bool error_queue; /* an option was set that fills the error queue; atomic */
	bool kernel_hot;  /* the last look at the kernel socket found something */
	/* enum peeked: where the next datagram must come from, since it was shown already */
	uint8_t peeked;
	uint8_t yield; /* spin with sched_yield */
	uint32_t waits;
	uint32_t rxq_cnt, rxq_next;
	struct rxq *rxq;
	uint64_t looked_ns; /* when a spinner last looked at the kernel socket */
	uint32_t polls;	    /* calls with UDPLANE_POLL */
	uint32_t ring_run;  /* datagrams from rings since the last look at the kernel socket */
	/* bytes in the wake socket, or on their way into it, that belong to arms long taken */
	uint32_t tokens;
	uint32_t switch_run; /* datagrams from the kernel since a marked one was last taken */
	uint32_t kernel_run; /* datagrams from the kernel since the last empty look */
	int error;	     /* to be reported by the next call */
	int wake_fd;
	struct pktbuf *saved, **saved_end;
	struct shared_queue *queue; /* what was unread at a fork(); not while saved has anything */
	int queue_fd;
	uint32_t direct; /* atomic; visitors beyond VISITORS that wait in the kernel's own call */
	/* since a fork() other processes may have the socket open; changes under the control lock
	 * and rx.lock */
	bool shared;
	uint64_t rcvtimeo_ns; /* atomic; 0: for ever; RCVTIMEO_NO_WAIT */
	uint64_t fast_rx;
	uint64_t kernel_rx; /* atomic */
};

/* What sending needs: under tx.lock. */
struct sock_tx {
	struct lock lock __attribute__((aligned(UDPLANE_LINE)));
	uint32_t id;			  /* at udplaned; changes under both locks */
	struct lane *lane;		  /* NULL: nothing goes through a ring */
	struct udplane_rx_ring *counters; /* while lane is set: of worker 0, for those there */
	const struct udplane_socket_zone *zone;
	bool connected, v6only, local_any, local_v4;
	bool more;	  /* MSG_MORE: the kernel holds part of a datagram */
	struct dest peer; /* connected: where to */
	bool peer_fast;	  /* as far as can be known without prefixes */
	uint16_t local_port_be;
	uint8_t local[16]; /* as in struct dest */
	struct dest seen;  /* last destination judged, with prefixes of seen_seq */
	uint32_t seen_seq;
	bool seen_fast;
	uint32_t end; /* index behind the last entry in the lane's TX ring */
	bool used;
	uint64_t error_ticks; /* last looked for a pending error */
	bool test_cancel;     /* the next call is a cancellation point */
	uint64_t fast_tx, kernel_tx, kernel_tx_full;
	/* atomic: sent through the kernel without tx.lock, and not in kernel_tx yet */
	uint64_t aside_tx;
	pthread_t burst_owner;	  /* between reserve and submit, both of one thread */
	uint32_t burst_cnt;	  /* entries reserved; 0: none are */
	struct lane *burst_lane;  /* NULL: they are in burst_buf */
	struct attach *burst_att; /* of burst_lane: referenced, so that the slots stay mapped */
	struct pktbuf *burst_buf[BURST_MAX];
	uint32_t reason; /* why it takes the kernel path */
	char text[UDPLANE_TEXT_LEN];
};

/* Claim and end: changes under the control lock, but for what is atomic. */
struct sock_life {
	uint32_t refs;	     /* atomic; SOCK_ENDED: the descriptors are closed, or about to be */
	struct attach *held; /* released with a reason: the row in stats stays until close */
	bool bound;	     /* has a port; atomic */
	bool lazy;	     /* claim at a receive call only; atomic */
	/* atomic: when to think about attaching and claiming again; UINT64_MAX: never */
	uint64_t retry_ns;
	uint64_t claim_wait_ns;
	uint32_t late; /* atomic: enum late */
	uint32_t late_reason;
	char late_text[UDPLANE_TEXT_LEN];
	int *options;	  /* while shared: values of options that only the kernel path honours */
	uint64_t engages; /* atomic: doorbells rung, by either side */
	struct sock *next_free;
};

/* Fields of the socket itself are constant, or change under both locks, but for visitor[]. */
struct sock {
	int fd, kfd;	  /* constant: the epoll descriptor handed out; the kernel socket */
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

#define TABLE_CHUNK  1024
#define TABLE_CHUNKS 1024

/* Who else has sockets of ours open: share.c. Under the control lock. */
struct share {
	int fd; /* the file with the locks; -1: not made yet */
	dev_t dev;
	ino_t ino;
	bool lost;   /* it cannot be known */
	bool all;    /* one lock for whatever this process has */
	int pipe[2]; /* of the fork under way */
	int *birth;  /* read ends: of children that may not have locked yet */
	uint32_t birth_cnt;
};

/* The control socket's directory: dir.c. Under the control lock. */
struct dir {
	int fd;	    /* -1: not kept */
	bool known; /* dev and ino are those of what is kept, or may not be */
	dev_t dev;
	ino_t ino;
};

/* What a wait takes that SA_RESTART decides about: restart.c. Its thread's, but for tid. */
struct waiter {
	uint32_t tid;	      /* atomic; 0: free */
	bool polling, timing; /* poll and timer are under way */
	int event_fd, timer_fd;
	uintptr_t frame;
	aio_context_t aio;			 /* 0: not made yet; atomic */
	uint64_t round, poll_round, timer_round; /* aio_data */
	uint64_t owed; /* completions seen, but not in event_fd's counts yet */
	struct iocb poll, timer;
};
#define RESTART_WAITERS 64 /* more that wait at a time do without */

struct context {
	uint32_t late; /* atomic: some socket has something to be done */
	struct share share;
	struct attach *att;	 /* ctl */
	uint64_t next_attach_ns; /* ctl */
	uint64_t attach_wait_ns; /* ctl */
	/* ctl: a connection whose HELLO has not been answered yet; hello_ns 0: none */
	struct control hello;
	uint64_t hello_ns; /* ctl */
	uint64_t spin_ns;
	int yield; /* UDPLANE_YIELD: 1, 0; -1: by the CPUs that there are */
	int log;
	bool disabled;
	bool chroot; /* UDPLANE_CHROOT */
	char path[108];
	struct dir dir;
	struct lock info_lock;
	uint32_t reason; /* why there is no attachment: under info_lock */
	char text[UDPLANE_TEXT_LEN];
	struct lock table_lock;
	struct sock *free_socks;
	struct sock **chunk[TABLE_CHUNKS]; /* atomic */
	struct lock buf_lock;
	struct pktbuf *bufs;
	uint32_t buf_cnt;
	uint32_t handlers;    /* atomic: enum handlers, as of */
	uint64_t handlers_ns; /* atomic; 0: not looked yet */
	struct waiter waiter[RESTART_WAITERS];
};

#ifdef __cplusplus
}
#endif

#endif
