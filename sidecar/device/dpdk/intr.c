/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeping. A worker arms the interrupt, polls once more, then waits in its epoll. A packet that
 * arrived before the arm raises no interrupt, so without the second poll it would stay in the queue
 * until the next packet (tests/unit/dpdk/intr_model_test.cc).
 *
 * A driver without queue interrupts is polled by a timer: 100 us after traffic, twice as long after
 * each empty poll, at most 10 ms. That costs an idle worker well below 1 % of a core.
 */
#include <errno.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sidecar/device/dpdk/dpdk.h"

#define TIMER_MIN_US 100u
#define TIMER_MAX_US 10000u

static struct dpdk_queue *to_queue(struct device_queue *q)
{
	return (struct dpdk_queue *)q;
}

static int set_intr(struct dpdk_queue *q, bool on)
{
	struct dpdk *d = to_dpdk(q->base.dev);
	int err;

	pthread_mutex_lock(&d->intr_lock);
	err = on ? rte_eth_dev_rx_intr_enable(q->port, q->id)
		 : rte_eth_dev_rx_intr_disable(q->port, q->id);
	pthread_mutex_unlock(&d->intr_lock);
	return err;
}

int dpdk_intr_open(struct dpdk *d, struct dpdk_queue *q)
{
	rte_log_set_level_pattern("lib.ethdev",
				  RTE_LOG_CRIT); /* it logs the lack of an interrupt as an error */
	q->intr_fd = d->rxq_intr ? rte_eth_dev_rx_intr_ctl_q_get_fd(d->port, q->id) : -1;
	rte_log_set_level_pattern("lib.ethdev", RTE_LOG_ERR);
	q->timer_us = TIMER_MIN_US;
	if (q->intr_fd >= 0 && !set_intr(q, true)) {
		set_intr(q, false);
		return 0;
	}
	q->intr_fd = -1;
	q->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return q->timer_fd < 0 ? -errno : 0;
}

void dpdk_intr_close(struct dpdk_queue *q)
{
	if (q->timer_fd >= 0)
		close(q->timer_fd);
	q->timer_fd = q->intr_fd = -1; /* intr_fd belongs to the driver */
}

uint32_t dpdk_wait_fds(struct device_queue *dq, int *fds, uint32_t max)
{
	struct dpdk_queue *q = to_queue(dq);
	uint32_t n = 0;

	if (n < max)
		fds[n++] = q->intr_fd >= 0 ? q->intr_fd : q->timer_fd;
	if (n < max && q->takes_tap)
		fds[n++] = q->lane->worker_fd;
	return n;
}

static int arm_timer(struct dpdk_queue *q)
{
	struct itimerspec when = {.it_value.tv_nsec = q->timer_us * 1000L};

	return timerfd_settime(q->timer_fd, 0, &when, NULL) ? -errno : 0;
}

int dpdk_arm(struct device_queue *dq)
{
	struct dpdk_queue *q = to_queue(dq);
	uint64_t rx;

	if (q->takes_tap)
		udplane_ring_arm(&q->lane->from);
	if (__atomic_load_n(q->removed, __ATOMIC_ACQUIRE))
		return 0; /* orders and doorbells still wake the worker */
	if (q->intr_fd >= 0)
		return set_intr(q, true);
	rx = q->n.rx + q->n.rx_jumbo + q->n.rx_no_frame;
	q->timer_us =
		rx != q->rx_when_armed ? TIMER_MIN_US : RTE_MIN(2 * q->timer_us, TIMER_MAX_US);
	q->rx_when_armed = rx;
	return arm_timer(q);
}

/* Not every driver's descriptor is non-blocking. */
static void drain(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t cnt;

	if (poll(&p, 1, 0) == 1)
		(void)!read(fd, &cnt, sizeof(cnt));
}

void dpdk_disarm(struct device_queue *dq)
{
	struct dpdk_queue *q = to_queue(dq);

	if (q->takes_tap) {
		udplane_ring_disarm(&q->lane->from);
		drain(q->lane->worker_fd);
	}
	if (q->intr_fd >= 0 && !__atomic_load_n(q->removed, __ATOMIC_ACQUIRE))
		set_intr(q, false);
	drain(q->intr_fd >= 0 ? q->intr_fd : q->timer_fd);
}
