/* SPDX-License-Identifier: Apache-2.0 */
/* Limits and times that the library goes by, clocks, and a check of pointers. */
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

/* Receiving: the kernel socket is looked at whenever the rings are empty and after so many
 * datagrams from them. A look at an empty one costs 0.2-0.45 us (docs/measurements.md): 5 ns a
 * datagram. */
#define RX_KERNEL_EVERY 64
/* Spinning: a look at the kernel socket so often, counted across calls (at once, if the last look
 * found something). */
#define RX_SPIN_KERNEL_NS 30000
/* when a wait begins, and an answer is not likely to have come yet */
#define RX_SPIN_KERNEL_EARLY_NS 20000
#define RX_SPIN_DEFAULT_US	50
/* A sleeper looks whether its socket is still the one that it sleeps on: close does not wait for
 * ever for a thread that may have left. */
#define RX_SLEEP_MAX_NS 10000000000ull
/* Which signals have handlers is looked at before a sleep, if that was done longer ago: it costs
 * 10-20 us. */
#define HANDLERS_AGE_NS 100000000ull
/* At the switch to the fast path the kernel's queue is emptied first; more than this is new
 * traffic, not the queue. */
#define RX_SWITCH_MAX 65536
/* Frames are returned in batches of this, or when the ring is empty. */
#define RX_BACK	    32
#define RX_PREFETCH 4

/* Sending while the worker sleeps (mode balanced): waking it costs 40-100 us on a virtual machine,
 * a send through the kernel ~2 us (docs/measurements.md). So only what looks like a burst wakes it:
 * this many datagrams in one call, or this many within the window. */
#define TX_ENGAGE_BURST	    8
#define TX_ENGAGE_CNT	    16
#define TX_ENGAGE_WINDOW_NS 200000
/* Receiving through the kernel: this many without an empty look between them, or this many within
 * the window, whatever the socket. */
#define RX_ENGAGE_RUN	    4
#define RX_ENGAGE_CNT	    8
#define RX_ENGAGE_WINDOW_NS 100000
#define RX_ENGAGE_AGAIN_NS  1000000 /* not more often than this */
#define POWERSAVE_FACTOR    4	    /* counts above in mode powersave */

#define TX_FULL_WAIT_NS 1000000 /* a full TX ring is waited for, then the kernel path */
/* on behalf of who does not want to wait: for what the worker sends in one or two rounds */
#define TX_FULL_WAIT_NONBLOCK_NS 50000
/* connected sockets: look for a pending error so often, in ticks(): 20-100 us */
#define TX_ERROR_TICKS	  100000
#define DEATH_CHECK_NS	  1000000 /* look at the control socket at most so often */
#define DEATH_CHECK_TICKS 2000000

/* to wait for room in kernel sockets, for all that a dead udplaned left */
#define RESEND_DEADLINE_NS 100000000ull
/* A udplaned that does not run (stopped, frozen) must not stop the application: without an answer
 * within this time the kernel path serves. */
#define CONTROL_DEADLINE_NS 300000000ull
/* A call waits so long for the answer to HELLO. Later calls look for it without waiting, until
 * HELLO_PATIENCE_NS have passed; then the library connects again. */
#define HELLO_DEADLINE_NS 250000000ull
#define HELLO_PATIENCE_NS 10000000000ull
/* A worker that has taken nothing from a TX ring for so long does not run. */
#define TX_STALL_NS	    80000000ull
#define LOCK_PATIENCE_NS    100000000ull /* locks are held for less than a microsecond */
#define ATTACH_RETRY_NS	    100000000ull /* grows by doubling to the next */
#define ATTACH_RETRY_MAX_NS 1000000000ull
/* after a refusal that may pass; grows by doubling to the next */
#define CLAIM_RETRY_NS	   1000000000ull
#define CLAIM_RETRY_MAX_NS 30000000000ull

#define PKTBUF_SIZE 65536 /* any datagram */
#define PKTBUF_KEEP 64	  /* free ones kept */
#define BURST_MAX   64	  /* datagrams in one reserve, and in one look at the kernel socket */

/* --- time --- */

/* Some counter of 1-5 per nanosecond, for rate limits that need no precision. */
static inline uint64_t ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_ia32_rdtsc();
#else
	return clock_now_ns() * 2;
#endif
}

/* --- pointers --- */

/* What no process has mapped: the first page, and on x86 what lies above all user addresses. Free,
 * but not all that would fault. */
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
