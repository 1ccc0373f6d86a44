/* SPDX-License-Identifier: Apache-2.0 */
/* Limits and times of the library, a cheap counter of time, and a check of pointers. */
#ifndef UDPLANE_CLIENT_BASE_H
#define UDPLANE_CLIENT_BASE_H

#include <stdbool.h>
#include <stdint.h>
#include <udplane/clock.h>

#ifdef __cplusplus
extern "C" {
#endif

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* --- tunables --- */

/* Receiving: the kernel socket is read whenever the rings are empty, and after this many
 * datagrams from the rings. Reading an empty one costs 0.2-0.45 us (docs/measurements.md), or 5
 * ns per datagram. */
#define RX_KERNEL_EVERY 64
/* Spinning: how often the kernel socket is read, across calls. It is read at once if the last
 * read found something. */
#define RX_SPIN_KERNEL_NS 30000
/* The same when a wait begins: an answer is not likely to have come yet. */
#define RX_SPIN_KERNEL_EARLY_NS 20000
#define RX_SPIN_DEFAULT_US	50
/* How long a receiver sleeps before it checks that its socket is still open: udplane_close()
 * does not wait without limit for a thread that may have ended. */
#define RX_SLEEP_MAX_NS 10000000000ull
/* Before a sleep the library reads which signals have handlers, if it last did so longer ago
 * than this. It costs 10-20 us. */
#define HANDLERS_AGE_NS 100000000ull
/* At the switch to the fast path the kernel's queue is emptied first. What exceeds this number
 * is new traffic, not the queue. */
#define RX_SWITCH_MAX 65536
/* Frames are returned in batches of this size, or when the ring is empty. */
#define RX_BACK	    32
#define RX_PREFETCH 4

/* Sending while the worker sleeps (mode balanced): waking it costs 40-100 us on a virtual
 * machine, a send through the kernel ~2 us (docs/measurements.md). So only a burst wakes it:
 * TX_ENGAGE_BURST datagrams in one call, or TX_ENGAGE_CNT within the window. */
#define TX_ENGAGE_BURST	    8
#define TX_ENGAGE_CNT	    16
#define TX_ENGAGE_WINDOW_NS 200000
/* Receiving through the kernel wakes the worker: RX_ENGAGE_RUN datagrams without an empty read
 * between them, or RX_ENGAGE_CNT within the window, over all sockets. */
#define RX_ENGAGE_RUN	    4
#define RX_ENGAGE_CNT	    8
#define RX_ENGAGE_WINDOW_NS 100000
#define RX_ENGAGE_AGAIN_NS  1000000 /* at most once in this time */
#define POWERSAVE_FACTOR    4	    /* multiplies the counts above in mode powersave */

/* How long a send waits for room in a full TX ring before it takes the kernel path. */
#define TX_FULL_WAIT_NS 1000000
/* The same for non-blocking sends: the time in which the worker sends one or two rounds. */
#define TX_FULL_WAIT_NONBLOCK_NS 50000
/* Connected sockets: how often to check for a pending error, in ticks(): 20-100 us. */
#define TX_ERROR_TICKS	  100000
#define DEATH_CHECK_NS	  1000000 /* how often the control socket is checked, at most */
#define DEATH_CHECK_TICKS 2000000

/* How long, in total, sends wait for room in kernel sockets for entries that a dead udplaned
 * left. */
#define RESEND_DEADLINE_NS 100000000ull
/* A udplaned that does not run (stopped, frozen) must not stop the application: without an
 * answer within this time, the library uses the kernel path. */
#define CONTROL_DEADLINE_NS 300000000ull
/* How long a call waits for the answer to HELLO. Later calls look for it without waiting, until
 * HELLO_PATIENCE_NS have passed; then the library connects again. */
#define HELLO_DEADLINE_NS 250000000ull
#define HELLO_PATIENCE_NS 10000000000ull
/* A worker that has taken nothing from a TX ring for this time does not run. */
#define TX_STALL_NS	    80000000ull
#define LOCK_PATIENCE_NS    100000000ull /* locks are held for less than a microsecond */
#define ATTACH_RETRY_NS	    100000000ull /* doubles up to the next */
#define ATTACH_RETRY_MAX_NS 1000000000ull
/* After a refusal that may pass: doubles up to the next. */
#define CLAIM_RETRY_NS	   1000000000ull
#define CLAIM_RETRY_MAX_NS 30000000000ull
#define CLAIM_DESCRIPTORS  2 /* that the library opens for a socket: epoll instance, wake socket */
/* A socket of the shim for which a call waits in the kernel. */
#define SHIM_CLAIM_RETRY_NS 10000000ull

#define PKTBUF_SIZE 65536 /* any datagram */
#define PKTBUF_KEEP 64	  /* free ones kept */
#define BURST_MAX   64	  /* datagrams in one reserve, and in one look at the kernel socket */

/* sendto(2) and recvfrom(2) ignore MSG_CMSG_COMPAT, which the other calls refuse. */
#define NOT_COMPAT 0x7fffffff

/* --- time --- */

/* A counter that advances 1-5 per nanosecond, for rate limits that need no precision. */
static inline uint64_t ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_ia32_rdtsc();
#else
	return clock_now_ns() * 2;
#endif
}

/* --- pointers --- */

/* Returns true if no process can have mapped p: it is in the first page, or on x86 above all
 * user addresses. Costs nothing, but does not find all pointers that would fault. */
static inline bool pointer_is_bad(const void *p)
{
#if defined(__x86_64__)
	return (uintptr_t)p - 4096 >= ((uintptr_t)1 << 56) - 4096;
#else
	return (uintptr_t)p < 4096;
#endif
}

#ifdef __cplusplus
}
#endif

#endif
