/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What DPDK's interrupt thread (the seed's eal_intr_thread_main, which waits in an epoll of its own) tells: link, removal, reset. The
 * callbacks only note it and ring event_fd; the TAP thread does the rest: the link becomes the TAP's carrier, and a NIC that is gone
 * takes the TAP along, which the control thread sees by netlink as it would see any interface go.
 *
 * A reset of a virtual function by its owner needs it configured from the start: it counts as gone, and udplaned starts again.
 */
#include <errno.h>
#include <rte_dev.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sidecar/base/log.h"
#include "sidecar/device/dpdk/dpdk.h"

static void ring(struct dpdk *d)
{
	(void)!write(d->event_fd, &(uint64_t){1}, 8);
}

static void lose(struct dpdk *d, const char *why)
{
	if (!__atomic_exchange_n(&d->removed, 1, __ATOMIC_SEQ_CST))
		log_error("%s: the device %s: it is let go, and its interface with it", d->target, why);
	ring(d);
}

static int on_port(uint16_t port, enum rte_eth_event_type type, void *arg, void *param)
{
	struct dpdk *d = arg;

	(void)port;
	(void)param;
	if (type == RTE_ETH_EVENT_INTR_RMV)
		__atomic_fetch_add(&d->events.removals, 1, __ATOMIC_RELAXED);
	if (type == RTE_ETH_EVENT_INTR_RESET)
		__atomic_fetch_add(&d->events.resets, 1, __ATOMIC_RELAXED);
	if (type == RTE_ETH_EVENT_INTR_LSC)
		ring(d);
	else
		lose(d, type == RTE_ETH_EVENT_INTR_RMV ? "was removed" : "was reset by its owner");
	return 0;
}

/* VFIO asks for the device back (hot unplug): closing it is the answer. */
static void on_device(const char *name, enum rte_dev_event_type type, void *arg)
{
	struct dpdk *d = arg;

	(void)name;
	if (type != RTE_DEV_EVENT_REMOVE)
		return;
	__atomic_fetch_add(&d->events.removals, 1, __ATOMIC_RELAXED);
	lose(d, "is being removed");
}

static const enum rte_eth_event_type heard[] = {RTE_ETH_EVENT_INTR_LSC, RTE_ETH_EVENT_INTR_RMV, RTE_ETH_EVENT_INTR_RESET};

int dpdk_event_open(struct dpdk *d)
{
	int err = 0;

	d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->event_fd < 0)
		return -errno;
	for (size_t i = 0; i < RTE_DIM(heard) && !err; i++)
		err = rte_eth_dev_callback_register(d->port, heard[i], on_port, d);
	if (!err && d->pci)
		err = rte_dev_event_callback_register(d->target, on_device, d);
	return err;
}

void dpdk_event_close(struct dpdk *d)
{
	if (d->event_fd < 0)
		return;
	for (size_t i = 0; i < RTE_DIM(heard); i++)
		rte_eth_dev_callback_unregister(d->port, heard[i], on_port, d);
	if (d->pci)
		rte_dev_event_callback_unregister(d->target, on_device, d);
	close(d->event_fd);
	d->event_fd = -1;
}

bool dpdk_is_gone(void *dev)
{
	return __atomic_load_n(&((struct dpdk *)dev)->removed, __ATOMIC_ACQUIRE);
}

bool dpdk_link_up(void *dev)
{
	struct dpdk *d = dev;
	struct rte_eth_link link = {0};
	uint32_t up;

	if (dpdk_is_gone(d) || rte_eth_link_get_nowait(d->port, &link))
		link.link_status = RTE_ETH_LINK_DOWN;
	up = link.link_status == RTE_ETH_LINK_UP;
	if (up != __atomic_exchange_n(&d->link_up, up, __ATOMIC_RELAXED))
		__atomic_fetch_add(&d->events.link_changes, 1, __ATOMIC_RELAXED);
	return up;
}
