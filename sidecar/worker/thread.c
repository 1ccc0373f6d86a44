/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a worker: its memory and descriptors, its thread and the loop of that. */
#include "sidecar/worker/worker.h"

#include "sidecar/worker/internal.h"
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <udplane/clock.h>
#include <unistd.h>

/* A round with less work yields the CPU if it is shared, so that batches grow: 87 to 92 % of the
 * raw rate (docs/measurements.md). */
#define SHORT_ROUND (DEVICE_BURST / 2)
/* If clients hold frames and return none for STUCK_NS, they may be waiting for this CPU: sleep for
 * GIVE_AWAY_NS. */
#define STUCK_NS     30000ull
#define GIVE_AWAY_NS 20000l

/* Returns true if clients hold frames and have returned none for STUCK_NS. */
static bool clients_stuck(struct worker *w)
{
	uint64_t now;

	if (!w->held || w->returned != w->returned_seen) {
		w->returned_seen = w->returned;
		w->stuck_ns = 0;
		return false;
	}
	now = clock_now_ns();
	if (!w->stuck_ns)
		w->stuck_ns = now;
	return now - w->stuck_ns > STUCK_NS;
}

/*
 * Gives the CPU to clients that wait for it. sched_yield() has no effect across control groups:
 * containers on one CPU take turns of whole time slices, weighted by their CPU requests, and one
 * without a request starves while the worker spins (it lost a third of its datagrams). If yielding
 * has not made any client return frames, the worker therefore sleeps briefly.
 */
static void share_core(struct worker *w, uint32_t work)
{
	if (work < SHORT_ROUND)
		sched_yield();
	if (clients_stuck(w)) {
		nanosleep(&(struct timespec){.tv_nsec = GIVE_AWAY_NS}, NULL);
		w->stuck_ns = 0;
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t idle_since = 0;

	pthread_setname_np(pthread_self(), "udplane-worker");
	prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
	worker_engage(w);
	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		uint32_t work = worker_round(w);

		worker_orders(w);
		if (w->opt.yield)
			share_core(w, work);
		if (work) {
			idle_since = w->left_ns = 0;
			continue;
		}
		if (!w->opt.yield)
			udplane_pause();
		if (!idle_since)
			idle_since = clock_now_ns();
		if (!worker_idle_enough(w, idle_since))
			continue;
		worker_sleep(w);
		idle_since = w->left_ns = 0;
	}
	return NULL;
}

static int add_fd(struct worker *w, int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int make_fds(struct worker *w)
{
	int fds[WORKER_MAX_FDS];
	uint32_t n;
	int err;

	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epoll_fd < 0 || w->stop_fd < 0 || w->done_fd < 0 || w->event_fd < 0)
		return -errno;
	err = add_fd(w, w->stop_fd, WORKER_EVENT_STOP);
	n = w->ops->wait_fds(w->queue, fds, WORKER_MAX_FDS);
	for (uint32_t i = 0; i < n && !err; i++)
		err = add_fd(w, fds[i], WORKER_EVENT_DEVICE);
	return err;
}

static int make_tables(struct worker *w)
{
	const struct worker_options *o = &w->opt;
	uint32_t share = o->frame_cnt / o->worker_cnt;

	w->ports = port_table_create();
	w->socket = aligned_alloc(64, (size_t)o->socket_max * sizeof(*w->socket));
	w->source = calloc(o->socket_max, sizeof(*w->source));
	w->cookie = calloc(o->socket_max, sizeof(*w->cookie));
	w->wakes_slow = calloc(o->socket_max, sizeof(*w->wakes_slow));
	w->served = calloc(o->socket_max, sizeof(*w->served));
	w->served_epoch = calloc(o->socket_max, sizeof(*w->served_epoch));
	w->owner = calloc(o->frame_cnt, sizeof(*w->owner));
	w->has_flows = calloc(o->socket_max, sizeof(*w->has_flows));
	w->flow = aligned_alloc(64, WORKER_FLOWS * sizeof(*w->flow));
	w->event_len = (uint32_t)((sizeof(struct worker_event) + o->frame_size + 63) & ~63ul);
	w->events = aligned_alloc(64, (size_t)WORKER_EVENTS * w->event_len);
	w->super = w->ops->tx_super ? malloc(sizeof(*w->super)) : NULL;
	if (w->ops->tx_super && !w->super)
		return -ENOMEM;
	if (!w->ports || !w->socket || !w->source || !w->cookie || !w->wakes_slow || !w->served ||
	    !w->served_epoch || !w->owner || !w->has_flows || !w->flow || !w->events)
		return -ENOMEM;
	memset(w->socket, 0, (size_t)o->socket_max * sizeof(*w->socket));
	memset(w->flow, 0, WORKER_FLOWS * sizeof(*w->flow));
	memset(w->events, 0, (size_t)WORKER_EVENTS * w->event_len);
	w->flow_generation = 1;
	w->capacity = share > 2 * o->frames_reserved ? share - o->frames_reserved : share / 2;
	udplane_ring_init(&w->event_prod, &w->event_head, WORKER_EVENTS, 0);
	udplane_ring_init(&w->event_cons, &w->event_head, WORKER_EVENTS, 0);
	udplane_ring_arm(&w->event_cons);
	return 0;
}

static void worker_free(struct worker *w)
{
	int fds[] = {w->epoll_fd, w->stop_fd, w->done_fd, w->event_fd};

	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (w->ports)
		port_table_destroy(w->ports);
	free(w->socket);
	free(w->source);
	free(w->cookie);
	free(w->wakes_slow);
	free(w->served);
	free(w->served_epoch);
	free(w->owner);
	worker_mcast_free(w);
	free(w->has_flows);
	free(w->flow);
	free(w->super);
	free(w->events);
	free(w);
}

static int start_thread(struct worker *w)
{
	pthread_attr_t attr;
	cpu_set_t set;
	int err;

	pthread_attr_init(&attr);
	if (w->opt.cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(w->opt.cpu, &set);
		pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	}
	err = pthread_create(&w->thread, &attr, worker_main, w);
	pthread_attr_destroy(&attr);
	return -err;
}

int worker_start(struct worker **out, const struct worker_options *opt, struct error *error)
{
	struct worker *w = aligned_alloc(128, (sizeof(*w) + 127) & ~127ul);
	int err = -ENOMEM;

	if (!w)
		goto fail;
	memset(w, 0, sizeof(*w));
	w->opt = *opt;
	w->queue = opt->queue;
	w->ops = opt->queue->ops;
	w->zone = opt->zone;
	w->counter = opt->zone->counter;
	w->zone->cpu = opt->cpu;
	w->wake_limit_ns = worker_wake_limit();
	w->epoll_fd = w->stop_fd = w->done_fd = w->event_fd = -1;
	err = make_tables(w);
	if (!err)
		err = make_fds(w);
	if (!err)
		err = start_thread(w);
	if (!err) {
		*out = w;
		return 0;
	}
	worker_free(w);
fail:
	return error_set(
		error, err,
		"worker %u (CPU %d) does not start: %s; check memory, RLIMIT_NOFILE, and that the "
		"CPU is in the cpuset",
		opt->id, opt->cpu, strerror(-err));
}

void worker_stop(struct worker *w)
{
	__atomic_store_n(&w->stop, 1, __ATOMIC_SEQ_CST);
	(void)!write(w->stop_fd, &(uint64_t){1}, 8);
	pthread_join(w->thread, NULL);
	worker_free(w);
}
